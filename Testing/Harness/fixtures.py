"""Fixtures for pytest: import these in a conftest.py.

`harness` is the application with an empty scene. It skips, with the reason, where packages are
missing. A test fails if an exception of a slot or an
observer was not caught, or if VTK printed an error or a warning: `harness.exceptions.take()` and
`harness.vtkMessages.take()` accept them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import missing, start

__all__ = ["harness", "slicer_application"]


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
