"""One sample from a model, an image and a seed: the heart that all jobs share.

The result depends on the model, the image and labels, the settings and the seed alone, so any
sample can be made again by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import unfold
from DRDMCore.imaging import (
    DisplacementField,
    ModelView,
    Volume,
    field_from_ddf,
    taper,
    to_model_grid,
)
from DRDMCore.models import Model
from DRDMCore.pipelines.model_fields import StepTold, model_fields
from DRDMCore.pipelines.moving import moved
from DRDMCore.pipelines.quality import acceptable
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.recovery import PublishedStep, StepInfo


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
        made = model_fields(model, subject.view, group, settings, on_step, note)
        if made is None:
            return None
        for seed, fields in zip(group, made, strict=True):
            samples.append(_finished(model, subject, seed, fields, settings, pulse))
    return samples


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
