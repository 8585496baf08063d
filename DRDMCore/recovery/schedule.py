"""The level schedule: how much a level deforms, and which levels a recovery visits.

Counts are those of the published program (paper section 3.2): at level t the image's field is the
n(t)-fold composition of the velocity, the network's target the m(t)-fold one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

LEVELS = 80
"""Number of levels T of the published schedule; levels run 0 .. T - 1."""

_MOST_COUNTS = 200
STARTS = ("level", "top")


def image_count(level: int) -> int:
    """n(t): compositions of the velocity in the field that deforms the image."""
    return min(max(math.floor(2 * level**1.3 / 3 + 1e-9), 1), _MOST_COUNTS)


def target_count(level: int) -> int:
    """m(t): compositions in the field that the published objective asks for; 0 at level 0."""
    return math.floor(level**0.6 + 1e-9)


def level_scale(level: Tensor) -> Tensor:
    """n(t) / n(T - 1) without rounding, for real-valued levels: 0 .. 1."""
    return (level.clamp(min=0) / (LEVELS - 1)) ** 1.3


def scale_level(scale: Tensor) -> Tensor:
    """The level whose `level_scale` is given."""
    return (LEVELS - 1) * scale.clamp(min=0) ** (1 / 1.3)


def check_level(level: float, levels: int = LEVELS) -> None:
    """Raise `ValueError` unless `level` lies in 0 .. levels - 1."""
    if not 0 <= level <= levels - 1:
        raise ValueError(
            f"`level` must lie in 0 .. {levels - 1}, got {level:g}: higher levels deform more."
        )


def visited_levels(
    start_level: int, *, start: str, steps: int | Sequence[int] | None, levels: int = LEVELS
) -> list[int]:
    """Whole levels that a recovery visits, from high to low.

    Args:
        start_level: The highest level of the batch.
        start: `level` begins at it (paper, Algorithm 2), `top` at T - 1 (published program).
        steps: Number of levels to visit, evenly chosen, always with the highest; or the levels
            themselves; or `None` for all.
        levels: T.

    Returns:
        Distinct levels in falling order.
    """
    top = levels - 1 if start == "top" else start_level
    if steps is None:
        return list(range(top, -1, -1))
    if isinstance(steps, int):
        if steps < 1:
            raise ValueError(f"`steps` must be at least 1, got {steps}.")
        count = min(steps, top + 1)
        return [round(top - k * (top + 1) / count) for k in range(count)]
    chosen = sorted({int(level) for level in steps}, reverse=True)
    for level in chosen:
        check_level(level, levels)
    return chosen
