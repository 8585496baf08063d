"""Export: kept samples to a folder, in the layout that the next program reads."""

from __future__ import annotations

import functools

import slicer
from slicer.i18n import tr as _

from DRDMLib.jobpanel import WorkerPanel
from DRDMLib.paneltools import StatusLine, fillSelector
from DRDMLib.wording import duration

_NAMED = 5
"""Samples that a question names."""


class ExportPanel(WorkerPanel):
    """The part "Export" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        ui = main.ui
        status = StatusLine(ui.exportStatusLabel)
        super().__init__(main, ui.exportButton, ui.exportProgressBar, status)
        fillSelector(ui.layoutSelector, _layouts())
        fillSelector(ui.formatSelector, _formats())
        main.bindings.bindSelector("exportLayout", ui.layoutSelector)
        main.bindings.bindSelector("exportFormat", ui.formatSelector)
        main.bindings.bindPath("exportFolder", ui.exportFolderEdit)

    def begin(self):
        """Export the kept samples."""
        parameters = self.main.parameters
        self.status.say("")
        run = self.main.logic.export(
            parameters.exportFolder,
            parameters.volume,
            parameters.exportLayout,
            imageFormat=parameters.exportFormat,
            originals=parameters.exportOriginals,
            onChanged=functools.partial(self._goesOn, parameters.volume.GetName()),
            onProgress=self._told,
            onEnd=self.ended,
        )
        self.follow(run)

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
        count = len(self._kept())
        text = _("Export {count} kept samples").format(count=count)
        if count < 2:
            text = _("Export 1 kept sample") if count else _("Export kept samples")
        tooltip = _("Write image, segmentation and deformation of the kept samples.")
        if self.running:
            text = _("Cancel")
            tooltip = _("Stop. The same export goes on later where it stopped.")
        self.showButton(text, tooltip)

    def endText(self, run):
        """Where the files are."""
        if run.state != "done":
            return ""
        text = _("Exported to {folder} in {time}.")
        return text.format(folder=run.folder, time=duration(self._clock.elapsed()))

    def _kept(self):
        """Samples of the volume that are kept."""
        return [sample for sample in self.main.view.table.samples if sample.keep]

    def _goesOn(self, volume, names):
        """Ask whether to export samples of an image that was changed since."""
        shown = ", ".join(names[:_NAMED])
        if len(names) > _NAMED:
            shown = _("{names} and {count} more").format(names=shown, count=len(names) - _NAMED)
        text = _(
            "{volume} has changed since these samples were made: {names}.\n\n"
            "The model found their deformations for the image as it was. Exported now, they deform "
            "the image as it is, and drdm replay will not make the same again.\n\n"
            "Export all the same?"
        )
        return slicer.util.confirmYesNoDisplay(text.format(volume=f"'{volume}'", names=shown))

    def _told(self, event):
        """Progress of the worker."""
        if event.get("total"):
            self.showEvent(event, str(event["message"]))
        if event.get("kind") != "step" and event.get("message"):
            self.main.log(event["message"])


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
