"""Remove folds from a displacement field by smoothing it where it folds, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.fields.jacobian import folded


class Unfolded(NamedTuple):
    """A repaired field.

    Attributes:
        ddf: `(1, D, *S)` displacement, voxels.
        changed: Voxels whose displacement changed by more than 0.01 voxel.
        remaining: Voxels that still fold.
    """

    ddf: Tensor
    changed: int
    remaining: int


def unfold(
    ddf: Tensor,
    *,
    iterations: int = 40,
    axes: Sequence[int] | None = None,
    pulse: Callable[[], object] = lambda: None,
) -> Unfolded:
    """Smooth a field around its folds until none is left.

    Each round blends the field with a Gaussian-smoothed copy within a few voxels of the folds; the
    smoothing widens while folds remain. Zeros at the border stay zero there.

    Args:
        ddf: `(1, D, *S)` displacement, voxels.
        iterations: At most so many rounds.
        axes: Spatial axes to smooth along; all by default (a stack of slices: the plane's only).
        pulse: Called before every round; may raise to stop.

    Returns:
        The field, how much was changed, and what could not be repaired.
    """
    axes = [a for a in (range(ddf.ndim - 2) if axes is None else axes) if ddf.shape[2 + a] > 1]
    border = _inner(ddf)
    result, bad = ddf, folded(ddf)
    for round_ in range(iterations):
        if not bool(bad.any()):
            break
        pulse()
        sigma = 1.0 + 0.15 * round_
        share = _smooth(_grown(bad[:, None].to(ddf), axes, 1 + round_ // 4), sigma, axes)
        share = (1.5 * share).clamp(max=1)
        result = torch.lerp(result, _smooth(result, sigma, axes) * border, share)
        bad = folded(result)
    moved = (result - ddf).abs().amax(1) > 0.01
    return Unfolded(result, int(moved.sum()), int(bad.sum()))


def _inner(ddf: Tensor) -> Tensor:
    """0 where the field is zero at the border of the grid (it must stay so), else 1."""
    keep = torch.ones_like(ddf[:, :1])
    still = (ddf == 0).all(dim=1, keepdim=True)
    for axis in range(2, ddf.ndim):
        for index in (0, ddf.shape[axis] - 1):
            keep.select(axis, index).copy_(~still.select(axis, index))
    return keep


def _grown(mask: Tensor, axes: Sequence[int], reach: int) -> Tensor:
    """Dilate a mask of zeros and ones by `reach` voxels along the axes."""
    pool = F.max_pool2d if mask.ndim == 4 else F.max_pool3d
    kernel = [2 * reach + 1 if a in axes else 1 for a in range(mask.ndim - 2)]
    return pool(mask, kernel, stride=1, padding=[k // 2 for k in kernel])


def _smooth(image: Tensor, sigma: float, axes: Sequence[int]) -> Tensor:
    """Gaussian smoothing along the axes, border repeated."""
    for axis in axes:
        radius = min(math.ceil(2.5 * sigma), image.shape[2 + axis] - 1)
        offset = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
        kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
        moved = torch.movedim(image, 2 + axis, -1)
        flat = F.pad(moved.reshape(-1, 1, moved.shape[-1]), (radius, radius), mode="replicate")
        flat = F.conv1d(flat, (kernel / kernel.sum())[None, None])
        image = torch.movedim(flat.reshape(moved.shape), -1, 2 + axis)
    return image
