"""Operations on displacement fields: compose, resize, crop, invert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from DRDMCore.checks import require_field
from DRDMCore.fields.grid import cut, resize
from DRDMCore.fields.warp import warp


class Inverse(NamedTuple):
    """An inverse field and how well it inverts.

    Attributes:
        ddf: `(B, D, *S)` displacement, voxels.
        residual: `(B,)` largest `|compose(ddf, inverse)|` in voxels inside the grid.
    """

    ddf: Tensor
    residual: Tensor


def compose(first: Tensor, second: Tensor, *, padding: str = "border") -> Tensor:
    """`second(x) + first(x + second(x))`: warping by `first`, then the result by `second`.

    Args:
        first: `(B, D, *S)` displacement, voxels.
        second: `(B, D, *S)` displacement, voxels.
        padding: Displacement outside the grid, as in `warp`.

    Returns:
        `(B, D, *S)` displacement, voxels: `warp(warp(I, first), second) = warp(I, result)`.
    """
    require_field("first", first)
    return second + warp(first, second, padding=padding)


def resize_ddf(ddf: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample a displacement field to another grid over the same field of view.

    Both the grid and the vectors are rescaled, so that the result moves anatomy by the same
    physical amount (docs/conventions.md). Affine fields are resized exactly.

    Args:
        ddf: `(B, D, *S)` displacement, voxels of the input grid.
        shape: Target spatial shape, `D` integers.

    Returns:
        `(B, D, *shape)` displacement, voxels of the target grid.

    Raises:
        ValueError: If `ddf` is not a field or `shape` has the wrong length.
    """
    dimension = require_field("ddf", ddf)
    if len(shape) != dimension:
        raise ValueError(f"`shape` must have {dimension} sides, got {tuple(shape)}.")
    ratios = [new / old for new, old in zip(shape, ddf.shape[2:], strict=True)]
    scale = torch.tensor(ratios, device=ddf.device, dtype=ddf.dtype)
    return resize(ddf, shape) * scale.reshape(1, -1, *[1] * dimension)


def crop_ddf(ddf: Tensor, start: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Cut the box of `shape` voxels that begins at voxel `start`; vectors stay as they are.

    Raises:
        ValueError: If the box leaves the grid.
    """
    require_field("ddf", ddf)
    for low, side, full in zip(start, shape, ddf.shape[2:], strict=True):
        if low < 0 or side < 1 or low + side > full:
            raise ValueError(
                f"the box from {tuple(start)} of {tuple(shape)} voxels must lie in the grid "
                f"{tuple(ddf.shape[2:])}."
            )
    return cut(ddf, tuple((low, low + side) for low, side in zip(start, shape, strict=True)))


def invert(ddf: Tensor, *, iterations: int = 60, tolerance: float = 1e-3) -> Inverse:
    """Numerical inverse by fixed-point iteration, `u(x) = -ddf(x + u(x))`.

    The step is halved for the samples that stop improving, so that strong but fold-free fields
    converge too. A folded field has no inverse: `residual` shows where it cannot be undone, but
    not where two points meet, which `folded` does.

    Args:
        ddf: `(B, D, *S)` displacement, voxels.
        iterations: At most so many steps.
        tolerance: Stop when no voxel misses by more (voxels).

    Returns:
        The inverse and its residual.
    """
    require_field("ddf", ddf)
    inverse = -ddf
    step = torch.ones(len(ddf), device=ddf.device, dtype=ddf.dtype)
    residual = torch.full_like(step, torch.inf)
    for _ in range(iterations):
        miss = inverse + warp(ddf, inverse)
        now = miss.detach().abs().flatten(1).amax(1)
        if bool((now < tolerance).all()):
            break
        step = torch.where(now > 0.9 * residual, (step * 0.7).clamp(min=0.1), step)
        residual = torch.minimum(residual, now)
        inverse = inverse - step.reshape(-1, *[1] * (ddf.ndim - 1)) * miss
    return Inverse(inverse, (inverse + warp(ddf, inverse)).abs().flatten(1).amax(1))
