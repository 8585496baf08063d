"""What the networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor

from DRDMCore.fields import warp
from DRDMCore.fields.grid import apply_along_axes

_WINDOW = 7
"""Voxels; side of the window of the local correlation."""
_FLAT = 1e-2
"""Added to variances: where both images are flat there is nothing to correlate."""


def endpoint_misses(ddf: Tensor, to_moving: Tensor, to_fixed: Tensor) -> Tensor:
    """How far from each other two ways to the original image end.

    Both images of a made pair are one original, pulled through two fields: a voxel `x` of the fixed
    one shows the original at `x + to_fixed(x)`, and the moving one shows it at `y + to_moving(y)`.
    The true field leads to the `y` that shows the same place; it is the composition of `to_fixed`
    and the inverse of `to_moving`, which need not be computed.

    Args:
        ddf: `(B, D, *S)` field to be judged, from the fixed to the moving image, voxels.
        to_moving: `(B, D, *S)` through which the original was pulled to give the moving image.
        to_fixed: `(B, D, *S)` the same for the fixed image.

    Returns:
        `(B, *S)` lengths in voxels of the original.
    """
    miss = ddf + warp(to_moving, ddf) - to_fixed
    return (miss.square().sum(dim=1) + 1e-6).sqrt()


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Squared local correlation of two images, mean over all windows: a number, 1 is best.

    Args:
        first: `(B, 1, *S)`, of a standard deviation near 1.
        second: `(B, 1, *S)`.
    """
    pair = torch.cat([first, second], dim=1)
    products = torch.cat([pair, pair.square(), first * second], dim=1)
    ours, theirs, our_square, their_square, product = _windowed(products).unbind(dim=1)
    both = product - ours * theirs
    spread = (our_square - ours.square() + _FLAT) * (their_square - theirs.square() + _FLAT)
    return (both.square() / spread).mean()


def roughness(velocity: Tensor) -> Tensor:
    """Mean square of the slopes of a velocity `(B, D, *S)`."""
    slopes = [velocity.diff(dim=axis).square().mean() for axis in range(2, velocity.ndim)]
    return sum(slopes[1:], start=slopes[0]) / len(slopes)


def _windowed(images: Tensor) -> Tensor:
    """Means of `(B, C, *S)` over the window about each voxel, as far as it lies on the grid."""
    matrices = []
    for side in images.shape[2:]:
        place = torch.arange(side, device=images.device)
        near = ((place[:, None] - place).abs() <= _WINDOW // 2).to(images)
        matrices.append(near / near.sum(dim=1, keepdim=True))
    return apply_along_axes(images, matrices)
