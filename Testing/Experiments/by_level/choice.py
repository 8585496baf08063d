"""The rule by which a level is recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from Testing.Experiments.by_level.numbers import Measure, Place, Summary
from Testing.Experiments.by_level.plan import CHOOSING, MATCHED, REAL, RECOVERED, REPORTED, Plan

FARTHER = 1.10
"""Mean shape distance of a level that fits, relative to the real subjects', at most."""
SHRUNK = 0.10
"""Deviation of its mean volume from the originals', at most."""
DIVERSE = 0.75
"""Its diversity, relative to that of the most diverse level for which the others hold, at least."""

Summaries = Mapping[Place, Summary]


@dataclass(frozen=True)
class Judged:
    """One level by the rule.

    Attributes:
        level: The level.
        nearer: Shape distance minus that of the matched random fields, mm.
        farther: Shape distance relative to the real subjects'.
        volume: Mean volume relative to the originals.
        few: Coverage by a few subjects with their samples.
        beyond: Share of shapes beyond the real ones, percent; told, but no part of the rule.
        diversity: Of the samples of a subject.
        most_diverse: The diversity of the most diverse sound level.
    """

    level: int
    nearer: Measure
    farther: float
    volume: Measure
    few: Measure
    beyond: Measure
    diversity: float
    most_diverse: float = 0.0

    @property
    def helps(self) -> bool:
        """Whether recovery is surely nearer to real shapes than an equally large random field."""
        interval = self.nearer.interval
        return interval is not None and interval[1] < 0

    @property
    def plausible(self) -> bool:
        """Whether its shapes are about as near to others as real ones."""
        return self.farther <= FARTHER

    @property
    def keeps_volume(self) -> bool:
        """Whether volumes stay about the same."""
        return abs(self.volume.value - 1) <= SHRUNK

    @property
    def sound(self) -> bool:
        """Whether all of that holds."""
        return self.helps and self.plausible and self.keeps_volume

    @property
    def diverse(self) -> bool:
        """Whether its samples differ nearly as much as those of any sound level."""
        return self.diversity >= DIVERSE * self.most_diverse

    @property
    def fits(self) -> bool:
        """Whether it is sound and diverse."""
        return self.sound and self.diverse


def judge(plan: Plan, summaries: Summaries, part: str = CHOOSING) -> list[Judged]:
    """All levels by the rule, on the subjects of a part."""
    real = summaries[part, REAL, None]["distance_mm"].value
    judged = []
    for level in plan.levels:
        ours, other = (summaries[part, kind, level] for kind in (RECOVERED, MATCHED))
        judged.append(
            Judged(
                level,
                nearer=ours["distance_mm"].minus(other["distance_mm"]),
                farther=ours["distance_mm"].value / real,
                volume=ours["ratio_all"],
                few=ours["few"],
                beyond=ours["beyond"],
                diversity=ours["diversity"].value,
            )
        )
    most = max((each.diversity for each in judged if each.sound), default=0.0)
    return [replace(each, most_diverse=most) for each in judged]


def recommended(judged: Sequence[Judged]) -> Judged | None:
    """The level that fits with which a few subjects cover most; `None` if none fits."""
    fitting = [each for each in judged if each.fits]
    return max(fitting, key=lambda each: each.few.value, default=None)


def advice(plan: Plan, summaries: Summaries) -> dict[str, object]:
    """For a model's card.

    Returns:
        `levels` that fit; the one to `start` from, `None` without any; of the levels those
        `confirmed`: by the same rule on the subjects that are reported.
    """
    judged, again = (judge(plan, summaries, part) for part in (CHOOSING, REPORTED))
    chosen = recommended(judged)
    levels, others = ([each.level for each in some if each.fits] for some in (judged, again))
    return {
        "levels": levels,
        "start": None if chosen is None else chosen.level,
        "confirmed": [level for level in levels if level in others],
    }
