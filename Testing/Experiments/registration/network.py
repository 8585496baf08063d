"""A small registration network: likeness of features gives a velocity, its flow is the field."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from DRDMCore.errors import InputError
from DRDMCore.fields import exp_svf, resize_ddf, warp
from DRDMCore.fields.grid import cut

MULTIPLE = 8
"""What every side of the images must be a multiple of."""

_REACH = {"quarter": 2, "half": 1}
"""Voxels of each resolution by which features are compared; at a quarter 8 voxels of the image."""
_SQUARINGS = {"quarter": 4, "half": 6}
_FIRST_VELOCITY = 1e-3
"""Spread of the last layers' first weights: the first field is nearly the identity."""


class RegistrationNetwork(nn.Module):
    """VoxelMorph's (Dalca et al., MedIA 2019) velocity and flow, found from coarse to fine.

    Both images get features by the same layers at half and a quarter of their resolution. At a
    quarter every fixed voxel is compared with the moving voxels around it (a correlation layer); a
    U-Net of two floors makes a velocity of that. At half resolution the moving features are pulled
    through its flow, compared again, and the velocity gets what is still missing. It is integrated
    by scaling and squaring and brought to the images' grid. A plain U-Net on both images learns the
    same far more slowly: too slowly for a short training.
    """

    def __init__(self, dimension: int, features: Sequence[int]) -> None:
        """Build it.

        Args:
            dimension: Number of spatial axes.
            features: Channels at half, a quarter and an eighth of the resolution.
        """
        super().__init__()
        fine, middle, deep = features
        near = {at: (2 * reach + 1) ** dimension for at, reach in _REACH.items()}
        convolution = _CONVOLUTIONS[dimension]

        def layer(came: int, width: int, side: int = 3) -> nn.Sequential:
            return _layer(dimension, came, width, side)

        self.seen_half = nn.Sequential(layer(1, fine, 4), layer(fine, fine))
        self.seen_quarter = nn.Sequential(layer(fine, middle, 4), layer(middle, middle))
        self.compared = layer(near["quarter"], deep, 1)
        self.coarse = layer(deep + middle, deep)
        self.below = nn.Sequential(layer(deep, deep, 4), layer(deep, deep))
        self.joined = layer(2 * deep, deep)
        self.coarse_velocity = convolution(deep, dimension, 3, padding=1)
        self.told = layer(deep, fine, 1)
        self.fine = nn.Sequential(layer(3 * fine + near["half"], fine), layer(fine, fine))
        self.fine_velocity = convolution(fine, dimension, 3, padding=1)
        for last in (self.coarse_velocity, self.fine_velocity):
            nn.init.normal_(last.weight, std=_FIRST_VELOCITY)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def velocity(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """The velocity between two images.

        Args:
            moving: `(B, 1, *S)`.
            fixed: `(B, 1, *S)`.

        Returns:
            `(B, D, *S / 2)` voxels of the halved grid per unit of time.

        Raises:
            InputError: If a side is not a multiple of 8.
        """
        if any(side % MULTIPLE for side in moving.shape[2:]):
            raise InputError(
                f"`shape` must have multiples of {MULTIPLE}, got {tuple(moving.shape[2:])}: give "
                "the study another shape."
            )
        half = self.seen_half(torch.cat([moving, fixed]))
        (moving_half, fixed_half), quarter = half.chunk(2), self.seen_quarter(half)
        moving_quarter, fixed_quarter = quarter.chunk(2)
        alike = correlations(fixed_quarter, moving_quarter, _REACH["quarter"])
        first = self.coarse(torch.cat([self.compared(alike), fixed_quarter], dim=1))
        deep = self.joined(torch.cat([_doubled(self.below(first)), first], dim=1))
        coarse = self.coarse_velocity(deep).float()
        pulled = warp(moving_half.float(), _flow(coarse, "quarter", half.shape[2:]))
        alike = correlations(fixed_half, pulled, _REACH["half"])
        known = torch.cat([_doubled(self.told(deep)), fixed_half, pulled, alike], dim=1)
        rest: Tensor = self.fine_velocity(self.fine(known)).float()
        with _in_full(coarse):
            return resize_ddf(coarse, half.shape[2:]) + rest

    def forward(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """The field that takes the moving to the fixed image: `fixed(x)` is near `moving(x + u)`.

        Returns:
            `(B, D, *S)` displacement, voxels, and the velocity that it comes from.
        """
        velocity = self.velocity(moving, fixed)
        return _flow(velocity, "half", moving.shape[2:]), velocity


def correlations(fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
    """How alike every fixed voxel is to the moving voxels around it.

    Args:
        fixed: `(B, C, *S)` features.
        moving: `(B, C, *S)` features.
        reach: Voxels to each side.

    Returns:
        `(B, (2 * reach + 1) ** D, *S)` cosines of the features; 0 beyond the grid.
    """
    shape = fixed.shape[2:]
    ours, theirs = (nn.functional.normalize(each.float(), dim=1) for each in (fixed, moving))
    theirs = nn.functional.pad(theirs, [reach] * (2 * len(shape)))
    found = []
    for low in itertools.product(range(2 * reach + 1), repeat=len(shape)):
        box = tuple((start, start + side) for start, side in zip(low, shape, strict=True))
        found.append((ours * cut(theirs, box)).sum(dim=1))
    return torch.stack(found, dim=1)


_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def _layer(dimension: int, came: int, width: int, side: int) -> nn.Sequential:
    """Convolution (side 4: to half the resolution), norm, activation."""
    stride, padding = (2, 1) if side == 4 else (1, side // 2)
    return nn.Sequential(
        _CONVOLUTIONS[dimension](came, width, side, stride=stride, padding=padding, bias=False),
        _NORMS[dimension](width, affine=True),
        nn.LeakyReLU(0.1),
    )


def _flow(velocity: Tensor, at: str, shape: Sequence[int]) -> Tensor:
    """The displacement of a velocity, on a grid of another shape."""
    with _in_full(velocity):
        return resize_ddf(exp_svf(velocity, steps=_SQUARINGS[at]), shape)


def _in_full(velocity: Tensor) -> torch.autocast:
    """No short numbers: bf16 would round displacements to tenths of a voxel."""
    return torch.autocast(velocity.device.type, enabled=False)


def _doubled(features: Tensor) -> Tensor:
    """At twice the resolution."""
    return nn.functional.interpolate(features, scale_factor=2.0, mode="nearest")
