"""The harness disturbs nobody who does not start it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def python(code, *options):
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # Qt complains of other encodings
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_importing_it_changes_nothing():
    code = """
import sys
import Testing.Harness
import Testing.Harness.fixtures
bad = {"slicer", "slicer_core", "PySide6", "vtk", "qt", "ctk"} & set(sys.modules)
assert not bad, bad
"""
    done = python(code, "-W", "error")
    assert done.returncode == 0, done.stderr


def test_it_says_which_package_is_missing():
    code = """
import sys
sys.modules["slicer_core"] = None
from Testing.Harness import missing, start
print(missing())
try:
    start()
except RuntimeError as error:
    assert str(error) == missing()
else:
    sys.exit("it started")
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "slicer-core" in done.stdout and "pip install" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_it_starts_once(harness):
    from Testing.Harness import start

    assert start() is harness


def test_the_process_ends_in_peace(harness):
    code = """
import sys, time
begin = time.monotonic()
from Testing.Harness import start
harness = start()
import slicer
slicer.util.selectModule("Volumes")
harness.exceptions.check()
"""
    done = python(code, "-W", "error")
    assert done.returncode == 0 and done.stderr == "", done.stderr
