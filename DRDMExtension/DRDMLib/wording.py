"""Words for numbers: amounts, durations, sizes."""

from __future__ import annotations

import time

from slicer.i18n import tr as _

RECOMMENDED_LEVEL = 48
"""Where a model recommends none."""


def amountWord(level):
    """A level of deformation in a word."""
    if level < 16:
        return _("very subtle")
    if level < 36:
        return _("subtle")
    if level < 54:
        return _("moderate")
    if level < 70:
        return _("strong")
    return _("very strong")


def duration(seconds):
    """A time in round numbers."""
    if seconds < 60:
        return _("{n} s").format(n=max(1, round(seconds)))
    if seconds < 3600:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{h} h {m} min").format(h=int(seconds // 3600), m=round(seconds % 3600 / 60))


def number(value, digits=1):
    """A number with few digits; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


class Clock:
    """Estimates the time that is left from the progress so far."""

    def __init__(self):
        """Start counting."""
        self._begun = time.monotonic()
        self._first = None

    def elapsed(self):
        """Seconds since the start."""
        return time.monotonic() - self._begun

    def left(self, done, total):
        """Words for the time left, empty while it cannot be known.

        It counts from the first step told, so that loading a model does not tell.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
            return ""
        begun, already = self._first
        if done - already <= 0 or now - begun < 0.5:
            return ""
        seconds = (now - begun) * (total - done) / (done - already)
        return _("about {time} left").format(time=duration(seconds))
