"""Where it is computed, and how much memory that takes: both asked of the worker."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from DRDMLib.paneltools import fillSelector

PATIENCE_MS = 700
"""The worker is asked when the choices have rested for so long; the first question starts it."""


class DevicePanel:
    """The device selector and the line on memory below it."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        self.main = main
        self._asked = None
        self._knowsDevices = False
        self._rest = qt.QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(PATIENCE_MS)
        self._rest.timeout.connect(self._ask)
        main.bindings.bindSelector("device", main.ui.deviceSelector)
        self.showDevices([{"name": "cpu", "title": _("CPU")}])

    @property
    def waiting(self):
        """Whether the worker is about to be asked."""
        return self._rest.active

    def showDevices(self, devices):
        """Offer devices.

        Args:
            devices: Dictionaries with `name`, `title` and perhaps `memory_bytes`.
        """
        items = [(_("automatic"), "auto", _("A graphics card if there is one, else the CPU."))]
        for each in devices:
            text, memory = each["title"], each.get("memory_bytes")
            if memory:
                text = _("{title}, {n} GB").format(title=text, n=round(memory / 1e9))
            items.append((text, each["name"], ""))
        chosen = self.main.parameters.device if self.main.parameters else "auto"
        fillSelector(self.main.ui.deviceSelector, items, chosen)

    def refresh(self):
        """Nothing in the scene matters here."""

    def update(self):
        """Ask what the choices need, once they rest."""
        if self._question() not in (None, self._asked):
            self._rest.start()

    def askAgain(self):
        """Ask once more, for the worker may know more now."""
        self._asked = None
        self._knowsDevices = False

    def close(self):
        """Ask nothing more."""
        self._rest.stop()

    def _question(self):
        """What to ask, or `None` where it makes no sense now."""
        main = self.main
        if main.parameters is None or main.busyReason() or main.inputs.problem():
            return None
        volume = main.parameters.volume
        return {
            "size": list(volume.GetImageData().GetDimensions()),
            "spacing_mm": list(volume.GetSpacing()),
            "model": main.parameters.model,
            "device": main.parameters.device,
        }

    def _ask(self):
        """Ask the worker; it is started by that, so that the first samples come at once."""
        question = self._question()
        if question in (None, self._asked) or not self.main.installation.ready:
            return
        self._asked = question
        if not self._knowsDevices:
            self._knowsDevices = True
            self.main.logic.ask("status", {}, onEnd=self._showStatus)
        self.main.logic.ask("needs", question, onEnd=self._showNeeds)

    def _showStatus(self, run):
        """Offer the devices that there are."""
        if run.state == "done":
            self.showDevices(run.result["devices"])

    def _showNeeds(self, run):
        """Say what memory is needed, and whether there is enough."""
        label = self.main.ui.needsLabel
        label.setVisible(run.state == "done")
        if run.state == "done":
            text = _("One sample {needs}.").format(needs=run.result["text"])
            if not run.result["fits"]:
                text = _("Warning: {text} Crop or resample the volume.").format(text=text)
            label.setText(text)
