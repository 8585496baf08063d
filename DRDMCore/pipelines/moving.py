"""Pull the originals through a field, once, and measure the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import SimpleITK as sitk

from DRDMCore.imaging import (
    DisplacementField,
    Volume,
    apply_field,
    ddf_from_field,
    field_transform,
)
from DRDMCore.pipelines.quality import measure
from DRDMCore.pipelines.settings import SamplingSettings


class Moved(NamedTuple):
    """An image with its labels after a field.

    Attributes:
        image: The original pulled through the field.
        labels: The original labels pulled through it, if there are any.
        quality: `quality.measure`, and `repaired_voxels`.
    """

    image: Volume
    labels: Volume | None
    quality: dict[str, Any]


def pulled(
    volume: Volume,
    field: DisplacementField,
    settings: SamplingSettings,
    transform: sitk.Transform | None = None,
) -> Volume:
    """An image or labels pulled through a field as the settings say (see `apply_field`)."""
    return apply_field(
        volume,
        field,
        interpolation=settings.interpolation,  # type: ignore[arg-type]
        label_interpolation=settings.label_interpolation,  # type: ignore[arg-type]
        padding=settings.padding,  # type: ignore[arg-type]
        transform=transform,
    )


def moved(
    image: Volume,
    labels: Volume | None,
    field: DisplacementField,
    settings: SamplingSettings,
    *,
    repaired: int = 0,
    pulse: Callable[[], object] = lambda: None,
) -> Moved:
    """Pull an image and its labels through a field on their grid, and measure.

    Args:
        image: The original.
        labels: Its labels on the same grid, if any.
        field: The displacement, as it is written to files.
        settings: Interpolation and padding.
        repaired: Voxels of the field that were smoothed; enters the quality.
        pulse: Called between the parts of the work; may raise to stop.
    """
    pulse()
    transform = field_transform(field)
    after = pulled(image, field, settings, transform)
    pulse()
    labels_after = None if labels is None else pulled(labels, field, settings, transform)
    del transform  # as large as the field twice
    pulse()
    quality = measure(
        ddf_from_field(field),
        image.geometry.spacing_zyx,
        labels_before=None if labels is None else labels.array,
        labels_after=None if labels_after is None else labels_after.array,
        image_before=image.array,
        image_after=after.array,
        label_names=None if labels is None else labels.label_names,
    )
    quality["repaired_voxels"] = repaired
    return Moved(after, labels_after, quality)
