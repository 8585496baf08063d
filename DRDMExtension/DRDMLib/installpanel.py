"""Installation: what is there, what is missing, and how to get it; nothing without asking."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from DRDMLib import installer
from DRDMLib.paneltools import askForFolder, explain


class InstallPanel:
    """The part "Installation" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        self.main = main
        self._missing = None
        ui = main.ui
        ui.installButton.clicked.connect(lambda *ignored: self.ensure())
        ui.installOfflineButton.clicked.connect(lambda *ignored: self.installFromFolder())
        ui.checkButton.clicked.connect(lambda *ignored: self.check())

    @property
    def ready(self):
        """Whether everything is there."""
        return not self.missing()

    def missing(self):
        """What is missing; looked up once, for it takes a moment."""
        if self._missing is None:
            self._missing = installer.missingPackages()
        return self._missing

    def check(self):
        """Look again."""
        self._missing = None
        self.main.update()

    def ensure(self, wheels=None):
        """Whether everything is there, after asking to install what is not.

        Args:
            wheels: Folder of wheels to install from, or `None` for the network.
        """
        if self.ready:
            return True
        outcome = ""
        with self.main.problemsShown():
            outcome = installer.install(self._agreed, wheels)
        self.main.device.askAgain()
        self.check()
        if outcome == "restart":
            self.main.say(_("Restart Slicer, and press the button again to go on."))
        elif outcome == "declined":
            self.main.say(_("Nothing was installed. Samples need the packages listed below."))
            self.main.ui.installationSection.collapsed = False
        return self.ready

    def installFromFolder(self):
        """Install from a folder of wheels, without a network."""
        folder = askForFolder(_("Folder of wheels"))
        if folder is not None:
            self.ensure(folder)

    def update(self):
        """Bring the widgets up to date."""
        ui = self.main.ui
        ui.installationLabel.setText(self._state())
        reason = _("Everything is installed.") if self.ready else self._busyReason()
        explain(ui.installButton, reason, _("Says what and how large, and asks first."))
        explain(ui.installOfflineButton, reason, _("Installs from wheels, without a network."))

    def close(self):
        """Nothing goes on here."""

    def _agreed(self, text):
        """Ask whether to install; if so, end the worker, for it holds files open on Windows."""
        agreed = slicer.util.confirmOkCancelDisplay(text)
        if agreed:
            self.main.view.stop("Packages are installed.")
            self.main.logic.endWorker()
        return agreed

    def _busyReason(self):
        """Why nothing can be installed now: what computes would lose its packages."""
        if self.main.logic.training.running:
            return _("A model is being trained: wait, or stop it.")
        return self.main.busyReason()

    def _state(self):
        """What is there, in words."""
        if self.ready:
            return _("All Python packages that DRDM needs are installed.")
        return installer.checkText(installer.check())
