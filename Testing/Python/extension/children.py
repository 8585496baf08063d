"""Helpers of tests with child processes: turning the event loop, finding who is left."""

from __future__ import annotations

import importlib
import sys
import time
import uuid
from pathlib import Path

import pytest

MODULE_FOLDER = Path(__file__).resolve().parents[3] / "DRDMExtension"
MARK = "DRDM_TEST_FAMILY"


class Library:
    """The modules of DRDMLib by name."""

    def __init__(self):
        if str(MODULE_FOLDER) not in sys.path:
            sys.path.insert(0, str(MODULE_FOLDER))

    def __getattr__(self, name):
        return importlib.import_module(f"DRDMLib.{name}")


def application():
    """For a fixture: the modules of DRDMLib in the stand-in for Slicer, which starts empty."""
    from Testing.Harness import missing, start

    if missing():
        pytest.skip(missing())
    harness = start()
    harness.reset()
    harness.exceptions.take()
    yield Library()
    harness.reset()
    harness.exceptions.check()


def turnUntil(condition, seconds=30.0):
    """Turn the event loop until something holds; the seconds that it took."""
    import slicer

    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        slicer.app.processEvents()
        time.sleep(0.002)
    return time.monotonic() - begun


class Family:
    """Processes that carry a mark in their environment, children's children too."""

    def __init__(self):
        if not Path("/proc/self/environ").is_file():
            pytest.skip("needs /proc to find processes")
        self.mark = uuid.uuid4().hex

    @property
    def environment(self):
        return {MARK: self.mark}

    def members(self):
        """Numbers of those that live."""
        needle = f"{MARK}={self.mark}".encode()
        return sorted(int(each.name) for each in Path("/proc").glob("[0-9]*") if has(each, needle))

    def isGone(self, seconds=2.0):
        """Whether nobody lives; those that were just killed get a moment."""
        until = time.monotonic() + seconds
        while self.members() and time.monotonic() < until:
            time.sleep(0.005)
        return not self.members()


def has(process, needle):
    """Whether a process lives and carries the mark."""
    try:
        state = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state != "Z" and needle in (process / "environ").read_bytes()
    except OSError:  # it has just ended
        return False
