"""Fixtures of the extension: the panel in the stand-in for Slicer, and the worker it shares."""

from __future__ import annotations

import pytest

from Testing.Harness.fixtures import harness, slicer_application
from Testing.Python.extension.scenes import lib, scene

__all__ = ["harness", "lib", "openPanel", "scene", "sharedClient", "slicer_application"]


@pytest.fixture(scope="session")
def sharedClient():
    """One warm worker for all tests that do not end it."""
    from DRDMLib.workerclient import WorkerClient

    client = WorkerClient(environment={"OMP_NUM_THREADS": "1"})
    yield client
    client.close()


@pytest.fixture
def openPanel(request):
    """Opens the panel in an empty application; with a worker of its own if `share=False`."""
    from Testing.Harness import missing, start

    if missing():
        pytest.skip(missing())
    from Testing.Python.extension import panels

    harness, opened = start(), []

    def open_(share=True):
        panel = panels.Panel(harness)
        opened.append(panel)
        if share:
            panel.logic._client = request.getfixturevalue("sharedClient")
            panel.shared = panel.logic._client
        return panel

    yield open_
    for panel in opened:
        panel.letGo()
    try:
        harness.exceptions.check()
    finally:
        harness.reset()
