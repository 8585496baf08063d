"""A chart with an upright axis of scores, in which experiments draw what they compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from DRDMCore.atomic import written_whole
from DRDMCore.training.loss_picture import nice_ticks


@dataclass(frozen=True)
class Margins:
    """Pixels around the plot."""

    left: int
    top: int
    right: int
    bottom: int


class ScoreChart:
    """An empty chart.

    Args:
        size: Width and height of the picture in pixels.
        margins: Around the plot.
        lowest: Score at the foot of the plot.
        highest: Score at its head.

    Attributes:
        pen: Draws into the picture, in pixels.
        left: Where the plot begins.
        width: Of the plot.
        foot: Lower end of the plot.
    """

    def __init__(
        self, size: tuple[int, int], margins: Margins, lowest: float, highest: float
    ) -> None:
        self._picture = Image.new("RGB", size, "white")
        self._font = ImageFont.load_default(13)
        self._margins, self._ends = margins, (lowest, highest)
        self.pen = ImageDraw.Draw(self._picture)
        self.left, self.width = margins.left, size[0] - margins.left - margins.right
        self.foot = size[1] - margins.bottom
        for value in nice_ticks(lowest, highest):
            across = [(self.left, self.level(value)), (self.left + self.width, self.level(value))]
            self.pen.line(across, fill="#e0e0e0")
            self.text((self.left - 8, self.level(value)), f"{value:g}", anchor="rm")

    def level(self, score: float) -> float:
        """How far down a score is, in pixels."""
        lowest, highest = self._ends
        share = (highest - score) / (highest - lowest)
        return self._margins.top + share * (self.foot - self._margins.top)

    def dot(self, x: float, score: float, colour: str, radius: int) -> None:
        """A circle at a score."""
        y = self.level(score)
        self.pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour)

    def bar(self, x: float, score: float, colour: str, half: float) -> None:
        """A short level line at a score, `half` of it to each side."""
        y = self.level(score)
        self.pen.line([(x - half, y), (x + half, y)], fill=colour, width=3)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        colour: str = "black",
        anchor: str | None = None,
    ) -> None:
        """Words; `anchor` as Pillow has it, lines in the middle of each other."""
        self.pen.text(place, text, fill=colour, font=self._font, anchor=anchor, align="center")

    def save(self, path: Path, title: str) -> None:
        """Write the picture, with a title at its foot."""
        foot = self._picture.height - 9
        self.text((self.left + self.width / 2, foot), title, anchor="ms")
        with written_whole(path) as temporary:
            self._picture.save(temporary)
