"""How samples are made: every choice by name, checked against the model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from DRDMCore.checks import require_choice
from DRDMCore.errors import InputError
from DRDMCore.models import Model
from DRDMCore.recovery import PRECISIONS, STARTS, PublishedStep, VelocityStep, check_level

BORDERS = ("fixed", "free")
STACKS = ("shared", "per-slice")


_CHOICES = {
    "start": (None, *STARTS),
    "precision": tuple(PRECISIONS),
    "border": BORDERS,
    "stack": STACKS,
    "interpolation": ("linear", "cubic", "nearest"),
    "label_interpolation": ("nearest", "linear"),
    "padding": ("border", "zeros", "minimum"),
}

_LARGEST, _SMALLEST = sys.float_info.max, 1e-6
_RANGES = {
    "mean_mm": (_SMALLEST, _LARGEST),
    "steps": (1, _LARGEST),
    "gain": (0, _LARGEST),
    "recursions": (1, _LARGEST),
    "border_width": (0, 0.5),
    "max_folding": (0, 100),
    "min_mm": (0, _LARGEST),
    "max_mm": (_SMALLEST, _LARGEST),
    "attempts": (1, _LARGEST),
}
"""Least and greatest value of every number; infinity is too great."""

_WHOLE = ("level", "steps", "recursions", "slice_axis", "attempts")


@dataclass(frozen=True)
class SamplingSettings:
    """How samples are made; `None` takes what the model recommends.

    Attributes:
        level: Deformation level of the start field, 0 .. T - 1.
        mean_mm: Mean displacement instead of a level; for the random field without a model only.
        steps: Passes of the network.
        start: `level` or `top` (see `RecoverySettings`).
        gain: Gain of a velocity network.
        recursions: Passes per step of the published network.
        precision: `fp32`, `bf16` or `fp16`.
        border: `fixed` keeps the border of the image still; `free` does not.
        border_width: Width of the still border's transition, as a part of each side.
        stack: A 2D model on a 3D stack: one `shared` field, or one `per-slice`.
        slice_axis: Array axis across the slices; found from the spacing by default.
        interpolation: Of the image: `linear`, `cubic` or `nearest`.
        label_interpolation: `nearest`, or `linear` (largest share wins).
        padding: What points outside the image show: `border`, `zeros` or `minimum`.
        repair: Smooth the field where it folds.
        max_folding: Most folded voxels, percent.
        min_mm: Least mean displacement, mm.
        max_mm: Most mean displacement, mm.
        attempts: Seeds tried for one sample before giving up.
    """

    level: int | None = None
    mean_mm: float | None = None
    steps: int | None = None
    start: str | None = None
    gain: float | None = None
    recursions: int | None = None
    precision: str = "fp32"
    border: str = "fixed"
    border_width: float = 0.1
    stack: str = "shared"
    slice_axis: int | None = None
    interpolation: str = "linear"
    label_interpolation: str = "nearest"
    padding: str = "border"
    repair: bool = True
    max_folding: float = 0.0
    min_mm: float | None = None
    max_mm: float | None = None
    attempts: int = 20

    def __post_init__(self) -> None:
        """Check what can be checked without a model; an `InputError` says what is wrong."""
        try:
            for name, choices in _CHOICES.items():
                require_choice(name, getattr(self, name), choices)
        except ValueError as error:
            raise InputError(str(error)) from None
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # NaN is not in any range
                limit = f"lie in {low:g} .. {high:g}" if high < _LARGEST else f"be >= {low:g}"
                raise InputError(f"`{name}` must {limit}, got {value:g}.")
        if self.min_mm is not None and self.max_mm is not None and self.min_mm > self.max_mm:
            raise InputError(
                f"`min_mm` must be at most `max_mm`, got {self.min_mm:g} and {self.max_mm:g}."
            )


def settings_of(values: Mapping[str, Any]) -> SamplingSettings:
    """Settings by name, as a manifest or another program holds them.

    Raises:
        InputError: If a name is unknown or a value cannot be used.
    """
    wanted = {**dict.fromkeys(_WHOLE, int), "repair": bool}
    for name, kind in wanted.items():
        value = values.get(name)
        if value is not None and type(value) is not kind:
            what = "true or false" if kind is bool else "a whole number"
            raise InputError(f"`{name}` must be {what}, got {value!r}.")
    try:
        return SamplingSettings(**values)
    except TypeError as error:
        raise InputError(
            f"the settings must be those of this version of DRDM ({error}): correct them, or use "
            "the version that they come from."
        ) from error


def resolved(settings: SamplingSettings, model: Model) -> SamplingSettings:
    """The settings with the model's recommendations filled in, checked against the model.

    Raises:
        InputError: If a setting does not fit the model.
    """
    if settings.mean_mm is not None and model.step is not None:
        raise InputError(
            f"`mean_mm` works for the random field without a model only, got model "
            f"{model.card.name!r}: use `level`, or `min_mm` and `max_mm`."
        )
    if settings.gain is not None and not isinstance(model.step, VelocityStep):
        raise InputError(f"`gain` does not apply to the model {model.card.name!r}: leave it out.")
    if settings.recursions is not None and not isinstance(model.step, PublishedStep):
        raise InputError(
            f"`recursions` does not apply to the model {model.card.name!r}: leave it out."
        )
    level = settings.level
    if level is None:
        level = int(model.card.recommended.get("level", 48))
    try:
        check_level(level, model.levels)
    except ValueError as error:
        raise InputError(str(error)) from None
    steps = settings.steps
    if steps is None and isinstance(model.recovery.steps, int):
        steps = model.recovery.steps
    return replace(settings, level=level, steps=steps, start=settings.start or model.recovery.start)
