"""A segmentation, or a label map, as one whole number per voxel of a volume.

What touches the scene is read first; the rest works on arrays alone, in any thread.
"""

import functools

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from DRDMLib.nodegeometry import gridOfVolume, orientedImageOf
from DRDMLib.problems import InputProblem


def isLabelMap(node):
    """Whether a node is a label map volume."""
    return node.IsA("vtkMRMLLabelMapVolumeNode")


def readLabels(node, volumeNode):
    """Take from the scene what the labels on the grid of a volume are made of, on the main thread.

    Both nodes are taken in their local coordinates, so they must be under the same transform.
    Segments are numbered from 1 in their order; a label map keeps its values. They come to the
    grid by nearest neighbour.

    Args:
        node: Segmentation or label map volume node.
        volumeNode: Volume whose grid is wanted.

    Returns:
        A function without arguments that may be called in any thread: it has copies of what it
        needs, texts too. It answers `(k, j, i)` unsigned integers and the name of each value, and
        raises `InputProblem` if segments overlap, there are negative labels, or none lies in the
        volume.
    """
    read = _ofLabelMap if isLabelMap(node) else _ofSegmentation
    text = _(
        "{name} must have a voxel inside {volume}, but has none there: draw a segment, or "
        "choose the segmentation that belongs to this volume."
    )
    none = functools.partial(_problem, text, name=_quoted(node), volume=_quoted(volumeNode))
    return functools.partial(_notEmpty, read(node, volumeNode), none)


def _notEmpty(merge, none):
    """What `merge` answers; refused where there is no label."""
    array, names = merge()
    if not array.any():
        raise none()
    return array, names


def _ofLabelMap(node, volumeNode):
    """The voxels of a label map; resampled only if it lies on another grid."""
    if gridOfVolume(node).isSame(gridOfVolume(volumeNode)):
        array = slicer.util.arrayFromVolume(node).copy()
    else:
        array = _onGrid(orientedImageOf(node, withVoxels=True), orientedImageOf(volumeNode))
    text = _(
        "The labels of {name} must be 0 or more, but the lowest is {low}: "
        "renumber them, or import the label map as a segmentation."
    )
    negative = functools.partial(_problem, text, name=_quoted(node))
    return functools.partial(_asLabels, array, _namesOfColours(node), negative)


def _asLabels(array, colours, negative):
    """Labels of the smallest type that holds them, and their names."""
    if array.min() < 0:
        raise negative(low=array.min())
    values = [int(value) for value in np.unique(array) if value]
    array = array.astype(np.min_scalar_type(max(values, default=0)))
    return array, {value: colours.get(value, f"label {value}") for value in values}


def _namesOfColours(node):
    """The names that the colours of a label map give to values."""
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    count = colours.GetNumberOfColors() if colours is not None else 0
    names = {value: colours.GetColorName(value) for value in range(count)}
    return {value: name for value, name in names.items() if name and name != "(none)"}


def _ofSegmentation(node, volumeNode):
    """The segments on the grid of a volume, numbered from 1, layer by layer."""
    grid = orientedImageOf(volumeNode)
    segmentation = _withLabelMaps(node.GetSegmentation(), grid)
    identifiers = list(segmentation.GetSegmentIDs())
    numbers = {identifier: i + 1 for i, identifier in enumerate(identifiers)}
    names = {numbers[each]: segmentation.GetSegment(each).GetName() for each in identifiers}
    count = segmentation.GetNumberOfLayers(_labelMapName())
    layers = [_layerOnGrid(segmentation, layer, numbers, grid) for layer in range(count)]
    text = _(
        "The segments of {name} must not overlap, but '{first}' and '{second}' share {count} "
        "voxels: remove the overlap in the Segment Editor (Logical operators, Subtract)."
    )
    overlap = functools.partial(_problem, text, name=_quoted(node))
    return functools.partial(_merged, layers, _shape(grid), names, overlap)


def _merged(layers, shape, names, overlap):
    """The layers in one array of the numbers of segments."""
    merged = np.zeros(shape, np.min_scalar_type(len(names)))
    for array, numbers in filter(None, layers):
        table = np.zeros(max(int(array.max()), *numbers) + 1, merged.dtype)
        for value, number in numbers.items():
            table[value] = number
        part = np.empty_like(merged)
        for index, plane in enumerate(array):  # plane by plane is twice as fast
            np.take(table, plane, out=part[index], mode="clip")
        shared = (part > 0) & (merged > 0)
        if shared.any():
            first = int(shared.argmax())
            pair = [names[int(each.reshape(-1)[first])] for each in (merged, part)]
            raise overlap(first=pair[0], second=pair[1], count=int(np.count_nonzero(shared)))
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


def _layerOnGrid(segmentation, layer, numbers, grid):
    """One layer on a grid, and the numbers of its values; `None` where it is empty."""
    identifiers = segmentation.GetSegmentIDsForLayer(layer, _labelMapName())
    image = segmentation.GetLayerDataObject(layer, _labelMapName())
    if image is None or image.IsEmpty():
        return None
    values = {segmentation.GetSegment(each).GetLabelValue(): numbers[each] for each in identifiers}
    return _onGrid(image, grid), values


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


def _problem(text, **values):
    """A refusal; its text was translated before, on the main thread."""
    return InputProblem(text.format(**values))


def _quoted(node):
    """The name of a node for a message."""
    return f"'{node.GetName()}'"
