"""A child process of Slicer's Python: it never blocks the application, and never outlives it.

Three threads move text between pipes and queues. All else, callbacks too, happens on the main
thread, in the turns of a timer.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref

import qt
from slicer.i18n import tr as _

from DRDMLib.corepath import coreFolder

TICK_MS = 50
"""Time between two looks at a child."""
_BUDGET = 0.01
"""Seconds of a turn in which lines are handed over; the rest waits for the next turn."""
_GRACE = 0.5
"""Seconds after its end in which what a child has said may still arrive."""
_PATIENCE = 0.2
"""Seconds that a killed child has to be gone; then it is left to the system."""
_WAITING = 10_000
"""Lines that may wait; a child that says more has to wait itself."""
_LONGEST = 1 << 26
"""Bytes of a line."""
_KEPT = 40
"""Last lines of stderr that are kept to explain an end."""
_OUT_OF_MEMORY = (-9, 137, 0xC0000017)
"""Exit codes of a process that the system killed, and of Windows without memory."""


def interpreter():
    """Slicer's Python inside Slicer, else the one that runs this."""
    inside = hasattr(sys.modules.get("slicer"), "app")
    return (shutil.which("PythonSlicer") if inside else None) or sys.executable


def childEnvironment(extra=None):
    """The environment of a child that shall find DRDMCore and speak UTF-8, at once."""
    folders = [str(coreFolder()), os.environ.get("PYTHONPATH")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        **(extra or {}),
    }


class ChildProcess:
    """Python with some arguments, in a process tree of its own.

    Attributes:
        running: Whether `onEnd` is still to be told.
        exitCode: How it ended; `None` where it never started or could not be killed.
        startError: Why it could not be started, or empty.
    """

    def __init__(self, arguments, onLine, onEnd, onLog=None, environment=None):
        """Start it; a failure to do so is told to `onEnd`, like any other end.

        Args:
            arguments: What follows the interpreter, a list.
            onLine: Told each line of its stdout.
            onEnd: Told this process, once, after its last line.
            onLog: Told each line of its stderr.
            environment: Variables beside those of the application.
        """
        self.running, self.exitCode, self.startError = True, None, ""
        self._onLine, self._onEnd, self._onLog = onLine, onEnd, onLog
        self._inbox, self._outbox = _Inbox(), queue.SimpleQueue()
        self._lastLines = collections.deque(maxlen=_KEPT)
        self._calls = collections.deque()
        self._handingOver = False
        self._deadline = self._exitedAt = self._killedAt = None
        self._readers = []
        self._popen = self._start([interpreter(), *arguments], environment)
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self.poll)
        self._timer.start()

    def send(self, line):
        """Write a line to its stdin, without waiting for it to read."""
        self._outbox.put(line + "\n")

    def closeInput(self):
        """Close its stdin: a polite wish that it may end."""
        self._outbox.put(None)

    def callLater(self, function):
        """Call a function in the next turn."""
        self._calls.append(function)

    def killAfter(self, seconds):
        """Kill it and all its children unless it has ended by then or is spared."""
        self._deadline = time.monotonic() + seconds

    def spare(self):
        """Take `killAfter` back."""
        self._deadline = None

    def kill(self):
        """Kill it and all its children now; `onEnd` is told in a later turn."""
        if self._killedAt is None:
            self._killedAt = time.monotonic()
            _killTree(self._popen, wait=False)

    def close(self):
        """Kill it and all its children, and wait until they are gone; nothing is told any more."""
        if self.running:
            self.running = False
            self._release(seconds=1)

    def hasExited(self):
        """Whether it has ended, though perhaps not all that it said was handed over."""
        return self._popen is None or _hasExited(self._popen)

    def lastLines(self):
        """The last lines of its stderr."""
        return "\n".join(self._lastLines)

    def poll(self):
        """A turn: hand over what came, keep deadlines, notice the end."""
        if not self.running:
            return
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self.kill()
        if self._handingOver:  # a callback has opened a dialog: lines keep their order
            return
        self._handingOver = True
        try:
            self._handOver()
        finally:
            self._handingOver = False
        if self.running and self._isOver():
            self._finish()

    def _start(self, command, environment):
        """The process with its threads; `None` where it cannot be started."""
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=str(coreFolder()),  # comes first on Python's path: nothing else shadows us
                env=childEnvironment(environment),
                **_ownTree(),
            )
        except (OSError, RuntimeError, ValueError) as error:
            self.startError = str(error)
            self._finalizer = None
            return None
        self._readers = [
            _thread(_read, popen.stdout, self._inbox, "line"),
            _thread(_read, popen.stderr, self._inbox, "log"),
        ]
        _thread(_write, popen.stdin, self._outbox)
        # Also when Python ends, or when everybody has forgotten about this object.
        self._finalizer = weakref.finalize(self, _end, popen, self._inbox, self._outbox)
        return popen

    def _handOver(self):
        """Hand over what waits, for a short time."""
        until = time.monotonic() + _BUDGET
        while self.running and time.monotonic() < until:
            if self._calls:
                _guarded(self._calls.popleft())
                continue
            kind, text = self._inbox.take()
            if kind is None:
                return
            if kind == "line":
                _guarded(self._onLine, text)
                continue
            self._lastLines.append(text)
            logging.debug("DRDM: %s", text)
            if self._onLog is not None:
                _guarded(self._onLog, text)

    def _isOver(self):
        """Whether it has ended and everything was handed over, or has to be given up."""
        if self._calls:
            return False
        if self._popen is None:
            return True
        now = time.monotonic()
        if self._exitedAt is None and _hasExited(self._popen):
            self._exitedAt = now
        if self._killedAt is not None and now - self._killedAt > _PATIENCE:
            return self._exitedAt is None or self._inbox.isEmpty()
        if self._exitedAt is None:
            return False
        if any(reader.is_alive() for reader in self._readers):
            # Slicer's Python is started by a launcher: what goes on without it may be told to stop
            # and be saving its work. Otherwise it is a leftover.
            if now > max(self._exitedAt + _GRACE, self._deadline or 0):
                self.kill()
            return False
        return self._inbox.isEmpty()

    def _finish(self):
        """Tell the end."""
        self.running = False
        self._release(seconds=0)
        _guarded(self._onEnd, self)

    def _release(self, seconds):
        """Leave nothing behind: no process, thread or timer."""
        self._timer.stop()
        if self._finalizer is not None and self._finalizer.detach():
            self.exitCode = _end(self._popen, self._inbox, self._outbox, seconds)


class _Inbox:
    """Lines on their way to the main thread."""

    def __init__(self):
        self._queue = queue.Queue(maxsize=_WAITING)
        self._closed = False

    def put(self, kind, text):
        """Put a line in; wait where there are too many."""
        while not self._closed:
            with contextlib.suppress(queue.Full):
                self._queue.put((kind, text), timeout=0.1)
                return

    def take(self):
        """The next kind and line; twice `None` where there is none."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None, None

    def isEmpty(self):
        """Whether nothing waits."""
        return self._queue.empty()

    def close(self):
        """Drop what is put in from now on."""
        self._closed = True


def describeEnd(process):
    """One sentence for the user on a process that ended before its work was done."""
    code, lines = process.exitCode, process.lastLines()
    if process.startError:
        text = _("The computing process could not be started ({reason}): install DRDM again.")
        return text.format(reason=process.startError)
    if "ModuleNotFoundError" in lines:
        return describeMissing(lines)
    if code in _OUT_OF_MEMORY:
        return _(
            "The computing process was killed by the system, most likely because the memory was "
            "full: close other programs, or use a smaller volume, and try again."
        )
    text = _(
        "The computing process ended unexpectedly (exit code {code}): try again; if memory is "
        "short, use a smaller volume. The log has its last lines."
    )
    return text.format(code=_("unknown") if code is None else code)


def describeMissing(text):
    """One sentence for the user where Python said that a module is not there."""
    names = re.findall(r"No module named '([\w.]+)'", text)
    sentence = _("The Python package {name} is missing: install what DRDM needs, and try again.")
    return sentence.format(name=names[-1] if names else _("(see the log)"))


def _thread(function, *arguments):
    """Start a thread that does not keep the application from ending."""
    thread = threading.Thread(target=function, args=arguments, daemon=True, name="DRDM")
    thread.start()
    return thread


def _read(stream, inbox, kind):
    """Bring the lines of a pipe to the inbox, until it is closed at the other end."""
    with contextlib.suppress(OSError, ValueError), stream:
        for line in iter(lambda: stream.readline(_LONGEST), b""):
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            inbox.put(kind, text.rpartition("\r")[2])  # of a progress bar, how it looks last


def _write(stream, outbox):
    """Bring lines to a pipe, until told to close it; that its reader has gone shows elsewhere."""
    with contextlib.suppress(OSError, ValueError), stream:
        for line in iter(outbox.get, None):
            stream.write(line.encode("utf-8"))
            stream.flush()


def _guarded(function, *arguments):
    """Call what is not ours: its trouble must not stop the timer, nor get lost in it."""
    try:
        function(*arguments)
    except Exception:
        logging.exception("DRDM: a message of the computing process could not be used")


def _ownTree():
    """Options that give a process a tree of its own, without a window."""
    if os.name == "nt":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}


def _hasExited(popen):
    """Whether it has ended; where possible without giving its number back to the system.

    As long as the number is ours, killing the group cannot hit anybody else.
    """
    if popen.returncode is None and hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, popen.pid, options) is not None
    return popen.poll() is not None


def _killTree(popen, *, wait):
    """Kill a process with all its children."""
    if popen is None or popen.returncode is not None:
        return
    if os.name != "nt":
        with contextlib.suppress(OSError):  # nobody left
            os.killpg(popen.pid, signal.SIGKILL)
    elif wait:
        _killWindowsTree(popen)
    else:
        _thread(_killWindowsTree, popen)


def _killWindowsTree(popen):
    """Kill a process with all its children on Windows, which takes a while."""
    command = ["taskkill", "/T", "/F", "/PID", str(popen.pid)]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        flags = subprocess.CREATE_NO_WINDOW
        subprocess.run(command, capture_output=True, timeout=5, creationflags=flags, check=False)
    popen.kill()


def _end(popen, inbox, outbox, seconds=1):
    """Leave nothing of a process; its exit code, `None` where it is not gone in some seconds."""
    inbox.close()
    outbox.put(None)
    _killTree(popen, wait=True)
    try:
        return popen.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(RuntimeError):  # Python is ending
            _thread(popen.wait)
        return None
