"""The volume and the segmentation that a job gets: what they must be, and how they get to files."""

import functools
import re
import unicodedata

import numpy as np
import slicer
from slicer.i18n import tr as _

from DRDMLib.fingerprints import timesOf
from DRDMLib.inputfiles import InputFiles, InputReading
from DRDMLib.labels import isLabelMap, readLabels
from DRDMLib.nodegeometry import fileGridOf, gridOfVolume, inFileOrder
from DRDMLib.problems import InputProblem
from DRDMLib.sceneroles import DERIVED, baseTransformOf, inScene, nodesOfClass

__all__ = [
    "InputFiles",
    "InputProblem",
    "areThere",
    "baseTransformOf",
    "checkInputs",
    "inputRemarks",
    "mayHaveChanged",
    "modalityOf",
    "readAgain",
    "readInputs",
    "roomFor",
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


def readInputs(volumeNode, segmentationNode=None, room=None):
    """Copy what a job needs out of the scene; its `write` may be called in any thread.

    Args:
        volumeNode: The volume; its numbers and their type are kept.
        segmentationNode: Segmentation or label map volume node, or `None`.
        room: Where to copy the voxels to, see `roomFor`; taken anew if it is `None` or unfit.

    Returns:
        `InputReading`.

    Raises:
        InputProblem: If the nodes cannot be used (see `checkInputs`).
    """
    checkInputs(volumeNode, segmentationNode)
    return _reading(volumeNode, segmentationNode, room)


def roomFor(volumeNode):
    """What takes memory for the voxels of a volume; to be called in a thread.

    A system may need several times as long to hand out new memory as to copy into it.
    """
    array = slicer.util.arrayFromVolume(volumeNode)
    return functools.partial(np.full, array.shape, 0, array.dtype)


def areThere(volumeNode, segmentationNode):
    """Whether the nodes are in the scene, and volumes have voxels."""
    given = [node for node in (volumeNode, segmentationNode) if node is not None]
    return volumeNode is not None and all(
        inScene(node) and not (node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is None)
        for node in given
    )


def mayHaveChanged(volumeNode, segmentationNode, times):
    """Whether the nodes are gone, or were touched since they were read: a look at times alone.

    Args:
        volumeNode: The volume that was read.
        segmentationNode: The segmentation that was read, or `None`.
        times: Of what was read, an `InputReading` or `InputFiles`.
    """
    there = areThere(volumeNode, segmentationNode)
    return not there or times != timesOf(volumeNode, segmentationNode)


def readAgain(volumeNode, segmentationNode=None, room=None):
    """Copy the nodes to see whether they hold what they held, by `isStill` in any thread.

    Args:
        volumeNode: The volume.
        segmentationNode: Segmentation or label map volume node, or `None`.
        room: As for `readInputs`.

    Returns:
        `InputReading`, or `None` if a node is gone or holds nothing.
    """
    there = areThere(volumeNode, segmentationNode)
    return _reading(volumeNode, segmentationNode, room) if there else None


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


def _reading(volumeNode, segmentationNode, room):
    """Copies of what the nodes hold."""
    voxels = inFileOrder(slicer.util.arrayFromVolume(volumeNode), volumeNode)
    if room is None or (room.shape, room.dtype) != (voxels.shape, voxels.dtype):
        room = np.empty(voxels.shape, voxels.dtype)
    np.copyto(room, voxels)
    return InputReading(
        name=safeName(volumeNode.GetName()),
        grid=fileGridOf(volumeNode),
        voxels=room,
        labels=readLabels(segmentationNode, volumeNode) if segmentationNode is not None else None,
        reversed=gridOfVolume(volumeNode).isLeftHanded(),
        times=timesOf(volumeNode, segmentationNode),
        cannotWrite=_("{path} cannot be written ({reason}): free some space on the disk."),
    )


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
    with np.errstate(invalid="ignore"):
        low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():  # they are NaN if any voxel is
        raise _problem(
            _(
                "{name} must hold finite numbers, but {count} voxels are NaN or infinite: "
                "fill them first."
            ),
            node,
            count=int(np.count_nonzero(~np.isfinite(array))),
        )
    if low == high:
        raise _problem(
            _("{name} must show something, but every voxel is {value}: choose another."),
            node,
            value=low,
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
