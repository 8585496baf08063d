"""What a Slicer build packages: every file that is needed, and nothing that runs on import."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "DRDMExtension"
STAND_IN = REPOSITORY / "Testing" / "Harness" / "cmake"
NOT_PACKAGED = {"CMakeLists.txt", "README.md"}
ALLOWED = {*sys.stdlib_module_names, "slicer", "qt", "ctk", "vtk", "numpy", "SimpleITK", "DRDMLib"}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def files_of_the_module() -> set[str]:
    found = (path.relative_to(MODULE) for path in MODULE.rglob("*") if path.is_file())
    return {each.as_posix() for each in found if "__pycache__" not in each.parts} - NOT_PACKAGED


def listed_files() -> set[str]:
    lists = re.findall(r"set\(MODULE_\w+\n(.*?)\)", read(MODULE / "CMakeLists.txt"), flags=re.S)
    assert len(lists) == 2
    return {name for each in lists for name in each.split()}


def sources() -> list[Path]:
    return sorted(path for path in MODULE.rglob("*.py") if "Scripts" not in path.parts)


def test_every_file_of_the_module_is_listed():
    assert listed_files() == files_of_the_module()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The extension as a Slicer build installs it."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not there")
    folder = tmp_path_factory.mktemp("build")
    build, prefix = folder / "build", folder / "installed"
    commands = [
        ["cmake", "-S", REPOSITORY, "-B", build, f"-DSlicer_DIR={STAND_IN}"],
        ["cmake", "--build", build],
        ["cmake", "--install", build, "--prefix", prefix],
    ]
    # No compiler is needed, but `project` looks for one unless it is told that it works.
    commands[0] += ["-DCMAKE_C_COMPILER_WORKS=1", "-DCMAKE_CXX_COMPILER_WORKS=1"]
    for command in commands:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return prefix / "lib" / "Slicer-0.0" / "qt-scripted-modules"


def test_an_installed_extension_has_module_core_and_models(installed):
    packaged = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    assert files_of_the_module() <= packaged
    core = REPOSITORY / "DRDMCore"
    assert {
        f"DRDMCore/{path.relative_to(core).as_posix()}" for path in core.rglob("*.py")
    } <= packaged
    for kind in ("Models", "Configurations"):
        names = {path.name for path in (REPOSITORY / "Resources" / kind).iterdir()}
        assert {f"DRDMCore/resources/{kind}/{name}" for name in names} <= packaged


def test_the_installed_core_works_by_itself(installed, tmp_path):
    code = "import DRDMCore.cli, sys; sys.exit(DRDMCore.cli.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", "hippocampus-mr-3d"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "DRDM_MODELS": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stdout or "Hippocampus" in done.stdout


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(MODULE).as_posix())
def test_nothing_runs_and_nothing_foreign_is_imported_at_file_scope(path):
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    for node in ast.parse(read(path)).body:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        assert isinstance(node, allowed) or text or typing_only, ast.unparse(node)
        for name in _imported(node):
            assert name.split(".")[0] in ALLOWED, f"{path.name} imports {name}"


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0 or node.module is not None
        return [node.module] if node.level == 0 and node.module else []
    return []


def test_the_index_entry_agrees_with_cmake():
    cmake = read(REPOSITORY / "CMakeLists.txt")
    entry = json.loads(read(REPOSITORY / "docs" / "extension-index" / "DRDM.json"))
    assert {"$schema", "category", "scm_url"} <= entry.keys()
    depends = re.search(r'set\(EXTENSION_DEPENDS "(.*)"\)', cmake)
    assert depends is not None and depends[1].split() == entry["build_dependencies"]
    assert re.search(r"project\((\w+)", cmake)[1] == "DRDM"  # type: ignore[index]
    home = entry["scm_url"].removesuffix(".git").replace("github.com", "raw.githubusercontent.com")
    for key in ("ICONURL", "SCREENSHOTURLS"):
        (urls,) = re.findall(rf'set\(EXTENSION_{key} "(.*)"\)', cmake)
        for url in urls.split():
            assert url.startswith(f"{home}/main/") and url.endswith(".png")
            assert (REPOSITORY / url.removeprefix(f"{home}/main/")).is_file(), url


def test_the_classic_description_says_the_same():
    cmake = read(REPOSITORY / "CMakeLists.txt")
    lines = dict(
        line.split(" ", 1)
        for line in read(REPOSITORY / "DRDM.s4ext").splitlines()
        if line.strip() and not line.startswith("#") and " " in line
    )
    for key, name in (
        ("description", "DESCRIPTION"),
        ("iconurl", "ICONURL"),
        ("screenshoturls", "SCREENSHOTURLS"),
        ("contributors", "CONTRIBUTORS"),
        ("depends", "DEPENDS"),
    ):
        assert f'set(EXTENSION_{name} "{lines[key]}")' in cmake, key


def test_the_icon_is_as_the_catalogue_wants_it():
    for folder in (REPOSITORY / "Resources", MODULE / "Resources"):
        data = (folder / "Icons" / "DRDM.png").read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = (int.from_bytes(data[16 + 4 * k : 20 + 4 * k], "big") for k in range(2))
        assert (width, height) == (128, 128)
