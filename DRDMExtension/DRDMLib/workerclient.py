"""Requests to the worker, `DRDMCore serve`: one process that stays warm, and answers to callbacks.

The worker computes one request after another. Those that wait, wait here: a crash, or a cancel that
has to kill the worker, concerns the request that it works on and no other.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import threading
import time
from dataclasses import dataclass

from slicer.i18n import tr as _

from DRDMLib.workerprocess import ChildProcess, describeEnd, describeMissing

CANCEL_SECONDS = 0.8
"""Time that the worker has to stop by itself before it is killed."""
_FINAL = ("result", "error", "cancelled")


@dataclass
class _Request:
    """A request and whom to tell; its callbacks are `None` where nobody wants to know."""

    number: int
    line: str
    onEvent: object
    onResult: object
    onError: object
    onCancelled: object
    cancelled: bool = False


class WorkerClient:
    """Asks the worker, which starts with the first request and again after a crash.

    Every request ends with exactly one of `onResult`, `onError` and `onCancelled`, always on the
    main thread and never from within a method of this class.

    Attributes:
        version: That of the core, once the worker has started.
    """

    def __init__(self, arguments=("-m", "DRDMCore", "serve"), onLog=None, environment=None):
        """Make a client; nothing is started yet.

        Args:
            arguments: What follows the interpreter in the command of the worker.
            onLog: Told each line that the worker writes to stderr.
            environment: Variables for the worker beside those of the application.
        """
        self.version = ""
        self._arguments, self._environment = list(arguments), environment
        self._onLog = onLog
        self._numbers = itertools.count(1)
        self._waiting = []
        self._current = None
        self._process = None

    @property
    def busy(self):
        """Whether a request has not ended."""
        return self._current is not None or bool(self._waiting)

    @property
    def running(self):
        """Whether there is a worker."""
        return self._process is not None and not self._process.hasExited()

    def request(self, job, arguments, onEvent=None, onResult=None, onError=None, onCancelled=None):
        """Ask for a job.

        Args:
            job: Name of the job.
            arguments: Its arguments, JSON-serialisable.
            onEvent: Told each event, a dictionary.
            onResult: Told the result, a dictionary.
            onError: Told a sentence for the user, and details for the log.
            onCancelled: Told a sentence; after `cancel` nothing else is told.

        Returns:
            The number of the request, for `cancel`.

        Raises:
            TypeError: If the arguments cannot be written as JSON.
            RuntimeError: If it is not called on the main thread, where the callbacks happen.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("The worker must be asked on the main thread: Qt works there only.")
        number = next(self._numbers)
        line = json.dumps({"id": number, "job": job, "arguments": arguments})
        self._waiting.append(_Request(number, line, onEvent, onResult, onError, onCancelled))
        self._askNext()
        return number

    def cancel(self, number):
        """Cancel a request; within about a second `onCancelled` is told.

        The worker is asked to stop, and killed with all its children where it does not. A request
        that has ended is left alone.
        """
        current = self._current
        if current is not None and current.number == number:
            if not current.cancelled:
                current.cancelled = True
                self._process.send(json.dumps({"cancel": number}))
                self._process.killAfter(CANCEL_SECONDS)
            return
        for request in self._waiting:
            if request.number == number:
                self._waiting.remove(request)
                self._process.callLater(functools.partial(_tell, request.onCancelled, ""))
                return

    def cancelAll(self):
        """Cancel every request."""
        numbers = [each.number for each in self._waiting]
        if self._current is not None:
            numbers.append(self._current.number)
        for number in numbers:
            self.cancel(number)

    def close(self):
        """End the worker at once; requests are forgotten and nothing is told any more.

        A later request starts a new worker.
        """
        self._waiting.clear()
        self._current = None
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def wait(self, number, beat=None):
        """Wait until a request has ended, for scripts without an event loop.

        Args:
            number: The request.
            beat: Called all the time, such as `slicer.app.processEvents`.
        """
        while any(each.number == number for each in [*self._waiting, self._current] if each):
            self._process.poll()
            if beat is not None:
                beat()
            time.sleep(0.005)

    def _askNext(self):
        """Send the next request, if nothing is being computed."""
        if self._current is not None or not self._waiting:
            return
        if self._process is not None and self._process.hasExited():
            logging.warning("DRDM: the idle worker has ended, a new one is started")
            self._process.close()
            self._process = None
        if self._process is None:
            self._process = ChildProcess(
                self._arguments, self._heard, self._ended, self._onLog, self._environment
            )
        self._current = self._waiting.pop(0)
        self._process.send(self._current.line)

    def _heard(self, line):
        """Take a line of the worker."""
        try:
            answer = json.loads(line)
            kind, number = answer["kind"], answer.get("id")
        except (ValueError, TypeError, KeyError, AttributeError):
            logging.warning("DRDM: the worker said something that is no answer: %.200s", line)
            return
        if kind == "ready":
            self.version = str(answer.get("version", ""))
            return
        request = self._current
        # A line that the worker could not read is answered without a number: it was our last one.
        if request is None or (number != request.number and not (kind == "error" and not number)):
            return
        if kind in _FINAL:
            self._current = None
            self._process.spare()
            self._askNext()
            self._conclude(request, kind, answer)
        elif not request.cancelled:
            _tell(request.onEvent, answer)

    def _conclude(self, request, kind, answer):
        """Tell how a request ended; one that was cancelled in the last moment is cancelled."""
        if request.cancelled or kind == "cancelled":
            _tell(request.onCancelled, str(answer.get("message", "")))
        elif kind == "result":
            _tell(request.onResult, answer.get("result") or {})
        else:
            name, message = str(answer.get("error", "")), str(answer.get("message", ""))
            if name == "ModuleNotFoundError":
                message = describeMissing(message)
            _tell(request.onError, message or name, answer.get("traceback") or name)

    def _ended(self, process):
        """The worker has ended; asked to or not."""
        request, self._current, self._process = self._current, None, None
        self._askNext()
        if request is not None and request.cancelled:
            _tell(request.onCancelled, _("The computing process had to be ended."))
        elif request is not None:
            _tell(request.onError, describeEnd(process), process.lastLines())
        else:
            logging.warning("DRDM: %s\n%s", describeEnd(process), process.lastLines())


def _tell(callback, *arguments):
    """Call a callback; what it raises is logged, and the request has ended all the same."""
    if callback is None:
        return
    try:
        callback(*arguments)
    except Exception:
        logging.exception("DRDM: an answer of the worker could not be used")
