"""The volume and the segmentation that a job gets: what they must be, and how they get to files."""

import re
import unicodedata

import numpy as np
import slicer
from slicer.i18n import tr as _

from DRDMLib.fingerprints import contentOf, isSameContent, timesOf
from DRDMLib.inputfiles import InputFiles, InputReading
from DRDMLib.labels import isLabelMap, labelsOnVolume, readLabels
from DRDMLib.nodegeometry import fileGridOf, gridOfVolume, inFileOrder
from DRDMLib.problems import InputProblem
from DRDMLib.sceneroles import DERIVED, baseTransformOf, inScene, nodesOfClass

__all__ = [
    "InputFiles",
    "InputProblem",
    "baseTransformOf",
    "checkInputs",
    "inputChanged",
    "inputRemarks",
    "modalityOf",
    "readInputs",
    "safeName",
    "writeInputs",
]

_LONGEST_NAME = 40
_DEVICE = re.compile("con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
"""Names that Windows keeps for itself."""


def checkInputs(volumeNode, segmentationNode=None, values=True):
    """Refuse, with the reason, nodes that no job could take.

    Args:
        volumeNode: The volume to deform.
        segmentationNode: Its segmentation or label map volume, if any.
        values: Look at the voxels too, which takes a moment for a large volume.

    Raises:
        InputProblem: If a node cannot be used, or the two do not fit.
    """
    _requireVolume(volumeNode)
    _requireGrid(volumeNode)
    if segmentationNode is not None:
        _requireSegmentation(segmentationNode)
        _requireSameParent(volumeNode, segmentationNode)
    if values:
        _requireValues(volumeNode)


def writeInputs(volumeNode, segmentationNode, folder):
    """Write the inputs of a job, in the local coordinates of the volume.

    The slices of a left-handed volume are reversed, as Slicer does when it reads one.

    Args:
        volumeNode: The volume; its numbers and their type are kept.
        segmentationNode: Segmentation or label map volume node, or `None`.
        folder: Where to write; it is made.

    Returns:
        `InputFiles`.

    Raises:
        InputProblem: If the nodes cannot be used (see `checkInputs`), segments overlap, or no
            segment has a voxel inside the volume.
        OSError: If a file cannot be written.
    """
    return readInputs(volumeNode, segmentationNode).write(folder)


def readInputs(volumeNode, segmentationNode=None):
    """Copy what a job needs out of the scene; its `write` may be called in any thread.

    Args:
        volumeNode: The volume; its numbers and their type are kept.
        segmentationNode: Segmentation or label map volume node, or `None`.

    Returns:
        `InputReading`.

    Raises:
        InputProblem: If the nodes cannot be used (see `checkInputs`).
    """
    checkInputs(volumeNode, segmentationNode)
    voxels = inFileOrder(slicer.util.arrayFromVolume(volumeNode), volumeNode)
    return InputReading(
        name=safeName(volumeNode.GetName()),
        grid=fileGridOf(volumeNode),
        voxels=voxels.copy(),
        labels=readLabels(segmentationNode, volumeNode) if segmentationNode is not None else None,
        reversed=gridOfVolume(volumeNode).isLeftHanded(),
        times=timesOf(volumeNode, segmentationNode),
        cannotWrite=_("{path} cannot be written ({reason}): free some space on the disk."),
    )


def inputChanged(volumeNode, segmentationNode, files):
    """Whether the nodes are gone, or hold something else than when they were written.

    Args:
        volumeNode: The volume that was written.
        segmentationNode: The segmentation that was written, or `None`.
        files: What `writeInputs` answered, or its `content` alone (kept with a sample).
    """
    given = [node for node in (volumeNode, segmentationNode) if node is not None]
    if volumeNode is None or not all(inScene(node) for node in given):
        return True
    if volumeNode.GetImageData() is None:
        return True
    if getattr(files, "times", None) == timesOf(volumeNode, segmentationNode):
        return False
    try:
        content = contentOf(volumeNode, *_labelsOf(volumeNode, segmentationNode))
    except InputProblem:  # such as segments that overlap now
        return True
    return not isSameContent(content, getattr(files, "content", files))


def inputRemarks(volumeNode, segmentationNode=None):
    """What a user should know about inputs that can be used; a list of sentences."""
    remarks = []
    for node in (volumeNode, segmentationNode):
        for browser in nodesOfClass("vtkMRMLSequenceBrowserNode") if node is not None else []:
            if browser.IsProxyNodeID(node.GetID()):
                remarks.append(
                    _(
                        "'{name}' is item {number} of {count} of the sequence '{browser}': "
                        "samples are made from this item."
                    ).format(
                        name=node.GetName(),
                        number=browser.GetSelectedItemNumber() + 1,
                        count=browser.GetNumberOfItems(),
                        browser=browser.GetName(),
                    )
                )
    return remarks


def modalityOf(volumeNode):
    """The kind of scanner as DICOM has it (`CT`, `MR`, ...); `None` where the scene does not say.

    Slicer keeps it with the series in the subject hierarchy; scripts may set it on the node.
    """
    key = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    kept = hierarchy.GetItemAttribute(item, key) if item else ""
    return kept or volumeNode.GetAttribute(key) or None


def safeName(name):
    """A name of letters, digits, `-` and `_` for files on every system; `image` if none is left."""
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode("ascii")
    safe = re.sub(r"[^A-Za-z0-9-]+", "_", plain)[:_LONGEST_NAME].strip("_-") or "image"
    return f"{safe}_" if _DEVICE.fullmatch(safe) else safe


def _labelsOf(volumeNode, segmentationNode):
    """The labels in the order of files and their names; `None` without a segmentation."""
    if segmentationNode is None:
        return None, {}
    array, names = labelsOnVolume(segmentationNode, volumeNode)
    return inFileOrder(array, volumeNode), names


def _requireVolume(node):
    """Refuse what is no image."""
    if not inScene(node):
        raise InputProblem(_("A volume must be chosen, but none is: load one and choose it."))
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise _problem(
            _("{name} must be a volume: choose a volume with one number per voxel."), node
        )
    if isLabelMap(node):
        raise _problem(
            _(
                "{name} must be an image, but is a label map: choose it as the segmentation, and "
                "the image that it belongs to as the volume."
            ),
            node,
        )
    if node.GetAttribute(DERIVED):
        raise _problem(
            _("{name} must be an image, but was computed from a sample: choose an original."), node
        )
    _requireVoxels(node)


def _requireVoxels(node):
    """Refuse a volume without voxels, or with several numbers per voxel."""
    image = node.GetImageData()
    if image is None or 0 in image.GetDimensions() or image.GetPointData().GetScalars() is None:
        raise _problem(_("{name} must hold voxels, but has none: load it again."), node)
    count = image.GetNumberOfScalarComponents()
    if count != 1:
        raise _problem(
            _(
                "{name} must have one number per voxel, but has {count} (a colour image, a vector "
                "image or a time series): extract one channel or time point first."
            ),
            node,
            count=count,
        )


def _requireGrid(node):
    """Refuse a sheared volume, and one of a single line of voxels."""
    grid = gridOfVolume(node)
    if not grid.isUsable():
        raise _problem(
            _(
                "The axes of {name} must stand at right angles with spacings above 0, but do not "
                "(a tilted gantry?): harden its transform and resample it first."
            ),
            node,
        )
    if sum(count == 1 for count in grid.size) > 1:
        raise _problem(
            _("{name} must be at least a whole slice, but has {size} voxels: choose another."),
            node,
            size=" x ".join(map(str, grid.size)),
        )


def _requireValues(node):
    """Refuse NaN, infinity, and an image of one value."""
    array = slicer.util.arrayFromVolume(node)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _problem(
            _(
                "{name} must hold finite numbers, but {count} voxels are NaN or infinite: "
                "fill them first."
            ),
            node,
            count=int(np.count_nonzero(~np.isfinite(array))),
        )
    if array.min() == array.max():
        raise _problem(
            _("{name} must show something, but every voxel is {value}: choose another."),
            node,
            value=array.min(),
        )


def _requireSegmentation(node):
    """Refuse what holds no labels."""
    if not inScene(node):
        raise InputProblem(_("The segmentation must be in the scene, but is gone: choose another."))
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        if segmentation is None or segmentation.GetNumberOfSegments() == 0:
            raise _problem(
                _("{name} must have a segment, but is empty: add one, or choose none."), node
            )
        return
    if not isLabelMap(node):
        raise _problem(
            _("{name} must be a segmentation or a label map volume: convert it first."), node
        )
    _requireVoxels(node)
    _requireGrid(node)
    if slicer.util.arrayFromVolume(node).dtype.kind not in "iu":
        raise _problem(_("The labels of {name} must be whole numbers: convert it first."), node)


def _requireSameParent(volumeNode, segmentationNode):
    """Refuse a volume and a segmentation under different transforms."""
    parents = [baseTransformOf(node) for node in (volumeNode, segmentationNode)]
    if parents[0] is not parents[1]:
        names = [f"'{each.GetName()}'" if each is not None else _("none") for each in parents]
        raise InputProblem(
            _(
                "'{volume}' and '{segmentation}' must be under the same transform, but are under "
                "{first} and {second}: put both under one, or harden them."
            ).format(
                volume=volumeNode.GetName(),
                segmentation=segmentationNode.GetName(),
                first=names[0],
                second=names[1],
            )
        )


def _problem(text, node, **more):
    """A refusal with the name of the node."""
    return InputProblem(text.format(name=f"'{node.GetName()}'", **more))
