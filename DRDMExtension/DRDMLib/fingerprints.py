"""What nodes hold, in a few characters: to see whether an input is still the same."""

import hashlib
from dataclasses import astuple

import numpy as np

from DRDMLib.nodegeometry import Grid, gridOfVolume


def contentOfArrays(grid, voxels, labels=None, names=None):
    """Grid of a volume, and hashes of its numbers and of its labels; can be written as JSON.

    It takes what was read of the nodes, so it works in any thread.

    Args:
        grid: Grid in files.
        voxels: Of the volume, in the order of files.
        labels: Its labels in the order of files, if it has any.
        names: Name of each label.
    """
    return {
        "grid": [list(part) for part in astuple(grid)],
        "image": _hashOf(voxels),
        "labels": None if labels is None else _hashOf(labels, names),
    }


def isSameContent(first, second):
    """Whether two contents agree; grids may differ by what is lost when a scene is saved."""
    if any(first[key] != second[key] for key in ("image", "labels")):
        return False
    grids = [Grid(*(tuple(part) for part in each["grid"])) for each in (first, second)]
    return grids[0].isSame(grids[1])


def timesOf(volumeNode, segmentationNode=None):
    """Grids, and when the voxels were last touched; if these agree, nothing has changed."""
    labels = None if segmentationNode is None else _timesOf(segmentationNode)
    return {"image": _timesOf(volumeNode), "labels": labels}


def _timesOf(node):
    """Times of last change that matter for a volume or a segmentation."""
    if node.IsA("vtkMRMLVolumeNode"):
        image = node.GetImageData()
        return (gridOfVolume(node), image.GetMTime(), image.GetPointData().GetScalars().GetMTime())
    segmentation, times = node.GetSegmentation(), []
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        shape = segment.GetRepresentation(segmentation.GetSourceRepresentationName())
        touched = None if shape is None else shape.GetMTime()
        times.append((identifier, segment.GetName(), segment.GetLabelValue(), touched))
    return times


def _hashOf(array, names=None):
    """Hash of the type and the numbers of an array, and of names."""
    digest = hashlib.sha256(repr((str(array.dtype), array.shape, names)).encode())
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
