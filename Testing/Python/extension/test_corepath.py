"""`import DRDMCore` from the module: installed, in a checkout, and where there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
COREPATH = REPOSITORY / "DRDMExtension" / "DRDMLib" / "corepath.py"
ASK = """\
import sys
from DRDMLib.corepath import addCoreToPath, coreFolder
addCoreToPath()
addCoreToPath()
import DRDMCore
print(coreFolder())
print(DRDMCore.WHERE)
print(sys.path.count(str(coreFolder())))
"""


def ask(module: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    """Ask a copy of the module in a folder, with folders on Python's path."""
    (module / "DRDMLib").mkdir(parents=True)
    shutil.copy(COREPATH, module / "DRDMLib")
    command = [sys.executable, "-I", "-S", "-c"]
    paths = [str(each) for each in (module, *path)]
    code = f"import sys; sys.path[:0] = {paths!r}\n{ASK}"
    return subprocess.run(
        [*command, code], capture_output=True, text=True, check=False, encoding="utf-8"
    )


def core(folder: Path) -> Path:
    """A core that says where it is."""
    (folder / "DRDMCore").mkdir(parents=True)
    text = f"WHERE = {str(folder)!r}\n"
    (folder / "DRDMCore" / "__init__.py").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("module", ["qt-scripted-modules", "check out/DRDMExtension"])
def test_the_core_of_the_module_is_found_first(module, elsewhere, tmp_path):
    module = tmp_path / module
    folder = core(module if module.name == "qt-scripted-modules" else module.parent)
    others = [core(tmp_path / "elsewhere")] if elsewhere else []
    done = ask(module, *others)
    assert done.stdout.splitlines() == [str(folder), str(folder), "1"], done.stderr


def test_a_core_that_is_installed_elsewhere_will_do(tmp_path):
    folder = core(tmp_path / "site-packages")
    done = ask(tmp_path / "somewhere" / "DRDMExtension", folder)
    assert done.stdout.splitlines() == [str(folder), str(folder), "1"], done.stderr


def test_without_a_core_there_is_a_sentence(tmp_path):
    done = ask(tmp_path / "DRDMExtension")
    assert done.returncode == 1
    assert "DRDMCore must lie beside DRDMExtension or be installed" in done.stderr
