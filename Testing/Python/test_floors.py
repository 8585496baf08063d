"""The house keeps its floors: docs/architecture.md, and the limits of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CORE = REPOSITORY / "DRDMCore"
MODULES = sorted(path.relative_to(REPOSITORY) for path in CORE.rglob("*.py"))

GUI = {"PythonQt", "ctk", "qt", "slicer", "vtk", "vtkmodules"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40


def read_floors(text: str) -> dict[str, int]:
    """Floor of each package, from the rows `| floor | packages | ... |` of the table."""
    rows = re.findall(r"^\|\s*(\d)\s*\|([^|]*)\|", text, flags=re.MULTILINE)
    return {name: int(floor) for floor, cell in rows for name in re.findall(r"`(\w+)`", cell)}


FLOORS = read_floors((REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8"))


def package_of(module: Path) -> str:
    """`fields` for DRDMCore/fields/warp.py, `errors` for DRDMCore/errors.py."""
    return Path(module.parts[1]).stem


def imported_names(tree: ast.AST, module: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import, wherever it stands in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.parts[: len(module.parts) - node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name, target = ast.unparse(node.func), node.args[0]
            if name.endswith(("import_module", "__import__")) and isinstance(target, ast.Constant):
                yield node.lineno, str(target.value)


def may_import(package: str, target: str) -> bool:
    """Whether a file of `package` may import from package `target` of the core."""
    if package == target or package == "__init__":
        return True
    if target not in FLOORS or package not in FLOORS:
        return target.startswith("__") and target != "__main__"  # DRDMCore.__version__
    if FLOORS[package] == FLOORS[target] == 0 or (package, target) == ("__main__", "cli"):
        return True
    return FLOORS[target] < FLOORS[package]


def import_offences(source: str, module: Path) -> list[str]:
    offences = []
    for line, name in imported_names(ast.parse(source), module):
        top, *rest = name.split(".")
        if top in GUI:
            offences.append(f"{module}:{line}: imports {name}, the core stays headless")
        elif top == "DRDMCore" and rest and not may_import(package_of(module), rest[0]):
            offences.append(f"{module}:{line}: imports {name}, which is not on a lower floor")
    return offences


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def size_offences(source: str, module: Path) -> list[str]:
    offences = []
    length = len(source.splitlines())
    if length > MAX_FILE_LINES:
        offences.append(f"{module}: {length} lines, at most {MAX_FILE_LINES}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = function_lines(node)
            if length > MAX_FUNCTION_LINES:
                limit = f"{length} lines of body, at most {MAX_FUNCTION_LINES}"
                offences.append(f"{module}:{node.lineno}: `{node.name}` has {limit}")
    return offences


def print_offences(source: str, module: Path) -> list[str]:
    if package_of(module) == "cli":
        return []
    return [
        f"{module}:{node.lineno}: prints; only the command line may"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "builtins.print")
    ]


CHECKS = [import_offences, size_offences, print_offences]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_its_rules(check):
    assert MODULES
    offences = [
        offence
        for module in MODULES
        for offence in check((REPOSITORY / module).read_text(encoding="utf-8"), module)
    ]
    assert not offences, "\n" + "\n".join(offences)


def test_every_package_has_a_floor():
    packages = {package_of(module) for module in MODULES} - {"__init__"}
    assert packages <= set(FLOORS), sorted(packages - set(FLOORS))


def test_floors_are_read_from_the_table():
    assert read_floors("| floor | package |\n|--|--|\n| 5 | `cli`, `__main__` | x |\n") == {
        "cli": 5,
        "__main__": 5,
    }
    assert FLOORS["fields"] < FLOORS["recovery"] < FLOORS["models"] < FLOORS["pipelines"]


FORBIDDEN_IMPORTS = [
    ("fields/a.py", "from DRDMCore.recovery import deform"),
    ("fields/a.py", "import DRDMCore.imaging.files"),
    ("fields/a.py", "from DRDMCore import models"),
    ("fields/a.py", "from ..imaging import Volume"),
    ("fields/__init__.py", "from ..imaging import Volume"),
    ("fields/a.py", "from .. import imaging"),
    ("fields/deep/a.py", "from ...imaging.files import read"),
    ("recovery/a.py", "def f():\n    from DRDMCore.imaging import Volume"),
    ("imaging/a.py", "import DRDMCore.recovery as r"),
    ("pipelines/a.py", "from DRDMCore.training import Trainer"),
    ("training/a.py", "if TYPE_CHECKING:\n    from DRDMCore.pipelines import generate"),
    ("errors.py", "from DRDMCore.fields import warp"),
    ("models.py", "from .cli import main"),
    ("cli/a.py", "import DRDMCore.__main__"),
    ("fields/a.py", "import DRDMCore.unheard_of"),
    ("fields/a.py", "importlib.import_module('DRDMCore.models')"),
    ("fields/a.py", "import slicer"),
    ("cli/a.py", "def f():\n    from vtk.util import numpy_support"),
    ("cli/a.py", "try:\n    import qt, ctk\nexcept ImportError:\n    pass"),
]

ALLOWED_IMPORTS = [
    ("fields/a.py", "from DRDMCore.errors import DRDMError"),
    ("fields/a.py", "from .grid import coordinates"),
    ("fields/a.py", "from DRDMCore.fields.grid import coordinates"),
    ("fields/a.py", "from . import grid"),
    ("fields/__init__.py", "from .grid import coordinates"),
    ("atomic.py", "from .errors import OutputError"),
    ("models.py", "from DRDMCore.recovery import networks"),
    ("cli/a.py", "from DRDMCore import __version__, pipelines, training"),
    ("__main__.py", "from DRDMCore.cli import main"),
    ("imaging/a.py", "import torch, vtkless, slicer_free"),
]


@pytest.mark.parametrize(("file", "source"), FORBIDDEN_IMPORTS)
def test_checker_catches_an_import_from_above(file, source):
    assert import_offences(source, Path("DRDMCore", file))


@pytest.mark.parametrize(("file", "source"), ALLOWED_IMPORTS)
def test_checker_lets_a_good_import_pass(file, source):
    assert import_offences(source, Path("DRDMCore", file)) == []


def test_checker_catches_long_functions_but_not_long_docstrings():
    module = Path("DRDMCore/fields/a.py")
    documented = "def f(\n    x,\n):\n    '''" + "text\n" * 60 + "'''\n"
    assert size_offences(documented + "    x += 1\n" * 40, module) == []
    assert len(size_offences(documented + "    x += 1\n" * 41, module)) == 1
    method = "class A:\n    async def f(self):\n" + "        pass\n" * 41
    assert len(size_offences(method, module)) == 1


def test_checker_catches_long_files():
    assert size_offences("x = 1\n" * 400, Path("DRDMCore/models.py")) == []
    assert size_offences("x = 1\n" * 401, Path("DRDMCore/models.py"))


def test_checker_catches_prints_outside_the_command_line():
    source = "def f():\n    print('x')\n"
    assert print_offences(source, Path("DRDMCore/fields/a.py"))
    assert print_offences(source, Path("DRDMCore/cli/a.py")) == []
