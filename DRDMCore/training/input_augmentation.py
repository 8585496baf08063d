"""Random changes of training images before they are deformed: pose and grey values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from DRDMCore.fields import sample
from DRDMCore.fields.grid import apply_along_axes
from DRDMCore.training.settings import InputAugmentation

_BEND_TERMS = 4


@dataclass(frozen=True)
class Pose:
    """A change of pose per sample: an affine map of coordinates, then a smooth bend.

    Attributes:
        matrix: `(B, D, D)`.
        offset: `(B, D, 1)` voxels.
        bend: `(B, D, *S)` displacement, voxels, or `None`.
    """

    matrix: Tensor
    offset: Tensor
    bend: Tensor | None

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Where voxels at `coordinates` `(B, D, *S)` read the original."""
        moved = (self.matrix @ coordinates.flatten(2) + self.offset).reshape(coordinates.shape)
        return moved if self.bend is None else moved + sample(self.bend, moved)

    def to(self, device: torch.device) -> Pose:
        """The pose on a device."""
        return replace(
            self,
            matrix=self.matrix.to(device),
            offset=self.offset.to(device),
            bend=None if self.bend is None else self.bend.to(device),
        )


def draw_pose(
    shape: Sequence[int], settings: InputAugmentation, generators: Sequence[torch.Generator]
) -> Pose | None:
    """One pose per generator; `None` where the settings change none."""
    if not settings.moves:
        return None
    parts = [_affine(shape, settings, g) for g in generators]
    bend = None
    if settings.bend > 0:
        bend = torch.cat([_bend(shape, settings, g) for g in generators])
    return Pose(torch.stack([p[0] for p in parts]), torch.stack([p[1] for p in parts]), bend)


def vary_intensity(
    image: Tensor, settings: InputAugmentation, generators: Sequence[torch.Generator]
) -> Tensor:
    """Random floor, contrast, exponent, gain and offset per image, cut to [0, 1]; then noise."""
    varied = [_varied(each[None], settings, g) for each, g in zip(image, generators, strict=True)]
    return torch.cat(varied)


def _varied(image: Tensor, settings: InputAugmentation, generator: torch.Generator) -> Tensor:
    """One image; always the same number of draws, so that settings do not shift each other's."""
    share, floor, contrast, level = torch.rand(4, generator=generator).tolist()
    gamma, gain, offset = torch.randn(3, generator=generator).tolist()
    noise = torch.randn(image.shape, generator=generator)
    if share >= settings.intensity_share:
        return image
    image = torch.where(image < floor * settings.floor, torch.zeros(()), image)
    if contrast < settings.autocontrast:
        low, high = image.min(), image.max()
        image = (image - low) / (high - low).clamp(min=1e-6)
    image = image ** math.exp(settings.gamma * gamma)
    image = (image * (1 + settings.gain * gain) + settings.offset * offset).clamp(0, 1)
    return image + settings.noise * level * noise


def _affine(
    shape: Sequence[int], settings: InputAugmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Matrix `(D, D)` and offset `(D, 1)` of a random affine map about the centre."""
    dimension = len(shape)
    sides = torch.tensor(shape, dtype=torch.float32)[:, None]
    share, size = torch.rand(2, generator=generator).tolist()
    matrix = _rotation(dimension, settings.rotation_deg, generator)
    matrix = matrix * (1 + settings.scaling * _symmetric((1,), generator))
    matrix = matrix * (1 + settings.stretch * _symmetric((dimension,), generator))
    matrix = matrix @ _shear(dimension, settings.shear, generator)
    shift = settings.shift * sides * _symmetric((dimension, 1), generator)
    crop = settings.crop + (1 - settings.crop) * size
    shift = shift + 0.5 * (1 - crop) * sides * _symmetric((dimension, 1), generator)
    mirrored = torch.rand(dimension, generator=generator) < 0.5
    if share >= settings.share:
        return torch.eye(dimension), torch.zeros(dimension, 1)
    signs = torch.ones(dimension)
    for axis in settings.flips:
        signs[axis] = -1.0 if mirrored[axis] else 1.0
    matrix = crop * signs[:, None] * matrix
    centre = (sides - 1) / 2
    return matrix, centre - matrix @ centre + shift


def _symmetric(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform in -1 .. 1."""
    return 2 * torch.rand(tuple(shape), generator=generator) - 1


def _rotation(dimension: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Product of random rotations in every plane of the axes."""
    matrix = torch.eye(dimension)
    for first in range(dimension):
        for second in range(first + 1, dimension):
            angle = math.radians(degrees) * float(_symmetric((1,), generator))
            turn = torch.eye(dimension)
            turn[first, first] = turn[second, second] = math.cos(angle)
            turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
            matrix = turn @ matrix
    return matrix


def _shear(dimension: int, most: float, generator: torch.Generator) -> Tensor:
    """Unit matrix with random entries above the diagonal."""
    return torch.eye(dimension) + most * torch.triu(
        _symmetric((dimension, dimension), generator), diagonal=1
    )


def _bend(shape: Sequence[int], settings: InputAugmentation, generator: torch.Generator) -> Tensor:
    """A displacement of a few cosines per axis, `(1, D, *shape)` voxels; the finer, the smaller."""
    dimension = len(shape)
    order = torch.arange(_BEND_TERMS, dtype=torch.float32)
    total = sum(order.reshape(-1, *[1] * axis).square() for axis in range(dimension))
    assert isinstance(total, Tensor)
    weight = torch.where(total > 0, 1 / (1 + total), torch.zeros(()))
    weight = settings.bend * weight / weight.square().sum().sqrt()
    coefficients = torch.randn(1, dimension, *total.shape, generator=generator) * weight
    waves = [torch.cos(math.pi * (torch.arange(n)[:, None] + 0.5) / n * order) for n in shape]
    norms = torch.where(order > 0, math.sqrt(2.0), 1.0)
    sides = torch.tensor(shape, dtype=torch.float32).reshape(1, -1, *[1] * dimension)
    return apply_along_axes(coefficients, [wave * norms for wave in waves]) * sides
