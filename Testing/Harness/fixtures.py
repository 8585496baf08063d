"""Fixtures for pytest: `from Testing.Harness.fixtures import *` in a conftest.py.

`harness` is the application with an empty scene; `drdm` is the opened module's widget. Both skip,
with the reason, where the packages are missing. A test fails if an exception of a slot or an
observer was not caught, or if VTK printed an error or a warning: `harness.exceptions.take()` and
`harness.vtkMessages.take()` accept them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import missing, start

__all__ = ["drdm", "harness", "slicer_application"]

MODULE = Path(__file__).resolve().parents[2] / "DRDMExtension" / "DRDM.py"


@pytest.fixture(scope="session")
def slicer_application() -> Any:
    """The application, started by the first test that wants it."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    return start()


@pytest.fixture
def harness(slicer_application: Any) -> Iterator[Any]:
    """The application, empty; nobody may leave an exception or a message of VTK behind."""
    slicer_application.reset()
    slicer_application.exceptions.take()
    slicer_application.vtkMessages.take()
    yield slicer_application
    slicer_application.reset()
    slicer_application.exceptions.check()
    slicer_application.vtkMessages.check()


@pytest.fixture
def drdm(harness: Any) -> Any:
    """The Python widget of the opened module DRDM."""
    return harness.openModule(MODULE)
