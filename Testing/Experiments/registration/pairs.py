"""Pairs of images to train on: made from one image and two fields, or of two real subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from DRDMCore.fields import compose, warp
from DRDMCore.pipelines.augment_plan import derived_seed
from Testing.Experiments.few_shot.augmenting import affine_ddf, varied

_POSED = 0.5
"""Part of the affine maps of the few-shot experiment that each image of a made pair gets: the
difference between both is then about as large as between subjects."""


@dataclass(frozen=True)
class Pairs:
    """A batch.

    Attributes:
        moving: `(B, 1, *S)` as the network sees it: other grey values and noise.
        fixed: `(B, 1, *S)` likewise.
        clean: The moving and the fixed image with their own grey values, for the similarity.
        ways: For made pairs, the two fields `(B, D, *S)` through which the original was pulled to
            give the moving and the fixed image; `None` for real pairs.
    """

    moving: Tensor
    fixed: Tensor
    clean: tuple[Tensor, Tensor]
    ways: tuple[Tensor, Tensor] | None

    def to(self, device: str) -> Pairs:
        """The same pairs elsewhere."""
        clean, ways = (
            None if both is None else (both[0].to(device), both[1].to(device))
            for both in (self.clean, self.ways)
        )
        assert clean is not None
        return Pairs(self.moving.to(device), self.fixed.to(device), clean, ways)


class Source(Protocol):
    """Where pairs come from."""

    def pairs(self, step: int, size: int) -> Pairs:
        """The pairs of one step."""


class MadePairs:
    """One original seen through two fields (Algorithm 4, with both fields drawn from the original).

    The subjects, poses and grey values of a seed are the same whatever the fields.
    """

    def __init__(
        self, images: Sequence[np.ndarray], fields: Sequence[np.ndarray], *, seed: int
    ) -> None:
        """Take the images.

        Args:
            images: `(*S)` per subject.
            fields: `(count, D, *S)` per subject, at least two each, voxels.
            seed: Of all draws.
        """
        self._images = [torch.from_numpy(image)[None, None] for image in images]
        self._fields, self._seed = fields, seed

    def pairs(self, step: int, size: int) -> Pairs:
        """The pairs of one step."""
        return joined([self.pair(step * size + k) for k in range(size)])

    def pair(self, number: int) -> Pairs:
        """One pair."""
        generator = _generator(self._seed, "pair", number)
        subject = _turn(len(self._images), self._seed, number)
        fields = self._fields[subject]
        chosen = torch.randperm(len(fields), generator=generator)[:2].tolist()
        image = self._images[subject]
        ways = []
        for place in chosen:
            ddf = torch.from_numpy(np.asarray(fields[place], dtype=np.float32))[None]
            pose = _POSED * affine_ddf(tuple(image.shape[2:]), generator)
            ways.append(compose(ddf, pose))
        moving, fixed = (warp(image, way) for way in ways)
        seen = [varied(each, generator) for each in (moving, fixed)]
        return Pairs(seen[0], seen[1], (moving, fixed), (ways[0], ways[1]))


class RealPairs:
    """Two different subjects."""

    def __init__(self, images: Sequence[np.ndarray], *, seed: int) -> None:
        """Take the images, `(*S)` per subject, and the seed of all draws."""
        self._images = [torch.from_numpy(image)[None, None] for image in images]
        self._seed = seed

    def pairs(self, step: int, size: int) -> Pairs:
        """The pairs of one step."""
        return joined([self.pair(step * size + k) for k in range(size)])

    def pair(self, number: int) -> Pairs:
        """One pair."""
        generator = _generator(self._seed, "pair", number)
        first = _turn(len(self._images), self._seed, number)
        others = len(self._images) - 1
        further = 1 + int(torch.randint(others, (1,), generator=generator))
        moving, fixed = self._images[first], self._images[(first + further) % (others + 1)]
        seen = [varied(each, generator) for each in (moving, fixed)]
        return Pairs(seen[0], seen[1], (moving, fixed), None)


def joined(pairs: Sequence[Pairs]) -> Pairs:
    """Pairs of one kind as one batch."""
    ways = [pair.ways for pair in pairs if pair.ways is not None]
    return Pairs(
        torch.cat([pair.moving for pair in pairs]),
        torch.cat([pair.fixed for pair in pairs]),
        (torch.cat([p.clean[0] for p in pairs]), torch.cat([p.clean[1] for p in pairs])),
        (torch.cat([w[0] for w in ways]), torch.cat([w[1] for w in ways])) if ways else None,
    )


def _turn(count: int, seed: int, number: int) -> int:
    """Every subject once before any comes again."""
    round_, place = divmod(number, count)
    order = torch.randperm(count, generator=_generator(seed, "order", round_))
    return int(order[place])


def _generator(seed: int, what: str, number: int) -> torch.Generator:
    """A generator of its own for everything drawn."""
    return torch.Generator().manual_seed(derived_seed(seed, what, number))
