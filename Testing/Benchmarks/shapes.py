"""Shapes, and how far they are from other shapes.

A shape is everything labelled, as a signed distance on a common grid around its centroid, so that
where it lies does not matter. Its direction and size do.

The mask is smoothed by 0.7 voxels before it is brought to the grid: the surface is then where the
smooth mask is one half, between the voxels, and does not jump with the position of the centroid.
Distances next to it are read off the slope there; up to three voxels away they are those to the
nearest point of the surface; further away ITK's, from voxel to voxel, are close enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields.grid import sample
from DRDMCore.imaging import Volume
from DRDMCore.imaging.files import array_to_sitk

LONGEST_SIDE = 64
MARGIN = 8
"""Voxels around the largest shape; distances beyond it do not count in `ShapeModes`."""

_SMOOTHING = 0.7
_SLOPE_REACH, _POINT_REACH = 0.9, 3.5  # voxels from the surface
_BLOCK, _BLOCK_REACH = 8, 5  # voxels; a point of the surface is nearer than the latter


@dataclass(frozen=True)
class ShapeGrid:
    """The grid that all shapes of a study share; its centre is their centroid.

    Attributes:
        shape: Voxels per array axis.
        spacing_mm: Side of its voxels, mm; its axes are those of the patient.
    """

    shape: tuple[int, ...]
    spacing_mm: float


@dataclass(frozen=True)
class Shape:
    """A shape around its centroid.

    Attributes:
        distance: `(*S)` distance to the surface, mm, negative inside.
        points: `(D, N)` points of the surface, voxels of the grid.
        weights: `(N,)` the part of the surface that each stands for; they sum to 1.
        spacing_mm: Side of the voxels of the grid, mm.
    """

    distance: Tensor
    points: Tensor
    weights: Tensor
    spacing_mm: float

    @property
    def filling(self) -> Tensor:
        """`(*S)` part of each voxel that lies inside, 0 .. 1."""
        return (0.5 - self.distance / self.spacing_mm).clamp(0, 1)


def grid_for(labels: Iterable[Volume]) -> ShapeGrid:
    """A grid that holds all these shapes: their finest voxels, but at most 64 across a shape.

    Raises:
        InputError: If there is no shape, or one is empty.
    """
    reach: np.ndarray | float = 0.0
    finest = math.inf
    for each in labels:
        centred = _centred(each)
        corners = _corners_mm(each, centred)
        reach = np.maximum(reach, np.abs(corners).max(axis=0))
        finest = min(finest, *each.geometry.spacing_mm)
    if not isinstance(reach, np.ndarray):
        raise InputError("`labels` must hold at least one shape, got none: give some label maps.")
    spacing = max(finest, 2 * float(reach.max()) / LONGEST_SIDE)
    sides = [2 * (math.ceil(r / spacing) + MARGIN) for r in reach[::-1]]
    return ShapeGrid(tuple(sides), spacing)


def shape_of(labels: Volume, grid: ShapeGrid) -> Shape:
    """The shape of everything labelled.

    Args:
        labels: Label map; all values above 0 count.
        grid: The common grid; what lies outside is cut off.

    Raises:
        InputError: If nothing is labelled, or no more than a spot that smoothing removes.
    """
    outside = 0.5 - _smooth_mask(labels, grid)
    between, _ = _surface(outside)
    if len(between) == 0:
        raise InputError(
            f"{labels.title} must show a shape of more than a few voxels, but does not: leave this "
            "subject out."
        )
    distance = _distance(outside, between)
    points, weights = _surface(distance)  # its own zeros: no shape is away from itself
    return Shape(
        torch.from_numpy((distance * grid.spacing_mm).astype(np.float32)),
        torch.from_numpy(points.T.astype(np.float32)),
        torch.from_numpy((weights / weights.sum()).astype(np.float32)),
        grid.spacing_mm,
    )


class ShapeBank:
    """Shapes to find the nearest of, all at once."""

    def __init__(self, shapes: Sequence[Shape], names: Sequence[str]) -> None:
        """Take the shapes, on one grid, and a name for each."""
        self.names = list(names)
        self._spacing_mm = shapes[0].spacing_mm
        self._maps = torch.stack([shape.distance for shape in shapes])[None]
        self._points = torch.cat([shape.points for shape in shapes], dim=1)
        self._weights = torch.cat([shape.weights for shape in shapes])
        counts = torch.tensor([len(shape.weights) for shape in shapes])
        self._owner = torch.repeat_interleave(torch.arange(len(shapes)), counts)

    def distances(self, shape: Shape) -> Tensor:
        """`(K,)` mean surface distance to each shape, mm: the mean of both directions."""
        there = (_read(self._maps, shape.points).abs() * shape.weights).sum(dim=-1)
        back = _read(shape.distance[None, None], self._points)[0].abs() * self._weights
        return (there + torch.zeros_like(there).index_add(0, self._owner, back)) / 2

    def between(self) -> Tensor:
        """`(K, K)` distance of each shape (row) to every shape, mm."""
        maps, spacing = self._maps[0], self._spacing_mm
        rows = []
        for number, own in enumerate(self._owner == k for k in range(len(maps))):
            points, weights = self._points[:, own], self._weights[own]
            rows.append(self.distances(Shape(maps[number], points, weights, spacing)))
        return torch.stack(rows)

    def nearest(self, shape: Shape, *, but: str = "") -> float:
        """Distance to the nearest shape, mm; `but` names one that does not count."""
        distances = self.distances(shape)
        others = [i for i, name in enumerate(self.names) if name != but]
        return float(distances[others].min())


class ShapeModes:
    """The main ways in which shapes vary: principal components of their distance maps."""

    def __init__(self, shapes: Sequence[Shape], count: int = 40) -> None:
        """Fit them; there are fewer modes than shapes."""
        rows = torch.stack([_flat(shape) for shape in shapes])
        self._mean = rows.mean(dim=0)
        rows = rows - self._mean
        values, vectors = torch.linalg.eigh(rows @ rows.T)  # far fewer shapes than voxels
        self.count = min(count, len(shapes) - 1)
        kept = vectors[:, -self.count :] / values[-self.count :].clamp(min=1e-9).sqrt()
        self._modes = rows.T @ kept

    def residual(self, shape: Shape) -> float:
        """Root mean square of what the modes cannot express, mm."""
        difference = _flat(shape) - self._mean
        rest = difference - self._modes @ (self._modes.T @ difference)
        return float(rest.square().mean().sqrt())


def unlikeness(first: Shape, second: Shape) -> float:
    """1 - Dice of two shapes laid centroid on centroid; parts of voxels count as such."""
    a, b = first.filling, second.filling
    return 1 - 2 * float(torch.minimum(a, b).sum() / (a.sum() + b.sum()))


def _flat(shape: Shape) -> Tensor:
    """The distance map as a row, limited to the margin, in float64 for the small residuals."""
    limit = MARGIN * shape.spacing_mm
    return shape.distance.clamp(-limit, limit).flatten().double()


def _read(maps: Tensor, points: Tensor) -> Tensor:
    """Values `(K, N)` of maps `(1, K, *S)` at points `(D, N)`."""
    dimension, count = points.shape
    coordinates = points.reshape(1, dimension, count, *[1] * (dimension - 1))
    return sample(maps, coordinates, padding="border").reshape(-1, count)


def _centred(labels: Volume) -> sitk.Image:
    """The mask of everything labelled, 0 or 1, moved so that its centroid is at 0 mm."""
    mask = labels.array > 0
    if not mask.any():
        raise InputError(f"{labels.title} must label something, but is empty: leave it out.")
    image = array_to_sitk(mask.astype(np.float32), labels.geometry)
    middle = np.argwhere(mask).mean(axis=0)[::-1].tolist()
    centroid = image.TransformContinuousIndexToPhysicalPoint(middle)
    image.SetOrigin([o - c for o, c in zip(image.GetOrigin(), centroid, strict=True)])
    return image


def _corners_mm(labels: Volume, centred: sitk.Image) -> np.ndarray:
    """`(2 ** D, D)` corners of the box around the mask, mm from its centroid along x, y, z."""
    found = np.argwhere(labels.array > 0)[:, ::-1]
    box = np.stack([found.min(axis=0), found.max(axis=0)]).T
    picks = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, box.shape[0])
    return np.array([centred.TransformIndexToPhysicalPoint(pick.tolist()) for pick in picks])


def _smooth_mask(labels: Volume, grid: ShapeGrid) -> np.ndarray:
    """The smoothed mask on the grid, 0 .. 1."""
    dimension = labels.dimension
    image = sitk.ConstantPad(_centred(labels), [4] * dimension, [4] * dimension, 0.0)
    widths = [_SMOOTHING * max(s, grid.spacing_mm) for s in labels.geometry.spacing_mm]
    image = sitk.DiscreteGaussian(image, [w * w for w in widths], 64, 0.001, True)
    target = sitk.Image(list(grid.shape[::-1]), sitk.sitkFloat32)
    target.SetSpacing([grid.spacing_mm] * dimension)
    target.SetOrigin([-0.5 * (n - 1) * grid.spacing_mm for n in grid.shape[::-1]])
    moved = sitk.Resample(image, target, sitk.Transform(), sitk.sitkLinear, 0.0)
    array: np.ndarray = sitk.GetArrayFromImage(moved)
    return array


def _surface(outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where grid lines pass through the surface, `(N, D)` voxels, and the area each stands for.

    A piece of surface is met by the lines along axis `a` as often as its normal points along `a`;
    weighed by the same number, all axes together count it once.
    """
    slopes = np.gradient(outside)
    length = np.sqrt(sum(slope**2 for slope in slopes)) + 1e-9
    points, weights = [], []
    for axis in range(outside.ndim):
        low = np.moveaxis(outside, axis, 0)[:-1]
        high = np.moveaxis(outside, axis, 0)[1:]
        cut = np.nonzero((low > 0) != (high > 0))
        part = low[cut] / (low[cut] - high[cut])
        found = np.stack(cut, axis=1).astype(np.float64)
        normal = np.moveaxis(np.abs(slopes[axis]) / length, axis, 0)
        ahead = (cut[0] + 1, *cut[1:])
        weights.append((1 - part) * normal[cut] + part * normal[ahead])
        found[:, 0] += part
        order = [*range(1, axis + 1), 0, *range(axis + 1, outside.ndim)]  # undoes `moveaxis`
        points.append(found[:, order])
    return np.concatenate(points), np.concatenate(weights)


def _distance(outside: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Signed distance to the surface, voxels."""
    inside = sitk.GetImageFromArray((outside <= 0).astype(np.uint8))
    # Each has its zero in voxels on its own side of the surface; their mean has it in between.
    halves = [
        sitk.SignedMaurerDistanceMap(
            mask, insideIsPositive=positive, squaredDistance=False, useImageSpacing=False
        )
        for mask, positive in ((inside, False), (1 - inside, True))
    ]
    distance = np.mean([sitk.GetArrayFromImage(half) for half in halves], axis=0)
    near = np.abs(distance) < _POINT_REACH
    nodes = torch.from_numpy(np.argwhere(near)).float()
    surface = torch.from_numpy(points).float()
    distance[near] = _to_nearest(nodes, surface).numpy() * np.where(outside[near] > 0, 1, -1)
    image = sitk.GetImageFromArray(outside.astype(np.float32))
    slope = sitk.GetArrayFromImage(sitk.IsoContourDistance(image, 0.0, 10.0))
    return np.where(np.abs(slope) < _SLOPE_REACH, slope, distance)


def _to_nearest(nodes: Tensor, surface: Tensor) -> Tensor:
    """Distance of each node to the nearest point of the surface, block by block."""
    reached = torch.empty(len(nodes))
    blocks = torch.div(nodes, _BLOCK, rounding_mode="floor")
    for block in torch.unique(blocks, dim=0):
        low, high = block * _BLOCK - _BLOCK_REACH, (block + 1) * _BLOCK + _BLOCK_REACH
        around = ((surface > low) & (surface < high)).all(dim=1)
        own = (blocks == block).all(dim=1)
        reached[own] = torch.cdist(nodes[own], surface[around]).amin(dim=1)
    return reached
