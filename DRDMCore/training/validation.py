"""What a network does to images that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from DRDMCore.fields import folding_percent, warp
from DRDMCore.recovery import RecoverySettings, deform, recover
from DRDMCore.training.draws import draw_validation
from DRDMCore.training.objectives import Objective
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.subjects import Subject

LEVELS = (32, 48, 64)
"""Levels of 80 at which the loss is measured: 0.4, 0.6 and 0.8 of the highest."""
_IMAGES = 32
_RECOVERY_LEVEL = 48
_PASSES = 8


def validate(
    objective: Objective,
    subjects: Sequence[Subject],
    settings: TrainingSettings,
    device: torch.device,
) -> dict[str, float]:
    """Losses by level on held-out subjects, and how whole recoveries of some of them come out.

    Args:
        objective: With the averaged weights.
        subjects: Held-out subjects.
        settings: The run.
        device: Where the network is.

    Returns:
        `loss`, the mean over levels; every part of the loss at every level (`velocity_48`); and of
        the recoveries `residual` (mean displacement left, relative to the start), `ncc` (of the
        recovered image with the original), `ncc_start` and `folded_percent`.
    """
    objective.eval()
    result: dict[str, float] = {}
    levels = [_in_scale(level, settings) for level in LEVELS]
    with torch.no_grad():
        for level in levels:
            parts = _losses(objective, subjects, settings, device, level)
            result |= {f"{name}_{level}": value for name, value in parts.items()}
    result["loss"] = sum(result[f"loss_{level}"] for level in levels) / len(levels)
    if settings.recoveries:
        result |= _recovery(objective, subjects, settings, device)
    return result


def _in_scale(level: int, settings: TrainingSettings) -> int:
    """A level of 80 among the levels of the network."""
    return level * settings.levels // TrainingSettings.levels


def _losses(
    objective: Objective,
    subjects: Sequence[Subject],
    settings: TrainingSettings,
    device: torch.device,
    level: int,
) -> dict[str, float]:
    """Every part of the loss at one level, the mean over batches of the training's size."""
    drawn = draw_validation(subjects, settings, float(level), _IMAGES)
    batches = [drawn.part(i, i + settings.batch) for i in range(0, _IMAGES, settings.batch)]
    sums: dict[str, float] = {}
    for batch in batches:
        parts = objective(objective.example(batch, device))
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(batch.image)
    return {name: value / _IMAGES for name, value in sums.items()}


def _recovery(
    objective: Objective,
    subjects: Sequence[Subject],
    settings: TrainingSettings,
    device: torch.device,
) -> dict[str, float]:
    """Whole recoveries from one level."""
    level = _in_scale(_RECOVERY_LEVEL, settings)
    drawn = draw_validation(subjects, settings, float(level), settings.recoveries)
    image = drawn.image.to(device)
    start = deform(image, level, drawn.generators, settings.field)
    passes = objective.recovery().steps or _PASSES
    done = recover(objective.step(), image, start.ddf, level, RecoverySettings(steps=passes))
    return {
        "residual": float(done.ddf.norm(dim=1).mean() / start.ddf.norm(dim=1).mean()),
        "ncc_start": correlation(image, warp(image, start.ddf)),
        "ncc": correlation(image, done.image),
        "folded_percent": float(folding_percent(done.ddf).mean()),
    }


def correlation(first: Tensor, second: Tensor) -> float:
    """Normalised cross-correlation of images `(B, 1, *S)`, the mean over the batch."""
    flat = [each.flatten(1) - each.flatten(1).mean(dim=1, keepdim=True) for each in (first, second)]
    lengths = flat[0].norm(dim=1) * flat[1].norm(dim=1)
    return float(((flat[0] * flat[1]).sum(dim=1) / lengths.clamp(min=1e-12)).mean())
