"""The whole panel: its parts, what they share, and when they are brought up to date."""

from __future__ import annotations

import contextlib
import logging
import time

import qt
from slicer.i18n import tr as _

from DRDMLib.bindings import Bindings
from DRDMLib.devicepanel import DevicePanel
from DRDMLib.exportpanel import ExportPanel
from DRDMLib.generatepanel import GeneratePanel
from DRDMLib.inputspanel import InputsPanel
from DRDMLib.installpanel import InstallPanel
from DRDMLib.paneltools import StatusLine
from DRDMLib.trainpanel import TrainPanel
from DRDMLib.viewpanel import ViewPanel


class MainPanel:
    """Joins the parts of the panel.

    Attributes:
        ui: The widgets by name.
        logic: The module's logic.
        parameters: The choices, `None` while a scene is closed.
        bindings: Widgets joined to parameters.
        status: The line that says how it goes, a `StatusLine`.
    """

    def __init__(self, ui, logic):
        """Make the parts.

        Args:
            ui: The widgets by name, as `slicer.util.childWidgetVariables` gives them.
            logic: The module's logic.
        """
        self.ui = ui
        self.logic = logic
        self.parameters = None
        self.bindings = Bindings()
        self.status = StatusLine(ui.statusLabel)
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.refresh)
        self.installation = InstallPanel(self)
        self.inputs = InputsPanel(self)
        self.view = ViewPanel(self)
        self.generate = GeneratePanel(self)
        self.device = DevicePanel(self)
        self.export = ExportPanel(self)
        self.train = TrainPanel(self)
        self.parts = (
            self.installation,
            self.inputs,
            self.generate,
            self.device,
            self.view,
            self.export,
            self.train,
        )

    def setParameters(self, parameters):
        """Show these choices; `None` while there are none."""
        self.parameters = self.bindings.parameters = parameters
        if parameters is not None:
            self.refresh()

    def refresh(self):
        """Show what the scene has, and bring everything up to date."""
        if self.parameters is not None:
            self.inputs.refresh()
            self.view.refresh()
            self.update()

    def update(self):
        """Bring all widgets up to date."""
        if self.parameters is not None:
            self.bindings.show()
            for part in self.parts:
                part.update()

    def updateSoon(self):
        """Refresh when the event loop comes round: once for many changes."""
        self._later.start()

    def busyReason(self, but=None):
        """Why a part must wait for another one, one sentence; empty if it need not."""
        if self.generate.running and but is not self.generate:
            return _("Samples are being made: wait, or cancel.")
        if self.export.running and but is not self.export:
            return _("Samples are being exported: wait, or cancel.")
        return ""

    def say(self, text):
        """Show a sentence in the status line."""
        self.status.say(text)

    def log(self, text):
        """Add lines to the log of the panel and of the application."""
        logging.info("DRDM: %s", text)
        self.ui.logTextEdit.appendPlainText(f"{time.strftime('%H:%M:%S')}  {text}")

    def showEnd(self, run, say=None):
        """Say how a run ended, if not well; the details are in the log."""
        if run.state == "failed":
            (say or self.say)(run.message)
            self.log(run.message + (f"\n{run.details}" if run.details else ""))
        elif run.state == "cancelled" and run.message:
            (say or self.say)(run.message)
            self.log(run.message)

    @contextlib.contextmanager
    def problemsShown(self, say=None):
        """Show what goes wrong in the status line, with the details in the logs."""
        try:
            yield
        except Exception as error:
            logging.exception("DRDM: it did not work")
            (say or self.say)(str(error))
            self.log(f"{type(error).__name__}: {error}")

    def close(self):
        """Stop what goes on."""
        self._later.stop()
        for part in self.parts:
            part.close()
