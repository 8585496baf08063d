"""A few stored fields give many: weaker and stronger, mixed, mirrored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import folded
from DRDMCore.pipelines.amplitude import check_amplitude


@dataclass(frozen=True)
class Variation:
    """How a field is varied when it is taken.

    Attributes:
        amplitude: Least and greatest factor, 0 .. 1.5.
        mirror: Spatial axes of the tensor along which the field is mirrored, each with probability
            one half. For anatomy that is symmetrical along that axis only.
        mix: Probability of a weighted mean of two fields.
    """

    amplitude: tuple[float, float] = (1.0, 1.0)
    mirror: tuple[int, ...] = ()
    mix: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if len(self.amplitude) != 2 or not self.amplitude[0] <= self.amplitude[1]:
            raise InputError(f"`amplitude` must be two rising numbers, got {self.amplitude}.")
        for factor in self.amplitude:
            check_amplitude(factor)
        if not set(self.mirror) <= {0, 1, 2} or len(set(self.mirror)) != len(self.mirror):
            raise InputError(f"`mirror` must be different axes among 0, 1, 2, got {self.mirror}.")
        if not 0 <= self.mix <= 1:
            raise InputError(f"`mix` must be a probability, 0 .. 1, got {self.mix}.")


def taken(
    read: Callable[[int], Tensor], count: int, variation: Variation, generator: torch.Generator
) -> Tensor:
    """One of `count` fields, varied.

    A mean or a multiple of fields without folds may fold: then the field is taken as it is.

    Args:
        read: Gives the field of a number below `count`, `(1, D, *S)`.
        count: Number of fields.
        variation: How it is varied.
        generator: Draws the choice.

    Raises:
        InputError: If the field has not the axes to mirror.
    """
    first, other = torch.randint(count, (2,), generator=generator).tolist()
    chance, weight, between, *coins = torch.rand(6, generator=generator).tolist()
    low, high = variation.amplitude
    plain = read(first)
    if max(variation.mirror, default=0) >= plain.shape[1]:
        raise InputError(
            f"`mirror` must name axes below {plain.shape[1]} for this image, got "
            f"{variation.mirror}: leave the others out."
        )
    field = torch.lerp(plain, read(other), weight) if chance < variation.mix else plain
    factor = low + between * (high - low)
    field = field * factor if factor != 1 else field
    if field is not plain and bool(folded(field).any()):
        field = plain
    for axis in variation.mirror:
        if coins[axis] < 0.5:
            field = mirrored(field, axis)
    return field


def mirrored(ddf: Tensor, axis: int) -> Tensor:
    """The field that moves the mirrored image as `ddf` moves the image."""
    sign = torch.ones(ddf.shape[1]).index_fill(0, torch.tensor([axis]), -1.0).to(ddf)
    return ddf.flip(2 + axis) * sign.reshape(-1, *[1] * (ddf.ndim - 2))
