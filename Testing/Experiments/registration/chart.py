"""Dice of all pairs by arm, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from DRDMCore.atomic import written_whole
from DRDMCore.training.loss_picture import nice_ticks
from Testing.Experiments.registration.arms import ARMS
from Testing.Experiments.registration.numbers import Cell, estimate

_SIZE = (960, 480)
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 20, 20, 80
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
    picture = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(picture)
    pen.font_size = 13
    width, height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM

    def level(value: float) -> float:
        return _TOP + (high - value) / (high - low) * height

    for value in nice_ticks(low, high):
        pen.line([(_LEFT, level(value)), (_LEFT + width, level(value))], fill="#e0e0e0")
        pen.text((_LEFT - 8, level(value)), f"{value:g}", fill="black", anchor="rm")
    for place, arm in enumerate(arms):
        colour = _COLOURS[list(ARMS).index(arm)]
        step = width / len(arms)
        middle = _LEFT + (place + 0.5) * step
        spread = np.linspace(-0.3, 0.1, len(values[arm])) * step
        for aside, value in zip(spread, values[arm], strict=True):
            x, y = middle + float(aside), level(float(value))
            pen.ellipse([x - 2, y - 2, x + 2, y + 2], outline=colour)
        told, x = estimate(found[arm]), middle + 0.25 * step
        pen.line([(x, level(told.interval[0])), (x, level(told.interval[1]))], fill=colour, width=2)
        y = level(told.mean)
        pen.line([(x - 12, y), (x + 12, y)], fill=colour, width=3)
        title = ARMS[arm].title.replace(", ", ",\n")
        pen.text((middle, _TOP + height + 6), title, fill=colour, anchor="ma", align="center")
    title = "Dice (%) of registered test pairs: every pair, mean and 95 % interval of the mean"
    pen.text((_LEFT + width / 2, _SIZE[1] - 8), title, fill="black", anchor="ms")
    with written_whole(path) as temporary:
        picture.save(temporary)
