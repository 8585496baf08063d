"""Training batches: one resampling of each image and its labels, then its grey values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from DRDMCore.fields import compose, identity_coordinates, warp, warp_labels
from DRDMCore.pipelines.augment_plan import derived_seed
from Testing.Experiments.few_shot.study import Pose
from Testing.Experiments.few_shot.subjects import Example

_USUAL = Pose()
_MOVED = 0.8
"""Share of samples with an affine map."""
_CHANGED = 0.5
"""Share of samples for each change of grey values."""


@dataclass(frozen=True)
class Pool:
    """Fields of one kind for the labelled subjects.

    Attributes:
        fields: `(count, D, *S)` per subject, in the order of the subjects.
        share: Share of samples that are deformed.
        least: A field is followed from this part of the way on; 1 takes it as it is.
    """

    fields: Sequence[np.ndarray]
    share: float
    least: float = 1.0


class Augmenter:
    """Draws the batches of a run.

    Every sample has three generators, seeded by the subset and its number: which subject and which
    affine map and grey values it gets is the same in all arms; only the field differs.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        pools: Sequence[Pool],
        *,
        moves: bool,
        seed: int,
        pose: Pose = _USUAL,
    ) -> None:
        """Take the subjects, the fields, and whether and how far affine maps and grey values vary.

        Args:
            examples: What the network may see.
            pools: The fields.
            moves: Whether affine maps and grey values vary.
            seed: Of everything drawn.
            pose: How far affine maps go.
        """
        self._images = [torch.from_numpy(each.image)[None, None] for each in examples]
        self._labels = [torch.from_numpy(each.labels).long()[None, None] for each in examples]
        self._pools, self._moves, self._seed, self._pose = pools, moves, seed, pose

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Images `(size, 1, *S)` and labels of one step."""
        made = [self.sample(step * size + k) for k in range(size)]
        return torch.cat([image for image, _ in made]), torch.cat([labels for _, labels in made])

    def sample(self, number: int) -> tuple[Tensor, Tensor]:
        """Image and labels `(1, 1, *S)` of one sample."""
        subject = self._subject(number)
        image, labels = self._images[subject], self._labels[subject]
        common = self._generator("common", number)
        ddf = self._field(subject, self._generator("field", number))
        if self._moves and _chance(common) < _MOVED:
            affine = affine_ddf(tuple(image.shape[2:]), common, self._pose)
            ddf = affine if ddf is None else compose(ddf, affine)
        if ddf is not None:
            image, labels = warp(image, ddf), warp_labels(labels, ddf)
        if self._moves:
            image = varied(image, self._generator("grey", number))
        return image, labels

    def _subject(self, number: int) -> int:
        """Every subject once before any comes again."""
        round_, place = divmod(number, len(self._images))
        order = torch.randperm(len(self._images), generator=self._generator("order", round_))
        return int(order[place])

    def _field(self, subject: int, generator: torch.Generator) -> Tensor | None:
        """A field of the subject, `(1, D, *S)`, or none."""
        if not self._pools:
            return None
        pool = self._pools[min(int(_chance(generator) * len(self._pools)), len(self._pools) - 1)]
        if _chance(generator) >= pool.share:
            return None
        fields = pool.fields[subject]
        chosen = int(torch.randint(len(fields), (1,), generator=generator))
        ddf = torch.from_numpy(np.asarray(fields[chosen], dtype=np.float32))[None]
        return ddf * (pool.least + (1 - pool.least) * _chance(generator))

    def _generator(self, what: str, number: int) -> torch.Generator:
        """A generator of its own for everything drawn."""
        return torch.Generator().manual_seed(derived_seed(self._seed, what, number))


def affine_ddf(shape: tuple[int, ...], generator: torch.Generator, pose: Pose = _USUAL) -> Tensor:
    """A random rotation, scaling and shift about the middle: `(1, D, *S)` voxels."""
    dimension, reach = len(shape), math.radians(pose.turn)
    matrix = torch.eye(dimension)
    for first in range(dimension):
        for second in range(first + 1, dimension):
            matrix = matrix @ _rotation(dimension, first, second, _spread(generator, reach))
    matrix = matrix * (1 + _spread(generator, pose.scaling))
    shift = torch.tensor([_spread(generator, pose.shift) for _ in shape])
    axes = (1, dimension, *[1] * dimension)
    middle = (torch.tensor([float(side) for side in shape]) - 1).reshape(axes) / 2
    points = identity_coordinates(shape) - middle
    turned = torch.einsum("ij,bj...->bi...", matrix, points)
    return turned - points + shift.reshape(axes)


def varied(image: Tensor, generator: torch.Generator) -> Tensor:
    """Other contrast, brightness, gamma and noise; the image has mean 0 and deviation 1."""
    if _chance(generator) < _CHANGED:
        image = image * (1 + _spread(generator, 0.25)) + _spread(generator, 0.3)
    if _chance(generator) < _CHANGED:
        low, span = image.min(), (image.max() - image.min()).clamp(min=1e-6)
        gamma = math.exp(_spread(generator, 0.35))
        image = ((image - low) / span) ** gamma * span + low
    if _chance(generator) < _CHANGED:
        noise = torch.randn(image.shape, generator=generator)
        image = image + 0.15 * _chance(generator) * noise
    return image


def _rotation(dimension: int, first: int, second: int, angle: float) -> Tensor:
    """A turn in the plane of two axes."""
    matrix = torch.eye(dimension)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix


def _chance(generator: torch.Generator) -> float:
    """0 .. 1."""
    return float(torch.rand(1, generator=generator))


def _spread(generator: torch.Generator, reach: float) -> float:
    """Between `-reach` and `reach`."""
    return (2 * _chance(generator) - 1) * reach
