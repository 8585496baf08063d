"""A job of the worker as its caller sees it: it runs, it can be cancelled, it ends once."""

from __future__ import annotations

import logging
import time

import slicer
from slicer.i18n import tr as _


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
        """Ask the worker to stop; `onEnd` is told when it has."""
        if not self.running:
            return
        if self._request is None:
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
        if self._onEnd is not None:
            self._onEnd(self)

    def told(self, event):
        """Take an event of the worker; children add to it."""

    def written(self, files):
        """Take the inputs as files, before the request is sent; children add to it."""

    def answered(self, result):
        """Take the worker's result; children add to it."""

    def ended(self):
        """Clear up; children add to it."""

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
        self.end("done")

    def _failed(self, message, details=""):
        self.end("failed", message, details)

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
