"""Cubic B-spline interpolation in 2D and 3D (Unser 1999; Ruijters and Thévenaz 2012).

Coefficients come from a dense inverse per axis: exact, differentiable, the same on CPU and GPU.
A cubic B-spline value is a weighted sum of `2 ** D` linear reads of the coefficients.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

from DRDMCore.fields.grid import apply_along_axes, sample

_RIM = 2  # mirrored coefficients around the grid, enough for the support of four taps


def sample_cubic(image: Tensor, coordinates: Tensor, *, padding: str = "border") -> Tensor:
    """Read an image at voxel coordinates by its interpolating cubic B-spline.

    Args:
        image: `(B, C, *S)`, every side at least 2 (a side of 1 is read as constant).
        coordinates: `(B, D, *R)` voxel coordinates.
        padding: `border` clamps the coordinates, `zeros` gives 0 outside the grid.

    Returns:
        `(B, C, *R)`.
    """
    sides = torch.tensor(image.shape[2:], device=image.device, dtype=coordinates.dtype)
    last = (sides - 1).reshape(1, -1, *[1] * (coordinates.ndim - 2))
    zero = torch.zeros_like(last)
    clamped = torch.minimum(torch.maximum(coordinates, zero), last)
    value = _evaluate(_padded_coefficients(image), clamped + _RIM)
    if padding == "zeros":
        near = (coordinates > -0.5) & (coordinates < last + 0.5)
        inside = (near | (last == 0)).all(dim=1, keepdim=True)
        value = value * inside
    return value


def _padded_coefficients(image: Tensor) -> Tensor:
    """B-spline coefficients with a mirrored rim of `_RIM` voxels."""
    matrices = [
        _coefficient_matrix(side).to(device=image.device, dtype=image.dtype)
        for side in image.shape[2:]
    ]
    return apply_along_axes(image, matrices)


@lru_cache(maxsize=64)
def _coefficient_matrix(side: int) -> Tensor:
    """`(side + 2 rim, side)`: values to coefficients, mirrored about the outermost voxels."""
    period = max(2 * (side - 1), 1)
    folded = [_mirror(index, side, period) for index in range(-_RIM, side + _RIM)]
    system = torch.zeros(side, side, dtype=torch.float64)
    for row in range(side):
        for offset, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
            system[row, _mirror(row + offset, side, period)] += weight
    return torch.linalg.inv(system)[folded]


def _mirror(index: int, side: int, period: int) -> int:
    """The voxel that `index` means when the grid is mirrored about its outermost voxels."""
    index = abs(index) % period
    return index if index < side else period - index


def _evaluate(coefficients: Tensor, coordinates: Tensor) -> Tensor:
    """Sum of `2 ** D` linear reads: each pair of taps of an axis is one read between them."""
    base = coordinates.floor()
    fraction = coordinates - base
    pairs = _pair_weights(fraction)
    total: Tensor | None = None
    for corner in itertools.product((0, 1), repeat=coordinates.shape[1]):
        weight = torch.ones_like(fraction[:, :1])
        offsets = []
        for axis, side in enumerate(corner):
            share, offset = pairs[side]
            weight = weight * share[:, axis : axis + 1]
            offsets.append(offset[:, axis : axis + 1])
        read = sample(coefficients, base + torch.cat(offsets, dim=1)) * weight
        total = read if total is None else total + read
    assert total is not None
    return total


def _pair_weights(t: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(weight, offset from the base voxel) of the left and right pair of taps."""
    w0 = (1 - t) ** 3 / 6
    w1 = (4 - 6 * t**2 + 3 * t**3) / 6
    w2 = (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6
    w3 = t**3 / 6
    left, right = w0 + w1, w2 + w3
    return (left, w1 / left - 1), (right, w3 / right + 1)
