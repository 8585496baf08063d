"""The forward process as plainly as it can be written, to measure ours against.

Our own code from the description of the published program: a fresh sampling grid in every step,
`grid_sample`, all steps for the target field too, and the whole canvas of twice the image's side
enlarged before the image's part is cut out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.fields import RandomFieldSettings, random_svf, warp


def draw(shape: Sequence[int], seed: int, settings: RandomFieldSettings) -> tuple[Tensor, Tensor]:
    """The velocities that `random_fields` draws for a seed: of the image, and of the target."""
    generator = torch.Generator().manual_seed(seed)
    clean = random_svf(shape, [generator], settings)
    weaker = replace(settings, velocity_sd=settings.velocity_sd * settings.second_draw)
    second = random_svf(shape, [generator], weaker)
    return clean + warp(second, clean), clean


def integrate(velocity: Tensor, count: int, steps: int) -> Tensor:
    """`steps` rounds of `d(x) <- v(x) + d(x + v(x))`, of which `count` are kept."""
    ddf = torch.zeros_like(velocity)
    for index in range(steps):
        shape = velocity.shape[2:]
        axes = [torch.arange(side, dtype=torch.float32) for side in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None] + velocity
        for axis, side in enumerate(shape):
            grid[:, axis] = 2 * grid[:, axis] / (side - 1) - 1
        lookup = torch.movedim(grid, 1, -1).flip(-1)
        moved = F.grid_sample(ddf, lookup, padding_mode="border", align_corners=True)
        ddf = velocity + moved if index < count else ddf
    return ddf


def to_image(ddf: Tensor, side: int) -> Tensor:
    """Enlarge the canvas to `2 * side`, cut the middle, and scale as the published program."""
    mode = "bilinear" if ddf.ndim == 4 else "trilinear"
    points = ddf.shape[-1]
    canvas = F.interpolate(
        ddf * (side / points) ** 2, size=[2 * side] * (ddf.ndim - 2), mode=mode, align_corners=False
    )
    middle = slice(side // 2, side // 2 + side)
    return canvas[(slice(None), slice(None), *[middle] * (ddf.ndim - 2))].contiguous()


def field(velocity: Tensor, count: int, steps: int, side: int) -> Tensor:
    """The field of a velocity on the image's grid, voxels."""
    return to_image(integrate(velocity, count, steps), side)
