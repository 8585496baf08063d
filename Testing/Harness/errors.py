"""Errors of the harness, and the collector of those that nobody caught."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any


class NotInHarness(AttributeError):
    """Something that Slicer has, or may have, and this stand-in does not."""

    def __init__(self, owner: str, name: str) -> None:
        super().__init__(
            f"{owner} has no '{name}' in Testing/Harness: if Slicer has it, add it there, "
            "else correct the name."
        )
        self.name = name


class UnansweredDialog(AssertionError):
    """A dialog asked the user something, and the test had no answer ready."""


class ExceptionLog:
    """Exceptions of Qt slots and VTK observers, which reach nobody but `sys.excepthook`."""

    def __init__(self) -> None:
        self.items: list[BaseException] = []
        self._before = sys.excepthook

    def install(self) -> None:
        """Listen from now on."""
        self._before = sys.excepthook
        sys.excepthook = self._take

    def _take(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self.add(error)
        self._before(kind, error, trace)

    def add(self, error: BaseException) -> None:
        """Keep an exception, once."""
        if not any(each is error for each in self.items):
            self.items.append(error)

    def take(self) -> list[BaseException]:
        """All that were collected; the log is empty afterwards."""
        taken, self.items = self.items, []
        return taken

    def check(self) -> None:
        """Raise an `AssertionError` with the tracebacks of what was collected."""
        taken = self.take()
        if taken:
            texts = ("".join(traceback.format_exception(each)) for each in taken)
            raise AssertionError("exceptions that nobody caught:\n" + "\n".join(texts))


# The subject hierarchy looks nodes up by address, and finds a dead one where memory is used again;
# it then searches, with the right result.
_HARMLESS = ("DataNodeCache inconsistency found", "DataNodeCache item was missing")


class VtkMessages:
    """Errors and warnings that VTK and MRML only print.

    Attributes:
        items: Their texts.
    """

    def __init__(self) -> None:
        self.items: list[str] = []

    def install(self) -> None:
        """Listen from now on."""
        import vtk

        @vtk.calldata_type(vtk.VTK_STRING)  # type: ignore[untyped-decorator]
        def take(caller: Any, event: str, text: str) -> None:
            if not any(each in text for each in _HARMLESS):
                self.items.append(text.strip())

        window = vtk.vtkOutputWindow.GetInstance()
        for event in ("ErrorEvent", "WarningEvent"):
            window.AddObserver(event, take)

    def take(self) -> list[str]:
        """All that were collected; none are left."""
        taken, self.items = self.items, []
        return taken

    def check(self) -> None:
        """Raise an `AssertionError` with the texts."""
        taken = self.take()
        if taken:
            raise AssertionError("VTK complained:\n" + "\n".join(taken))
