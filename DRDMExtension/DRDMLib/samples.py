"""Samples in the scene: one grid transform each, with all that is known of it as attributes.

A sample is never hardened. Its transform maps output points to input points ("from parent") in
the local coordinates of the volume, and lies under the transform that the volume was under.
"""

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from DRDMLib.browser import browserOf, removeBrowser
from DRDMLib.folders import leaveFolder, putIntoFolder
from DRDMLib.inputs import safeName
from DRDMLib.problems import InputProblem
from DRDMLib.samplefields import (
    baseFieldOf,
    fieldOf,
    gridTransformOf,
    requireGridOf,
    resetAmplitude,
    restoreFields,
    setScaledField,
)
from DRDMLib.sceneroles import (
    AMPLITUDE,
    BASE_ROLE,
    BROWSER,
    INPUT,
    KEEP,
    LEVEL,
    MODEL,
    NAME,
    QUALITY,
    SAMPLE,
    SAMPLE_ROLE,
    SEED,
    SEGMENTATION_ROLE,
    SETTINGS,
    VERSIONS,
    VOLUME_ROLE,
    baseTransformOf,
    inScene,
    isSample,
    nodesOfClass,
    readJson,
    removeWithParts,
    setParent,
    writeJson,
)

__all__ = [
    "Sample",
    "addSample",
    "baseFieldOf",
    "derivedNodes",
    "fieldOf",
    "gridTransformOf",
    "removeSample",
    "resetAmplitude",
    "restoreFields",
    "sampleOf",
    "samplesOf",
    "setKeep",
    "setScaledField",
]


@dataclass(eq=False)
class Sample:
    """A sample as the scene holds it now.

    Attributes:
        node: Its transform.
        name: Its name in files; no other sample of the scene has it.
        seed: What it was drawn from.
        level: Its level of deformation, if one was asked for.
        amplitude: 1 as drawn; other factors after `setScaledField`.
        keep: Whether it is to be exported.
        quality: What DRDMCore measured.
        model: Name, path and hash of its model.
        settings: How it was made.
        inputHashes: Hashes of what it was made from.
        versions: Versions of what made it.
        volumeNode: The volume it deforms; `None` if that is gone.
        segmentationNode: The segmentation it deforms with the volume, if any.
    """

    node: object
    name: str
    seed: int
    level: int | None
    amplitude: float
    keep: bool
    quality: dict
    model: dict
    settings: dict
    inputHashes: dict
    versions: dict
    volumeNode: object
    segmentationNode: object


def addSample(
    field, entry, *, volumeNode, segmentationNode, model, settings, inputHashes, versions
):
    """Put a sample into the scene; the volume and the segmentation stay as they are.

    Args:
        field: Displacement field on the grid of the volume, as `FieldReading` answers it.
        entry: Description of the sample by the worker: `seed`, `quality`.
        volumeNode: The volume it was made from.
        segmentationNode: The segmentation it was made from, or `None`.
        model: Description of its model.
        settings: How it was made.
        inputHashes: Hashes of its inputs.
        versions: Versions of what made it.

    Returns:
        The transform node.

    Raises:
        InputProblem: If the volume is gone, or the field lies on another grid.
    """
    facts = {MODEL: model, SETTINGS: settings, INPUT: inputHashes, VERSIONS: versions}
    node = _newNode(field, volumeNode)
    _setReferences(node, volumeNode, segmentationNode)
    _describe(node, entry, settings)
    for attribute, value in facts.items():
        writeJson(node, attribute, value)
    putIntoFolder(node, volumeNode, [each.node for each in samplesOf(volumeNode)])
    # Marked last, so that whoever is told of changes never sees half a sample.
    node.SetAttribute(SAMPLE, "1")
    return node


def samplesOf(volumeNode=None):
    """The samples of a volume, or of all volumes, in the order of the scene.

    Fields that Slicer has read from files are set back first (see `restoreFields`).
    """
    restoreFields()
    samples = [_sampleOf(node) for node in nodesOfClass("vtkMRMLTransformNode") if isSample(node)]
    return [each for each in samples if volumeNode is None or each.volumeNode is volumeNode]


def sampleOf(node):
    """The sample of a transform node.

    Raises:
        InputProblem: If the node is none, or is gone.
    """
    if not inScene(node) or not isSample(node):
        raise InputProblem(_("A sample must be chosen, but it is gone: choose another."))
    return _sampleOf(node)


def setKeep(node, keep):
    """Say whether a sample is to be exported."""
    node.SetAttribute(KEEP, "1" if keep else "0")


def removeSample(node):
    """Remove a sample; whatever lies under its transform goes back to where it was.

    Raises:
        InputProblem: If the node is no sample, or is gone.
    """
    sampleOf(node)
    _removeFromBrowser(node)
    for each in nodesOfClass("vtkMRMLTransformableNode"):
        if each.GetParentTransformNode() is node:
            setParent(each, baseTransformOf(each))
    parts = [*derivedNodes(node), node.GetNodeReference(BASE_ROLE), node]
    for each in parts:
        if each is not None:
            leaveFolder(each)
            removeWithParts(each)


def _removeFromBrowser(node):
    """Remove the browser of the volume of a sample if it steps through that sample."""
    volume = node.GetNodeReference(VOLUME_ROLE)
    browser = None if volume is None else browserOf(volume)
    if browser is not None and node.GetAttribute(NAME) in readJson(browser, BROWSER, []):
        removeBrowser(volume)


def derivedNodes(node):
    """The volumes and transforms that were computed from a sample."""
    nodes = nodesOfClass("vtkMRMLScalarVolumeNode") + nodesOfClass("vtkMRMLTransformNode")
    return [each for each in nodes if each.GetNodeReference(SAMPLE_ROLE) is node]


def _newNode(field, volumeNode):
    """A transform node with a field, named after the volume, under its transform."""
    if not inScene(volumeNode):
        raise InputProblem(_("The volume of the sample must be in the scene, but is gone."))
    requireGridOf(field, volumeNode)
    name = _freeName(volumeNode)
    title = f"{volumeNode.GetName()}_{name.rsplit('_', 1)[1]}"
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", title)
    node.SetAndObserveTransformFromParent(field)
    node.SetAttribute(NAME, name)
    setParent(node, baseTransformOf(volumeNode))
    return node


def _freeName(volumeNode):
    """A name for files that no sample has: the number after the highest of this volume."""
    stem = safeName(volumeNode.GetName())
    taken = [node.GetAttribute(NAME) or "" for node in nodesOfClass("vtkMRMLTransformNode")]
    tails = [name[len(stem) + 1 :] for name in taken if name.startswith(f"{stem}_")]
    return f"{stem}_{max((int(tail) for tail in tails if tail.isdigit()), default=0) + 1:04d}"


def _setReferences(node, volumeNode, segmentationNode):
    """Remember what the sample deforms."""
    node.SetNodeReferenceID(VOLUME_ROLE, volumeNode.GetID())
    if inScene(segmentationNode):
        node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentationNode.GetID())


def _describe(node, entry, settings):
    """Set the facts that a user may want to see, also in the Data module."""
    level = settings.get("level")
    node.SetAttribute(SEED, str(int(entry["seed"])))
    if level is not None:
        node.SetAttribute(LEVEL, str(int(level)))
    node.SetAttribute(AMPLITUDE, "1.0")
    setKeep(node, True)
    writeJson(node, QUALITY, entry.get("quality") or {})
    node.SetDescription(_("DRDM sample, seed {seed}").format(seed=entry["seed"]))


def _sampleOf(node):
    """The sample of a transform node that is one."""
    level = node.GetAttribute(LEVEL)
    return Sample(
        node=node,
        name=node.GetAttribute(NAME),
        seed=int(node.GetAttribute(SEED)),
        level=None if level is None else int(level),
        amplitude=float(node.GetAttribute(AMPLITUDE) or 1),
        keep=node.GetAttribute(KEEP) == "1",
        quality=readJson(node, QUALITY, {}),
        model=readJson(node, MODEL, {}),
        settings=readJson(node, SETTINGS, {}),
        inputHashes=readJson(node, INPUT, {}),
        versions=readJson(node, VERSIONS, {}),
        volumeNode=node.GetNodeReference(VOLUME_ROLE),
        segmentationNode=node.GetNodeReference(SEGMENTATION_ROLE),
    )
