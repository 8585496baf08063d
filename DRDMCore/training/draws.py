"""Everything random of a training step, drawn sample by sample.

Each sample has a generator of its own, seeded by the run's seed, the step and the sample's number.
So a step is the same whether it follows on another or on a checkpoint, and whether one process
makes the whole batch or several a part each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.fields import identity_coordinates, sample
from DRDMCore.sharding import Share
from DRDMCore.training.input_augmentation import Pose, draw_pose, vary_intensity
from DRDMCore.training.settings import InputAugmentation, TrainingSettings
from DRDMCore.training.subjects import Subject


@dataclass(frozen=True)
class Drawn:
    """The images of a step, not yet deformed.

    Attributes:
        image: `(B, 1, *S)` in [0, 1] (noise may leave it), cut or padded to the training shape.
        inside: `(B, 1, *S)` 1 where the voxel is the image's, 0 in padding.
        level: `(B,)` real-valued levels.
        pose: Change of pose, or `None` for none.
        generators: One per sample, from which the field is drawn next.
    """

    image: Tensor
    inside: Tensor
    level: Tensor
    pose: Pose | None
    generators: list[torch.Generator]

    def part(self, low: int, high: int) -> Drawn:
        """Some of the samples, without a change of pose."""
        some = slice(low, high)
        return Drawn(
            self.image[some], self.inside[some], self.level[some], None, self.generators[some]
        )


def sample_generator(seed: int, purpose: str, step: int, index: int) -> torch.Generator:
    """The generator of one sample of one step."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}/{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_step(
    subjects: Sequence[Subject],
    settings: TrainingSettings,
    step: int,
    level_of: Callable[[float], float],
    share: Share,
) -> Drawn:
    """This process's part of a training step.

    Subjects come in random order, each once before any comes twice; the levels of a step are
    spread evenly.

    Args:
        subjects: Training subjects.
        settings: The run.
        step: Its number, from 1.
        level_of: The objective's level for a uniform number in 0 .. 1.
        share: Which process this is, of how many.
    """
    whole = settings.batch * share.world
    indices = range(settings.batch * share.rank, settings.batch * (share.rank + 1))
    generators = [sample_generator(settings.seed, "training", step, i) for i in indices]
    turns = [whole * (step - 1) + i for i in indices]
    chosen = [subjects[_in_turn(turn, len(subjects), settings.seed)] for turn in turns]
    levels = [
        level_of((i + float(torch.rand(1, generator=g))) / whole)
        for i, g in zip(indices, generators, strict=True)
    ]
    return _drawn(chosen, levels, generators, settings, settings.augmentation)


def draw_validation(
    subjects: Sequence[Subject], settings: TrainingSettings, level: float, count: int
) -> Drawn:
    """Held-out images at one level, the same at every validation."""
    generators = [
        sample_generator(settings.seed, f"validation at {level:g}", 0, i) for i in range(count)
    ]
    chosen = [subjects[i % len(subjects)] for i in range(count)]
    return _drawn(chosen, [level] * count, generators, settings, None)


def deformed(drawn: Drawn, ddf: Tensor) -> tuple[Tensor, Tensor]:
    """The images, and where they are images, in their pose and pulled through a field.

    Pose and field make one map, so the image is interpolated once.

    Args:
        drawn: A batch.
        ddf: `(B, D, *S)` displacement, voxels; decides the device.
    """
    coordinates = identity_coordinates(ddf.shape[2:], device=ddf.device) + ddf
    if drawn.pose is not None:
        coordinates = drawn.pose.to(ddf.device)(coordinates)
    both = torch.cat([drawn.image, drawn.inside], dim=1).to(ddf.device)
    read = sample(both, coordinates)
    return read[:, :1], read[:, 1:]


def _drawn(
    subjects: Sequence[Subject],
    levels: Sequence[float],
    generators: list[torch.Generator],
    settings: TrainingSettings,
    augmentation: InputAugmentation | None,
) -> Drawn:
    """Slices or volumes of the subjects, cut, varied and posed."""
    pairs = [
        _fitted(_slice(subject.images, g), settings.shape, g)
        for subject, g in zip(subjects, generators, strict=True)
    ]
    image = torch.cat([pair[0] for pair in pairs])
    pose = None
    if augmentation is not None:
        image = vary_intensity(image, augmentation, generators)
        pose = draw_pose(settings.shape, augmentation, generators)
    inside = torch.cat([pair[1] for pair in pairs])
    return Drawn(image, inside, torch.tensor(list(levels)), pose, generators)


def _in_turn(turn: int, count: int, seed: int) -> int:
    """The subject whose turn it is: a new random order for each pass over all."""
    order = torch.randperm(count, generator=sample_generator(seed, "order", turn // count, 0))
    return int(order[turn % count])


def _below(limit: int, generator: torch.Generator) -> int:
    """A random whole number in 0 .. limit - 1."""
    return int(torch.randint(limit, (1,), generator=generator))


def _slice(images: Tensor, generator: torch.Generator) -> Tensor:
    """One of the slices of a subject: `(1, 1, *S)`."""
    return images[_below(len(images), generator)][None]


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
