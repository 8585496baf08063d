"""Work in a thread, told in the event loop: once, on the main thread, or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from Testing.Python.extension.children import application, turnUntil

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def inThread():
    for lib in application():
        yield lib.background.InThread


def test_the_answer_is_told_once_on_the_main_thread(inThread):
    told = []

    def done(answer):
        told.append((answer, threading.current_thread() is threading.main_thread()))

    going = inThread(lambda: threading.current_thread().name, done, told.append)
    turnUntil(lambda: told)
    going.look()
    ((name, onMain),) = told
    assert onMain and name != threading.main_thread().name


def test_a_problem_is_told(inThread):
    told = []
    inThread(lambda: 1 / 0, told.append, lambda problem: told.append(repr(problem)))
    turnUntil(lambda: told)
    assert told == ["ZeroDivisionError('division by zero')"]


def test_what_is_short_is_told_by_a_look(inThread):
    told = []
    going = inThread(lambda: "here", told.append, told.append)
    going.wait(5)
    going.look()
    assert told == ["here"]


@pytest.mark.parametrize("ended", [True, False])
def test_what_is_cancelled_tells_nothing_and_clears_up_once(inThread, ended):
    told, cleared, gate = [], [], threading.Event()
    going = inThread(lambda: gate.wait(10), told.append, told.append)
    if ended:
        gate.set()
        going.wait(5)
    going.cancel(lambda: cleared.append(gate.is_set()))
    assert cleared == ([True] if ended else [])  # not while it works
    gate.set()
    turnUntil(lambda: cleared)
    going.look()
    assert told == [] and cleared == [True]


_ENDS = """
import sys, time
from pathlib import Path
from Testing.Harness import start
start()
sys.path.insert(0, "DRDMExtension")
from DRDMLib.background import InThread
going = InThread(lambda: time.sleep(0.5), print, print)
going.cancel(lambda: Path(sys.argv[1]).unlink())
"""


def test_an_application_that_ends_waits_for_what_clears_up(inThread, tmp_path):
    left = tmp_path / "half a file"
    left.touch()
    command = [sys.executable, "-c", _ENDS, str(left)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=60)
    assert not left.exists()
