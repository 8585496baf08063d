"""What the rows come to, level by level, with 95 % intervals over subjects (bootstrap)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Testing.Benchmarks.plausibility_numbers import excess, resamplings
from Testing.Experiments.by_level.coverage import coverage, coverage_by_few
from Testing.Experiments.by_level.measuring import Row
from Testing.Experiments.by_level.plan import MATCHED, REAL, RECOVERED, RIGID_FREE
from Testing.Experiments.by_level.records import Results

FEW = 5
"""Subjects of which a small training set is thought to consist."""

MEANS = (
    *("distance_mm", "unlike_original", "mean_voxels", "mean_mm", "kept", "ncc"),
    *("det_p1", "det_p50", "det_p99", "log_det_sd", "not_positive_before_percent"),
    *("folded_percent", "separability_1", "separability_4", "separability_16"),
)

Place = tuple[str, str, int | None]
"""Part, kind, and level (`None` for the subjects as they are)."""


@dataclass(frozen=True)
class Measure:
    """A number with what it comes to on resampled subjects.

    Attributes:
        value: On all subjects; NaN where it cannot be had.
        draws: `(R,)` on the subjects drawn anew, the same draws for every measure of a part.
    """

    value: float
    draws: np.ndarray

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval; `None` where one in 20 draws has no value."""
        known = self.draws[np.isfinite(self.draws)]
        if len(known) < 0.95 * len(self.draws) or not np.isfinite(self.value):
            return None
        low, high = np.percentile(known, (2.5, 97.5))
        return float(low), float(high)

    def minus(self, other: Measure) -> Measure:
        """The difference, subject by subject."""
        return Measure(self.value - other.value, self.draws - other.draws)


@dataclass(frozen=True)
class Cell:
    """All samples of one kind at one level.

    Attributes:
        columns: `(N, S)` numbers by column of the table, subjects in the plan's order.
        covered: `(N, S, K)` whether a sample covers a training shape.
        nearest: `(N, S, K)` whether a training shape is the sample's nearest one.
    """

    columns: Mapping[str, np.ndarray]
    covered: np.ndarray
    nearest: np.ndarray

    def by_subject(self, name: str) -> np.ndarray:
        """`(N,)` means over the samples of each subject; NaN without the column."""
        found = self.columns.get(name)
        if found is None:
            return np.full(len(self.covered), np.nan)
        mean: np.ndarray = found.mean(axis=1)
        return mean

    @property
    def labels(self) -> list[str]:
        """Columns of volumes, that of all labels together first."""
        return sorted((k for k in self.columns if k.startswith("volume_")), key=_label_order)


Cells = Mapping[Place, Cell]
Summary = Mapping[str, Measure]


def cells(results: Results) -> dict[Place, Cell]:
    """The rows, put together by part, kind and level."""
    grouped: dict[Place, dict[str, list[Row]]] = {}
    for row in results.rows:
        place = row["part"], row["kind"], row.get("level")
        grouped.setdefault(place, {}).setdefault(row["subject"], []).append(row)
    count = len(results.plan.training)
    return {
        place: _cell([found[name] for name in results.plan.subjects[place[0]]], count)
        for place, found in grouped.items()
    }


def summary(found: Cells, place: Place) -> dict[str, Measure]:
    """All measures of a cell, by name.

    Means have the name of their column. `beyond` is in percent; `diversity` relative to the real
    subjects; `ratio_L` the mean volume of label L relative to the original's, `ratio_sd_L` its
    standard deviation over all samples, `spread_L` the standard deviation of the volume relative
    to that of the real subjects; `coverage`, `coverage_gap` (minus that of the real subjects) and
    `nearest_coverage`; `few` the coverage to be expected of `FEW` subjects with two samples of each
    (real: without); for recovered samples `excess` and `rigid_free_excess`.
    """
    part, kind, level = place
    cell, real = found[place], found[part, REAL, None]
    picks = resamplings(len(cell.covered))
    result = {name: _mean(cell.by_subject(name), picks) for name in MEANS if kind != REAL}
    result["distance_mm"] = _mean(cell.by_subject("distance_mm"), picks)
    result["beyond"] = _mean(100 * cell.by_subject("beyond"), picks)
    result["diversity"] = _sampled(
        lambda pick: (
            cell.by_subject("unlike_siblings")[pick].mean()
            / real.by_subject("unlike_siblings")[pick].mean()
        ),
        picks,
    )
    result |= _coverages(cell, real, picks)
    together = real.covered[:, 0] | cell.covered[:, :2].any(axis=1)
    result["few"] = _by_few(together, picks)
    result |= _volumes(cell, real, picks)
    if kind == RECOVERED:
        for name, other in (("excess", MATCHED), ("rigid_free_excess", RIGID_FREE)):
            result[name] = _excess(cell, real, found[part, other, level], picks)
    return result


def _cell(rows: Sequence[Sequence[Row]], count: int) -> Cell:
    """Rows by subject as arrays; a label that has gone has no volume."""
    ordered = [sorted(each, key=lambda row: row.get("number", 0)) for each in rows]
    numbers = {
        key
        for each in ordered
        for row in each
        for key, value in row.items()
        if isinstance(value, int | float) and key not in ("level", "number", "seed", "nearest")
    }
    columns = {
        key: np.array(
            [[row.get(key, _missing(key)) for row in each] for each in ordered], dtype=float
        )
        for key in numbers
    }
    covered = np.array(
        [[np.isin(np.arange(count), _covered(row)) for row in each] for each in ordered]
    )
    nearest = np.array([[np.arange(count) == row["nearest"] for row in each] for each in ordered])
    return Cell(columns, covered, nearest)


def _covered(row: Row) -> list[int]:
    """Numbers of the training shapes that a sample covers."""
    return [int(part) for part in row["covered"].split()]


def _missing(key: str) -> float:
    """What a number is where the row has none."""
    return 0.0 if key.startswith("volume_") else np.nan


def _label_order(column: str) -> tuple[int, str]:
    """`volume_all` first, then by value."""
    value = column.removeprefix("volume_")
    return (int(value), "") if value.isdigit() else (-1, value)


def _mean(values: np.ndarray, picks: np.ndarray) -> Measure:
    """Mean over subjects."""
    return Measure(float(values.mean()), values[picks].mean(axis=1))


def _sampled(statistic: Callable[[np.ndarray], float], picks: np.ndarray) -> Measure:
    """Any number that depends on which subjects there are."""
    everyone = np.arange(picks.shape[1])
    return Measure(float(statistic(everyone)), np.array([statistic(pick) for pick in picks]))


def _coverages(cell: Cell, real: Cell, picks: np.ndarray) -> dict[str, Measure]:
    """Coverage by one sample per subject, as many as there are real subjects; mean over seeds."""
    measures = {}
    for name in ("covered", "nearest"):
        ours, theirs = (_coverage(getattr(each, name), picks) for each in (cell, real))
        title = "coverage" if name == "covered" else "nearest_coverage"
        measures[title], measures[f"{title}_gap"] = _centred(ours), _centred(ours.minus(theirs))
    return measures


def _coverage(flags: np.ndarray, picks: np.ndarray) -> Measure:
    """Of `(N, S, K)`: the mean over the S seeds."""
    times, seeds = _times(picks), range(flags.shape[1])
    draws = [(times @ flags[:, k].astype(np.float32) > 0).mean(axis=1) for k in seeds]
    value = float(np.mean([coverage(flags[:, k]) for k in seeds]))
    return Measure(value, np.mean(draws, axis=0))


def _by_few(together: np.ndarray, picks: np.ndarray) -> Measure:
    """Of `(N, K)`: what each subject covers, with its samples."""
    flags = together.astype(np.float32)
    counts = flags.sum(axis=0).astype(int), (_times(picks) @ flags).astype(int)
    value, draws = (coverage_by_few(each, len(flags), FEW) for each in counts)
    return _centred(Measure(float(value), draws))


def _times(picks: np.ndarray) -> np.ndarray:
    """`(R, N)` how often each subject is drawn."""
    subjects = np.arange(picks.shape[1])
    times: np.ndarray = (picks[:, :, None] == subjects).sum(axis=1, dtype=np.float32)
    return times


def _centred(measure: Measure) -> Measure:
    """The draws moved onto the value: drawn with repeats, fewer different subjects cover less."""
    return Measure(measure.value, measure.draws - measure.draws.mean() + measure.value)


def _volumes(cell: Cell, real: Cell, picks: np.ndarray) -> dict[str, Measure]:
    """Volumes by label, relative to the originals."""
    measures = {}
    for column in real.labels:
        label, originals = column.removeprefix("volume_"), real.columns[column]
        made = cell.columns.get(column, np.zeros_like(originals))
        ratios = _ratio(made, originals)
        measures[f"ratio_{label}"] = _mean(ratios.mean(axis=1), picks)
        deviation, spread = _deviation(made, picks), _deviation(originals, picks)
        measures[f"ratio_sd_{label}"] = _deviation(ratios, picks)
        value = float(_ratio(np.array(deviation.value), np.array(spread.value)))
        measures[f"spread_{label}"] = Measure(value, _ratio(deviation.draws, spread.draws))
    return measures


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient; NaN where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below == 0, np.nan, above / below)


def _deviation(values: np.ndarray, picks: np.ndarray) -> Measure:
    """Standard deviation over all samples `(N, S)`."""
    return Measure(float(values.std()), values[picks].std(axis=(1, 2)))


def _excess(cell: Cell, real: Cell, random: Cell, picks: np.ndarray) -> Measure:
    """Distance beyond the real floor as a part of what random fields add."""
    ours, floor, other = (each.by_subject("distance_mm") for each in (cell, real, random))

    def of(pick: np.ndarray) -> float:
        value = excess(ours[pick].tolist(), floor[pick].tolist(), other[pick].tolist())
        return np.nan if value is None else value

    return _sampled(of, picks)
