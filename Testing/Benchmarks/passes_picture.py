"""Curves of shape excess against time as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from DRDMCore.training.loss_picture import nice_ticks

_SIZE = (900, 480)
_MARGIN = (70, 20, 30, 60)
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_TIMES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Curve:
    """One model.

    Attributes:
        name: For the legend.
        points: Milliseconds (above zero), excess and number of passes, in the order of time.
    """

    name: str
    points: Sequence[tuple[float, float, int]]


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw curves of excess over the logarithm of time; points carry their number of passes."""
    picture = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(picture)
    pen.font_size = 13
    left, top, right, bottom = _MARGIN
    width, height = _SIZE[0] - left - right, _SIZE[1] - top - bottom
    times = [point[0] for curve in curves for point in curve.points]
    values = [point[1] for curve in curves for point in curve.points]
    first, last = math.log(min(times)) - 0.15, math.log(max(times)) + 0.15
    low, high = min(0.0, *values), max(values) + 0.05

    def place(milliseconds: float, value: float) -> tuple[float, float]:
        along = (math.log(milliseconds) - first) / (last - first)
        return left + along * width, top + (high - value) / (high - low) * height

    for value in nice_ticks(low, high):
        level = place(min(times), value)[1]
        pen.line([(left, level), (left + width, level)], fill="#e0e0e0")
        pen.text((left - 8, level), f"{value:.1f}", fill="black", anchor="rm")
    for time in _TIMES:
        if first <= math.log(time) <= last:
            along = place(time, low)[0]
            pen.line([(along, top), (along, top + height)], fill="#eeeeee")
            pen.text((along, top + height + 6), f"{time} ms", fill="black", anchor="ma")
    title = "shape excess (0: as real subjects, 1: as random fields) by time of a field"
    pen.text((left + width / 2, _SIZE[1] - 8), title, fill="black", anchor="ms")
    for index, curve in enumerate(curves):
        colour = _COLOURS[index % len(_COLOURS)]
        spots = [place(milliseconds, value) for milliseconds, value, _ in curve.points]
        pen.line(spots, fill=colour, width=2)
        for (x, y), (_, _, passes) in zip(spots, curve.points, strict=True):
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
            pen.text((x + 5, y - 6), str(passes), fill=colour, anchor="lb")
        pen.text((left + width - 8, top + 12 + 18 * index), curve.name, fill=colour, anchor="rm")
    picture.save(path)
