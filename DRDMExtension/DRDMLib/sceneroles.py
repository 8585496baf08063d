"""How our nodes are known in a scene, also in one that was saved and opened again."""

import json

import slicer

SAMPLE = "DRDM.sample"
"""Attribute of the transform of a sample; its facts are the attributes below."""
NAME = "DRDM.name"
SEED = "DRDM.seed"
LEVEL = "DRDM.level"
AMPLITUDE = "DRDM.amplitude"
KEEP = "DRDM.keep"
MODEL = "DRDM.model"
SETTINGS = "DRDM.settings"
INPUT = "DRDM.input"
QUALITY = "DRDM.quality"
VERSIONS = "DRDM.versions"

BASE = "DRDM.base"
"""Attribute of the hidden transform that keeps a scaled sample at 100 %."""
BROWSER = "DRDM.browser"
"""Attribute of a sequence browser of ours: the names of the samples that it steps."""
DERIVED = "DRDM.derived"
"""Attribute of a volume that was computed from a sample, such as its det J."""
FOLDER = "DRDM.folder"
"""Attribute of the folder of the samples of a volume, in the subject hierarchy."""

VOLUME_ROLE = "DRDMVolume"
SEGMENTATION_ROLE = "DRDMSegmentation"
BASE_ROLE = "DRDMBase"
SAMPLE_ROLE = "DRDMSample"
"""Reference of what was computed from a sample."""
STEPS_ROLE = "DRDMSteps"
"""Reference to the volume that a browser of ours steps; also of its sequence and its transform.

Stepping copies the attributes of the items, and files of sequences have none: references stay.
"""


def isSample(node):
    """Whether a node is the transform of a sample."""
    return node is not None and node.GetAttribute(SAMPLE) == "1"


def isSampleTransform(node):
    """Whether a node is a transform that shows a sample: the sample itself, or a browser's."""
    return isSample(node) or (node is not None and bool(node.GetNodeReferenceID(STEPS_ROLE)))


def baseTransformOf(node):
    """The parent transform of a node, passing over transforms that show samples; or `None`."""
    parent = node.GetParentTransformNode()
    while isSampleTransform(parent):
        parent = parent.GetParentTransformNode()
    return parent


def setParent(node, parent):
    """Put a node under a transform, or under none."""
    wanted = parent.GetID() if parent is not None else None
    if node.GetTransformNodeID() != wanted:
        node.SetAndObserveTransformNodeID(wanted)


def inScene(node):
    """Whether a node is given and lies in the scene of the application."""
    return node is not None and slicer.mrmlScene.IsNodePresent(node) != 0


def nodesOfClass(className):
    """The nodes of a class, in the order of the scene."""
    scene = slicer.mrmlScene
    count = scene.GetNumberOfNodesByClass(className)
    return [scene.GetNthNodeByClass(i, className) for i in range(count)]


def removeWithParts(node):
    """Remove a node from the scene, with its display and storage nodes."""
    parts = [
        node.GetNthNodeReference(role, number)
        for role in ("display", "storage")
        for number in range(node.GetNumberOfNodeReferences(role))
    ]
    for each in (node, *parts):
        if inScene(each):
            slicer.mrmlScene.RemoveNode(each)


def writeJson(node, attribute, value):
    """Keep a value as an attribute; ASCII, so that no file format can spoil it."""
    node.SetAttribute(attribute, json.dumps(value, sort_keys=True))


def readJson(node, attribute, default=None):
    """A value kept by `writeJson`; `default` where there is none."""
    text = node.GetAttribute(attribute)
    return default if not text else json.loads(text)
