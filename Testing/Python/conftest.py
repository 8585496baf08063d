"""Fixtures and rules for all tests."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]

# The tests use small tensors: more threads only wait for each other (6 times slower on a busy
# machine of two cores). So do those of the programs that tests start.
if "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why; files with slow tests come first.

    A file goes to one process as a whole: a long one that began last would have it work alone.
    """
    if not torch.cuda.is_available():
        _skip(items, "gpu", "no CUDA device")
    if importlib.util.find_spec("slicer") is None:
        _skip(items, "slicer", "not inside 3D Slicer")
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _shared(name: str) -> Path:
    root = Path(os.environ.get("DRDM_SHARED", REPOSITORY.parent / "shared"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"the folder {folder} is missing: set DRDM_SHARED to the folder above {name}/")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Images and labels that are not part of this repository."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Numbers recorded from the published program."""
    return _shared("reference")
