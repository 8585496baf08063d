"""What the parts of the panel with a job have in common: a button, a bar, a status line."""

from __future__ import annotations

from slicer.i18n import tr as _

from DRDMLib.paneltools import explain
from DRDMLib.wording import Clock

_PARTS = 1000
"""Parts of a progress bar."""


class JobPanel:
    """A part of the panel whose button starts a job, and stops it while it runs.

    Children have `running`, `reason()` (why no job can start now, one sentence, else empty),
    `begin()` (start it) and `cancel()` (stop it).

    Attributes:
        main: The whole panel, a `MainPanel`.
        status: The line that says how it goes, a `StatusLine`.
    """

    def __init__(self, main, button, bar, status):
        """Connect the button.

        Args:
            main: The whole panel, a `MainPanel`.
            button: Starts and stops.
            bar: Shows how far the job is.
            status: Says how it goes, a `StatusLine`.
        """
        self.main, self.status = main, status
        self._button, self._bar = button, bar
        self._clock = None
        button.clicked.connect(lambda *ignored: self.toggle())

    def toggle(self):
        """Start, or stop what runs."""
        if self.running:
            self.cancel()
        else:
            self.start()

    def start(self):
        """Start what the panel says, if it can be, after what is missing was installed."""
        if self.reason() or not self.main.installation.ensure():
            return
        self._clock = Clock()
        with self.main.problemsShown(self.status.say):
            self.begin()
        self.main.update()

    def showButton(self, text, tooltip, waiting=""):
        """Bring button, bar and status line up to date.

        Args:
            text: What a click does.
            tooltip: More on that.
            waiting: Why what runs cannot be stopped now, one sentence; empty if it can.
        """
        reason = "" if self.running else self.reason()
        self._button.setText(text)
        explain(self._button, reason or waiting, tooltip)
        self._bar.setVisible(self.running)
        self.status.showReason(reason)

    def showProgress(self, done, total, text, left=""):
        """Show how far the job is, and in words how much time is left."""
        self._bar.setMaximum(_PARTS)
        self._bar.setValue(round(_PARTS * done / max(total, 1e-9)))
        self.status.say(f"{text}, {left}" if left else text)


class WorkerPanel(JobPanel):
    """A part of the panel whose job is the worker's.

    Children have `endText(run)`: what to say when a run has ended well or was cancelled.

    Attributes:
        run: The `Run` that goes on, or `None`.
    """

    def __init__(self, *arguments):
        """Connect the button; the arguments are those of `JobPanel`."""
        super().__init__(*arguments)
        self.run = None

    @property
    def running(self):
        """Whether the job goes on."""
        return self.run is not None

    def cancel(self):
        """Ask the job to stop; what is finished stays."""
        self._button.setEnabled(False)
        self.status.say(_("Cancelling..."))
        self.run.cancel()

    def close(self):
        """Stop what goes on."""
        if self.run is not None:
            self.run.abandon("The panel was closed.")
            self.run = None

    def follow(self, run):
        """Take a run that was started; it may have ended already."""
        self.run = run if run.running else None

    def showEvent(self, event, text):
        """Show a step of the worker."""
        done, total = event["done"], event["total"]
        self.showProgress(done, total, text, self._clock.left(done, total))

    def ended(self, run):
        """Come back to the start and say what came of it."""
        self.run = None
        self._bar.setValue(0)
        self.main.showEnd(run, self.status.say)
        text = self.endText(run)
        if text:
            self.status.say(text)
        self.main.updateSoon()
