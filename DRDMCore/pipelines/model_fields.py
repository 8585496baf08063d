"""Fields of a model on its own grid: the random start, and what recovery makes of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import random_field_of_mean
from DRDMCore.imaging import ModelView, taper
from DRDMCore.models import Model
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.recovery import (
    PublishedStep,
    RecoverySettings,
    StepInfo,
    VelocityStep,
    deform,
    recover_within_memory,
)

StepTold = Callable[[StepInfo], object]

_GUIDE_SLICES = 3


def model_fields(
    model: Model,
    view: ModelView,
    seeds: Sequence[int],
    settings: SamplingSettings,
    on_step: StepTold | None,
    note: Callable[[str], object],
) -> list[tuple[Tensor, Tensor]] | None:
    """Start and recovered field per seed on the model's grid: `(D, *S)`, or `(Z, D, *S)`.

    Several seeds need a view of one image.
    """
    assert settings.level is not None
    image, shared = _network_images(view, settings)
    device = _device_of(model)
    image = image.to(device)
    window = _velocity_window(model, view, settings, device)
    starts = [
        _start_field(model, view, len(image), shared, seed, settings, window) for seed in seeds
    ]
    if model.step is None:
        return [(_single(start, shared), _single(start, shared)) for start in starts]
    result = recover_within_memory(
        model.step,
        image,
        torch.cat(starts),
        settings.level,
        _configured(model, settings, shared=shared),
        window=window,
        callback=on_step,
        note=note,
    )
    if not result.finished:
        return None
    recovered = result.ddf.split(len(image))
    pairs = zip(starts, recovered, strict=True)
    return [(_single(start, shared), _single(ddf, shared)) for start, ddf in pairs]


def voxels_seen(view: ModelView, settings: SamplingSettings) -> int:
    """Voxels that the network looks at in one pass."""
    return _network_images(view, settings)[0].numel()


def voxels_of_shape(shape: Sequence[int], *, stacked: bool) -> int:
    """The same by default settings from the shape `(N, 1, *S)` of the view alone."""
    return math.prod((min(_GUIDE_SLICES, shape[0]) if stacked else shape[0], *shape[1:]))


def border_window(
    shape: tuple[int, ...], settings: SamplingSettings, *, device: torch.device | str = "cpu"
) -> Tensor | None:
    """`(1, 1, *shape)`: 0 at the border of the model's grid, 1 inside; `None` for a free border."""
    if settings.border == "free":
        return None
    window = np.ones(shape, dtype=np.float32)
    for axis, side in enumerate(shape):
        ones = [1.0] * len(shape)
        window = taper(window, ones, max(settings.border_width * side, 1.0), axes=[axis])
    return torch.from_numpy(window)[None, None].to(device)


def _network_images(view: ModelView, settings: SamplingSettings) -> tuple[Tensor, bool]:
    """What the network looks at: the volume, every slice, or a few slices that share a field."""
    image = view.image
    shared = view.slice_axis is not None and settings.stack == "shared"
    if not shared:
        return image, False
    count = min(_GUIDE_SLICES, len(image))
    chosen = [round((k + 1) * (len(image) - 1) / (count + 1)) for k in range(count)]
    return image[sorted(set(chosen))], True


def _velocity_window(
    model: Model, view: ModelView, settings: SamplingSettings, device: torch.device
) -> Tensor | None:
    """The window by which velocities are slowed at the border.

    The published network predicts displacements, which a window could fold, and its start field
    has rules of its own: there the border is made still afterwards.
    """
    if isinstance(model.step, PublishedStep):
        return None
    return border_window(view.spatial_shape, settings, device=device)


def _start_field(
    model: Model,
    view: ModelView,
    count: int,
    shared: bool,
    seed: int,
    settings: SamplingSettings,
    window: Tensor | None,
) -> Tensor:
    """The random field of the seed on the model's grid, one per image."""
    generator = torch.Generator().manual_seed(seed)
    device = _device_of(model)
    if settings.mean_mm is not None:
        draw = functools.partial(
            random_field_of_mean, view.spatial_shape, settings.mean_mm, generator, model.field
        )
        try:
            drawn = [
                draw(spacing=view.spacing_mm, window=window) for _ in range(1 if shared else count)
            ]
        except ValueError as error:
            raise InputError(f"`mean_mm` cannot be had: {error}") from error
        start = torch.cat(drawn).to(device)
    else:
        assert settings.level is not None
        blank = torch.zeros(1 if shared else count, 1, *view.spatial_shape, device=device)
        start = deform(
            blank, settings.level, generator, model.field, spacing=view.spacing_mm, window=window
        ).ddf
    return start.expand(count, *start.shape[1:]) if shared else start


def _configured(model: Model, settings: SamplingSettings, *, shared: bool) -> RecoverySettings:
    """Give the step its gain or recursions, and the recovery its settings."""
    step = model.step
    if isinstance(step, VelocityStep):
        step.gain = settings.gain if settings.gain is not None else model.architecture["gain"]
    elif isinstance(step, PublishedStep):
        step.recursions = settings.recursions or model.architecture["recursions"]
    assert settings.start is not None
    return replace(
        model.recovery,
        start=settings.start,
        steps=settings.steps,
        precision=settings.precision,
        shared=shared,
    )


def _single(ddf: Tensor, shared: bool) -> Tensor:
    """The one field of a volume or shared stack, else all of them."""
    return ddf[0] if shared or len(ddf) == 1 else ddf


def _device_of(model: Model) -> torch.device:
    """Where the model's network is."""
    if model.step is None:
        return torch.device("cpu")
    return next(model.step.parameters()).device
