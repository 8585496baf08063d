"""Do this in a thread, tell me in the event loop: for work that would stop the window.

The work must not touch Qt or MRML, nor VTK objects that others see, nor translate texts: what it
needs is read before, on the main thread, and what it answers is used after, there too.
"""

from __future__ import annotations

import threading

import qt

_TICK_MS = 10
_TURN = 0.003
"""Seconds that each look lends to the thread: in an idle Slicer it may get none otherwise."""

_going = set()
"""What has not ended: kept here, so that nobody else must."""


class InThread:
    """A function that runs in a thread; its outcome is told once, on the main thread."""

    def __init__(self, work, onDone, onProblem):
        """Begin at once.

        Args:
            work: Called in the thread, without arguments.
            onDone: Told in a turn of the event loop what `work` answered.
            onProblem: Told there the exception that `work` raised.
        """
        self._work, self._onDone, self._onProblem = work, onDone, onProblem
        self._lock, self._outcome, self._clearUp = threading.Lock(), None, None
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self.look)
        self._thread = threading.Thread(target=self._run, daemon=True)
        _going.add(self)
        self._thread.start()
        self._timer.start()

    def look(self):
        """Tell the outcome now, if it is there within a few milliseconds."""
        self._thread.join(_TURN)
        if self._outcome is None or self not in _going:
            return
        self._forget()
        answer, problem = self._outcome
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
        with self._lock:
            ended = self._outcome is not None
            self._clearUp = clearUp
        if ended and clearUp is not None:
            clearUp()

    def wait(self, seconds):
        """Wait until the thread has ended, for so long at most; for the end of the application."""
        self._thread.join(seconds)

    def _forget(self):
        """Look no more."""
        self._timer.stop()
        _going.discard(self)

    def _run(self):
        """Work, in the thread."""
        try:
            outcome = (self._work(), None)
        except Exception as problem:  # told where it can be shown
            outcome = (None, problem)
        with self._lock:
            self._outcome, clearUp = outcome, self._clearUp
        if clearUp is not None:
            clearUp()
