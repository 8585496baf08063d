"""The module `qt`: Qt's classes under the names that Slicer gives them."""

from __future__ import annotations

import types
from typing import Any

from . import pythonqt
from .dialogs import Dialogs
from .errors import NotInHarness

# PySide6's own, which PythonQt does not have.
_FOREIGN = {
    "ClassInfo",
    "MetaFunction",
    "MetaSignal",
    "Property",
    "PyClassProperty",
    "QEnum",
    "QFlag",
    "SIGNAL",
    "SLOT",
    "Signal",
    "SignalInstance",
    "Slot",
}


class StandInModule(types.ModuleType):
    """A module that names the harness when something is missing in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotInHarness(self.__name__, name)


def make_qt(dialogs: Dialogs) -> types.ModuleType:
    """The module `qt`, with dialogs that do not wait for a user."""
    from .ui_loader import QUiLoader

    pythonqt.install()
    module = StandInModule("qt", "Qt as Slicer's Python sees it (a stand-in on PySide6).")
    for name, value in pythonqt.public_names().items():
        if name not in _FOREIGN:
            setattr(module, name, value)
    module.QUiLoader = QUiLoader  # type: ignore[attr-defined]
    dialogs.install()
    return module
