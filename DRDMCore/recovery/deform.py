"""Deform an image by a random field: the first half of Algorithm 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from DRDMCore.fields import RandomFieldSettings, random_fields, warp
from DRDMCore.recovery.schedule import check_level, image_count


class Deformation(NamedTuple):
    """A deformed image and the field that did it.

    Attributes:
        ddf: `(B, D, *S)` displacement, voxels.
        image: `(B, C, *S)` warped image.
    """

    ddf: Tensor
    image: Tensor


def deform(
    image: Tensor,
    level: int | Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator],
    settings: RandomFieldSettings,
    *,
    spacing: Sequence[float] | None = None,
    mode: str = "linear",
    padding: str = "border",
    window: Tensor | None = None,
) -> Deformation:
    """Pull an image through a random field of a level.

    Args:
        image: `(B, C, *S)`.
        level: 0 .. T - 1, one for all or one per sample.
        generator: CPU generators, one per sample (a single one is drawn from in order).
        settings: How fields are drawn.
        spacing: Voxel spacing per axis, any unit: the field is isotropic in it.
        mode: Interpolation of the image, as in `fields.warp`.
        padding: The image outside the grid, as in `fields.warp`.
        window: `(1, 1, *S)` factor of the velocity, 0 where the field must stay zero.

    Returns:
        The field and the warped image, on the device of `image`.

    Raises:
        ValueError: If a level is out of range or the numbers of samples differ.
    """
    batch = len(image)
    levels = [level] * batch if isinstance(level, int) else list(level)
    generators = [generator] * batch if isinstance(generator, torch.Generator) else generator
    if len(levels) != batch or len(generators) != batch:
        raise ValueError(
            f"`level` ({len(levels)}) and `generator` ({len(generators)}) must have one entry per "
            f"sample of `image` ({batch})."
        )
    for each in levels:
        check_level(each)
    fields = random_fields(
        image.shape[2:],
        [image_count(each) for each in levels],
        generators,
        settings,
        spacing=spacing,
        window=window,
        device=image.device,
    )
    return Deformation(fields.ddf, warp(image, fields.ddf, mode=mode, padding=padding))
