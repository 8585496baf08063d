"""A job of the worker as its caller sees it: it runs, it can be cancelled, it ends once."""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from DRDMLib.background import InThread


class RunFailed(RuntimeError):
    """A job did not come to its end; the message is for the user."""


class Run:
    """A job of the worker, from its request to its end.

    Attributes:
        state: `running`, `done`, `failed` or `cancelled`.
        message: Why it failed or was cancelled, one sentence.
        details: More on a failure, for the log.
        result: What the worker answered.
    """

    def __init__(self, client, onProgress=None, onEnd=None):
        """Make a job that has not been asked for yet.

        Args:
            client: Where it is asked for, a `WorkerClient`.
            onProgress: Told every event of the worker.
            onEnd: Told the run when it has ended, however it did.
        """
        self.client = client
        self.state = "running"
        self.message = ""
        self.details = ""
        self.result = None
        self._onProgress = onProgress
        self._onEnd = onEnd
        self._request = None
        self._waiting, self._going = [], None
        self._cancelled, self._ending = False, None
        self._scratch = None

    @property
    def running(self):
        """Whether it has not ended."""
        return self.state == "running"

    def ask(self, job, arguments):
        """Send the request to the worker; one that does not start ends the run."""
        try:
            self._request = self.client.request(
                job,
                arguments,
                onEvent=self._told,
                onResult=self._answered,
                onError=self._failed,
                onCancelled=self._stopped,
            )
        except Exception as error:
            self.end("failed", str(error), type(error).__name__)

    def makeFolder(self, prefix):
        """A folder for the files of this run, which removes it when it has ended; one is made."""
        self._scratch = Path(tempfile.mkdtemp(prefix=prefix))
        return self._scratch

    def inThread(self, work, then):
        """Do something in a thread, and then something with its answer on the main thread.

        What was given first is done first. Trouble ends the run; it is done only after the last.

        Args:
            work: Called without arguments, see `InThread`.
            then: Told the answer, if the run goes on.
        """
        self._waiting.append((work, then))
        self._doNext()

    def askWhenWritten(self, preparation, job, makeArguments):
        """Send the request when the inputs are files; trouble with them ends the run.

        Args:
            preparation: The inputs on their way to files, a `Preparation`.
            job: Name of the job.
            makeArguments: Makes its arguments of the `InputFiles`.
        """

        def ready():
            if not self.running:
                return
            if preparation.problem is not None:
                problem = preparation.problem
                name = type(problem).__name__
                self.end("failed", str(problem) or name, name)
                return
            self._guarded(self.written, preparation.files)
            if self.running:
                self.ask(job, makeArguments(preparation.files))

        preparation.whenDone(ready)

    def cancel(self):
        """Ask the worker to stop; `onEnd` is told when it has. What is being read is dropped."""
        if not self.running:
            return
        self._cancelled = True
        if self._request is None or self._ending is not None:
            self.end("cancelled", _("Cancelled."))
        else:
            self.client.cancel(self._request)

    def abandon(self, reason):
        """Stop at once, quietly: what it works on is gone; a line in the log tells."""
        if not self.running:
            return
        logging.info("DRDM: %s", reason)
        if self._request is not None:
            self.client.cancel(self._request)
        self.end("cancelled", reason)

    def wait(self):
        """Keep the application alive until it has ended.

        Raises:
            RunFailed: If it failed or was cancelled.
        """
        while self.running:
            slicer.app.processEvents()
            time.sleep(0.01)
        if self.state != "done":
            raise RunFailed(self.message)

    def end(self, state, message="", details=""):
        """Come to the end, once."""
        if not self.running:
            return
        self.state, self.message, self.details = state, message, details
        if state == "failed":
            logging.error("DRDM: %s%s", message, f"\n{details}" if details else "")
        self.ended()
        self._clearUp()
        if self._onEnd is not None:
            self._onEnd(self)

    def told(self, event):
        """Take an event of the worker; children add to it."""

    def written(self, files):
        """Take the inputs as files, before the request is sent; children add to it."""

    def answered(self, result):
        """Take the worker's result; children add to it."""

    def ended(self):
        """Stop what belongs to it; children add to it."""

    def _told(self, event):
        if self.running:
            self._guarded(self.told, event)
        if self.running and self._onProgress is not None:
            self._onProgress(event)

    def _answered(self, result):
        if not self.running:
            return
        self.result = result
        self._guarded(self.answered, result)
        self._endAfterAll("done")

    def _failed(self, message, details=""):
        self._endAfterAll("failed", message, details)

    def _endAfterAll(self, *outcome):
        """End when what is left for the thread is done."""
        self._ending = outcome
        self._doNext()

    def _doNext(self):
        """Begin with the next work for the thread, or come to the end."""
        if self._going is not None or not self.running:
            return
        if self._waiting and not self._cancelled:
            work, then = self._waiting.pop(0)
            did = functools.partial(self._did, then)
            self._going = InThread(work, did, functools.partial(self._did, self._raise))
        elif self._ending is not None:
            self.end(*self._ending)

    def _did(self, then, answer):
        """Use what the thread has answered, and go on."""
        self._going = None
        if not self._cancelled:
            self._guarded(then, answer)
        self._doNext()

    @staticmethod
    def _raise(problem):
        raise problem

    def _clearUp(self):
        """Remove the files when nobody reads them any more; large ones take a while."""
        self._waiting.clear()
        going, self._going = self._going, None
        remove = None
        if self._scratch is not None:
            remove = functools.partial(shutil.rmtree, self._scratch, ignore_errors=True)
        if going is not None:
            going.cancel(remove)
        elif remove is not None:
            InThread(remove, _ignore, _ignore)

    def _stopped(self, message=""):
        self.end("cancelled", _("Cancelled."), message)

    def _guarded(self, handler, value):
        """Take an answer; trouble in the scene ends the run instead of getting lost in a timer."""
        try:
            handler(value)
        except Exception as error:
            logging.exception("DRDM: an answer of the worker could not be used")
            if self._request is not None:
                self.client.cancel(self._request)
            self.end("failed", str(error), type(error).__name__)


def _ignore(*outcome):
    """Nobody needs to know."""
