"""Draw the icon: a grid, deformed smoothly, and an organ's outline deformed with it.

python Resources/Icons/draw_icon.py   writes DRDM.png here and beside the module
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

SIDE, FINE = 128, 8
GRID, ORGAN, EDGE, PAPER = (120, 150, 190), (222, 100, 72), (150, 44, 30), (18, 32, 54)
Point = tuple[float, float]


def moved(x: float, y: float) -> Point:
    """Where a point of the unit square goes: nothing moves at the border."""
    window = (16 * x * (1 - x) * y * (1 - y)) ** 0.8
    right = 0.115 * math.sin(2.6 * math.pi * y + 0.4) + 0.03 * math.cos(3 * math.pi * x)
    down = 0.115 * math.sin(2.4 * math.pi * x + 2.2) - 0.03 * math.sin(3 * math.pi * y)
    return x + window * right, y + window * down


def line(points: list[Point]) -> list[Point]:
    """The deformed points, in fine pixels, with a margin."""
    margin = 0.09
    size = SIDE * FINE
    return [
        ((margin + (1 - 2 * margin) * u) * size, (margin + (1 - 2 * margin) * v) * size)
        for u, v in (moved(x, y) for x, y in points)
    ]


def organ() -> list[Point]:
    """A bean, before the deformation."""
    points = []
    for step in range(360):
        angle = math.radians(step)
        radius = 0.27 + 0.055 * math.cos(2 * angle - 0.5) - 0.045 * math.cos(angle - 2.6)
        points.append((0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle)))
    return points


def draw() -> Image.Image:
    """The icon, drawn large and made smaller."""
    size = SIDE * FINE
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((0, 0, size - 1, size - 1), radius=size // 7, fill=PAPER)
    outline = line(organ())
    pen.polygon(outline, fill=ORGAN)
    steps = [k / 100 for k in range(101)]
    for k in range(9):
        place = k / 8
        for points in ([(place, s) for s in steps], [(s, place) for s in steps]):
            pen.line(line(points), fill=GRID, width=int(1.7 * FINE), joint="curve")
    pen.line([*outline, outline[0]], fill=EDGE, width=3 * FINE, joint="curve")
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    for folder in (here, here.parents[1] / "DRDMExtension" / "Resources" / "Icons"):
        folder.mkdir(parents=True, exist_ok=True)
        draw().save(folder / "DRDM.png", optimize=True)
