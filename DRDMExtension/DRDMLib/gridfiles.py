"""Fields and volumes of the worker, between files and VTK: made on the main thread, used in any.

Texts are translated when these are made. What is read belongs to nobody else until it is given to
a node; what is written is the array of a node, which nodes replace and do not change.
"""

import SimpleITK as sitk
from slicer.i18n import tr as _

from DRDMLib.nodegeometry import (
    displacementsArray,
    fieldFromVectors,
    gridOfImage,
    gridOfTransform,
    gridTransformFromField,
    imageDataFromImage,
)
from DRDMLib.problems import InputProblem


class FieldReading:
    """A field file that becomes a grid transform."""

    def __init__(self, path):
        """Take the path; nothing is read yet."""
        self._path = path
        self._cannotRead = _("{path} cannot be read ({reason}): make the sample again.")
        self._noField = _(
            "{path} must hold displacements along three axes, but has {axes} axes and "
            "{count} numbers per voxel: give a field that was made for this volume."
        )

    def read(self):
        """The field as a `vtkOrientedGridTransform`.

        Raises:
            OSError: If the file cannot be read.
            InputProblem: If it holds no displacements along three axes.
        """
        image = _readImage(self._path, self._cannotRead)
        axes, count = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
        if (axes, count) != (3, 3):
            raise InputProblem(self._noField.format(path=self._path, axes=axes, count=count))
        return gridTransformFromField(image)


class VolumeReading:
    """A volume file that becomes what a volume node holds."""

    def __init__(self, path):
        """Take the path; nothing is read yet."""
        self._path = path
        self._cannotRead = _("{path} cannot be read ({reason}).")

    def read(self):
        """The numbers, a `vtkImageData`, and their `Grid`.

        Raises:
            OSError: If the file cannot be read.
        """
        image = _readImage(self._path, self._cannotRead)
        return imageDataFromImage(image), gridOfImage(image)


class FieldWriting:
    """The field of a grid transform on its way to a file, as DRDMCore reads it: mm, LPS."""

    def __init__(self, transform):
        """Take the numbers of a `vtkOrientedGridTransform`; they are not copied."""
        self._grid = gridOfTransform(transform)
        self._vectors = displacementsArray(transform.GetDisplacementGrid())
        self._cannotWrite = _("{path} cannot be written ({reason}): free some space on the disk.")

    def write(self, path):
        """Write the numbers as they were read.

        Raises:
            OSError: If the file cannot be written.
        """
        image = fieldFromVectors(self._vectors, self._grid)
        try:
            sitk.WriteImage(image, str(path), useCompression=False)
        except RuntimeError as error:
            raise OSError(self._cannotWrite.format(path=path, reason=_reason(error))) from error


def _readImage(path, cannotRead):
    """The image of a file; `cannotRead` is the text if there is none."""
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(cannotRead.format(path=path, reason=_reason(error))) from error


def _reason(error):
    """What matters of what ITK says."""
    return str(error).strip().splitlines()[-1]
