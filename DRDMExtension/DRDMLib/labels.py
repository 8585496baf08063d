"""A segmentation, or a label map, as one whole number per voxel of a volume."""

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from DRDMLib.nodegeometry import gridOfVolume, orientedImageOf
from DRDMLib.problems import InputProblem


def isLabelMap(node):
    """Whether a node is a label map volume."""
    return node.IsA("vtkMRMLLabelMapVolumeNode")


def labelsOnVolume(node, volumeNode):
    """The labels of a segmentation or label map on the grid of a volume, by nearest neighbour.

    Both nodes are taken in their local coordinates, so they must be under the same transform.
    Segments are numbered from 1 in their order; a label map keeps its values.

    Args:
        node: Segmentation or label map volume node.
        volumeNode: Volume whose grid is wanted.

    Returns:
        `(k, j, i)` unsigned integers, and the name of each value.

    Raises:
        InputProblem: If segments overlap, there are negative labels, or none lies in the volume.
    """
    read = _ofLabelMap if isLabelMap(node) else _ofSegmentation
    array, names = read(node, volumeNode)
    if not array.any():
        raise InputProblem(
            _(
                "{name} must have a voxel inside {volume}, but has none there: draw a segment, or "
                "choose the segmentation that belongs to this volume."
            ).format(name=_quoted(node), volume=_quoted(volumeNode))
        )
    return array, names


def _ofLabelMap(node, volumeNode):
    """The voxels of a label map; resampled only if it lies on another grid."""
    if gridOfVolume(node).isSame(gridOfVolume(volumeNode)):
        array = slicer.util.arrayFromVolume(node)
    else:
        array = _onGrid(orientedImageOf(node, withVoxels=True), orientedImageOf(volumeNode))
    if array.min() < 0:
        raise InputProblem(
            _(
                "The labels of {name} must be 0 or more, but the lowest is {low}: "
                "renumber them, or import the label map as a segmentation."
            ).format(name=_quoted(node), low=array.min())
        )
    values = [int(value) for value in np.unique(array) if value]
    array = array.astype(np.min_scalar_type(max(values, default=0)))
    return array, {value: _nameOfValue(node, value) for value in values}


def _nameOfValue(node, value):
    """The name that the colours of a label map give to a value."""
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    known = colours is not None and value < colours.GetNumberOfColors()
    name = colours.GetColorName(value) if known else ""
    return name if name and name != "(none)" else f"label {value}"


def _ofSegmentation(node, volumeNode):
    """The segments on the grid of a volume, numbered from 1, layer by layer."""
    grid = orientedImageOf(volumeNode)
    segmentation = _withLabelMaps(node.GetSegmentation(), grid)
    identifiers = list(segmentation.GetSegmentIDs())
    numbers = {identifier: i + 1 for i, identifier in enumerate(identifiers)}
    names = {numbers[each]: segmentation.GetSegment(each).GetName() for each in identifiers}
    merged = np.zeros(gridOfVolume(volumeNode).size[::-1], np.min_scalar_type(len(numbers)))
    for layer in range(segmentation.GetNumberOfLayers(_labelMapName())):
        part = _layerOnGrid(segmentation, layer, numbers, grid, merged.dtype)
        shared = (part > 0) & (merged > 0)
        if shared.any():
            first = int(shared.argmax())
            pair = [names[int(array.reshape(-1)[first])] for array in (merged, part)]
            raise _overlap(node, pair, int(np.count_nonzero(shared)))
        merged += part
    return merged, names


def _withLabelMaps(segmentation, grid):
    """The segmentation, or a copy with label maps: the original gets no representation from us."""
    if segmentation.ContainsRepresentation(_labelMapName()):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(grid)
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    copy.SetConversionParameter(name, geometry)
    copy.CreateRepresentation(_labelMapName())
    return copy


def _layerOnGrid(segmentation, layer, numbers, grid, kind):
    """One layer on a grid, the values of its segments replaced by their numbers."""
    identifiers = segmentation.GetSegmentIDsForLayer(layer, _labelMapName())
    image = segmentation.GetLayerDataObject(layer, _labelMapName())
    if image is None or image.IsEmpty():
        return np.zeros(_shape(grid), kind)
    array = _onGrid(image, grid)
    values = {each: segmentation.GetSegment(each).GetLabelValue() for each in identifiers}
    table = np.zeros(max(int(array.max()), *values.values()) + 1, kind)
    for each, value in values.items():
        table[value] = numbers[each]
    return table[array]


def _onGrid(image, grid):
    """An oriented image on a grid by nearest neighbour, as Slicer exports segments; 0 outside."""
    moved = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    resample(image, grid, moved)
    scalars = moved.GetPointData().GetScalars()
    return vtk_to_numpy(scalars).reshape(_shape(moved)).copy()


def _shape(image):
    """The shape of the array of an image."""
    return tuple(reversed(image.GetDimensions()))


def _labelMapName():
    """The name of the representation of segments as voxels."""
    return slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


def _overlap(node, names, count):
    """The refusal of segments that share voxels."""
    return InputProblem(
        _(
            "The segments of {name} must not overlap, but '{first}' and '{second}' share {count} "
            "voxels: remove the overlap in the Segment Editor (Logical operators, Subtract)."
        ).format(name=_quoted(node), first=names[0], second=names[1], count=count)
    )


def _quoted(node):
    """The name of a node for a message."""
    return f"'{node.GetName()}'"
