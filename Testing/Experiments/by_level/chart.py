"""Curves over the levels, and histograms of det J, as pictures (Pillow only).

Drawn at twice the size and reduced, so that lines and letters are smooth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from DRDMCore.atomic import written_whole
from DRDMCore.training.loss_picture import nice_ticks

Colour = tuple[int, int, int]
Placer = Callable[[float, float], tuple[float, float]]

_ZOOM = 2
_PANEL = (310, 250)
_INSET = (56, 34, 14, 34)  # left, top, right, bottom of the axes within a panel
_LEGEND = 34
_INK, _SOFT, _LINE = (29, 35, 41), (92, 102, 112), (228, 231, 234)


@dataclass(frozen=True)
class Curve:
    """One curve with its band.

    Attributes:
        colour: Of line and band.
        x: `(N,)` places.
        y: `(N,)` values; NaN breaks the line.
        low: `(N,)` lower ends of the band, or `None`.
        high: `(N,)` upper ends.
    """

    colour: Colour
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: Above it.
        curves: What is drawn.
        line: Height of a dashed line, or `None`.
        marks: Places of the numbers below it, with what is written there.
        ends: Lowest and highest value; found from the curves where `None`.
        dots: Whether points are marked.
    """

    title: str
    curves: Sequence[Curve]
    line: float | None = None
    marks: Sequence[tuple[float, str]] = ()
    ends: tuple[float, float] | None = None
    dots: bool = True


def draw_panels(
    panels: Sequence[Panel], legend: Sequence[tuple[str, Colour]], below: str, path: Path
) -> None:
    """Draw panels in rows of four, a legend above them and the name of the axis below.

    Args:
        panels: The panels.
        legend: Names with colours; that of `_INK` is dashed.
        below: What is along the horizontal axes.
        path: The picture.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    size = columns * _PANEL[0], _LEGEND + rows * _PANEL[1] + 22
    picture = Image.new("RGB", (size[0] * _ZOOM, size[1] * _ZOOM), "white")
    pen = ImageDraw.Draw(picture)
    x = float(_INSET[0])
    for name, colour in legend:
        _line(pen, [(x, 18), (x + 26, 18)], colour, 3, dashed=colour == _INK)
        _text(pen, (x + 34, 18), name, 14, _INK, "lm")
        x += 34 + _font(14).getlength(name) / _ZOOM + 30
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        _draw_panel(pen, panel, (column * _PANEL[0], _LEGEND + row * _PANEL[1]))
    _text(pen, (size[0] / 2, size[1] - 12), below, 14, _INK, "mm")
    with written_whole(path) as temporary:
        small = picture.resize(size, Image.Resampling.LANCZOS)
        small.quantize(128, dither=Image.Dither.NONE).save(temporary, optimize=True)


def _draw_panel(pen: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int]) -> None:
    """One panel, its upper left corner given."""
    left, top = corner[0] + _INSET[0], corner[1] + _INSET[1]
    right, bottom = corner[0] + _PANEL[0] - _INSET[2], corner[1] + _PANEL[1] - _INSET[3]
    low, high = panel.ends or _ends(panel)
    first, last = _sides(panel)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - first) / (last - first), (y - low) / (high - low)
        return left + across * (right - left), bottom - min(max(up, 0), 1) * (bottom - top)

    _text(pen, (left, corner[1] + 18), panel.title, 14, _INK, "lm")
    ticks = nice_ticks(low, high, wanted=4)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else 2
    for value in ticks:
        y = place(first, value)[1]
        _line(pen, [(left, y), (right, y)], _LINE, 1)
        _text(pen, (left - 6, y), f"{value:.{digits}f}", 12, _SOFT, "rm")
    for where, text in panel.marks:
        x = place(where, low)[0]
        _line(pen, [(x, bottom), (x, bottom + 4)], _SOFT, 1)
        _text(pen, (x, bottom + 7), text, 12, _SOFT, "mt")
    _line(pen, [(left, top), (left, bottom), (right, bottom)], _SOFT, 1)
    if panel.line is not None:
        y = place(first, panel.line)[1]
        _line(pen, [(left, y), (right, y)], _INK, 1.5, dashed=True)
    for curve in panel.curves:
        _band(pen, curve, place)
    for curve in panel.curves:
        _draw_curve(pen, curve, place, dots=panel.dots)


def _band(pen: ImageDraw.ImageDraw, curve: Curve, place: Placer) -> None:
    """Bars from the lower to the upper end, with caps."""
    if curve.low is None or curve.high is None:
        return
    faint = _faint(curve.colour)
    for x, low, high in zip(curve.x, curve.low, curve.high, strict=True):
        if not np.isfinite([low, high]).all():
            continue
        (across, bottom), (_, top) = place(x, low), place(x, high)
        _line(pen, [(across, bottom), (across, top)], faint, 2)
        for y in (bottom, top):
            _line(pen, [(across - 3, y), (across + 3, y)], faint, 2)


def _draw_curve(pen: ImageDraw.ImageDraw, curve: Curve, place: Placer, *, dots: bool) -> None:
    """A line through the points that there are, with a dot at each."""
    known = np.isfinite(curve.y)
    spots = [place(x, y) for x, y in zip(curve.x[known], curve.y[known], strict=True)]
    if len(spots) > 1:
        _line(pen, spots, curve.colour, 2)
    for x, y in spots if dots else []:
        box = [(x - 3) * _ZOOM, (y - 3) * _ZOOM, (x + 3) * _ZOOM, (y + 3) * _ZOOM]
        pen.ellipse(box, fill=curve.colour)


def _faint(colour: Colour) -> Colour:
    """Half way to white."""
    red, green, blue = ((255 + part) // 2 for part in colour)
    return red, green, blue


def _sides(panel: Panel) -> tuple[float, float]:
    """First and last place, with some room."""
    places = np.concatenate([curve.x for curve in panel.curves])
    low, high = float(places.min()), float(places.max())
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def _ends(panel: Panel) -> tuple[float, float]:
    """Lowest and highest value of curves, bands and line, with some room."""
    parts = [np.array([panel.line])] if panel.line is not None else []
    for curve in panel.curves:
        parts += [each for each in (curve.y, curve.low, curve.high) if each is not None]
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or max(0.05, 0.05 * abs(high))
    return low - room, high + room


def _line(
    pen: ImageDraw.ImageDraw,
    points: Sequence[tuple[float, float]],
    colour: Colour,
    width: float,
    *,
    dashed: bool = False,
) -> None:
    """A line through points of the picture before it is enlarged; dashed ones have two ends."""
    enlarged = [(x * _ZOOM, y * _ZOOM) for x, y in points]
    if not dashed:
        pen.line(enlarged, fill=colour, width=round(width * _ZOOM), joint="curve")
        return
    (x0, y0), (x1, _) = enlarged
    for start in np.arange(x0, x1, 7 * _ZOOM):
        end = min(start + 4 * _ZOOM, x1)
        pen.line([(start, y0), (end, y0)], fill=colour, width=round(width * _ZOOM))


def _text(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    colour: Colour,
    anchor: str,
) -> None:
    """Words at a point of the picture before it is enlarged; `anchor` as Pillow has it."""
    x, y = place
    pen.text((x * _ZOOM, y * _ZOOM), text, fill=colour, font=_font(size), anchor=anchor)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font."""
    font = ImageFont.load_default(size * _ZOOM)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
