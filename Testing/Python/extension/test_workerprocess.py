"""A child process: its lines, its end, and that nothing is left of it.

The children are small scripts that behave badly; the real worker is in test_workerclient.py.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from Testing.Python.extension.children import Family, application, turnUntil

REPOSITORY = Path(__file__).resolve().parents[3]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

GRANDCHILD = """\
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("born", flush=True)
"""
STUBBORN = """\
import signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
"""


@pytest.fixture
def lib():
    yield from application()


class Child:
    """A script as a child process, and what was told of it."""

    def __init__(self, lib, tmp_path, script, onLine=None, environment=None):
        self.lines, self.log, self.ends = [], [], []
        path = tmp_path / "child.py"
        path.write_text(script, encoding="utf-8")
        self.process = lib.workerprocess.ChildProcess(
            [str(path)],
            onLine or self.lines.append,
            self.ends.append,
            self.log.append,
            environment,
        )

    def wait(self, seconds=30.0):
        """Wait for the end; the seconds that it took."""
        return turnUntil(lambda: self.ends, seconds)


@pytest.fixture
def family():
    """Processes of the test; nobody is left at its end."""
    family = Family()
    yield family
    assert family.isGone()


def test_lines_and_the_end_come_in_order(lib, tmp_path):
    script = "import sys\nfor n in range(3): print(n)\nprint('e', file=sys.stderr)\nsys.exit(3)"
    child = Child(lib, tmp_path, script)
    assert child.lines == child.ends == []  # nothing is told before the event loop turns
    child.wait()
    assert child.lines == ["0", "1", "2"] and child.log == ["e"]
    assert child.ends == [child.process] and child.process.exitCode == 3
    assert not child.process.running and child.process.lastLines() == "e"


def test_a_child_finds_the_core_and_speaks_utf8(lib, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "else where"))
    script = (
        "import json, os, sys, DRDMCore\n"
        "print(json.dumps([DRDMCore.__file__, os.getcwd(), sys.path, sys.stdin.encoding]))\n"
        "print(sys.stdin.readline().strip())\n"
    )
    child = Child(lib, tmp_path, script)
    child.process.send("M\u00fcller \u6f22\u5b57")
    child.wait()
    assert child.lines[1] == "M\u00fcller \u6f22\u5b57"
    core, folder, path, encoding = json.loads(child.lines[0])
    assert Path(core) == REPOSITORY / "DRDMCore" / "__init__.py"
    assert Path(folder) == REPOSITORY and str(tmp_path / "else where") in path
    assert encoding == "utf-8"


def test_broken_bytes_and_progress_bars_are_text(lib, tmp_path):
    script = (
        "import os\nos.write(1, b'a\\xff\\xfeb\\r\\n')\n"
        "os.write(2, b'10%\\r20%\\r30%\\n')\nos.write(1, b'no end of line')"
    )
    child = Child(lib, tmp_path, script)
    child.wait()
    assert child.lines == ["a\ufffd\ufffdb", "no end of line"] and child.log == ["30%"]


def test_a_flood_of_lines_does_not_stall_the_event_loop(lib, tmp_path):
    import slicer

    count = 30_000
    child = Child(lib, tmp_path, f"for n in range({count}): print(n)")
    turns = []
    while not child.ends:
        begun = time.perf_counter()
        slicer.app.processEvents()
        turns.append(time.perf_counter() - begun)
        time.sleep(0.002)
    assert child.lines == [str(n) for n in range(count)]
    busy = sorted(each for each in turns if each > 0.005)
    print(f"turns with lines: {len(busy)}, median {statistics.median(busy):.4f} s, {busy[-1]:.4f}")
    assert statistics.median(busy) < 0.05  # 10 ms are allowed, the rest is for slow machines


def test_a_child_that_is_not_listened_to_waits(lib, tmp_path):
    child = Child(lib, tmp_path, "for n in range(10**9): print('x' * 100)")
    time.sleep(1)
    waiting = child.process._inbox._queue.qsize()
    child.process.close()
    assert 1000 < waiting <= 10_000


def test_a_large_request_does_not_wait_for_its_reader(lib, tmp_path):
    child = Child(lib, tmp_path, "import time; time.sleep(60)")
    begun = time.monotonic()
    child.process.send("x" * 10_000_000)
    child.process.closeInput()
    assert time.monotonic() - begun < 0.5
    child.process.close()


def test_callbacks_are_on_the_main_thread_and_their_errors_in_the_log(lib, tmp_path, caplog):
    threads = []

    def fail(line):
        threads.append(threading.current_thread())
        raise ZeroDivisionError(f"on {line}")

    child = Child(lib, tmp_path, "print(1)\nprint(2)", onLine=fail)
    with caplog.at_level(logging.ERROR):
        child.wait()
    assert threads == [threading.main_thread()] * 2
    assert "on 1" in caplog.text and "on 2" in caplog.text


def test_lines_keep_their_order_while_a_callback_turns_the_event_loop(lib, tmp_path):
    import slicer

    seen = []

    def slow(line):
        seen.append(f"begin {line}")
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            slicer.app.processEvents()
        seen.append(f"end {line}")

    child = Child(lib, tmp_path, "print(1)\nprint(2)", onLine=slow)
    child.wait()
    assert seen == ["begin 1", "end 1", "begin 2", "end 2"]


def test_input_closed_is_a_polite_end(lib, tmp_path):
    child = Child(lib, tmp_path, "import sys\nsys.stdin.read()\nprint('saved')")
    child.process.closeInput()
    child.process.killAfter(30)
    child.wait()
    assert child.lines == ["saved"] and child.process.exitCode == 0


@posix
@pytest.mark.parametrize("stopped", [False, True])
def test_a_stubborn_child_is_killed_with_its_children(stopped, lib, tmp_path, family):
    script = STUBBORN + GRANDCHILD + "time.sleep(60)"
    child = Child(lib, tmp_path, script, environment=family.environment)
    turnUntil(lambda: child.lines)
    assert len(family.members()) == 2
    if stopped:
        for number in family.members():
            os.kill(number, signal.SIGSTOP)
    child.process.closeInput()
    child.process.killAfter(0.3)
    assert 0.2 < child.wait() < 1.5
    assert family.isGone() and child.process.exitCode == -signal.SIGKILL


@posix
def test_children_that_outlive_a_child_are_killed(lib, tmp_path, family):
    child = Child(lib, tmp_path, GRANDCHILD, environment=family.environment)
    assert child.wait() < 10  # though a grandchild holds the pipe open
    assert child.lines == ["born"] and child.process.exitCode == 0
    assert family.isGone()


def test_a_closed_child_tells_nothing_more(lib, tmp_path, family):
    child = Child(
        lib, tmp_path, GRANDCHILD + "import time; time.sleep(60)", None, family.environment
    )
    turnUntil(lambda: child.lines)
    child.process.close()
    child.process.close()
    assert family.isGone()
    before = list(child.lines)
    with pytest.raises(AssertionError):
        turnUntil(lambda: child.ends or child.lines != before, 0.3)


def test_a_callback_may_close_its_child(lib, tmp_path, family):
    lines = []

    def close(line):
        lines.append(line)
        child.process.close()

    script = "import time\nprint(1)\nprint(2, flush=True)\ntime.sleep(60)"
    child = Child(lib, tmp_path, script, close, family.environment)
    turnUntil(lambda: lines)
    assert lines == ["1"] and family.isGone()


def test_a_forgotten_child_is_ended(lib, tmp_path, family):
    child = Child(lib, tmp_path, "import time\ntime.sleep(60)", environment=family.environment)
    turnUntil(family.members)
    del child
    gc.collect()
    assert family.isGone()


def test_what_cannot_be_started_ends_with_a_sentence(lib, tmp_path, monkeypatch):
    monkeypatch.setattr(lib.workerprocess, "interpreter", lambda: str(tmp_path / "no python"))
    child = Child(lib, tmp_path, "")
    assert child.ends == []
    child.wait()
    text = lib.workerprocess.describeEnd(child.process)
    assert "could not be started" in text and "no python" in text


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit(137)", "memory was full"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory was full"),
        ("import no_such_module", "Python package no_such_module is missing"),
        ("import sys; sys.exit(5)", "exit code 5"),
    ],
)
def test_every_end_has_its_sentence(script, words, lib, tmp_path):
    if "SIGKILL" in script and os.name != "posix":
        pytest.skip("POSIX signals")
    child = Child(lib, tmp_path, script)
    child.wait()
    text = lib.workerprocess.describeEnd(child.process)
    assert words in text and text.endswith(".") and "\n" not in text


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """`PythonSlicer` is a launcher: the process that we start is not the one that works."""
    folder = tmp_path / "bin folder"
    folder.mkdir()
    path = folder / "PythonSlicer"
    path.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n', encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return path


@posix
def test_slicers_launcher_is_used_and_goes_with_its_child(lib, launcher, tmp_path, family):
    assert lib.workerprocess.interpreter() == str(launcher)
    script = "import os, time\nprint(os.getppid(), flush=True)\ntime.sleep(60)"
    child = Child(lib, tmp_path, script, environment=family.environment)
    turnUntil(lambda: child.lines)
    assert int(child.lines[0]) in family.members() and len(family.members()) == 2
    child.process.kill()
    assert child.wait() < 2
    assert family.isGone()


@posix
def test_what_works_on_without_its_launcher_may_finish(lib, launcher, tmp_path, family):
    script = (
        "import os, signal, sys, time\nprint(os.getppid(), flush=True)\nsys.stdin.read()\n"
        "time.sleep(1.2)\nprint('saved')"
    )
    child = Child(lib, tmp_path, script, environment=family.environment)
    turnUntil(lambda: child.lines)
    child.process.closeInput()
    child.process.killAfter(20)
    os.kill(int(child.lines[0]), signal.SIGTERM)
    child.wait()
    assert child.lines[1:] == ["saved"] and family.isGone()


@posix
def test_what_nobody_asked_to_save_does_not_outlive_its_launcher(lib, launcher, tmp_path, family):
    script = "import os, time\nprint(os.getppid(), flush=True)\ntime.sleep(60)"
    child = Child(lib, tmp_path, script, environment=family.environment)
    turnUntil(lambda: child.lines)
    os.kill(int(child.lines[0]), signal.SIGKILL)
    assert child.wait() < 5
    assert family.isGone()


APPLICATION = """\
import os, sys, time, types
class QTimer:
    def __init__(self):
        self.timeout = types.SimpleNamespace(connect=lambda function: None)
    setInterval = start = stop = lambda self, *ignored: None
sys.modules["qt"] = types.SimpleNamespace(QTimer=QTimer)
slicer, i18n = types.ModuleType("slicer"), types.ModuleType("slicer.i18n")
slicer.i18n, i18n.tr = i18n, str
sys.modules |= {"slicer": slicer, "slicer.i18n": i18n}
from DRDMLib.workerprocess import ChildProcess
lines = []
child = ChildProcess(["-m", "DRDMCore", "serve"], lines.append, print)
while not lines:
    child.poll()
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "end", ["sys.exit()", "raise RuntimeError", "os._exit(0)", "os.kill(os.getpid(), 9)"]
)
def test_the_worker_goes_with_the_application_however_that_ends(end, tmp_path):
    if "kill" in end and os.name != "posix":
        pytest.skip("POSIX signals")
    family = Family()
    script = tmp_path / "application.py"
    script.write_text(APPLICATION + end, encoding="utf-8")
    environment = {**os.environ, **family.environment, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(REPOSITORY / "DRDMExtension")
    command = [sys.executable, str(script)]
    subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert family.isGone(seconds=20)
