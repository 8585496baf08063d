"""What an augmentation takes from a configuration of the published program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from DRDMCore.models import PublishedConfig
from DRDMCore.pipelines.settings import SamplingSettings

_INTERPOLATIONS = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}


@dataclass(frozen=True)
class LevelSchedule:
    """Levels that rise over the repeats as in the published program.

    Attributes:
        start: Level of repeat 0.
        step: Rise after every repeat `i` for which `i - start` is even.
        top: Highest level.
    """

    start: int
    step: int
    top: int

    def level(self, repeat: int) -> int:
        """The level of a repeat, counted from 0."""
        return min(self._unlimited(repeat), self.top)

    def is_limited(self, count: int) -> bool:
        """Whether `count` repeats would go beyond the highest level."""
        return self._unlimited(count - 1) > self.top

    def _unlimited(self, repeat: int) -> int:
        """The level were there no highest one."""
        rises = sum((index - self.start) % 2 == 0 for index in range(repeat))
        return self.start + self.step * rises


def describe_ignored(config: PublishedConfig) -> list[str]:
    """One sentence for each thing that works otherwise than a reader of the file may think."""
    notes = []
    if config.training:
        keys = ", ".join(config.training)
        notes.append(f"{keys}: training settings, not used by an augmentation.")
    if config.batchsize != 1:
        notes.append(f"batchsize {config.batchsize}: not used, samples are made one by one.")
    if schedule_of(config).is_limited(config.aug_coe):
        notes.append(
            f"start_noise_step {config.start_noise_step}, noise_step {config.noise_step} and "
            f"aug_coe {config.aug_coe} go beyond the highest level {config.timesteps - 1}: later "
            "repeats stay there."
        )
    notes.append(
        f"img_size {config.img_size}: the longest side gets so many voxels; nothing is squashed "
        "to a square or cube, and results have the grid of the original."
    )
    return notes


def schedule_of(config: PublishedConfig) -> LevelSchedule:
    """The levels of the repeats."""
    return LevelSchedule(config.start_noise_step, config.noise_step, config.timesteps - 1)


def sampling_of(config: PublishedConfig, base: SamplingSettings | None = None) -> SamplingSettings:
    """Settings with interpolation and padding of the configuration.

    Args:
        config: The configuration.
        base: Everything else; by default with a free border, as in the published program.
    """
    return replace(
        base or SamplingSettings(border="free"),
        interpolation=_INTERPOLATIONS[config.resample_mode],
        padding=config.img_pad_mode,
    )
