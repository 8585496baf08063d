"""Where voxels lie in the patient: with `orientation`, all that flips signs and reverses axes.

ITK and its files count axes as `(x, y, z)` and use the LPS frame; arrays count `(z, y, x)`;
Slicer and `affine` use RAS (docs/conventions.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

SAME_GRID_TOLERANCE = 1e-4
"""Two grids are the same if they differ by less than this part of a voxel."""


@dataclass(frozen=True)
class Geometry:
    """A grid in the patient, as ITK holds it: axes `(x, y, z)`, frame LPS, bit for bit.

    Attributes:
        size: Voxels per ITK axis, 2 or 3 integers.
        spacing_mm: Distance of voxel centres per ITK axis, mm.
        origin_mm: Centre of the first voxel, LPS mm.
        direction: Direction cosines, the row-major matrix whose columns are the ITK axes.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse numbers of wrong length."""
        count = len(self.size)
        lengths = (count, len(self.spacing_mm), len(self.origin_mm), len(self.direction))
        if count not in (2, 3) or lengths != (count, count, count, count * count):
            raise ValueError(
                "`size`, `spacing_mm`, `origin_mm` and `direction` must have D, D, D and D * D "
                f"numbers for D = 2 or 3 axes, got {lengths}."
            )

    @property
    def dimension(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, `(z, y, x)` or `(y, x)`."""
        return self.size[::-1]

    @property
    def spacing_zyx(self) -> tuple[float, ...]:
        """Spacing per array axis, mm."""
        return self.spacing_mm[::-1]

    @property
    def matrix(self) -> np.ndarray:
        """`(D, D)` direction cosines, one column per ITK axis, LPS rows."""
        return np.array(self.direction, dtype=np.float64).reshape(self.dimension, self.dimension)

    @property
    def affine(self) -> np.ndarray:
        """`(4, 4)` voxel `(i, j, k, 1)` to RAS mm; a 2D grid lies at k = z = 0."""
        count = self.dimension
        affine = np.eye(4)
        affine[:count, :count] = self.matrix * np.array(self.spacing_mm)
        affine[:count, 3] = self.origin_mm
        affine[:2] *= -1  # LPS to RAS
        return affine


def geometry_of(image: sitk.Image) -> Geometry:
    """The geometry of a SimpleITK image, unchanged."""
    return Geometry(
        size=tuple(image.GetSize()),
        spacing_mm=tuple(image.GetSpacing()),
        origin_mm=tuple(image.GetOrigin()),
        direction=tuple(image.GetDirection()),
    )


def place(image: sitk.Image, geometry: Geometry) -> sitk.Image:
    """Give a SimpleITK image this spacing, origin and direction, in place; returns it."""
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    return image


def vectors_voxel_to_mm_lps(ddf: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Turn a displacement in voxels into millimetres.

    Args:
        ddf: `(D, *S)` displacement in voxels, component `c` along array axis `c`.
        geometry: The grid of the field.

    Returns:
        `(*S, D)` displacement in mm along L, P, S (the axes x, y, z of ITK), of the type of `ddf`.

    Raises:
        ValueError: If `ddf` is not a field on this grid.
    """
    _require_on_grid("ddf", ddf.shape, (geometry.dimension, *geometry.shape))
    steps = geometry.matrix * np.array(geometry.spacing_mm)
    return _mix(np.moveaxis(ddf[::-1], 0, -1), steps, ddf.dtype)


def vectors_mm_lps_to_voxel(vectors_mm_lps: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Turn a displacement in millimetres into voxels; inverse of `vectors_voxel_to_mm_lps`.

    Args:
        vectors_mm_lps: `(*S, D)` displacement in mm along L, P, S.
        geometry: The grid of the field.

    Returns:
        `(D, *S)` displacement in voxels, array order.

    Raises:
        ValueError: If `vectors_mm_lps` is not a field on this grid.
    """
    wanted = (*geometry.shape, geometry.dimension)
    _require_on_grid("vectors_mm_lps", vectors_mm_lps.shape, wanted)
    steps = geometry.matrix * np.array(geometry.spacing_mm)
    voxels = _mix(vectors_mm_lps, np.linalg.inv(steps), vectors_mm_lps.dtype)
    return np.ascontiguousarray(np.moveaxis(voxels, -1, 0)[::-1])


def resampled_geometry(geometry: Geometry, shape: Sequence[int]) -> Geometry:
    """The grid of another number of voxels over the same field of view (outer edges coincide).

    Args:
        geometry: The grid now.
        shape: Voxels per array axis of the new grid, each >= 1.

    Raises:
        ValueError: If `shape` has the wrong length or an axis without voxels.
    """
    if len(shape) != geometry.dimension or min(shape) < 1:
        raise ValueError(f"`shape` must be {geometry.dimension} integers >= 1, got {tuple(shape)}.")
    size = tuple(int(count) for count in reversed(shape))
    if size == geometry.size:
        return geometry
    ratio = np.array(geometry.size) / np.array(size)
    first = (ratio - 1) / 2  # index of the new first voxel's centre on the old grid
    return Geometry(
        size=size,
        spacing_mm=tuple((ratio * geometry.spacing_mm).tolist()),
        origin_mm=_point_mm_lps(geometry, first),
        direction=geometry.direction,
    )


def slice_geometry(geometry: Geometry, axis: int, index: int) -> Geometry:
    """The grid of one slice of a 3D grid, as a 3D grid of one voxel's thickness.

    Args:
        geometry: A 3D grid.
        axis: Array axis across the slices, 0 to 2.
        index: Number of the slice.

    Raises:
        ValueError: If the grid is not 3D, or `axis` or `index` lies outside it.
    """
    if geometry.dimension != 3 or axis not in (0, 1, 2) or not 0 <= index < geometry.shape[axis]:
        raise ValueError(
            f"`axis` and `index` must name a slice of a 3D grid, got axis {axis} and index "
            f"{index} for a grid of shape {geometry.shape}."
        )
    itk_axis = 2 - axis
    size = tuple(1 if a == itk_axis else n for a, n in enumerate(geometry.size))
    first = np.zeros(3)
    first[itk_axis] = index
    origin_mm = _point_mm_lps(geometry, first)
    return Geometry(size, geometry.spacing_mm, origin_mm, geometry.direction)


def describe_difference(a: Geometry, b: Geometry) -> str | None:
    """Say how two grids differ, with both values, or `None` if they are the same grid.

    Spacing and origin may differ by 1e-4 of a voxel, direction cosines by 1e-4: NIfTI keeps them
    as 32-bit numbers only.
    """
    if a.size != b.size:
        return f"size {a.size} and {b.size}"
    tolerance = SAME_GRID_TOLERANCE * np.array(a.spacing_mm)
    if np.any(np.abs(np.subtract(a.spacing_mm, b.spacing_mm)) > tolerance):
        return f"spacing {_short(a.spacing_mm)} and {_short(b.spacing_mm)} mm"
    shift = np.linalg.solve(a.matrix, np.subtract(b.origin_mm, a.origin_mm))
    if np.any(np.abs(shift) > tolerance):
        return f"origin {_short(a.origin_mm)} and {_short(b.origin_mm)} mm (LPS)"
    if np.any(np.abs(np.subtract(a.direction, b.direction)) > SAME_GRID_TOLERANCE):
        return f"direction {_short(a.direction)} and {_short(b.direction)}"
    return None


def describe_defect(geometry: Geometry) -> str | None:
    """Say why a grid cannot be used (sheared, singular or not finite), or `None` if it can."""
    numbers = (*geometry.spacing_mm, *geometry.origin_mm, *geometry.direction)
    if not all(map(math.isfinite, numbers)) or min(geometry.spacing_mm) <= 0:
        return (
            f"spacing {_short(geometry.spacing_mm)} mm (must be > 0) and origin "
            f"{_short(geometry.origin_mm)} mm must be finite numbers"
        )
    product = geometry.matrix.T @ geometry.matrix
    # DICOM writes direction cosines with few digits; a real shear is far larger.
    if np.max(np.abs(product - np.eye(geometry.dimension))) > 2e-3:
        return f"its axes are not at right angles or not of length 1: {_short(geometry.direction)}"
    return None


def _point_mm_lps(geometry: Geometry, index: np.ndarray) -> tuple[float, ...]:
    """Position of a continuous ITK index, LPS mm."""
    offset = geometry.matrix @ (index * np.array(geometry.spacing_mm))
    return tuple((np.array(geometry.origin_mm) + offset).tolist())


def _mix(vectors: np.ndarray, matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`matrix @ v` for each vector on the last axis, without a second field in float64."""
    kind = np.result_type(dtype, np.float32)
    mixed = np.empty(vectors.shape, dtype=kind)
    for row in range(matrix.shape[0]):
        mixed[..., row] = sum(vectors[..., c] * kind.type(m) for c, m in enumerate(matrix[row]))
    return mixed


def _require_on_grid(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a field has the wanted shape."""
    if tuple(shape) != wanted:
        raise ValueError(f"`{name}` must have shape {wanted} on this grid, got {tuple(shape)}.")


def _short(numbers: Sequence[float]) -> str:
    """Numbers for a message."""
    return "(" + ", ".join(f"{number:.6g}" for number in numbers) + ")"
