"""Do this in a thread, tell me in the event loop: for work that would stop the window.

The work must not touch Qt or MRML, nor VTK objects that others see, nor translate texts: what it
needs is read before, on the main thread, and what it answers is used after, there too.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time

import qt

_TICK_MS = 10
_TURN = 0.003
"""Seconds that each look lends to the thread: in an idle Slicer it may get none otherwise."""

_going = set()
"""What will be told: kept here, so that nobody else must."""
_threads = set()
"""Threads that have not ended."""


class InThread:
    """A function that runs in a thread; its outcome is told once, on the main thread."""

    def __init__(self, work, onDone, onProblem):
        """Begin at once.

        Args:
            work: Called in the thread, without arguments.
            onDone: Told in a turn of the event loop what `work` answered.
            onProblem: Told there the exception that `work` raised.
        """
        self._job, self._onDone, self._onProblem = _Job(work), onDone, onProblem
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self.look)
        self._thread = threading.Thread(target=self._job.run, daemon=True)
        _finishAtExit()
        _going.add(self)
        _threads.add(self._thread)
        self._thread.start()
        self._timer.start()

    def look(self):
        """Tell the outcome now, if it is there within a few milliseconds."""
        self._thread.join(_TURN)
        if self._job.outcome is None or self not in _going:
            return
        self._forget()
        answer, problem = self._job.outcome
        if problem is None:
            self._onDone(answer)
        else:
            self._onProblem(problem)

    def cancel(self, clearUp=None):
        """Tell nothing more; what is being worked on is finished, but nobody hears of it.

        Args:
            clearUp: Called once when `work` has ended, in any thread: it removes what was left.
        """
        self._forget()
        self._job.letGo(clearUp)

    def wait(self, seconds):
        """Wait until the thread has ended, for so long at most; for the end of the application."""
        self._thread.join(seconds)

    def _forget(self):
        """Look no more."""
        if self in _going:
            _going.discard(self)
            self._timer.stop()
            self._timer.timeout.disconnect(self.look)


class _Job:
    """What the thread holds: nothing of Qt, which must not come to its end there."""

    def __init__(self, work):
        """Nothing is done yet."""
        self.outcome = None
        self._work, self._clearUp, self._lock = work, None, threading.Lock()

    def run(self):
        """Work, in the thread."""
        try:
            outcome = (self._work(), None)
        except Exception as problem:  # told where it can be shown
            outcome = (None, problem)
        with self._lock:
            self.outcome, clearUp = outcome, self._clearUp
        try:
            if clearUp is not None:
                clearUp()
        finally:
            _threads.discard(threading.current_thread())

    def letGo(self, clearUp):
        """Clear up as soon as the work has ended: now, or in the thread."""
        with self._lock:
            ended = self.outcome is not None
            self._clearUp = clearUp
        if ended and clearUp is not None:
            clearUp()


def finish(seconds=5):
    """Wait until all threads have ended, for so long at most; half-written files are removed so."""
    until = time.monotonic() + seconds
    for thread in list(_threads):
        thread.join(max(0, until - time.monotonic()))


@functools.cache
def _finishAtExit():
    """Let the application wait for the threads when it ends, also where nobody says `finish`."""
    atexit.register(finish)
