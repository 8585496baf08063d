"""Dice of all pairs by arm, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from Testing.Experiments.registration.arms import ARMS
from Testing.Experiments.registration.numbers import Cell, estimate
from Testing.Experiments.score_chart import Margins, ScoreChart

_MARGINS = Margins(left=60, top=20, right=20, bottom=80)
_COLOURS = ("#777777", "#000000", "#e69f00", "#0072b2", "#009e73", "#cc79a7")


def draw_chart(found: Mapping[str, Cell], path: Path) -> None:
    """Draw a dot per pair (mean over networks), a bar at the mean, a line for its interval.

    Args:
        found: Finished runs by arm.
        path: The picture.
    """
    arms = [arm for arm in ARMS if arm in found]
    values = {arm: found[arm].dice.mean(axis=0) for arm in arms}
    low = min(float(each.min()) for each in values.values()) - 1
    high = max(float(each.max()) for each in values.values()) + 1
    chart = ScoreChart((960, 480), _MARGINS, low, high)
    step = chart.width / len(arms)
    for place, arm in enumerate(arms):
        colour, middle = _COLOURS[list(ARMS).index(arm)], chart.left + (place + 0.5) * step
        spread = np.linspace(-0.3, 0.1, len(values[arm])) * step
        for aside, value in zip(spread, values[arm], strict=True):
            chart.dot(middle + float(aside), float(value), colour, radius=2)
        told, x = estimate(found[arm]), middle + 0.25 * step
        ends = [(x, chart.level(end)) for end in told.interval]
        chart.pen.line(ends, fill=colour, width=2)
        chart.bar(x, told.mean, colour, half=12)
        title = ARMS[arm].title.replace(", ", ",\n")
        chart.text((middle, chart.foot + 6), title, colour, anchor="ma")
    chart.save(
        path, "Dice (%) of registered test pairs: every pair, mean and 95 % interval of the mean"
    )
