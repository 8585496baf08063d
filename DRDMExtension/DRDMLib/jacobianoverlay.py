"""The change of volume (det J) of a sample in colours over the slice views.

Blue shrinks, red grows, where nothing changes the image shows through, and black is folded.
"""

import slicer
from slicer.i18n import tr as _

from DRDMLib.folders import leaveFolder, putIntoFolder
from DRDMLib.nodegeometry import placeVolume
from DRDMLib.samples import derivedNodes, sampleOf
from DRDMLib.sceneroles import (
    DERIVED,
    SAMPLE_ROLE,
    baseTransformOf,
    inScene,
    nodesOfClass,
    removeWithParts,
    setParent,
)

KIND = "jacobian"
WINDOW = (0.0, 2.0)
"""Range of the colours; 1 in the middle is no change."""
OPACITY = 0.6

_COLOURS = 256
_TABLE_TAG = "DRDMJacobian"
_FOREGROUND_ROLE = "DRDMForeground"
_FOREGROUND_OPACITY = "DRDM.foregroundOpacity"
_SHRINKS, _SAME, _GROWS, _FOLDED = (0.1, 0.2, 0.8), (1.0, 1.0, 1.0), (0.8, 0.1, 0.1), (0, 0, 0)


def showJacobian(volumeRead, node):
    """Show det J of a sample in the foreground of all slice views.

    Args:
        volumeRead: Det J on the grid of the sample, as `VolumeReading` answers it.
        node: Transform of the sample.

    Returns:
        The volume node; it goes with the sample.

    Raises:
        InputProblem: If the sample is gone.
    """
    sample = sampleOf(node)
    hideJacobian(node)
    volume = _newVolume(*volumeRead, _("det J of {name}").format(name=node.GetName()))
    volume.SetAttribute(DERIVED, KIND)
    volume.SetNodeReferenceID(SAMPLE_ROLE, node.GetID())
    # det J belongs to the deformed image, whose grid is the original's: above it is no sample.
    setParent(volume, baseTransformOf(sample.volumeNode or node))
    putIntoFolder(volume, sample.volumeNode or volume, [node])
    _putInForeground(volume)
    return volume


def hideJacobian(node):
    """Remove det J of a sample; the slice views get back the foreground that they had."""
    for volume in derivedNodes(node):
        if volume.GetAttribute(DERIVED) == KIND:
            _restoreForeground(volume)
            leaveFolder(volume)
            removeWithParts(volume)


def jacobianOf(node):
    """The volume of det J of a sample that is shown, or `None`."""
    shown = [each for each in derivedNodes(node) if each.GetAttribute(DERIVED) == KIND]
    return shown[0] if shown else None


def _newVolume(imageData, grid, name):
    """A volume node with fixed window and our colours."""
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    placeVolume(volume, grid)
    # Before the numbers: a window that fits them would be looked for in all of them.
    volume.CreateDefaultDisplayNodes()
    _setColours(volume.GetDisplayNode())
    volume.SetAndObserveImageData(imageData)
    return volume


def _setColours(display):
    """Fixed window and our colours."""
    wasModified = display.StartModify()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*WINDOW)
    display.SetInterpolate(False)
    display.SetAndObserveColorNodeID(_colourTable().GetID())
    display.EndModify(wasModified)


def _colourTable():
    """Our colours; a scene has them once, also after it was saved and opened."""
    scene = slicer.mrmlScene
    table = scene.GetSingletonNode(_TABLE_TAG, "vtkMRMLColorTableNode")
    if table is not None:
        return table
    table = slicer.vtkMRMLColorTableNode()
    table.SetSingletonTag(_TABLE_TAG)
    table.SetName(_("DRDM volume change"))
    table.SetTypeToUser()
    table.SetAttribute("Category", "DRDM")
    table.SetNumberOfColors(_COLOURS)
    for number in range(_COLOURS):
        colour, opacity = _colour(number)
        table.SetColor(number, f"{2 * number / (_COLOURS - 1):.2f}", *colour, opacity)
    return scene.AddNode(table)


def _colour(number):
    """Colour and opacity of one entry: the further from no change, the stronger."""
    if number == 0:
        return _FOLDED, 1.0
    change = 2 * number / (_COLOURS - 1) - 1
    end, strength = (_GROWS if change > 0 else _SHRINKS), min(1.0, abs(change))
    colour = tuple(a + (b - a) * strength for a, b in zip(_SAME, end, strict=True))
    return colour, min(1.0, 2 * strength)


def _putInForeground(volume):
    """Show a volume over the slices, and remember with it what was there before."""
    for composite in nodesOfClass("vtkMRMLSliceCompositeNode"):
        view = composite.GetLayoutName() or composite.GetID()
        before = composite.GetForegroundVolumeID()
        volume.SetNodeReferenceID(f"{_FOREGROUND_ROLE}.{view}", before)
        opacity = repr(composite.GetForegroundOpacity())
        volume.SetAttribute(f"{_FOREGROUND_OPACITY}.{view}", opacity)
        composite.SetForegroundVolumeID(volume.GetID())
        composite.SetForegroundOpacity(OPACITY)


def _restoreForeground(volume):
    """Give the slice views back what they had, unless the user has chosen another since."""
    for composite in nodesOfClass("vtkMRMLSliceCompositeNode"):
        view = composite.GetLayoutName() or composite.GetID()
        opacity = volume.GetAttribute(f"{_FOREGROUND_OPACITY}.{view}")
        if opacity is None or composite.GetForegroundVolumeID() != volume.GetID():
            continue
        before = volume.GetNodeReference(f"{_FOREGROUND_ROLE}.{view}")
        composite.SetForegroundVolumeID(before.GetID() if inScene(before) else None)
        composite.SetForegroundOpacity(float(opacity))
