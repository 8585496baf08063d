"""Train a model inside 3D Slicer, or with the Python that comes with it.

    Slicer --no-main-window --python-script train_in_slicer.py -- --data scans --out run
    PythonSlicer train_in_slicer.py --data scans --out run

The options are those of `drdm train` (`-- --help` lists them), and two more:

    --install   install the Python packages that are missing, inside Slicer only
    --testing   a tiny run on made-up images, in a temporary folder

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped (the same command goes on).
"""

# Slicer reads this file with the encoding of the system and runs it as `__main__`: it stays ASCII.
from __future__ import annotations

import argparse
import functools
import importlib
import sys
import tempfile
import traceback
from pathlib import Path

PACKAGES = {
    "numpy": "numpy>=1.26",
    "PIL": "Pillow>=10.1",
    "yaml": "PyYAML>=6",
    "safetensors": "safetensors>=0.4",
    "SimpleITK": "SimpleITK>=2.4",
    "torch": "torch>=2.2",
    "tqdm": "tqdm>=4.60",
}
"""What DRDMCore needs, by the name that is imported."""

TINY = """\
name: tiny
data: phantom:heart-2d
subjects: 4
grid: {dimension: 2, mode: fov, side: 32}
shape: [32, 32]
widths: [4, 8]
steps: 4
batch: 2
validate_every: 2
recoveries: 1
"""


class Trouble(Exception):
    """What a user can cure, in a sentence."""


def slicerModule():
    """Slicer's Python module inside the application, else `None`.

    It is not imported: the application has done so, and `PythonSlicer` has it without its parts.
    """
    module = sys.modules.get("slicer")
    return module if hasattr(module, "app") else None


def ownArguments(argv):
    """The arguments after `--`, or all of them, without the script's name."""
    return argv[argv.index("--") + 1 :] if "--" in argv else argv[1:]


def coreFolders():
    """Where DRDMCore may lie: a checkout, an installed extension, beside the module in Slicer."""
    yield from Path(__file__).resolve().parents[:3]
    slicer = slicerModule()
    module = getattr(slicer.modules, "drdm", None) if slicer else None
    if module is not None:
        yield from Path(module.path).resolve().parents[:2]


def findCore():
    """Put the folder of DRDMCore on Python's path."""
    for folder in coreFolders():
        if (folder / "DRDMCore" / "__init__.py").is_file():
            sys.path.insert(0, str(folder))
            break
    try:
        importlib.import_module("DRDMCore")
    except ImportError as error:
        raise Trouble(
            f"DRDMCore must lie beside DRDMExtension or be installed, but is not found ({error}): "
            "install the DRDM extension, or run this script from a checkout of it."
        ) from error


def missingPackages():
    """Requirements that cannot be imported, and why."""
    missing = {}
    for name, requirement in PACKAGES.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library of torch that does not load
            missing[requirement] = str(error)
    return missing


def requirePackages(install):
    """Import what DRDMCore needs; install what is missing only where that was asked for."""
    missing = missingPackages()
    if missing and install:
        installPackages(list(missing))
        importlib.invalidate_caches()
        missing = missingPackages()
    if missing:
        names, reasons = ", ".join(missing), "; ".join(missing.values())
        raise Trouble(
            f"Training needs the Python packages {names}, which cannot be imported ({reasons}): "
            f"{howToInstall(missing)}"
        )


def howToInstall(requirements):
    """What the user can do about missing packages."""
    if slicerModule():
        return "run this again with --install (torch comes with the extension PyTorch)."
    quoted = " ".join(f'"{each}"' for each in requirements)
    return f"install them by PythonSlicer -m pip install {quoted}"


def installPackages(requirements):
    """Install packages as Slicer does; torch by its extension, which chooses the right build."""
    slicer = slicerModule()
    if slicer is None:
        raise Trouble(f"--install works inside Slicer only: {howToInstall(requirements)}")
    torch = [each for each in requirements if each.startswith("torch>=")]
    others = [each for each in requirements if each not in torch]
    if others:
        print(f"installing {', '.join(others)}", flush=True)
        slicer.util.pip_install(others)
    if torch:
        installTorch(torch[0].removeprefix("torch"))


def installTorch(version):
    """Install torch by the extension PyTorch."""
    try:
        utils = importlib.import_module("PyTorchUtils")
    except ImportError as error:
        raise Trouble(
            "torch must come from the extension PyTorch, which is not installed: install it with "
            "the Extensions Manager, start Slicer again, and run this again with --install."
        ) from error
    print(f"installing torch{version}", flush=True)
    if utils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=version) is None:
        raise Trouble("torch was not installed: see the messages of the extension PyTorch above.")


def drdm(*arguments):
    """Run a command of `drdm`, with lines instead of a bar; its exit code."""
    from DRDMCore.cli import main
    from DRDMCore.cli.console import Console

    slicer = slicerModule()
    beat = slicer.app.processEvents if slicer else None
    console = functools.partial(Console, lines=sys.stdout, beat=beat)
    return main([str(each) for each in arguments], new_console=console)


def runTest():
    """Train in two sittings and generate with the model; the first exit code that is not 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, scans, run = folder / "tiny.yaml", folder / "scans", folder / "run"
        config.write_text(TINY, encoding="utf-8")
        train = ["train", "--config", config, "--out", run, "--device", "cpu"]
        scan = scans / "images" / "heart-2d_0000.nii.gz"
        generate = ["generate", "--image", scan, "--model", run / "tiny.safetensors"]
        generate += ["--out", folder / "new", "--count", 1, "--level", 20, "--device", "cpu"]
        commands = [
            [*train, "--steps", 2],
            train,
            ["phantom", "heart-2d", "--count", 1, "--out", scans],
            generate,
        ]
        return next((code for code in (drdm(*each) for each in commands) if code), 0)


def run(arguments):
    """Do what the arguments say; the exit code."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--testing", action="store_true")
    own, rest = parser.parse_known_args(arguments)
    slicer = slicerModule()
    # Slicer keeps a `--testing` that stands before `--` to itself.
    testing = own.testing or (not arguments and slicer and slicer.app.testingEnabled())
    findCore()
    requirePackages(own.install)
    if testing:
        return runTest()
    return 0 if own.install and not rest else drdm("train", *rest)


def exitCode(arguments):
    """The exit code, whatever happens: without one, Slicer would wait forever with no window."""
    try:
        return run(arguments)
    except Trouble as error:
        print(error, file=sys.stderr, flush=True)
    except SystemExit as end:  # --help, or wrong usage
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
    return 1


def leave(code):
    """Give the shell the exit code."""
    slicer = slicerModule()
    if slicer is None:
        sys.exit(code)
    slicer.util.exit(code)


if __name__ == "__main__":
    leave(exitCode(ownArguments(sys.argv)))
