"""Export: kept samples to a folder, in the layout that the next program reads."""

from __future__ import annotations

from slicer.i18n import tr as _

from DRDMLib.paneltools import explain, fillSelector
from DRDMLib.wording import Clock, duration


class ExportPanel:
    """The part "Export" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        self.main = main
        self.run = None
        self._clock = None
        self._message = ""
        ui = main.ui
        fillSelector(ui.layoutSelector, _layouts())
        fillSelector(ui.formatSelector, _formats())
        main.bindings.bindSelector("exportLayout", ui.layoutSelector)
        main.bindings.bindSelector("exportFormat", ui.formatSelector)
        main.bindings.bindPath("exportFolder", ui.exportFolderEdit)
        ui.exportButton.clicked.connect(lambda *ignored: self.toggle())

    @property
    def running(self):
        """Whether files are being written."""
        return self.run is not None

    def toggle(self):
        """Start, or cancel what runs."""
        if self.running:
            self.main.ui.exportButton.setEnabled(False)
            self._say(_("Cancelling..."))
            self.run.cancel()
        else:
            self.start()

    def start(self):
        """Export the kept samples."""
        parameters = self.main.parameters
        if self.reason() or not self.main.installation.ensure():
            return
        self._clock = Clock()
        self._message = ""
        with self.main.problemsShown(self._say):
            run = self.main.logic.export(
                parameters.exportFolder,
                parameters.volume,
                parameters.exportLayout,
                imageFormat=parameters.exportFormat,
                originals=parameters.exportOriginals,
                onProgress=self._told,
                onEnd=self._ended,
            )
            self.run = run if run.running else None
        self.main.update()

    def reason(self):
        """Why nothing can be exported now, one sentence; empty if it can."""
        other = self.main.busyReason(but=self)
        if other:
            return other
        if not self.main.view.table.samples:
            return _("There are no samples yet: generate some.")
        if not self._kept():
            return _("No sample is kept: tick at least one in the table.")
        if not self.main.parameters.exportFolder.strip():
            return _("Choose a folder to export to.")
        return ""

    def update(self):
        """Bring the widgets up to date."""
        ui = self.main.ui
        reason = "" if self.running else self.reason()
        count = len(self._kept())
        text = _("Export {count} kept samples").format(count=count)
        if count < 2:
            text = _("Export 1 kept sample") if count else _("Export kept samples")
        ui.exportButton.setText(_("Cancel") if self.running else text)
        tooltip = _("Write image, segmentation and deformation of the kept samples.")
        if self.running:
            tooltip = _("Stop. The same export goes on later where it stopped.")
        explain(ui.exportButton, reason, tooltip)
        ui.exportProgressBar.setVisible(self.running)
        ui.exportStatusLabel.setText(reason or self._message)
        ui.exportStatusLabel.setVisible(bool(reason or self._message))

    def close(self):
        """Stop what goes on."""
        if self.run is not None:
            self.run.abandon("The panel was closed.")
            self.run = None

    def _kept(self):
        """Samples of the volume that are kept."""
        return [sample for sample in self.main.view.table.samples if sample.keep]

    def _say(self, text):
        """Show a sentence below the button."""
        self._message = text
        self.main.ui.exportStatusLabel.setText(text)
        self.main.ui.exportStatusLabel.setVisible(bool(text))

    def _told(self, event):
        """Progress of the worker."""
        if event.get("total"):
            bar = self.main.ui.exportProgressBar
            bar.setMaximum(1000)
            bar.setValue(round(1000 * event["done"] / event["total"]))
            left = self._clock.left(event["done"], event["total"])
            self._say(str(event["message"]) + (f", {left}" if left else ""))
        if event.get("kind") != "step" and event.get("message"):
            self.main.log(event["message"])

    def _ended(self, run):
        """Say what came of it."""
        self.run = None
        self.main.ui.exportProgressBar.setValue(0)
        self.main.showEnd(run, self._say)
        if run.state == "done":
            text = _("Exported to {folder} in {time}.")
            time = duration(self._clock.elapsed())
            self._say(text.format(folder=run.folder, time=time))
        self.main.updateSoon()


def _layouts():
    """The layouts and what they are good for."""
    return (
        (_("img / msk / ddf folders"), "pairs", _("As the published program writes them.")),
        (_("nnU-Net data set"), "nnunet", _("imagesTr, labelsTr and dataset.json.")),
        (_("one folder"), "flat", _("Image, labels and field of a sample side by side.")),
    )


def _formats():
    """File formats of images and labels."""
    return (("NIfTI (.nii.gz)", ".nii.gz", ""), ("NRRD (.nrrd)", ".nrrd", ""))
