"""The curves of a run as a picture, with Pillow and NumPy only.

Drawn at twice the size and reduced, so that lines and letters are smooth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (1000, 420)
"""Width and height of the picture, pixels."""

Colour = tuple[int, int, int]

_INK, _SOFT, _LINE, _CARD = (29, 35, 41), (92, 102, 112), (225, 229, 233), (255, 255, 255)
_TRAINING, _FAINT, _VALIDATION = (0, 114, 178), (190, 217, 236), (213, 94, 0)
_EXPLAINED = ((120, 200, 170), (0, 158, 115), (0, 95, 70))
_NCC, _START = (170, 68, 140), (150, 158, 166)
_ZOOM = 2
_BOXES = ((58, 84, 550, 372), (624, 84, 968, 372))
_WIDTHS = {"thin": 1.0, "line": 2.0}
_EARLY = 0.05


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: For the legend.
        points: `(N, 2)` step and value, finite, in the order of the steps.
        colour: Of its line.
        width: Of its line, pixels.
        dots: Whether each point is marked.
        told: Whether it has a place in the legend.
    """

    name: str
    points: np.ndarray
    colour: Colour
    width: float = _WIDTHS["line"]
    dots: bool = False
    told: bool = True


def draw_losses(
    training: np.ndarray, validation: Sequence[Mapping[str, float]], size: tuple[int, int] = SIZE
) -> Image.Image:
    """Draw the losses of a run, and beside them how well held-out images are recovered.

    Args:
        training: `(N, 2)` step and training loss.
        validation: One row per validation: `step`, `val_loss`, and where there are any
            `val_explained_LEVEL`, `val_ncc` and `val_ncc_start`.
        size: Width and height, pixels; drawn for the default and resized to others.

    Returns:
        RGB picture.
    """
    picture = Image.new("RGB", (SIZE[0] * _ZOOM, SIZE[1] * _ZOOM), _CARD)
    draw = ImageDraw.Draw(picture)
    raw = _finite(training)
    losses = _loss_series(raw, validation)
    last = max((float(each.points[-1, 0]) for each in losses if len(each.points)), default=1.0)
    _panel(draw, _BOXES[0], "Loss", losses, last, _loss_limits(losses))
    found = _recovery_series(validation)
    title = "Held-out images: variance explained by level, NCC"
    if not any(each.name.startswith("level") for each in found):
        title = "Held-out images: NCC with the original"
    _panel(draw, _BOXES[1], title, found, last, _limits(found, highest=1.0))
    return picture.resize(size, Image.Resampling.LANCZOS)


def smooth(values: np.ndarray) -> np.ndarray:
    """The running mean `(N,)` of `(N,)` values over about 4 % of them, shorter at the ends."""
    count = len(values)
    half = max(count // 50, min(count // 8, 5))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(count) - half, 0)
    high = np.minimum(np.arange(count) + half + 1, count)
    return (sums[high] - sums[low]) / (high - low)


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers between two ends: multiples of 1, 2 or 5 and a power of ten."""
    rough = (high - low) / (1.5 * wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _loss_series(raw: np.ndarray, validation: Sequence[Mapping[str, float]]) -> list[Series]:
    """Training loss, raw and smooth, and validation loss with its best."""
    series = []
    if len(raw):
        even = np.stack([raw[:, 0], smooth(raw[:, 1])], axis=1)
        name = f"training {even[-1, 1]:.3f}"
        series = [
            Series("", raw, _FAINT, _WIDTHS["thin"], told=False),
            Series(name, even, _TRAINING),
        ]
    held = _column(validation, "val_loss")
    if len(held):
        best = held[held[:, 1].argmin()]
        name = f"validation {held[-1, 1]:.3f}, best {best[1]:.3f} at step {best[0]:,.0f}"
        series.append(Series(name, held, _VALIDATION, dots=True))
    return series


def _recovery_series(validation: Sequence[Mapping[str, float]]) -> list[Series]:
    """Variance explained by level; correlation of recovered images with their originals."""
    keys = dict.fromkeys(key for row in validation for key in row)
    explained = [key for key in keys if key.startswith("val_explained_")]
    series = []
    for number, key in enumerate(explained):
        shade = _EXPLAINED[-1 - (len(explained) - 1 - number) % len(_EXPLAINED)]
        level = key.removeprefix("val_explained_")
        series.append((f"level {level}", key, shade))
    series += [("NCC", "val_ncc", _NCC), ("NCC before", "val_ncc_start", _START)]
    result = []
    for name, key, colour in series:
        points = _column(validation, key)
        if len(points):
            name = f"{name} {points[-1, 1]:.3f}"
            result.append(Series(name, points, colour, dots=True))
    return result


def _panel(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    title: str,
    series: Sequence[Series],
    last: float,
    limits: tuple[float, float],
) -> None:
    """One pair of axes with its curves, title and legend."""
    frame = _Frame(box, (0.0, max(last, 1.0)), limits)
    _text(draw, (box[0], 14), title, 15, _INK, "lt")
    _axes(draw, frame, empty=not series)
    for each in series:
        _curve(draw, frame, each)
    _legend(draw, box, series)


@dataclass(frozen=True)
class _Frame:
    """Where numbers lie on the picture: `box` is left, top, right, bottom in pixels."""

    box: tuple[int, int, int, int]
    steps: tuple[float, float]
    values: tuple[float, float]

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """`(N, 2)` columns and rows of `(N, 2)` steps and values; what is outside, on the edge."""
        left, top, right, bottom = self.box
        across = (points[:, 0] - self.steps[0]) / (self.steps[1] - self.steps[0])
        up = (points[:, 1] - self.values[0]) / (self.values[1] - self.values[0])
        x = left + across.clip(0, 1) * (right - left)
        return np.stack([x, bottom - up.clip(0, 1) * (bottom - top)], axis=1)


def _axes(draw: ImageDraw.ImageDraw, frame: _Frame, *, empty: bool) -> None:
    """Grid lines with their numbers, and the name of the horizontal axis."""
    left, top, right, bottom = frame.box
    if empty:
        _text(draw, ((left + right) / 2, (top + bottom) / 2), "nothing yet", 14, _SOFT, "mm")
    marks = [] if empty else nice_ticks(*frame.values)
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9)) if len(marks) > 1 else 3
    for value in marks:
        y = frame.pixels(np.array([[0.0, value]]))[0, 1]
        _line(draw, [(left, y), (right, y)], _LINE, 1)
        _text(draw, (left - 8, y), f"{value:.{digits}f}", 12, _SOFT, "rm")
    for step in (each for each in nice_ticks(*frame.steps, wanted=4) if each == round(each)):
        x = frame.pixels(np.array([[step, 0.0]]))[0, 0]
        _line(draw, [(x, bottom), (x, bottom + 5)], _SOFT, 1)
        _text(draw, (x, bottom + 9), f"{step:,.10g}", 12, _SOFT, "mt")
    _line(draw, [(left, top), (left, bottom), (right, bottom)], _SOFT, 1)
    _text(draw, ((left + right) / 2, bottom + 27), "step", 12, _SOFT, "mt")


def _curve(draw: ImageDraw.ImageDraw, frame: _Frame, series: Series) -> None:
    """One curve, with dots where they are few enough to be told apart."""
    pixels = _thinned(frame.pixels(series.points))
    if len(pixels) > 1:
        _line(draw, [(float(x), float(y)) for x, y in pixels], series.colour, series.width)
    if (series.dots and len(pixels) <= 60) or len(pixels) == 1:
        for x, y in pixels * _ZOOM:
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=series.colour)


def _thinned(pixels: np.ndarray) -> np.ndarray:
    """At most two points per column, `(N, 2)` to `(M, 2)`: where most of its values lie."""
    starts = np.flatnonzero(np.diff(np.floor(pixels[:, 0]), prepend=-1))
    if len(pixels) <= 2 * len(starts):
        return pixels
    groups = np.split(pixels[:, 1], starts[1:])
    ends = np.concatenate([np.quantile(group, (0.1, 0.9)) for group in groups])
    return np.stack([np.repeat(pixels[starts, 0], 2), ends], axis=1)


def _legend(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], series: Sequence[Series]
) -> None:
    """Names beside a piece of their lines, in rows below the title."""
    x, y = float(box[0]), 47.0
    for each in (one for one in series if one.told):
        width = 26 + _font(12).getlength(each.name) / _ZOOM + 18
        if x > box[0] and x + width - 18 > box[2]:
            x, y = float(box[0]), y + 19
        _line(draw, [(x, y), (x + 20, y)], each.colour, 3)
        _text(draw, (x + 26, y), each.name, 12, _INK, "lm")
        x += width


def _loss_limits(series: Sequence[Series]) -> tuple[float, float]:
    """Ends of the axis: all but the extremes of the raw loss and the first steps, often far off."""
    kept = []
    for each in series:
        points = each.points
        late = points[points[:, 0] > _EARLY * points[-1, 0]] if len(points) > 40 else points
        values = late[:, 1] if each.told else np.percentile(late[:, 1], (2, 98))
        kept.append(values)
    return _ends(np.concatenate(kept) if kept else np.zeros(0))


def _limits(series: Sequence[Series], highest: float) -> tuple[float, float]:
    """Ends of the axis, up to `highest` where the values come near it."""
    low, high = _ends(np.concatenate([each.points[:, 1] for each in series] or [np.zeros(0)]))
    return low, min(high, highest) if low < highest else high


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value with some room."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or max(0.05, 0.05 * abs(high))
    return low - room, high + room


def _column(rows: Sequence[Mapping[str, float]], key: str) -> np.ndarray:
    """`(N, 2)` step and value of the rows that have it."""
    pairs = [(row["step"], row[key]) for row in rows if key in row]
    return _finite(np.array(pairs, dtype=float).reshape(-1, 2))


def _finite(points: np.ndarray) -> np.ndarray:
    """The points that are numbers."""
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    return points[np.isfinite(points).all(axis=1)]


def _line(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: Colour, width: float
) -> None:
    """A line through points of the picture before it is enlarged."""
    enlarged = [(x * _ZOOM, y * _ZOOM) for x, y in points]
    draw.line(enlarged, fill=colour, width=round(width * _ZOOM), joint="curve")


def _text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    colour: Colour,
    anchor: str,
) -> None:
    """Words at a point of the picture before it is enlarged; `anchor` as Pillow has it."""
    x, y = place
    draw.text((x * _ZOOM, y * _ZOOM), text, fill=colour, font=_font(size), anchor=anchor)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font."""
    font = ImageFont.load_default(size * _ZOOM)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
