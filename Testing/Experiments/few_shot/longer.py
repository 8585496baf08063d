"""Is the training long enough? Networks trained for another time, beside those of the plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from Testing.Benchmarks.machine import table
from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.plan import Run
from Testing.Experiments.few_shot.study import ALL
from Testing.Experiments.finished import Row
from Testing.Experiments.planned import TEST, TUNING

_PLACE = ("stage", "n", "subset", "arm", "settings", "batch", "fields", "network", "generator")
"""Columns in which two runs agree that differ in their length alone."""
_PARTS = {TUNING: "validation", TEST: "test"}


def lengthened(runs: Sequence[Run], iterations: int) -> list[Run]:
    """The same runs with another number of steps.

    Args:
        runs: Of the plan.
        iterations: Optimisation steps.
    """
    return [replace(run, iterations=iterations) for run in runs]


def longer_section(rows: Sequence[Row], planned: Sequence[str]) -> list[str]:
    """Lines of Markdown; none without such networks.

    Args:
        rows: Finished runs.
        planned: Keys of the runs of the plan.
    """
    known = {_place(row): row for row in rows if row["key"] in set(planned)}
    pairs: dict[tuple[str, int, str, int], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        usual = known.get(_place(row))
        if usual is not None and row["iterations"] != usual["iterations"]:
            group = row["stage"], int(row["n"]), row["arm"], int(row["iterations"])
            pairs[group].append((float(usual["dice"]), float(row["dice"])))
    if not pairs:
        return []
    lines = []
    for (stage, n, arm, iterations), dice in sorted(pairs.items()):
        usual, other = np.array(dice).T
        lines.append(
            [
                *(_PARTS[stage], "all" if n == ALL else str(n), ARMS[arm].title),
                *(str(len(dice)), str(iterations)),
                *(f"{other.mean():.2f}", f"{usual.mean():.2f}", f"{(other - usual).mean():+.2f}"),
            ]
        )
    head = [
        "scored on",
        "n",
        "arm",
        "networks",
        "steps",
        "Dice",
        "with the plan's",
        "difference",
    ]
    return [
        "## Trained for longer or shorter",
        "",
        "On the same subsets, from the same first weights.",
        "",
        *table(head, lines),
        "",
    ]


def _place(row: Row) -> tuple[str, ...]:
    """What two runs have in common that differ in their length alone."""
    return tuple(row[name] for name in _PLACE)
