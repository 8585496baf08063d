"""A sequence browser that steps through samples, made on demand."""

import slicer
from slicer.i18n import tr as _

from DRDMLib.folders import leaveFolder
from DRDMLib.problems import InputProblem
from DRDMLib.samplefields import gridTransformOf, requireGridOf
from DRDMLib.sceneroles import (
    BROWSER,
    STEPS_ROLE,
    baseTransformOf,
    isSample,
    nodesOfClass,
    removeWithParts,
    setParent,
    writeJson,
)

_BEFORE_ROLE = "DRDMBefore"


def makeBrowser(volumeNode, samples):
    """Make a browser whose steps show samples; a browser of the volume made before is replaced.

    The volume and the segmentation go under the transform that the browser steps. It steps through
    the fields that the samples have now: make it again after one has changed.

    Args:
        volumeNode: The volume of the samples.
        samples: What `samplesOf` lists, or some of it, at least one.

    Returns:
        The sequence browser node.

    Raises:
        InputProblem: If there is no sample, or one is of another volume.
    """
    _requireSamplesOf(volumeNode, samples)
    removeBrowser(volumeNode)
    scene = slicer.mrmlScene
    title = _("DRDM samples of {name}").format(name=volumeNode.GetName())
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", title)
    sequence.SetIndexName(_("sample"))
    sequence.SetIndexUnit("")
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.TextIndex)
    for sample in samples:
        _addItem(sequence, sample)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", title)
    writeJson(browser, BROWSER, [each.name for each in samples])
    for node in (browser, sequence):
        node.SetNodeReferenceID(STEPS_ROLE, volumeNode.GetID())
    _showProxy(browser, sequence, volumeNode, samples[0].segmentationNode)
    return browser


def removeBrowser(volumeNode):
    """Remove the browser of a volume; the volume is shown as it was before the browser."""
    browser = browserOf(volumeNode)
    before = None if browser is None else browser.GetNodeReference(_BEFORE_ROLE)
    ours = _nodesStepping(volumeNode)
    for node in nodesOfClass("vtkMRMLTransformableNode") if ours else []:
        if node.GetParentTransformNode() in ours:
            setParent(node, before or baseTransformOf(node))
    for node in ours:
        leaveFolder(node)
        removeWithParts(node)


def browserOf(volumeNode):
    """The browser of a volume, or `None`."""
    ours = _nodesStepping(volumeNode)
    return next((each for each in ours if each.IsA("vtkMRMLSequenceBrowserNode")), None)


def _nodesStepping(volumeNode):
    """The browser of a volume, its sequence and its transform; what is left, if one was removed."""
    kinds = ("vtkMRMLSequenceBrowserNode", "vtkMRMLSequenceNode", "vtkMRMLTransformNode")
    nodes = [node for kind in kinds for node in nodesOfClass(kind)]
    return [each for each in nodes if each.GetNodeReference(STEPS_ROLE) is volumeNode]


def _requireSamplesOf(volumeNode, samples):
    """Refuse no samples, and samples of another volume."""
    if not samples:
        raise InputProblem(_("There must be a sample to step through, but there is none."))
    for sample in samples:
        if sample.volumeNode is not volumeNode:
            raise InputProblem(
                _("'{sample}' must be a sample of '{volume}', but is not.").format(
                    sample=sample.name, volume=volumeNode.GetName()
                )
            )
        requireGridOf(gridTransformOf(sample.node), volumeNode)


def _addItem(sequence, sample):
    """Add a transform with the field of a sample, and nothing by which it would pass for one.

    The sequence copies what it is given, which takes a while for a large field: so it gets an empty
    transform, and that the object that holds the field. Nobody writes into that.
    """
    item = slicer.vtkMRMLTransformNode()
    item.SetName(sample.node.GetName())
    stored = sequence.SetDataNodeAtValue(item, sample.name)
    stored.SetAndObserveTransformFromParent(gridTransformOf(sample.node))


def _showProxy(browser, sequence, volumeNode, segmentationNode):
    """Put the volume and its segmentation under a new transform that the browser steps."""
    base, before = baseTransformOf(volumeNode), volumeNode.GetParentTransformNode()
    if isSample(before):
        browser.SetNodeReferenceID(_BEFORE_ROLE, before.GetID())
    proxy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", browser.GetName())
    # Stepping writes into the transform of the proxy, so it may share none with a sample.
    proxy.CopyContent(sequence.GetNthDataNode(0))
    proxy.SetNodeReferenceID(STEPS_ROLE, volumeNode.GetID())
    browser.AddProxyNode(proxy, sequence, False)
    setParent(proxy, base)
    for node in (volumeNode, segmentationNode):
        if node is not None and baseTransformOf(node) is base:
            setParent(node, proxy)
