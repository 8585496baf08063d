"""One deformation by the published program's schedule and network, as plainly as it can be written.

Float32, torch's default layout in memory, a fresh sampling grid for every warp, the sequential
field of `naive.py`, the network of `naive_training.py`: levels 79 .. 0 with two recursions each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.fields import published_field
from DRDMCore.recovery import LEVELS, PublishedNetwork, image_count
from Testing.Benchmarks import naive, naive_training

RECURSIONS = 2
PASSES = LEVELS * RECURSIONS
_IMAGE_MODES = {2: "bicubic", 3: "bilinear"}


@dataclass(frozen=True)
class Baseline:
    """The published program on one image.

    Attributes:
        network: Weights do not matter to the time.
        image: `(1, 1, *S)` in [0, 1], sides multiples of 8.
        level: Level of the start field.
    """

    network: PublishedNetwork
    image: Tensor
    level: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides of the image."""
        return tuple(self.image.shape[2:])

    def start(self, seed: int) -> Tensor:
        """The random field of a seed, drawn on a cube and cut to the image's sides."""
        side = max(self.shape)
        moving, _ = naive.draw([side] * len(self.shape), seed, published_field(side))
        count = image_count(self.level)
        cube = naive.field(moving, count, count, side)
        return cube[(slice(None), slice(None), *[slice(0, each) for each in self.shape])]

    def one_level(self, ddf: Tensor, warped: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Two passes, the composition of their fields, and the original warped anew."""
        side = max(self.shape)
        step = self._one_pass(warped, level) * side
        for _ in range(RECURSIONS - 1):
            again = pull(warped, step, padding="zeros")
            one = self._one_pass(again, level) * side
            step = one + pull(step, one, padding="border")
        ddf = step + pull(ddf, step, padding="zeros" if ddf.ndim == 4 else "border")
        mode = _IMAGE_MODES[len(self.shape)]
        return ddf, pull(self.image, ddf, padding="zeros", mode=mode)

    def whole(self, seed: int, levels: Sequence[int] = range(LEVELS - 1, -1, -1)) -> Tensor:
        """The recovered field of a seed."""
        return self.from_field(self.start(seed), levels)

    def from_field(self, ddf: Tensor, levels: Sequence[int]) -> Tensor:
        """The field after some levels of recovery, from the start field."""
        with torch.no_grad():
            warped = pull(self.image, ddf, padding="zeros")
            for level in levels:
                ddf, warped = self.one_level(ddf, warped, level)
        return ddf

    def parts(self, seed: int) -> tuple[Callable[[], object], Callable[[], object]]:
        """Two jobs: the start field; and one level, the next lower one at every call."""
        ddf = self.start(seed)
        state = {"ddf": ddf, "warped": pull(self.image, ddf, padding="zeros")}
        levels = _forever(LEVELS)

        def one_level() -> object:
            with torch.no_grad():
                made = self.one_level(state["ddf"], state["warped"], next(levels))
            state["ddf"], state["warped"] = made
            return made

        return lambda: self.start(seed), one_level

    def _one_pass(self, image: Tensor, level: int) -> Tensor:
        """One pass, fraction of the side."""
        limit = 1 - 1 / max(self.shape)
        made = naive_training.one_pass(self.network, image, torch.tensor([level]))
        return made.clamp(-limit, limit)


def pull(image: Tensor, ddf: Tensor, *, padding: str, mode: str = "bilinear") -> Tensor:
    """`image(x + ddf(x))` with a fresh sampling grid."""
    shape = image.shape[2:]
    axes = [torch.arange(side, dtype=torch.float32) for side in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None] + ddf
    scaled = [2 * grid[:, axis] / (side - 1) - 1 for axis, side in enumerate(shape)]
    lookup = torch.stack(scaled[::-1], dim=-1)
    return F.grid_sample(image, lookup, mode=mode, padding_mode=padding, align_corners=True)


def _forever(levels: int) -> Iterator[int]:
    """Levels from the top down, again and again."""
    while True:
        yield from range(levels - 1, -1, -1)
