"""One sample from a model, an image and a seed: the heart that all jobs share.

The result depends on the model, the image and labels, the settings and the seed alone, so any
sample can be made again by itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import random_field_of_mean, unfold
from DRDMCore.imaging import (
    DisplacementField,
    ModelView,
    Volume,
    field_from_ddf,
    taper,
    to_model_grid,
)
from DRDMCore.models import Model
from DRDMCore.pipelines.moving import moved
from DRDMCore.pipelines.quality import acceptable
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.recovery import (
    PublishedStep,
    RecoverySettings,
    StepInfo,
    VelocityStep,
    deform,
    recover_within_memory,
)

_GUIDE_SLICES = 3


@dataclass(frozen=True)
class Sample:
    """One deformed image with labels, field and quality.

    Attributes:
        seed: What made it.
        field: Displacement in mm on the image's own grid, as written to files.
        image: The original pulled through it.
        labels: The original labels pulled through it.
        quality: `quality.measure`, and `repaired_voxels`.
        start_field: The un-recovered field on the image's own grid.
    """

    seed: int
    field: DisplacementField
    image: Volume
    labels: Volume | None
    quality: dict[str, object]
    start_field: DisplacementField


@dataclass(frozen=True)
class Rejection:
    """A seed whose sample was not acceptable, and why."""

    seed: int
    reason: str


@dataclass(frozen=True)
class Subject:
    """An image with its labels as a model sees them.

    Attributes:
        image: The original.
        labels: Its labels, if any.
        view: The image on the model's grid.
    """

    image: Volume
    labels: Volume | None
    view: ModelView


StepTold = Callable[[StepInfo], object]


def see(model: Model, image: Volume, labels: Volume | None, settings: SamplingSettings) -> Subject:
    """Bring an image to the model's grid.

    Raises:
        InputError: If the image does not fit the model.
    """
    view = to_model_grid(image, model.grid, slice_axis=settings.slice_axis)
    return Subject(image, labels, view)


def draw_samples(
    model: Model,
    subject: Subject,
    first_seed: int,
    count: int,
    settings: SamplingSettings,
    *,
    batch: int = 1,
    on_step: Callable[[int, StepInfo], object] | None = None,
    note: Callable[[str], object] = lambda _: None,
    pulse: Callable[[], object] = lambda: None,
) -> Iterator[Sample | Rejection]:
    """Make samples from consecutive seeds until `count` are acceptable.

    Args:
        model: The model, on its device.
        subject: The image as the model sees it.
        first_seed: The first seed to try.
        count: Acceptable samples wanted.
        settings: Resolved settings.
        batch: Samples made together (`make_samples`); 1 gives the numbers of `make_sample` to the
            bit.
        on_step: Told the seed (the first of a batch) and each pass; `False` ends the iteration.
        note: Told what was done about memory.
        pulse: Called now and then between passes; may raise to stop.

    Yields:
        Every sample and every rejection, in the order of seeds.

    Raises:
        InputError: If `settings.attempts` seeds in a row are not acceptable.
    """
    seed, accepted, failures = first_seed, 0, 0
    while accepted < count:
        together = range(seed, seed + min(batch, count - accepted))
        told = None if on_step is None else functools.partial(on_step, seed)
        made = make_samples(
            model, subject, together, settings, on_step=told, note=note, pulse=pulse
        )
        if made is None:
            return
        for sample in made:
            reason = acceptable(
                sample.quality,
                max_folding_percent=settings.max_folding,
                min_mean_mm=settings.min_mm,
                max_mean_mm=settings.max_mm,
            )
            if reason is None:
                accepted, failures = accepted + 1, 0
                yield sample
                continue
            failures += 1
            yield Rejection(sample.seed, reason)
            if failures >= settings.attempts:
                raise InputError(
                    f"{failures} seeds in a row gave no acceptable sample (the last: {reason}): "
                    "lower the level, or loosen max_folding, min_mm and max_mm."
                )
        seed = together.stop


def make_sample(
    model: Model,
    subject: Subject,
    seed: int,
    settings: SamplingSettings,
    *,
    on_step: StepTold | None = None,
    note: Callable[[str], object] = lambda _: None,
    pulse: Callable[[], object] = lambda: None,
) -> Sample | None:
    """Make the sample of one seed; `None` if `on_step` stopped it."""
    made = make_samples(model, subject, [seed], settings, on_step=on_step, note=note, pulse=pulse)
    return None if made is None else made[0]


def make_samples(
    model: Model,
    subject: Subject,
    seeds: Sequence[int],
    settings: SamplingSettings,
    *,
    on_step: StepTold | None = None,
    note: Callable[[str], object] = lambda _: None,
    pulse: Callable[[], object] = lambda: None,
) -> list[Sample] | None:
    """Make the samples of several seeds together: one pass of the network serves them all.

    Each is what `make_sample` makes of its seed, but for rounding. The slices of a stack are
    together already: their seeds are taken one by one.

    Returns:
        One sample per seed; `None` if `on_step` stopped them.
    """
    together = subject.view.slice_axis is None and model.step is not None
    samples = []
    for group in [list(seeds)] if together else [[seed] for seed in seeds]:
        made = _model_fields(model, subject.view, group, settings, on_step, note)
        if made is None:
            return None
        for seed, fields in zip(group, made, strict=True):
            samples.append(_finished(model, subject, seed, fields, settings, pulse))
    return samples


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


def _finished(
    model: Model,
    subject: Subject,
    seed: int,
    fields: tuple[Tensor, Tensor],
    settings: SamplingSettings,
    pulse: Callable[[], object],
) -> Sample:
    """The sample of a start field and a recovered field on the model's grid."""
    start, recovered = (_on_image(ddf, subject, settings, model) for ddf in fields)
    repaired = 0
    if settings.repair:
        recovered, repaired = _repaired(recovered, subject.view, pulse)
    field = field_from_ddf(recovered, subject.image.geometry)
    result = moved(subject.image, subject.labels, field, settings, repaired=repaired, pulse=pulse)
    start_field = field_from_ddf(start, subject.image.geometry)
    return Sample(seed, field, result.image, result.labels, result.quality, start_field)


def _model_fields(
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


def _on_image(
    ddf: Tensor, subject: Subject, settings: SamplingSettings, model: Model
) -> np.ndarray:
    """A model-grid field on the image's own grid, still at the border if so wanted."""
    source = subject.view.ddf_to_source(ddf)
    if settings.border == "free":
        return source
    spacing = subject.image.geometry.spacing_zyx
    for axis in _plane_axes(subject.view, source.ndim - 1):
        side_mm = source.shape[1 + axis] * spacing[axis]
        by_construction = not isinstance(model.step, PublishedStep)
        width = spacing[axis] if by_construction else settings.border_width * side_mm
        source = taper(source, spacing, width, axes=[axis])
    return source


def _plane_axes(view: ModelView, dimension: int) -> list[int]:
    """The axes along which the model's field moves anything."""
    return [axis for axis in range(dimension) if axis != view.slice_axis]


def _repaired(
    ddf: np.ndarray, view: ModelView, pulse: Callable[[], object]
) -> tuple[np.ndarray, int]:
    """The field without folds as far as possible, and the number of voxels changed."""
    result = unfold(torch.from_numpy(ddf)[None], axes=_plane_axes(view, ddf.ndim - 1), pulse=pulse)
    return result.ddf[0].numpy(), result.changed


def _device_of(model: Model) -> torch.device:
    """Where the model's network is."""
    if model.step is None:
        return torch.device("cpu")
    return next(model.step.parameters()).device
