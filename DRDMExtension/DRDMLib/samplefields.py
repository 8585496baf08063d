"""The field of a sample: from its file into its transform, scaled, and back to a file."""

import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

from DRDMLib.nodegeometry import (
    fieldFromGridTransform,
    fileGridOf,
    gridOfTransform,
    gridTransformFromField,
)
from DRDMLib.problems import InputProblem
from DRDMLib.sceneroles import (
    AMPLITUDE,
    BASE,
    BASE_ROLE,
    QUALITY,
    STEPS_ROLE,
    isSample,
    nodesOfClass,
    removeWithParts,
    writeJson,
)


def readField(path):
    """A field file as a grid transform.

    Raises:
        OSError: If the file cannot be read.
        InputProblem: If it holds no displacements along three axes.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(
            _("{path} cannot be read ({reason}): make the sample again.").format(
                path=path, reason=reason
            )
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
        raise InputProblem(
            _(
                "{path} must hold displacements along three axes, but has {axes} axes and "
                "{count} numbers per voxel: give a field that was made for this volume."
            ).format(
                path=path, axes=image.GetDimension(), count=image.GetNumberOfComponentsPerPixel()
            )
        )
    return gridTransformFromField(image)


def gridTransformOf(node):
    """The grid transform that a node stores.

    Raises:
        InputProblem: If it stores something else, as after hardening or inverting it.
    """
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    if transform is None or transform.GetInverseFlag():
        raise InputProblem(
            _(
                "'{name}' must hold one displacement field as it was made, but was inverted or "
                "combined with another transform: make the sample again."
            ).format(name=node.GetName())
        )
    return transform


def requireGridOf(transform, volumeNode):
    """Refuse a volume that does not lie on the grid of a transform.

    Raises:
        InputProblem: With the name of the volume.
    """
    if volumeNode.GetImageData() is None or not fileGridOf(volumeNode).isSame(
        gridOfTransform(transform)
    ):
        raise InputProblem(
            _(
                "'{name}' must lie on the grid that the sample was made for, but was resampled, "
                "moved or replaced since: undo that, or make new samples."
            ).format(name=volumeNode.GetName())
        )


def writeField(node, path):
    """Write the field of a sample as DRDMCore reads it: mm, LPS, the numbers that were read.

    Raises:
        InputProblem: If the node does not hold one field any more.
        OSError: If the file cannot be written.
    """
    image = fieldFromGridTransform(gridTransformOf(node))
    try:
        sitk.WriteImage(image, str(path), useCompression=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(
            _("{path} cannot be written ({reason}): free some space on the disk.").format(
                path=path, reason=reason
            )
        ) from error


def writeBaseField(node, path):
    """Write the field of a sample at 100 %, whatever its amplitude is; see `writeField`."""
    writeField(node.GetNodeReference(BASE_ROLE) or node, path)


def setScaledField(node, fieldPath, amplitude, quality):
    """Give a sample another amplitude; the field at 100 % is kept in a hidden transform.

    Args:
        node: The sample.
        fieldPath: The scaled field, as DRDMCore writes it, on the grid of the sample.
        amplitude: Its part of the drawn displacement, 1 for all of it.
        quality: What DRDMCore measured of it.

    Raises:
        InputProblem: If the field lies on another grid than the sample.
        OSError: If the file cannot be read.
    """
    drawn = gridTransformOf(node)
    scaled = readField(fieldPath)
    if not gridOfTransform(scaled).isSame(gridOfTransform(drawn)):
        raise InputProblem(
            _("The scaled field must lie on the grid of '{name}', but does not.").format(
                name=node.GetName()
            )
        )
    if node.GetNodeReference(BASE_ROLE) is None:
        _keepBase(node, drawn)
    node.SetAndObserveTransformFromParent(scaled)
    node.SetAttribute(AMPLITUDE, repr(float(amplitude)))
    writeJson(node, QUALITY, quality)


def resetAmplitude(node):
    """Give a sample back its field at 100 %, bit for bit, and what was measured of it."""
    base = node.GetNodeReference(BASE_ROLE)
    if base is None:
        return
    node.SetAndObserveTransformFromParent(gridTransformOf(base))
    node.SetAttribute(AMPLITUDE, "1.0")
    node.SetAttribute(QUALITY, base.GetAttribute(QUALITY))
    removeWithParts(base)


def restoreFields():
    """Set fields that Slicer has read from files back to float and linear interpolation.

    Slicer reads every grid transform as double and cubic. To be called when a scene was opened.
    """
    for node in nodesOfClass("vtkMRMLTransformNode"):
        if isSample(node) or node.GetAttribute(BASE) or node.GetNodeReferenceID(STEPS_ROLE):
            restoreField(node)
    for sequence in nodesOfClass("vtkMRMLSequenceNode"):
        if sequence.GetNodeReferenceID(STEPS_ROLE):
            for number in range(sequence.GetNumberOfDataNodes()):
                restoreField(sequence.GetNthDataNode(number))


def restoreField(node):
    """Set the field of a transform back to float and linear interpolation."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    if transform is None:
        return
    isFloat = transform.GetDisplacementGrid().GetScalarType() == vtk.VTK_FLOAT
    if not isFloat or transform.GetInterpolationModeAsString() != "Linear":
        plain = gridTransformFromField(fieldFromGridTransform(transform))
        node.SetAndObserveTransformFromParent(plain)


def _keepBase(node, transform):
    """Keep a field in a hidden transform of its own; the object is passed on, not copied."""
    base = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLTransformNode", f"{node.GetName()}_at_100_percent"
    )
    base.SetHideFromEditors(True)
    base.SetAndObserveTransformFromParent(transform)
    base.SetAttribute(BASE, "1")
    base.SetAttribute(QUALITY, node.GetAttribute(QUALITY))
    node.SetNodeReferenceID(BASE_ROLE, base.GetID())
