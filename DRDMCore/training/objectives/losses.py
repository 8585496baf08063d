"""Losses of displacement fields.

Those of the published program (paper, section 3.3) are in its unit, fraction of the side; its
folding loss took the determinant of the wrong axes and left the identity out, so that it punished
nothing: ours is that of `I + grad u`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from DRDMCore.fields import corner_determinants


def folding_loss(ddf: Tensor) -> Tensor:
    """Mean of ReLU(-det(I + grad u)) over every corner of every cell: 0 without folds.

    Args:
        ddf: `(B, D, *S)` displacement, voxels.
    """
    return corner_determinants(ddf).neg().relu().mean()


def distance_loss(rest: Tensor, target: Tensor) -> Tensor:
    """Relative squared distance between `-rest` and the target, both `(B, D, *S)` fractions."""
    rest, target = 100 * rest, 100 * target
    unexplained = (rest + target).square().sum(dim=1)
    return (unexplained / (target.square().sum(dim=1) + 1e-3)).mean()


def direction_loss(rest: Tensor, target: Tensor) -> Tensor:
    """Mean cosine of the angle between them, -1 at best, both `(B, D, *S)` fractions."""
    rest, target = 1e5 * rest, 1e5 * target
    lengths = rest.square().sum(dim=1) * target.square().sum(dim=1)
    return ((rest * target).sum(dim=1) / (lengths + 1e-4).sqrt()).mean()


def roughness_loss(ddf_fraction: Tensor) -> Tensor:
    """Mean of ReLU(|difference| - 1e-4) of neighbouring voxels, averaged over the axes."""
    axes = range(2, ddf_fraction.ndim)
    slopes = [torch.diff(ddf_fraction, dim=axis).abs() - 1e-4 for axis in axes]
    return torch.stack([slope.relu().mean() for slope in slopes]).mean()


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of `values * weight`; `weight` `(B, 1, *S)` is broadcast over the channels."""
    return (values * weight).mean()
