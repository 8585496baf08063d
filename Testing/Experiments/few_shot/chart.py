"""Dice of all arms by number of labelled subjects, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from DRDMCore.atomic import written_whole
from DRDMCore.training.loss_picture import nice_ticks
from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.numbers import Cells
from Testing.Experiments.few_shot.study import ALL

_SIZE = (960, 520)
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 20, 250, 60
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#8c6d31"),
    *("#7f7f7f", "#9467bd", "#17becf", "#bcbd22"),
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
    picture = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(picture)
    pen.font_size = 13
    width, height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM

    def level(value: float) -> float:
        return _TOP + (high - value) / (high - low) * height

    for value in nice_ticks(low, high):
        pen.line([(_LEFT, level(value)), (_LEFT + width, level(value))], fill="#e0e0e0")
        pen.text((_LEFT - 8, level(value)), f"{value:g}", fill="black", anchor="rm")
    for place, n in enumerate(numbers):
        begin, step = _LEFT + place * width / len(numbers), width / len(numbers) / (len(arms) + 1)
        name = "all" if n == ALL else f"n = {n}"
        pen.text((begin + step * (len(arms) + 1) / 2, _TOP + height + 8), name, fill="black")
        for number, arm in enumerate(arms):
            if (n, arm) not in found:
                continue
            x, runs = begin + step * (number + 1), found[n, arm].by_subset
            for value in runs:
                y = level(float(value))
                pen.ellipse([x - 3, y - 3, x + 3, y + 3], outline=_COLOURS[number])
            y = level(float(runs.mean()))
            pen.line([(x - 0.4 * step, y), (x + 0.4 * step, y)], fill=_COLOURS[number], width=3)
    for number, arm in enumerate(arms):
        spot = (_LEFT + width + 12, _TOP + 10 + 22 * number)
        pen.text(spot, ARMS[arm].title, fill=_COLOURS[number])
    title = "Dice (%) on test subjects by number of labelled subjects: runs and their mean"
    pen.text((_LEFT + width / 2, _SIZE[1] - 10), title, fill="black", anchor="ms")
    with written_whole(path) as temporary:
        picture.save(temporary)
