"""How numbers are written."""

from __future__ import annotations

from Testing.Experiments.by_level.numbers import Measure


def ranged(measure: Measure, form: str = ".2f", factor: float = 1.0) -> str:
    """A number with its interval in brackets, if there is one."""
    if measure.value != measure.value:
        return "none"
    text = f"{factor * measure.value:{form}}"
    if measure.interval is None:
        return text
    low, high = (f"{factor * end:{form}}" for end in measure.interval)
    return f"{text} [{low}, {high}]"
