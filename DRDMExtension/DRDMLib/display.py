"""What the views show: the original, one sample of it, its grid, arrows or contours, its det J.

To show a sample is to put the volume and its segmentation under the transform of the sample;
nothing is hardened, and `showOriginal` takes it back.
"""

import slicer
from slicer.i18n import tr as _

from DRDMLib.browser import browserOf
from DRDMLib.griddrawing import GRID_MODES, gridMode, setGridVisible
from DRDMLib.jacobianoverlay import hideJacobian, showJacobian
from DRDMLib.problems import InputProblem
from DRDMLib.samplefields import gridTransformOf, requireGridOf
from DRDMLib.samples import sampleOf
from DRDMLib.sceneroles import (
    BROWSER,
    NAME,
    SEGMENTATION_ROLE,
    VOLUME_ROLE,
    baseTransformOf,
    inScene,
    isSample,
    isSampleTransform,
    nodesOfClass,
    readJson,
    setParent,
)

__all__ = [
    "GRID_MODES",
    "gridMode",
    "hideJacobian",
    "setGridVisible",
    "showJacobian",
    "showOriginal",
    "showSample",
    "shownSample",
]


def showSample(node):
    """Show a sample: its volume and its segmentation go under its transform.

    Grids and det J of other samples of the volume are taken from the views.

    Args:
        node: Transform of the sample.

    Raises:
        InputProblem: If the sample or its volume is gone, the volume has another grid now, or the
            segmentation is under another transform than the volume.
    """
    sample = sampleOf(node)
    volume, segmentation = sample.volumeNode, sample.segmentationNode
    if volume is None:
        raise InputProblem(
            _(
                "The volume of '{name}' must be in the scene, but was removed: load it again."
            ).format(name=node.GetName())
        )
    requireGridOf(gridTransformOf(node), volume)
    base = baseTransformOf(volume)
    _requireBase(node, base, volume, segmentation)
    for other in _samplesOfVolume(volume):
        if other is not node:
            _clearViews(other)
    setParent(node, base)
    for each in (volume, segmentation):
        if each is not None:
            setParent(each, node)


def showOriginal(volumeNode, segmentationNode=None):
    """Show a volume and its segmentation as they are, and no grid or det J of a sample.

    Args:
        volumeNode: The volume.
        segmentationNode: What to show with it; by default all that is shown under a sample of it.
    """
    samples = _samplesOfVolume(volumeNode)
    nodes = [volumeNode, segmentationNode, *_segmentationsOf(samples)]
    for each in nodes:
        if inScene(each):
            setParent(each, baseTransformOf(each))
    for each in samples:
        _clearViews(each)


def shownSample(volumeNode):
    """The sample that a volume is shown as, also by a sequence browser; `None` for the original."""
    parent = volumeNode.GetParentTransformNode() if volumeNode is not None else None
    if not isSampleTransform(parent):
        return None
    if isSample(parent):
        return parent
    browser = browserOf(volumeNode)
    if browser is None:
        return None
    names, number = readJson(browser, BROWSER, []), browser.GetSelectedItemNumber()
    shown = names[number] if 0 <= number < len(names) else None
    named = [each for each in _samplesOfVolume(volumeNode) if each.GetAttribute(NAME) == shown]
    return named[0] if named else None


def _requireBase(node, base, volume, segmentation):
    """Refuse transforms above the volume that the sample cannot lie under."""
    if base is not None and (base is node or _isUnder(base, node)):
        raise InputProblem(
            _(
                "'{name}' must not be under the sample '{sample}' that it is above of: move it "
                "out in the Transforms module."
            ).format(name=base.GetName(), sample=node.GetName())
        )
    if segmentation is not None and baseTransformOf(segmentation) is not base:
        raise InputProblem(
            _(
                "'{volume}' and '{segmentation}' must be under the same transform to be shown "
                "deformed: put both under one, or harden them and make new samples."
            ).format(volume=volume.GetName(), segmentation=segmentation.GetName())
        )


def _isUnder(node, transform):
    """Whether a node is under a transform, directly or not."""
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not transform:
        parent = parent.GetParentTransformNode()
    return parent is not None


def _samplesOfVolume(volumeNode):
    """The transforms of the samples of a volume."""
    nodes = nodesOfClass("vtkMRMLTransformNode")
    return [each for each in nodes if isSample(each) and _deforms(each, volumeNode)]


def _deforms(node, volumeNode):
    """Whether a sample is one of this volume."""
    return node.GetNodeReference(VOLUME_ROLE) is volumeNode


def _segmentationsOf(samples):
    """The segmentations that samples deform, once each."""
    found = {each.GetNodeReferenceID(SEGMENTATION_ROLE) for each in samples}
    return [slicer.mrmlScene.GetNodeByID(each) for each in sorted(found - {None})]


def _clearViews(node):
    """Take grid and det J of a sample from the views."""
    setGridVisible(node, "none")
    hideJacobian(node)
