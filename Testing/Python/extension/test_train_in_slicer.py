"""The script that trains inside Slicer, run by plain Python and by a stand-in for the application.

`run_as_slicer.py` does what Slicer does with `--python-script`: it reads the file and executes it
in `__main__`, with `slicer` already imported, and ends with the code given to `slicer.util.exit`.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from DRDMCore.models import load_model

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPT = REPOSITORY / "DRDMExtension" / "Scripts" / "train_in_slicer.py"
TREE = ast.parse(SCRIPT.read_text(encoding="utf-8"))

CONFIG = """\
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

RUN_AS_SLICER = """\
import pathlib
import sys
import slicer
_path = sys.argv[1]
sys.argv = [_path, *sys.argv[2:]]
_globals = globals()
_globals["__file__"] = _path
exec(pathlib.Path(_path).read_text(), _globals)
print("beats", slicer.app.beats)
print("installed", slicer.util.installed)
if slicer.util.code is None:
    sys.exit("the window-less application would wait forever")
sys.exit(slicer.util.code)
"""

STAND_IN = """\
import types


class _App:
    beats = 0
    testing = False

    def processEvents(self):
        self.beats += 1

    def testingEnabled(self):
        return self.testing


class _Util:
    code = None
    installed = []

    def exit(self, status=0):
        self.code = status

    def pip_install(self, requirements):
        assert isinstance(requirements, list)
        self.installed += requirements


app, util, modules = _App(), _Util(), types.SimpleNamespace()
"""

NOT_INSTALLED = """\
import pathlib
import sys

# An editable installation puts the checkout on the path: here the script has to find it.
sys.path[:] = [each for each in sys.path if not (pathlib.Path(each) / "DRDMExtension").is_dir()]
"""

BLOCKED = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a configuration, and in `app` what stands in for Slicer."""
    (tmp_path / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "slicer.py").write_text(STAND_IN, encoding="utf-8")
    (tmp_path / "app" / "run_as_slicer.py").write_text(RUN_AS_SLICER, encoding="utf-8")
    (tmp_path / "app" / "sitecustomize.py").write_text(NOT_INSTALLED, encoding="utf-8")
    (tmp_path / "missing").mkdir()
    return tmp_path


def environment(*folders: Path) -> dict[str, str]:
    """Without our checkout on Python's path: the script has to find it."""
    path = os.pathsep.join(map(str, folders))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def command(folder: Path, *arguments: object, slicer: bool, script: Path = SCRIPT) -> list[str]:
    driver = [str(folder / "app" / "run_as_slicer.py")] if slicer else []
    return [sys.executable, "-W", "error", *driver, str(script), *map(str, arguments)]


def run(
    folder: Path, *arguments: object, slicer: bool = False, script: Path = SCRIPT
) -> subprocess.CompletedProcess[str]:
    """Run the script with packages blocked in `missing`, from a folder that is not ours."""
    return subprocess.run(
        command(folder, *arguments, slicer=slicer, script=script),
        cwd=folder,
        env=environment(folder / "missing", folder / "app"),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("slicer", "dashes"), [(False, []), (True, ["--"])])
def test_it_trains_and_prints_lines(slicer, dashes, folder):
    arguments = [*dashes, "--config", "tiny.yaml", "--out", "run", "--device", "cpu"]
    done = run(folder, *arguments, slicer=slicer)
    assert done.returncode == 0, done.stderr
    assert load_model(folder / "run" / "tiny.safetensors").card.training["steps"] in (2, 4)
    assert "step 1 of 4: loss" in done.stdout and "step 4 of 4" in done.stdout
    assert "\r" not in done.stdout and done.stderr == ""
    if slicer:
        assert int(done.stdout.split("beats ")[1].split()[0]) >= 4  # the window stays alive


def test_what_slicer_leaves_before_the_dashes_is_not_ours(folder):
    done = run(folder, "scene.mrml", "--unheard-of", "--", "--out", "run", slicer=True)
    assert done.returncode == 2 and "--data is needed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("slicer", [False, True])
def test_testing_proves_the_whole_chain(slicer, folder):
    done = run(folder, "--", "--testing", slicer=slicer)
    assert done.returncode == 0, done.stderr
    assert "going on after step 2" in done.stdout and "step 4 of 4" in done.stdout
    assert "heart-2d_0000_0001: seed" in done.stdout  # generated with the model
    assert sorted(each.name for each in folder.iterdir()) == ["app", "missing", "tiny.yaml"]


@pytest.mark.slow
def test_slicers_own_testing_option_is_taken_as_ours(folder):
    stand_in = folder / "app" / "slicer.py"
    stand_in.write_text(STAND_IN.replace("testing = False", "testing = True"), encoding="utf-8")
    done = run(folder, slicer=True)
    assert done.returncode == 0 and "going on after step 2" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("slicer", "arguments", "code", "words"),
    [
        (False, ["--unheard-of"], 2, "--unheard-of"),
        (True, ["--unheard-of"], 2, "--unheard-of"),
        (True, ["--config", "none.yaml", "--out", "run"], 1, "none.yaml"),
        (True, ["--help"], 0, ""),
    ],
)
def test_exit_codes(slicer, arguments, code, words, folder):
    done = run(folder, "--", *arguments, slicer=slicer)
    assert done.returncode == code and words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("slicer", [False, True])
def test_missing_torch_is_told_with_what_to_do(slicer, folder):
    (folder / "missing" / "torch.py").write_text(BLOCKED, encoding="utf-8")
    done = run(folder, "--config", "tiny.yaml", "--out", "run", slicer=slicer)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "packages torch>=2.2, which cannot be imported" in done.stderr
    assert ("--install" if slicer else 'PythonSlicer -m pip install "torch>=2.2"') in done.stderr
    assert not (folder / "run").exists()


def test_nothing_is_installed_unasked(folder):
    for name in ("torch", "tqdm"):
        (folder / "missing" / f"{name}.py").write_text(BLOCKED, encoding="utf-8")
    done = run(folder, "--config", "tiny.yaml", "--out", "run", slicer=True)
    assert done.returncode == 1 and "installed []" in done.stdout
    done = run(folder, "--", "--install", slicer=True)
    assert done.returncode == 1 and "installed ['tqdm>=4.60']" in done.stdout
    done = run(folder, "--install")
    assert done.returncode == 1 and "--install works inside Slicer only" in done.stderr


TORCH_UTILS = """\
import pathlib


class PyTorchUtilsLogic:
    def installTorch(self, torchVersionRequirement):
        assert torchVersionRequirement == ">=2.2"
        (pathlib.Path(__file__).parent.parent / "missing" / "torch.py").unlink()
        return object()
"""


def test_torch_is_installed_by_its_extension(folder):
    (folder / "missing" / "torch.py").write_text(BLOCKED, encoding="utf-8")
    done = run(folder, "--", "--install", slicer=True)
    assert done.returncode == 1 and "extension PyTorch, which is not installed" in done.stderr
    (folder / "app" / "PyTorchUtils.py").write_text(TORCH_UTILS, encoding="utf-8")
    done = run(folder, "--", "--install", slicer=True)
    assert done.returncode == 0 and "installed []" in done.stdout, done.stderr


def test_a_fault_ends_with_a_traceback_and_a_code(folder):
    broken = folder / "missing" / "yaml.py"
    broken.write_text("raise KeyError('damaged')\n", encoding="utf-8")
    done = run(folder, "--config", "tiny.yaml", "--out", "run", slicer=True)
    assert done.returncode == 1 and "KeyError: 'damaged'" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for one process")
@pytest.mark.parametrize("slicer", [False, True])
def test_sigterm_leaves_a_usable_model_and_code_130(slicer, folder):
    arguments = ["--", "--config", "tiny.yaml", "--out", "run", "--device", "cpu"]
    with subprocess.Popen(
        command(folder, *arguments, "--steps", 100000, slicer=slicer),
        cwd=folder,
        env=environment(folder / "app"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if line.startswith("step 4 "):
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        errors = process.stderr.read()
        assert process.wait(60) == 130
    assert "the same command goes on" in errors and "Traceback" not in errors
    assert load_model(folder / "run" / "tiny.safetensors").card.training["steps"] >= 2


# Where DRDMCore is --------------------------------------------------------------------------------


def test_it_is_found_beside_an_installed_module(folder):
    scripts = folder / "lib" / "qt-scripted-modules" / "Scripts"
    scripts.mkdir(parents=True)
    installed = scripts / SCRIPT.name
    shutil.copy(SCRIPT, installed)
    done = run(folder, "--help", script=installed)
    assert done.returncode == 1 and "DRDMCore must lie beside DRDMExtension" in done.stderr
    (scripts.parent / "DRDMCore").symlink_to(REPOSITORY / "DRDMCore")
    done = run(folder, "--help", script=installed)
    assert done.returncode == 0 and "drdm train" in done.stdout


def test_it_is_found_by_the_module_that_slicer_has_loaded(folder):
    elsewhere = folder / "elsewhere" / "my" / "own" / SCRIPT.name
    elsewhere.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, elsewhere)
    done = run(folder, "--", "--help", slicer=True, script=elsewhere)
    assert done.returncode == 1 and "is not found" in done.stderr
    module = REPOSITORY / "DRDMExtension" / "DRDM.py"
    loaded = f"{STAND_IN}modules.drdm = types.SimpleNamespace(path={str(module)!r})\n"
    (folder / "app" / "slicer.py").write_text(loaded, encoding="utf-8")
    done = run(folder, "--", "--help", slicer=True, script=elsewhere)
    assert done.returncode == 0, done.stderr


# The file -----------------------------------------------------------------------------------------


def test_nothing_happens_at_file_scope():
    allowed = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign
    for node in TREE.body:
        plain = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guard = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        assert isinstance(node, allowed) or plain or guard, ast.unparse(node)
    imported = {a.name for n in TREE.body if isinstance(n, ast.Import) for a in n.names}
    assert imported <= sys.stdlib_module_names
    assert SCRIPT.read_text(encoding="utf-8").isascii()


def test_its_packages_are_those_of_the_project():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = (\[.*?^\])", text, flags=re.MULTILINE | re.DOTALL)
    names = [node for node in TREE.body if isinstance(node, ast.Assign)]
    (packages,) = (n.value for n in names if ast.unparse(n.targets[0]) == "PACKAGES")
    assert sorted(ast.literal_eval(packages).values()) == sorted(ast.literal_eval(listed))
