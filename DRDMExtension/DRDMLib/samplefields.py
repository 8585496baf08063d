"""The field of a sample: the transform that holds it, scaled, and as it was drawn."""

import slicer
import vtk
from slicer.i18n import tr as _

from DRDMLib.gridfiles import FieldWriting
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


def fieldOf(node):
    """The field of a sample as it is now, to be written in any thread: a `FieldWriting`.

    Raises:
        InputProblem: If the node does not hold one field any more.
    """
    return FieldWriting(gridTransformOf(node))


def baseFieldOf(node):
    """The field of a sample at 100 %, whatever its amplitude is; see `fieldOf`."""
    return fieldOf(node.GetNodeReference(BASE_ROLE) or node)


def setScaledField(node, scaled, amplitude, quality):
    """Give a sample another amplitude; the field at 100 % is kept in a hidden transform.

    Args:
        node: The sample.
        scaled: The scaled field on the grid of the sample, as `FieldReading` answers it.
        amplitude: Its part of the drawn displacement, 1 for all of it.
        quality: What DRDMCore measured of it.

    Raises:
        InputProblem: If the field lies on another grid than the sample.
    """
    drawn = gridTransformOf(node)
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
