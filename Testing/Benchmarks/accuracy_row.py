"""A row of the accuracy table, and where the recorded numbers are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Testing.Benchmarks.machine import REPOSITORY


@dataclass(frozen=True)
class Row:
    """What was measured, how much it is, what was wanted; `met` is `None` without a target."""

    what: str
    measured: str
    target: str
    met: bool | None

    def cells(self) -> list[str]:
        """The row as text."""
        told = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.what, self.measured, self.target, told]


def at_most(what: str, value: float, limit: float, unit: str = "") -> Row:
    """A number that may not exceed a limit."""
    return Row(what, f"{value:.3g}{unit}", f"<= {limit:g}{unit}", value <= limit)


def near(what: str, value: float, wanted: float, tolerance: float) -> Row:
    """A number that should be near another."""
    met = abs(value - wanted) <= tolerance
    return Row(what, f"{value:.3f}", f"{wanted:.3f} +- {tolerance:g}", met)


def shared(*names: str) -> Path:
    """A file of the folder that DRDM_SHARED names, or the one beside the checkout."""
    return Path(os.environ.get("DRDM_SHARED", REPOSITORY.parent / "shared")).joinpath(*names)


def recorded(name: str) -> Any:
    """Arrays recorded from the published program."""
    return np.load(shared("reference", name))
