"""The volume and the segmentation that a job gets: what they must be, and how they get to files."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from DRDMLib.fingerprints import contentOf, isSameContent, timesOf
from DRDMLib.labels import isLabelMap, labelsOnVolume
from DRDMLib.nodegeometry import fileGridOf, gridOfVolume, imageOnGrid, inFileOrder
from DRDMLib.problems import InputProblem
from DRDMLib.sceneroles import DERIVED, baseTransformOf, inScene, nodesOfClass

__all__ = [
    "InputFiles",
    "InputProblem",
    "baseTransformOf",
    "checkInputs",
    "inputChanged",
    "inputRemarks",
    "safeName",
    "writeInputs",
]

LABELS_FILE = "labels.seg.nrrd"
_LONGEST_NAME = 40
_DEVICE = re.compile("con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
"""Names that Windows keeps for itself."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class InputFiles:
    """The inputs of a job in files.

    Attributes:
        image: The volume.
        labels: The segmentation on the grid of the volume, if there is one.
        names: Name of each label value.
        sha256: Hashes of the files, by `image` and `labels`.
        content: What the nodes held; for `inputChanged`.
        times: When the nodes were last changed; spares the look at the voxels.
    """

    image: Path
    labels: Path | None
    names: dict
    sha256: dict
    content: dict = field(repr=False)
    times: dict = field(repr=False, compare=False)


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
    checkInputs(volumeNode, segmentationNode)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    times, grid = timesOf(volumeNode, segmentationNode), fileGridOf(volumeNode)
    array, names = _labelsOf(volumeNode, segmentationNode)
    image, labels = folder / f"{safeName(volumeNode.GetName())}.nrrd", None
    if array is not None:
        labels = folder / LABELS_FILE
        _write(_namedLabels(imageOnGrid(array, grid), names), labels)
    voxels = inFileOrder(slicer.util.arrayFromVolume(volumeNode), volumeNode)
    _write(imageOnGrid(voxels, grid), image)
    content = contentOf(volumeNode, array, names)
    sha256 = {"image": _hashOfFile(image), "labels": labels and _hashOfFile(labels)}
    return InputFiles(image, labels, names, sha256, content, times)


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


def _namedLabels(image, names):
    """Write the names into the header, in the keys of Slicer's segmentation files."""
    extent = " ".join(f"0 {count - 1}" for count in image.GetSize())
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    for number, (value, name) in enumerate(sorted(names.items())):
        keys = {"ID": f"Segment_{value}", "Name": name, "LabelValue": str(value)}
        for key, text in {**keys, "Layer": "0", "Extent": extent}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    return image


def _write(image, path):
    """Write an image without compression: the worker reads it once."""
    try:
        sitk.WriteImage(image, str(path), useCompression=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(
            _("{path} cannot be written ({reason}): free some space on the disk.").format(
                path=path, reason=reason
            )
        ) from error


def _hashOfFile(path):
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
