"""What the scores of runs come to: means, paired differences with intervals, share of the gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.study import ALL
from Testing.Experiments.finished import Row, Scores
from Testing.Experiments.planned import TEST

DICE, SURFACE, HD95 = 0, 1, 2

_RESAMPLINGS = 4000
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179),
    *(2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064),
)
"""97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom."""


@dataclass(frozen=True)
class Cell:
    """All finished runs of one arm at one number of labelled subjects.

    Attributes:
        subsets: Their numbers, sorted.
        scores: `(runs, subjects, labels, 3)`: Dice, surface distance, HD95; NaN where there is
            none. What is judged is a volume or a stack, here called a subject.
        patients: Whose each subject is; by default each its own.
    """

    subsets: tuple[int, ...]
    scores: np.ndarray
    patients: tuple[str, ...] = ()

    @property
    def dice(self) -> np.ndarray:
        """`(runs, subjects)` mean over the labels."""
        mean: np.ndarray = self.scores[..., DICE].mean(axis=2)
        return mean

    @property
    def by_patient(self) -> np.ndarray:
        """`(runs, patients)` mean Dice; patients are what is drawn anew."""
        if not self.patients:
            return self.dice
        names = np.array(self.patients)
        means = [self.dice[:, names == name].mean(axis=1) for name in dict.fromkeys(self.patients)]
        return np.stack(means, axis=1)

    @property
    def by_subset(self) -> np.ndarray:
        """`(runs,)` mean Dice."""
        mean: np.ndarray = self.dice.mean(axis=1)
        return mean


@dataclass(frozen=True)
class Difference:
    """Dice of one arm minus that of another, paired by subset and subject.

    Attributes:
        mean: Over all pairs.
        by_subset: One number per subset.
        over_subsets: 95 % interval of the mean over subsets (Student); `None` for one subset.
        over_both: 95 % interval when subsets and test subjects are drawn anew (bootstrap).
    """

    mean: float
    by_subset: np.ndarray
    over_subsets: tuple[float, float] | None
    over_both: tuple[float, float]


Cells = Mapping[tuple[int, str], Cell]
"""By number of labelled subjects and arm."""


def cells(
    rows: Sequence[Row],
    scores: Mapping[str, Scores],
    keys: Sequence[str],
    patient_of: Callable[[str], str] = str,
) -> Cells:
    """The finished runs of a plan, put together.

    Args:
        rows: Finished runs.
        scores: Scores by run.
        keys: The runs of the plan; other rows come from other settings.
        patient_of: Whose a subject is.

    Raises:
        ValueError: If the plan has two runs of an arm on one subset.
    """
    owners: tuple[str, ...] = ()
    grouped: dict[tuple[int, str], dict[int, np.ndarray]] = {}
    wanted = set(keys)
    for row in rows:
        if row["stage"] == TEST and row["key"] in wanted and row["key"] in scores:
            subjects = scores[row["key"]]
            table = [list(subjects[name].values()) for name in sorted(subjects)]
            owners = tuple(patient_of(name) for name in sorted(subjects))
            place = grouped.setdefault((int(row["n"]), row["arm"]), {})
            if int(row["subset"]) in place:
                raise ValueError(f"`keys` must name one run per arm and subset, got {row['key']}.")
            place[int(row["subset"])] = np.array(table, dtype=float)
    return {
        place: Cell(tuple(sorted(found)), np.stack([found[k] for k in sorted(found)]), owners)
        for place, found in grouped.items()
    }


def paired(first: Cell, second: Cell) -> Difference | None:
    """The difference on the subsets that both have; `None` without any."""
    common = sorted(set(first.subsets) & set(second.subsets))
    if not common:
        return None
    ours, theirs = (_of(each, common) for each in (first, second))
    difference = ours - theirs
    by_subset = difference.mean(axis=1)
    mean = float(difference.mean())
    return Difference(mean, by_subset, _student(by_subset), _interval(_resampled(difference)))


def best_other(found: Cells, n: int, arm: str = "drdm") -> str | None:
    """The arm without DRDM whose mean Dice is highest on the subsets that an arm has.

    Arms without runs on all of these subsets do not count; `None` if none is left.
    """
    if (n, arm) not in found:
        return None
    subsets = found[n, arm].subsets
    means = {
        other: float(_of(cell, subsets).mean())
        for (k, other), cell in found.items()
        if k == n and not ARMS[other].generated and set(subsets) <= set(cell.subsets)
    }
    return max(means, key=lambda other: means[other], default=None)


def gap_closed(found: Cells, n: int, arm: str = "drdm") -> tuple[float, tuple[float, float]] | None:
    """The part of the way from the best other arm to all subjects that an arm goes.

    Returns:
        The part, with its 95 % interval (subsets and test subjects drawn anew; the runs with all
        subjects stay as they are); `None` where a run that it needs is missing.
    """
    other = best_other(found, n, arm)
    every = {a: cell for (k, a), cell in found.items() if k == ALL}
    if n == ALL or other is None or not every or (n, arm) not in found:
        return None
    top = max(every.values(), key=lambda cell: float(cell.by_subset.mean()))
    best = top.by_patient.mean(axis=0)
    common = sorted(set(found[n, arm].subsets) & set(found[n, other].subsets))
    if not common:
        return None
    ours, theirs = (_of(found[n, each], common) for each in (arm, other))
    gained, gap = _resampled(np.stack([ours - theirs, best[None] - theirs]))
    parts = gained / np.where(np.abs(gap) < 1e-6, np.nan, gap)
    whole = float((ours - theirs).mean() / (best[None] - theirs).mean())
    return whole, _interval(parts[np.isfinite(parts)])


def tuning_means(rows: Sequence[Row], keys: Sequence[str]) -> dict[tuple[str, str], list[float]]:
    """Dice of the runs of tuning by arm and setting."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["key"] in keys:
            found.setdefault((row["arm"], row["settings"]), []).append(float(row["dice"]))
    order = {name: number for number, name in enumerate(ARMS)}
    return dict(sorted(found.items(), key=lambda item: order[item[0][0]]))


def _of(cell: Cell, subsets: Sequence[int]) -> np.ndarray:
    """`(runs, patients)` Dice on some of the subsets of a cell."""
    return cell.by_patient[[cell.subsets.index(k) for k in subsets]]


def _student(values: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the mean of a few numbers."""
    count = len(values)
    if count < 2:
        return None
    quantile = _STUDENT[count - 2] if count - 2 < len(_STUDENT) else 1.96
    half = quantile * float(values.std(ddof=1)) / count**0.5
    return float(values.mean()) - half, float(values.mean()) + half


def _resampled(values: np.ndarray) -> np.ndarray:
    """Means of `(..., runs, subjects)` with both drawn anew: `(..., resamplings)`."""
    runs, subjects = values.shape[-2:]
    generator = np.random.default_rng(0)
    means = []
    for _ in range(_RESAMPLINGS):
        some = generator.integers(runs, size=(runs,))
        others = generator.integers(subjects, size=(subjects,))
        means.append(values[..., some, :][..., others].mean(axis=(-2, -1)))
    return np.stack(means, axis=-1)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
