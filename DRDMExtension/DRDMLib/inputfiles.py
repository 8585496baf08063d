"""The inputs of a job on their way from nodes to files, without the scene: in any thread."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DRDMLib.fingerprints import contentOfArrays, isSameContent
from DRDMLib.nodegeometry import Grid, imageOnGrid
from DRDMLib.problems import InputProblem

LABELS_FILE = "labels.seg.nrrd"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class InputFiles:
    """The inputs of a job in files.

    Attributes:
        image: The volume.
        labels: The segmentation on the grid of the volume, if there is one.
        names: Name of each label value.
        sha256: Hashes of the files, by `image` and `labels`.
        content: What the nodes held, see `InputReading.isStill`.
        times: When the nodes were last changed; spares the look at the voxels.
    """

    image: Path
    labels: Path | None
    names: dict
    sha256: dict
    content: dict = field(repr=False)
    times: dict = field(repr=False, compare=False)


@dataclass(frozen=True)
class InputReading:
    """What was read of the nodes: copies, so that the nodes may change while it is written.

    Attributes:
        name: Of the file of the image, without its ending.
        grid: Grid in files.
        voxels: Of the image, in the order of files.
        labels: Answers the labels and their names, or refuses them; `None` without a segmentation.
        reversed: Whether the slices of the labels have to be reversed for files.
        times: When the nodes were last changed.
        cannotWrite: Text on a file that cannot be written: translating is for the main thread.
    """

    name: str
    grid: Grid
    voxels: np.ndarray = field(repr=False)
    labels: object
    reversed: bool
    times: dict = field(repr=False)
    cannotWrite: str

    def write(self, folder):
        """Write the files.

        Args:
            folder: Where to write; it is made.

        Returns:
            `InputFiles`.

        Raises:
            InputProblem: If segments overlap, or no segment has a voxel inside the volume.
            OSError: If a file cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        image, labels = folder / f"{self.name}.nrrd", None
        array, names = self._labels()
        if array is not None:
            labels = folder / LABELS_FILE
            self._write(_namedLabels(imageOnGrid(array, self.grid), names), labels)
        self._write(imageOnGrid(self.voxels, self.grid), image)
        content = contentOfArrays(self.grid, self.voxels, array, names)
        sha256 = {"image": _hashOfFile(image), "labels": labels and _hashOfFile(labels)}
        return InputFiles(image, labels, names, sha256, content, self.times)

    def isStill(self, content):
        """Whether it is what was written before; labels that are refused now are not.

        Args:
            content: Of the `InputFiles` of then.
        """
        try:
            array, names = self._labels()
        except InputProblem:  # such as segments that overlap now
            return False
        return isSameContent(contentOfArrays(self.grid, self.voxels, array, names), content)

    def _labels(self):
        """The labels in the order of files, `None` without a segmentation, and their names."""
        if self.labels is None:
            return None, {}
        array, names = self.labels()
        return (array[::-1] if self.reversed else array), names

    def _write(self, image, path):
        """Write an image without compression: the worker reads it once."""
        try:
            sitk.WriteImage(image, str(path), useCompression=False)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise OSError(self.cannotWrite.format(path=path, reason=reason)) from error


def _namedLabels(image, names):
    """Write the names into the header, in the keys of Slicer's segmentation files."""
    extent = " ".join(f"0 {count - 1}" for count in image.GetSize())
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    for number, (value, name) in enumerate(sorted(names.items())):
        keys = {"ID": f"Segment_{value}", "Name": name, "LabelValue": str(value)}
        for key, text in {**keys, "Layer": "0", "Extent": extent}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    return image


def _hashOfFile(path):
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
