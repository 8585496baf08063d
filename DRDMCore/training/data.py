"""Training images on the network's grid: read once, then augmented from memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import identity_coordinates, sample
from DRDMCore.imaging import list_cases, phantom, read_image, to_model_grid
from DRDMCore.training.settings import InputAugmentation, TrainingSettings


@dataclass(frozen=True)
class Subject:
    """One training subject.

    Attributes:
        name: Its file's or phantom's name.
        images: `(Z, 1, *S)` in [0, 1]: slices for a 2D network, one volume for a 3D one.
    """

    name: str
    images: Tensor


def read_subjects(settings: TrainingSettings) -> tuple[list[Subject], list[Subject]]:
    """Training and validation subjects, split by subject with the seed.

    Raises:
        InputError: If there are fewer than two subjects.
    """
    if settings.data.startswith("phantom:"):
        kind = settings.data.removeprefix("phantom:")
        subjects = [
            Subject(f"{kind}-{seed}", to_model_grid(phantom(kind, seed)[0], settings.grid).image)
            for seed in range(settings.subjects)
        ]
    else:
        cases = list_cases(Path(settings.data), None)
        subjects = [
            Subject(case.name, to_model_grid(read_image(case.image), settings.grid).image)
            for case in cases
        ]
    if len(subjects) < 2:
        raise InputError(
            f"`data` must hold at least 2 subjects, got {len(subjects)} in {settings.data!r}."
        )
    order = torch.randperm(len(subjects), generator=torch.Generator().manual_seed(settings.seed))
    held = max(1, round(settings.validation_share * len(subjects)))
    chosen = [subjects[i] for i in order.tolist()]
    return chosen[held:], chosen[:held]


def draw_batch(
    subjects: list[Subject],
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    augment: bool,
) -> tuple[Tensor, Tensor]:
    """Draw images of the training shape.

    Returns:
        `(B, 1, *shape)` images and `(B, 1, *shape)` masks, 1 inside the field of view.
    """
    pairs = []
    for _ in range(settings.batch):
        subject = subjects[_below(len(subjects), generator)]
        slice_ = subject.images[_below(len(subject.images), generator)][None]
        pairs.append(_fitted(slice_, settings.shape, generator))
    image = torch.cat([pair[0] for pair in pairs])
    mask = torch.cat([pair[1] for pair in pairs])
    if augment:
        image = vary_intensity(image, settings.augmentation, generator)
    return image, mask


def affine_coordinates(
    shape: tuple[int, ...], batch: int, settings: InputAugmentation, generator: torch.Generator
) -> Tensor:
    """Voxel coordinates under random rotations, scalings and shifts: `(B, D, *shape)`."""
    dimension = len(shape)
    grid = identity_coordinates(shape).flatten(1)
    centre = (torch.tensor(shape, dtype=torch.float32)[:, None] - 1) / 2
    result = []
    for _ in range(batch):
        matrix = _random_rotation(dimension, settings.rotation_deg, generator)
        matrix = matrix * (1 + settings.scaling * _symmetric(1, generator))
        shift = (
            settings.shift * torch.tensor(shape)[:, None] * _symmetric((dimension, 1), generator)
        )
        result.append(matrix @ (grid - centre) + centre + shift)
    return torch.stack(result).reshape(batch, dimension, *shape)


def read_through(image: Tensor, coordinates: Tensor, ddf: Tensor) -> Tensor:
    """The image under an affine map and then a displacement, interpolated once."""
    identity = identity_coordinates(ddf.shape[2:]).to(ddf)
    moved = sample(coordinates, identity + ddf)  # the map is affine: linear reading is exact
    return sample(image, moved)


def vary_intensity(
    image: Tensor, settings: InputAugmentation, generator: torch.Generator
) -> Tensor:
    """Random exponent, gain, offset and noise per image; clipped to [0, 1] before the noise."""
    ones = (len(image), *[1] * (image.ndim - 1))
    gamma = torch.exp(settings.gamma * torch.randn(ones, generator=generator))
    gain = 1 + settings.gain * torch.randn(ones, generator=generator)
    offset = settings.offset * torch.randn(ones, generator=generator)
    level = settings.noise * torch.rand(ones, generator=generator)
    varied = (image**gamma * gain + offset).clamp(0, 1)
    return varied + level * torch.randn(image.shape, generator=generator)


def _below(limit: int, generator: torch.Generator) -> int:
    """A random whole number in 0 .. limit - 1."""
    return int(torch.randint(limit, (1,), generator=generator))


def _symmetric(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform in -1 .. 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _random_rotation(dimension: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Product of random rotations in every plane of the axes."""
    matrix = torch.eye(dimension)
    for first in range(dimension):
        for second in range(first + 1, dimension):
            angle = math.radians(degrees) * float(_symmetric(1, generator))
            turn = torch.eye(dimension)
            turn[first, first] = turn[second, second] = math.cos(angle)
            turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
            matrix = turn @ matrix
    return matrix


def _fitted(
    image: Tensor, shape: tuple[int, ...], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut at random or pad (border repeated) to `shape`; also the mask of real voxels."""
    mask = torch.ones_like(image)
    padding: list[int] = []
    for axis, (side, wanted) in enumerate(zip(image.shape[2:], shape, strict=True), start=2):
        if side > wanted:
            start = _below(side - wanted + 1, generator)
            image, mask = image.narrow(axis, start, wanted), mask.narrow(axis, start, wanted)
        extra = max(wanted - side, 0)
        padding = [extra // 2, extra - extra // 2, *padding]
    if any(padding):
        image, mask = F.pad(image, padding, mode="replicate"), F.pad(mask, padding)
    return image, mask
