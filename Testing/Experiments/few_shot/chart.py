"""Dice of all arms by number of labelled subjects, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.numbers import Cells
from Testing.Experiments.few_shot.study import ALL
from Testing.Experiments.score_chart import Margins, ScoreChart

_MARGINS = Margins(left=60, top=20, right=250, bottom=60)
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#8c6d31"),
    *("#7f7f7f", "#9467bd", "#17becf", "#bcbd22", "#aa3377"),
)


def draw_chart(found: Cells, numbers: Sequence[int], path: Path) -> None:
    """Draw a dot per run and a bar at their mean, arms side by side.

    Args:
        found: Finished runs.
        numbers: Numbers of labelled subjects from left to right; those without a run are left out,
            and so are arms with less than half of the runs of the most complete one.
        path: The picture.
    """
    most = {n: max(len(c.subsets) for (k, _), c in found.items() if k == n) for n, _ in found}
    found = {place: c for place, c in found.items() if 2 * len(c.subsets) >= most[place[0]]}
    numbers = [n for n in numbers if any(k == n for k, _ in found)]
    arms = [arm for arm in ARMS if any(a == arm for _, a in found)]
    values = [float(v) for cell in found.values() for v in cell.by_subset]
    low, high = min(values) - 0.5, max(values) + 0.5
    chart = ScoreChart((960, 520), _MARGINS, low, high)
    step = chart.width / len(numbers) / (len(arms) + 1)
    for place, n in enumerate(numbers):
        begin = chart.left + place * chart.width / len(numbers)
        name = "all" if n == ALL else f"n = {n}"
        chart.text((begin + step * (len(arms) + 1) / 2, chart.foot + 8), name)
        for number, arm in enumerate(arms):
            if (n, arm) not in found:
                continue
            x, runs = begin + step * (number + 1), found[n, arm].by_subset
            for value in runs:
                chart.dot(x, float(value), _COLOURS[number], radius=3)
            chart.bar(x, float(runs.mean()), _COLOURS[number], half=0.4 * step)
    for number, arm in enumerate(arms):
        spot = (chart.left + chart.width + 12, _MARGINS.top + 10 + 22 * number)
        chart.text(spot, ARMS[arm].title, _COLOURS[number])
    chart.save(
        path, "Dice (%) on test subjects by number of labelled subjects: runs and their mean"
    )
