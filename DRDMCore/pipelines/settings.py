"""How samples are made: every choice by name, checked against the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from DRDMCore.checks import require_choice
from DRDMCore.errors import InputError
from DRDMCore.models import Model
from DRDMCore.recovery import PublishedStep, VelocityStep, check_level

BORDERS = ("fixed", "free")
STACKS = ("shared", "per-slice")


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
        """Check what can be checked without a model."""
        require_choice("border", self.border, BORDERS)
        require_choice("stack", self.stack, STACKS)
        require_choice("interpolation", self.interpolation, ("linear", "cubic", "nearest"))
        require_choice("label_interpolation", self.label_interpolation, ("nearest", "linear"))
        require_choice("padding", self.padding, ("border", "zeros", "minimum"))
        if not 0 <= self.border_width <= 0.5:
            raise ValueError(f"`border_width` must lie in 0 .. 0.5, got {self.border_width:g}.")
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be at least 1, got {self.attempts}.")


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
