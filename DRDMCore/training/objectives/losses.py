"""Losses of displacement fields.

Those of the published program (paper, section 3.3) are in its unit, fraction of the side; its
folding loss took the determinant of the wrong axes and left the identity out, so that it punished
nothing: ours is that of `I + grad u`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.fields import corner_determinants

_MANY = 0.05
"""Part of the corners above which it is faster to follow all of them."""


def folding_loss(ddf: Tensor) -> Tensor:
    """Mean of ReLU(-det(I + grad u)) over every corner of every cell: 0 without folds.

    Only corners that fold have a gradient; where they are few, it is followed for them alone.

    Args:
        ddf: `(B, D, *S)` displacement, voxels; no axis of a single voxel.
    """
    determinants = corner_determinants(ddf.detach())
    folded = determinants < 0
    if not bool(folded.any()):
        return 0.0 * ddf.flatten()[0].square()
    if float(folded.float().mean()) > _MANY:
        return corner_determinants(ddf).neg().relu().mean()
    return -torch.linalg.det(_at_corners(ddf, folded)).sum() / determinants.numel()


def _at_corners(ddf: Tensor, chosen: Tensor) -> Tensor:
    """`I + grad u` at some corners of cells, `(B, 2 ** D, *cells)` booleans: `(K, D, D)`."""
    dimension, shape = ddf.shape[1], ddf.shape[2:]
    sample, corner, *cell = chosen.nonzero(as_tuple=True)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(dimension)]
    place = sample * math.prod(shape)
    for axis in range(dimension):
        # The corners are numbered in binary, the first axis first.
        place = place + strides[axis] * (cell[axis] + (corner >> (dimension - 1 - axis) & 1))
    # Not plain indexing: with several threads its gradient is summed in any order.
    voxels = ddf.movedim(1, -1).reshape(-1, dimension)
    columns = []
    for axis in range(dimension):
        low = place - strides[axis] * (corner >> (dimension - 1 - axis) & 1)
        columns.append(F.embedding(low + strides[axis], voxels) - F.embedding(low, voxels))
    return torch.stack(columns, dim=-1) + torch.eye(dimension).to(ddf)


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
