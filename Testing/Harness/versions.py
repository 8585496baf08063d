"""Older versions of Slicer: what they lack is taken away."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import slicer

from .packages import Packages


class Version:
    """The version that the application pretends to be.

    Attributes:
        number: Major and minor.
    """

    newest = (5, 13)

    def __init__(self, packages: Packages) -> None:
        self.number = self.newest
        self._packages = packages
        self._undo: list[Callable[[], None]] = []

    def set(self, major: int, minor: int) -> None:
        """Become a version. What came with 5.12 goes, where the module uses it."""
        self.reset()
        self.number = (major, minor)
        if self.number < (5, 12):
            self._hide_packaging()
            self._take(slicer.util, "executePythonModule")
            import SampleData

            self._take(SampleData.SampleDataLogic, "registerCustomSampleDataCategory")

    def reset(self) -> None:
        """Become the newest again."""
        self.number = self.newest
        while self._undo:
            self._undo.pop()()

    def _take(self, owner: Any, name: str) -> None:
        value = vars(owner)[name]
        delattr(owner, name)
        self._undo.append(lambda: setattr(owner, name, value))

    def _hide_packaging(self) -> None:
        """There, `slicer.util.pip_install` did the work itself."""
        module, install = sys.modules["slicer.packaging"], slicer.util.pip_install
        sys.modules["slicer.packaging"] = None  # type: ignore[assignment]
        self._take(slicer, "packaging")
        slicer.util.pip_install = self._packages.install

        def undo() -> None:
            sys.modules["slicer.packaging"] = module
            slicer.util.pip_install = install

        self._undo.append(undo)
