"""What is missing, and installing it: with records in place of pip and the extension PyTorch.

Only the last step cannot run here, changing the Python of Slicer. One test lets the real pip
install from a folder of wheels, into a folder of its own.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
import threading
import types
import zipfile
from pathlib import Path

import pytest

from Testing.Python.extension.children import MODULE_FOLDER, application

REPOSITORY = MODULE_FOLDER.parent
HEAVY = ("torch", "safetensors", "yaml", "tqdm", "PIL")


@pytest.fixture
def lib():
    yield from application()


class Computer:
    """A computer with some versions of packages, and a record of what was done to it."""

    def __init__(self, monkeypatch, versions):
        import slicer

        self.versions, self.asked, self.piped, self.torch = versions, [], [], []
        self.answers, self.works = True, True
        manager = slicer.app.extensionsManagerModel()
        manager.works = True
        manager.installed.clear()
        manager.asked.clear()
        monkeypatch.setattr(importlib.metadata, "version", self.version)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(slicer.util, "pip_install", self.pip)
        self.monkeypatch = monkeypatch
        self.withSlicersPackaging(None)
        monkeypatch.delitem(sys.modules, "PyTorchUtils", raising=False)

    def version(self, name):
        if self.versions.get(name) is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.versions[name]

    def confirm(self, text):
        self.asked.append(text)
        return self.answers

    def pip(self, arguments):
        assert isinstance(arguments, list)
        self.piped.append([self.seen(each) for each in arguments])
        if not self.works:
            raise subprocess.CalledProcessError(1, "pip")
        for each in arguments:
            name, _, version = each.partition(">=")
            if version:
                self.versions[name] = version

    def seen(self, argument):
        """An argument; of a file of constraints, what it says."""
        if argument.endswith("constraints.txt"):
            return sorted(Path(argument).read_text(encoding="utf-8").split())
        return argument

    def withSlicersPackaging(self, ensure):
        module = None if ensure is None else types.SimpleNamespace(pip_ensure=ensure)
        self.monkeypatch.setitem(sys.modules, "slicer.packaging", module)

    def withPyTorch(self, result=True):
        computer = self

        class PyTorchUtilsLogic:
            def installTorch(self, **options):
                computer.torch.append(options)
                computer.versions["torch"] = "2.9.1+cu128" if result else None
                return result or None

        module = types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic)
        self.monkeypatch.setitem(sys.modules, "PyTorchUtils", module)


SLICER = {"numpy": "2.4.6", "SimpleITK": "2.5.5", "Pillow": "12.2.0"}
COMPLETE = {
    **SLICER,
    **{"PyYAML": "6.0.2", "safetensors": "0.5.0", "torch": "2.9.1+cu128", "tqdm": "4.67.1"},
}
MISSING = ["PyYAML>=6", "safetensors>=0.4", "tqdm>=4.60"]


@pytest.fixture
def slicers(lib, monkeypatch):
    """Slicer as it comes."""
    return Computer(monkeypatch, dict(SLICER))


def test_the_requirements_are_those_of_the_project():
    lines = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    listed = ast.literal_eval(lines.split("\ndependencies = ")[1].split("]")[0] + "]")
    path = MODULE_FOLDER / "Resources" / "requirements.txt"
    assert sorted(path.read_text(encoding="utf-8").split()) == sorted(listed)
    script = (MODULE_FOLDER / "Scripts" / "train_in_slicer.py").read_text(encoding="utf-8")
    packages = ast.literal_eval(script.split("\nPACKAGES = ")[1].split("}")[0] + "}")
    assert sorted(packages.values()) == sorted(listed)


def test_names_of_imports_are_those_of_the_script(lib):
    script = (MODULE_FOLDER / "Scripts" / "train_in_slicer.py").read_text(encoding="utf-8")
    packages = ast.literal_eval(script.split("\nPACKAGES = ")[1].split("}")[0] + "}")
    names = {each.requirement: each.name for each in lib.packages.requiredPackages()}
    imported = {key: lib.packages.IMPORT_NAMES.get(name, name) for key, name in names.items()}
    assert imported == {requirement: name for name, requirement in packages.items()}


def test_nothing_is_missing_here_and_nothing_is_asked(lib):
    assert lib.installer.missingPackages() == []
    assert "is installed" in lib.installer.describe()
    assert lib.installer.install(confirm=lambda text: pytest.fail(text)) == "done"


def test_finding_out_imports_nothing():
    code = (
        "import sys, types\n"
        "slicer = types.ModuleType('slicer'); i18n = types.ModuleType('slicer.i18n')\n"
        "slicer.i18n, i18n.tr = i18n, str\n"
        "sys.modules |= {'slicer': slicer, 'slicer.i18n': i18n, 'qt': types.ModuleType('qt')}\n"
        "from DRDMLib import installer\n"
        "found = installer.missingPackages(), installer.describe(), installer.check()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=MODULE_FOLDER,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        ({}, [*MISSING, "torch>=2.2"]),
        (COMPLETE, []),
        ({**COMPLETE, "torch": "2.1.2"}, ["torch>=2.2"]),
        ({**COMPLETE, "torch": "2.10.0"}, []),
        ({**COMPLETE, "torch": "10.0"}, []),
        ({**COMPLETE, "safetensors": "0.4.0rc0"}, []),
        ({**COMPLETE, "tqdm": "4.6"}, ["tqdm>=4.60"]),
        ({**COMPLETE, "numpy": "1.25.9"}, ["numpy>=1.26"]),
    ],
)
def test_missing_and_old_packages_are_found(versions, wanted, lib, monkeypatch):
    Computer(monkeypatch, {**SLICER, **versions})
    assert sorted(each.requirement for each in lib.installer.missingPackages()) == sorted(wanted)


def test_one_question_says_what_and_how_large_and_then_all_is_installed(lib, slicers):
    slicers.withPyTorch()
    assert lib.installer.install(confirm=slicers.confirm) == "done"
    (text,) = slicers.asked
    for words in [*MISSING, "torch>=2.2", "MB", "GB", "extension PyTorch", "Package Index"]:
        assert words in text
    kept = ["SimpleITK==2.5.5", "numpy==2.4.6"]
    assert slicers.piped == [["--constraint", kept, *MISSING]]
    assert slicers.torch == [{"askConfirmation": False, "torchVersionRequirement": ">=2.2"}]
    assert lib.installer.missingPackages() == []


def test_what_is_declined_is_not_installed(lib, slicers):
    slicers.withPyTorch()
    slicers.answers = False
    assert lib.installer.install(confirm=slicers.confirm) == "declined"
    assert len(slicers.asked) == 1 and slicers.piped == slicers.torch == []


def test_slicers_own_way_is_used_where_there_is_one(lib, slicers):
    calls = []

    def pip_ensure(requirements, constraints=None, prompt_install=True, requester=None):
        calls.append((requirements, slicers.seen(str(constraints)), prompt_install, requester))
        slicers.versions.update(COMPLETE)

    slicers.withSlicersPackaging(pip_ensure)
    slicers.withPyTorch()
    assert lib.installer.install(confirm=slicers.confirm) == "done"
    assert calls == [(MISSING, ["SimpleITK==2.5.5", "numpy==2.4.6"], False, "DRDM")]
    assert slicers.piped == []


def test_torch_that_is_there_is_kept(lib, monkeypatch):
    computer = Computer(monkeypatch, {**SLICER, "torch": "2.4.0+cu121"})
    assert lib.installer.install(confirm=computer.confirm) == "done"
    assert computer.piped[0][1] == ["SimpleITK==2.5.5", "numpy==2.4.6", "torch==2.4.0+cu121"]
    assert computer.torch == [] and "PyTorch" not in computer.asked[0]


@pytest.mark.parametrize("name", ["numpy", "SimpleITK"])
@pytest.mark.parametrize("version", [None, "1.0"])
def test_what_slicer_brings_is_never_replaced(name, version, lib, monkeypatch):
    computer = Computer(monkeypatch, {**SLICER, name: version})
    with pytest.raises(lib.installer.InstallProblem, match=f"{name}.*update 3D Slicer"):
        lib.installer.install(confirm=computer.confirm)
    assert computer.asked == computer.piped == []


def test_the_extension_pytorch_is_offered_where_it_is_missing(lib, slicers):
    import slicer

    manager = slicer.app.extensionsManagerModel()
    assert lib.installer.install(confirm=slicers.confirm) == "restart"
    assert manager.asked == ["PyTorch"] and len(slicers.asked) == 2
    assert "Extensions Manager" in slicers.asked[1]
    # Before Slicer has been started again there is nothing new to ask or to do.
    assert lib.installer.install(confirm=slicers.confirm) == "restart"
    assert manager.asked == ["PyTorch"] and len(slicers.asked) == 3


def test_how_to_get_the_extension_is_told_where_it_is_not_wanted_or_fails(lib, slicers):
    import slicer

    manager = slicer.app.extensionsManagerModel()
    answers = iter([True, False])
    with pytest.raises(lib.installer.InstallProblem, match="Extensions Manager"):
        lib.installer.install(confirm=lambda text: next(answers))
    assert manager.asked == []
    manager.works = False
    with pytest.raises(lib.installer.InstallProblem, match="Extensions Manager"):
        lib.installer.install(confirm=slicers.confirm)
    assert manager.asked == ["PyTorch"]


def test_failures_are_sentences(lib, slicers):
    slicers.works = False
    with pytest.raises(lib.installer.InstallProblem, match=r"tqdm>=4\.60 could not be installed"):
        lib.installer.install(confirm=slicers.confirm)
    slicers.works = True
    slicers.withPyTorch(result=False)
    with pytest.raises(lib.installer.InstallProblem, match="PyTorch was not installed"):
        lib.installer.install(confirm=slicers.confirm)


def test_it_works_on_the_main_thread_only(lib, slicers):
    caught = []

    def run():
        try:
            lib.installer.install(confirm=slicers.confirm)
        except lib.installer.InstallProblem as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught and "main thread" in caught[0] and slicers.asked == slicers.piped == []


def test_a_folder_of_wheels_needs_no_network_and_no_extension(lib, slicers, tmp_path):
    folder = tmp_path / "wheels for the ward"
    folder.mkdir()
    with pytest.raises(lib.installer.InstallProblem, match="must hold the wheels"):
        lib.installer.install(confirm=slicers.confirm, wheels=folder)
    (folder / "any-1-py3-none-any.whl").write_bytes(b"")
    assert lib.installer.install(confirm=slicers.confirm, wheels=folder) == "done"
    kept = ["SimpleITK==2.5.5", "numpy==2.4.6"]
    offline = ["--no-index", "--find-links", str(folder), "--constraint", kept]
    assert slicers.piped == [
        [*offline, "PyYAML>=6", "safetensors>=0.4", "torch>=2.2", "tqdm>=4.60"]
    ]
    assert str(folder) in slicers.asked[0] and "nothing is downloaded" in slicers.asked[0]


def makeWheel(folder, name, version):
    """The smallest wheel."""
    stem = f"{name}-{version}"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{each},,\n" for each in [*files, f"{stem}.dist-info/RECORD"])
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{stem}.dist-info/RECORD": record}.items():
            wheel.writestr(path, text)


def test_the_real_pip_installs_from_a_folder_of_wheels(lib, monkeypatch, tmp_path):
    """As `slicer.util.pip_install` runs it, but into a folder of its own."""
    import slicer

    if importlib.util.find_spec("pip") is None:
        pytest.skip("there is no pip here")
    wheels, target = tmp_path / "wheels with a space", tmp_path / "target"
    wheels.mkdir()
    makeWheel(wheels, "drdm_one", "1.4")
    makeWheel(wheels, "drdm_two", "2.0")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("drdm_one>=1.2\ndrdm_two>=2\nnumpy>=1.26\n", encoding="utf-8")
    monkeypatch.setattr(lib.packages, "REQUIREMENTS", requirements)
    monkeypatch.syspath_prepend(str(target))

    def pip_install(arguments):
        quiet = ["--disable-pip-version-check", "--quiet", "--target", str(target)]
        command = [sys.executable, "-m", "pip", "install", *quiet, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    missing = [each.requirement for each in lib.installer.missingPackages()]
    assert missing == ["drdm_one>=1.2", "drdm_two>=2"]
    assert lib.installer.install(confirm=lambda text: True, wheels=wheels) == "done"
    assert importlib.import_module("drdm_one").VERSION == "1.4"
    assert not (target / "numpy").exists()


def test_the_check_tells_what_to_do(lib, slicers):
    text = lib.installer.checkText(lib.installer.check())
    for words in [
        "ok: DRDMCore in",
        "ok: numpy 2.4.6",
        "TO DO: torch is missing, torch>=2.2 is needed",
        "TO DO: The extension PyTorch is missing",
    ]:
        assert words in text, text
    slicers.versions["numpy"] = "1.20"
    found = [each.text for each in lib.installer.check() if not each.good]
    assert "numpy 1.20 is too old, numpy>=1.26 is needed: update 3D Slicer" in found[0]


def test_the_deep_check_loads_everything_elsewhere(lib, tmp_path, monkeypatch):
    before = {name for name in HEAVY if name in sys.modules}
    findings = lib.installer.check(deep=True)
    assert all(each.good for each in findings) and findings[-1].text == "all packages can be loaded"
    assert {name for name in HEAVY if name in sys.modules} == before
    (tmp_path / "torch.py").write_text("raise OSError('c10.dll is broken')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = lib.installer.check(deep=True)[-1]
    assert not broken.good and "c10.dll is broken" in broken.text
