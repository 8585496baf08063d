"""Kept samples to files: fields of the scene, inputs and settings handed to the worker."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

import qt
from slicer.i18n import tr as _

from DRDMLib import samples
from DRDMLib.running import Run
from DRDMLib.watching import InputWatch

RANDOM_MODEL = "none"


@dataclass(frozen=True)
class ExportChoice:
    """How samples are exported.

    Attributes:
        folder: New or empty folder.
        layout: `pairs`, `nnunet` or `flat`.
        imageFormat: File ending of images and labels.
        fieldFormat: File ending of fields.
        originals: Whether the original is one more case.
        datasetName: Name of an nnU-Net data set, `None` for the folder's.
    """

    folder: Path
    layout: str = "pairs"
    imageFormat: str = ".nii.gz"
    fieldFormat: str = ".nrrd"
    originals: bool = True
    datasetName: str | None = None


class ExportRun(Run):
    """Exports samples; their fields are written one after the other, in a thread."""

    def __init__(self, client, choice, chosen, preparation, onChanged=None, **callbacks):
        """Begin to write.

        Args:
            client: The worker's client.
            choice: How to export.
            chosen: The samples, as `samplesOf` gives them.
            preparation: The inputs on their way to files.
            onChanged: Asked whether to go on, with the names of the samples that a model has found
                for the image as it was before it was changed.
            callbacks: `onProgress` and `onEnd`, see `Run`.
        """
        super().__init__(client, **callbacks)
        self.choice = choice
        self._onChanged = onChanged
        self.folder = Path(choice.folder)
        self._preparation = preparation
        self._chosen, self._left = list(chosen), list(chosen)
        self._entries = []
        self._fields = self.makeFolder("drdm_export_")
        first = self._left[0]
        self._watch = InputWatch(
            first.volumeNode, first.segmentationNode, preparation, self.abandon
        )
        qt.QTimer.singleShot(0, lambda: self._guarded(self._writeNext, None))

    def written(self, files):
        """Look whether the image is still there, and the one the samples were made from.

        A field of the random model depends on the grid alone, which is checked, and `drdm replay`
        makes it again; what a network finds depends on the voxels.
        """
        self._watch.check()
        changed = [
            sample
            for sample in self._chosen
            if sample.inputHashes.get("image") not in (None, files.sha256["image"])
        ]
        for sample in changed:
            logging.warning("DRDM: the image has changed since %s was made", sample.name)
        names = [each.name for each in changed if each.model.get("name") != RANDOM_MODEL]
        if names and self.running and self._onChanged is not None and not self._onChanged(names):
            self.cancel()

    def ended(self):
        """Stop watching."""
        self._watch.close()

    def _writeNext(self, *answer):
        """Write one field, or ask the worker when all are there."""
        if not self.running:
            return
        if not self._left:
            self.askWhenWritten(self._preparation, "export", self._arguments)
        else:
            sample = self._left.pop(0)
            if sample.node.GetScene() is None:
                text = _("{name} was removed while it was exported: export again.")
                raise RuntimeError(text.format(name=sample.name))
            path = self._fields / f"{len(self._entries) + 1:04d}.nrrd"
            self._entries.append(_entry(sample, path))
            field = samples.baseFieldOf(sample.node)  # the core scales it by the amplitude
            self.inThread(functools.partial(field.write, path), self._writeNext)

    def _arguments(self, files):
        """The request of the worker."""
        choice, labels = self.choice, files.labels
        arguments = {
            "image": str(files.image),
            "labels": None if labels is None else str(labels),
            "samples": self._entries,
            "out": str(self.folder),
            "layout": choice.layout,
            "image_format": choice.imageFormat,
            "field_format": choice.fieldFormat,
            "originals": choice.originals,
        }
        if choice.datasetName:
            arguments["dataset_name"] = choice.datasetName
        return arguments


def _entry(sample, path):
    """A sample in the request; `path` is that of its field."""
    return {
        "field": str(path),
        "name": sample.name,
        "seed": sample.seed,
        "amplitude": sample.amplitude,
        "model": sample.model,
        "settings": sample.settings,
        "quality": sample.quality,
    }
