"""Where nodes lie: MRML counts in RAS, ITK and our files in LPS.

The one module of the extension that turns signs. All is in the local coordinates of a node: the
transforms above it are left out.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

TOLERANCE = 1e-4
"""Grids are the same if they differ by less than this part of a voxel, as in DRDMCore."""
SHEAR = 2e-3
"""Axes may miss the right angle by this much: DICOM writes directions with few digits."""
FIELD_KEYS = {"intent_code": "1006", "displacement field type": "resampling"}
"""Header by which Slicer knows a displacement field."""


@dataclass(frozen=True)
class Grid:
    """A grid as ITK holds it: axes `(x, y, z)`, frame LPS.

    Attributes:
        size: Voxels per axis.
        spacing: Distance of voxel centres per axis, mm.
        origin: Centre of the first voxel, LPS mm.
        direction: Direction cosines, row by row; the columns are the axes.
    """

    size: tuple
    spacing: tuple
    origin: tuple
    direction: tuple

    def matrix(self):
        """The direction cosines, 3 x 3."""
        return np.array(self.direction).reshape(3, 3)

    def isUsable(self):
        """Whether spacing and origin are numbers, and the axes stand at right angles."""
        numbers = (*self.spacing, *self.origin, *self.direction)
        if not np.all(np.isfinite(numbers)) or min(self.spacing) <= 0:
            return False
        product = self.matrix().T @ self.matrix()
        return bool(np.max(np.abs(product - np.eye(3))) <= SHEAR)

    def isSame(self, other):
        """Whether two grids agree to a small part of a voxel."""
        if self.size != other.size:
            return False
        limit = TOLERANCE * min(self.spacing)
        return bool(
            np.allclose(self.spacing, other.spacing, rtol=0, atol=limit)
            and np.allclose(self.origin, other.origin, rtol=0, atol=limit)
            and np.allclose(self.direction, other.direction, rtol=0, atol=TOLERANCE)
        )

    def isLeftHanded(self):
        """Whether the axes are mirrored."""
        return bool(np.linalg.det(self.matrix()) < 0)

    def longestSide(self):
        """Length of the longest side, mm."""
        return max(count * step for count, step in zip(self.size, self.spacing, strict=True))


def gridOfVolume(volumeNode):
    """The grid of a volume node."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASDirectionMatrix(matrix)
    return Grid(
        size=tuple(volumeNode.GetImageData().GetDimensions()),
        spacing=tuple(volumeNode.GetSpacing()),
        origin=_turned(volumeNode.GetOrigin()),
        direction=_turnedRows(matrix),
    )


def fileGridOf(volumeNode):
    """The grid of a volume node as it is in files: right-handed, and rounded.

    Slicer itself turns left-handed volumes when it reads them from a file, by reversing their
    slices, and the last digits change when a scene is saved and opened. In this form the grid
    stays the same, and so do the hashes of files.
    """
    grid = gridOfVolume(volumeNode)
    matrix, origin = grid.matrix(), np.array(grid.origin)
    if grid.isLeftHanded():
        origin = origin + matrix[:, 2] * grid.spacing[2] * (grid.size[2] - 1)
        matrix = matrix * (1, 1, -1)
    parts = (grid.spacing, origin, matrix.ravel())
    rounded = [
        tuple((np.round(each, digits) + 0.0).tolist())
        for each, digits in zip(parts, (9, 9, 12), strict=True)
    ]
    return Grid(grid.size, *rounded)


def inFileOrder(array, volumeNode):
    """An array on the grid of a volume node, its slices in the order of `fileGridOf`."""
    return array[::-1] if gridOfVolume(volumeNode).isLeftHanded() else array


def gridOfImage(image):
    """The grid of a SimpleITK image with three axes."""
    return Grid(
        tuple(image.GetSize()),
        tuple(image.GetSpacing()),
        tuple(image.GetOrigin()),
        tuple(image.GetDirection()),
    )


def gridOfTransform(transform):
    """The grid of a `vtkOrientedGridTransform`."""
    displacements = transform.GetDisplacementGrid()
    matrix = transform.GetGridDirectionMatrix() or vtk.vtkMatrix4x4()
    return Grid(
        size=tuple(displacements.GetDimensions()),
        spacing=tuple(displacements.GetSpacing()),
        origin=_turned(displacements.GetOrigin()),
        direction=_turnedRows(matrix),
    )


def imageOnGrid(array, grid, isVector=False):
    """An array `(k, j, i)` or `(k, j, i, c)` on a grid as a SimpleITK image."""
    image = sitk.GetImageFromArray(array, isVector=isVector)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def placeVolume(volumeNode, grid):
    """Give a volume node the spacing, origin and directions of a grid."""
    volumeNode.SetSpacing(grid.spacing)
    volumeNode.SetOrigin(_turned(grid.origin))
    volumeNode.SetIJKToRASDirectionMatrix(_directionMatrix(grid))


def orientedImageOf(volumeNode, withVoxels=False):
    """The grid of a volume, with or without its voxels, as segmentations hold images."""
    image = slicer.vtkOrientedImageData()
    if withVoxels:
        image.ShallowCopy(volumeNode.GetImageData())
    else:
        image.SetExtent(volumeNode.GetImageData().GetExtent())
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    return image


def gridTransformFromField(image):
    """A displacement field in mm, LPS, as a grid transform in mm, RAS: float and linear.

    Args:
        image: SimpleITK image of three axes and three components.

    Returns:
        A `vtkOrientedGridTransform` that maps output points to input points.
    """
    grid = gridOfImage(image)
    displacements = vtk.vtkImageData()
    displacements.SetDimensions(grid.size)
    displacements.SetSpacing(grid.spacing)
    displacements.SetOrigin(_turned(grid.origin))
    # Scalars, not vectors: VTK takes a grid without scalars for the identity, silently.
    displacements.AllocateScalars(vtk.VTK_FLOAT, 3)
    _turnVectors(sitk.GetArrayViewFromImage(image), displacementsArray(displacements))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(displacements)
    transform.SetGridDirectionMatrix(_directionMatrix(grid))
    transform.SetInterpolationModeToLinear()
    return transform


def fieldFromGridTransform(transform):
    """The displacement field of a grid transform as a SimpleITK image, float, mm, LPS."""
    stored = displacementsArray(transform.GetDisplacementGrid())
    return fieldFromVectors(stored, gridOfTransform(transform))


def fieldFromVectors(stored, grid):
    """The vectors of a grid transform, `(k, j, i, 3)`, as a SimpleITK image, float, mm, LPS."""
    vectors = np.empty(stored.shape, np.float32)
    _turnVectors(stored, vectors)
    image = imageOnGrid(vectors, grid, isVector=True)
    for key, text in FIELD_KEYS.items():
        image.SetMetaData(key, text)
    return image


def imageDataFromImage(image):
    """The numbers of a SimpleITK image as volume nodes hold them: their grid is the node's."""
    array = sitk.GetArrayViewFromImage(image)
    data = vtk.vtkImageData()
    data.SetDimensions(image.GetSize())
    data.AllocateScalars(get_vtk_array_type(array.dtype), 1)
    np.copyto(vtk_to_numpy(data.GetPointData().GetScalars()).reshape(array.shape), array)
    return data


def displacementsArray(displacements):
    """The vectors of a displacement grid, `(k, j, i, 3)`, not copied."""
    vectors = vtk_to_numpy(displacements.GetPointData().GetScalars())
    return vectors.reshape(*reversed(displacements.GetDimensions()), 3)


def _turnVectors(vectors, out):
    """Write vectors `(k, j, i, 3)` from LPS to RAS or back into another array of floats."""
    rows = (len(vectors), -1)  # long rows are four times faster than threes
    signs = np.tile(np.array([-1, -1, 1], np.float32), vectors[0].size // 3)
    np.multiply(vectors.reshape(rows), signs, out=out.reshape(rows), casting="same_kind")


def _turned(point):
    """A point from LPS to RAS or back; adding zero makes a negative zero a plain one."""
    return (0.0 - point[0], 0.0 - point[1], point[2] + 0.0)


def _turnedRows(matrix):
    """The direction cosines of a RAS matrix, row by row, in LPS."""
    signs = (-1, -1, 1)
    return tuple(signs[i] * matrix.GetElement(i, j) + 0.0 for i in range(3) for j in range(3))


def _directionMatrix(grid):
    """The direction cosines of a grid as a RAS matrix."""
    matrix = vtk.vtkMatrix4x4()
    signs = (-1, -1, 1)
    for i in range(3):
        for j in range(3):
            matrix.SetElement(i, j, signs[i] * grid.direction[3 * i + j] + 0.0)
    return matrix
