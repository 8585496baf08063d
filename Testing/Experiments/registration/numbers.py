"""What the scores of runs come to: means and differences with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Testing.Experiments.finished import Row, Scores
from Testing.Experiments.planned import TEST
from Testing.Experiments.registration.arms import ARMS
from Testing.Experiments.registration.judging import FIELD

_RESAMPLINGS = 4000


@dataclass(frozen=True)
class Cell:
    """All finished runs of one arm.

    Attributes:
        seeds: Their numbers, sorted; none where there is no network: one run is all there is.
        pairs: Moving and fixed subject of each pair.
        scores: `(runs, pairs, labels, 3)`: Dice, surface distance, HD95; NaN where there is none.
        fields: `(runs, pairs, 3)`: mean displacement in mm, folded percent, least determinant.
    """

    seeds: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...]
    scores: np.ndarray
    fields: np.ndarray

    @property
    def dice(self) -> np.ndarray:
        """`(runs, pairs)` mean over the labels."""
        mean: np.ndarray = self.scores[..., 0].mean(axis=2)
        return mean

    @property
    def surface(self) -> np.ndarray:
        """`(runs, pairs)` mean surface distance over the labels, mm."""
        mean: np.ndarray = self.scores[..., 1].mean(axis=2)
        return mean


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and pairs.

    Attributes:
        mean: It.
        by_seed: One number per run.
        interval: 95 % interval when runs and test subjects are drawn anew.
    """

    mean: float
    by_seed: np.ndarray
    interval: tuple[float, float]


Measure = Callable[[Cell], np.ndarray]
"""Gives `(runs, pairs)`."""


def dice(cell: Cell) -> np.ndarray:
    """Of every run and pair, percent."""
    return cell.dice


def surface(cell: Cell) -> np.ndarray:
    """Mean surface distance of every run and pair, mm."""
    return cell.surface


def cells(
    rows: Sequence[Row], scores: Mapping[str, Scores], keys: Sequence[str]
) -> dict[str, Cell]:
    """The finished runs of a plan by arm.

    Args:
        rows: Finished runs.
        scores: Scores by run.
        keys: The runs of the plan; other rows come from other settings.
    """
    grouped: dict[str, dict[int, Scores]] = {}
    wanted = set(keys)
    for row in rows:
        if row["stage"] == TEST and row["key"] in wanted and row["key"] in scores:
            grouped.setdefault(row["arm"], {})[int(row["seed"])] = scores[row["key"]]
    return {arm: _cell(found, bool(ARMS[arm].kinds)) for arm, found in grouped.items()}


def estimate(cell: Cell, measure: Measure = dice) -> Estimate:
    """A measure of an arm."""
    return _estimate(measure(cell), cell.pairs)


def paired(first: Cell, second: Cell, measure: Measure = dice) -> Estimate | None:
    """First minus second on the same pairs, and the same seeds where both have networks.

    An arm without a network has one run, which stands beside every run of the other. `None`
    where the arms have no seed in common.
    """
    ours, theirs = (measure(cell) for cell in (first, second))
    if first.seeds and second.seeds:
        common = sorted(set(first.seeds) & set(second.seeds))
        if not common:
            return None
        ours = ours[[first.seeds.index(seed) for seed in common]]
        theirs = theirs[[second.seeds.index(seed) for seed in common]]
    assert first.pairs == second.pairs
    return _estimate(ours - theirs, first.pairs)


def _cell(found: Mapping[int, Scores], learned: bool) -> Cell:
    """The runs of one arm, with or without networks."""
    seeds = tuple(sorted(found))
    names = sorted(found[seeds[0]])
    labels = [name for name in found[seeds[0]][names[0]] if name != FIELD]
    scores = [[[found[s][n][label] for label in labels] for n in names] for s in seeds]
    fields = [[found[s][n][FIELD] for n in names] for s in seeds]
    pairs = tuple((first, second) for first, _, second in (name.partition(">") for name in names))
    tables = np.array(scores, dtype=float), np.array(fields, dtype=float)
    return Cell(seeds if learned else (), pairs, *tables)


def _estimate(values: np.ndarray, pairs: Sequence[tuple[str, str]]) -> Estimate:
    """Mean of `(runs, pairs)`; pairs without a value do not count."""
    by_seed: np.ndarray = np.nanmean(values, axis=1)
    return Estimate(float(by_seed.mean()), by_seed, _interval(values, pairs))


def _interval(values: np.ndarray, pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """The middle 95 % of means with runs and subjects drawn anew.

    A pair counts as often as its moving subject was drawn times its fixed one: two pairs that
    share a subject are not two independent findings.
    """
    names = sorted({name for pair in pairs for name in pair})
    places = np.array([[names.index(name) for name in pair] for pair in pairs])
    generator = np.random.default_rng(0)
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    means = []
    for _ in range(_RESAMPLINGS):
        runs = generator.integers(len(values), size=len(values))
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        weights = drawn[places[:, 0]] * drawn[places[:, 1]] * known[runs]
        if weights.sum():
            means.append(float((weights * filled[runs]).sum() / weights.sum()))
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
