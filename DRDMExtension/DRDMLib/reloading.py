"""Reloads the modules of DRDMLib for developers, those first that the others are made of."""

from __future__ import annotations

import ast
import graphlib
import importlib
import sys
from pathlib import Path

PACKAGE = __name__.rpartition(".")[0]


def reloadLibrary():
    """Load all modules of the package again that are loaded, leaves first; their names."""
    importlib.invalidate_caches()
    names = loadOrder()
    for name in names:
        importlib.reload(sys.modules[name])
    return names


def loadOrder():
    """Names of the loaded modules of the package, each after those that it imports."""
    loaded = [name for name in sys.modules if name.startswith(PACKAGE + ".")]
    graph = {name: _imported(name).intersection(loaded) for name in sorted(loaded)}
    return list(graphlib.TopologicalSorter(graph).static_order())


def _imported(name):
    """Modules of the package that a module imports at its top; later imports are no obstacle."""
    source = Path(sys.modules[name].__file__).read_text(encoding="utf-8")
    found = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            found.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            found.update([module, *(f"{module}.{alias.name}" for alias in statement.names)])
    return found - {name}
