"""A sample made stronger or weaker: its field times an amplitude, folds smoothed away.

The field is taken as it is written to files (float32, mm), so that the result is the same whether
the field comes from its file or is made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from DRDMCore.errors import InputError
from DRDMCore.fields import folded, unfold
from DRDMCore.imaging import (
    DisplacementField,
    Volume,
    ddf_from_field,
    describe_difference,
    field_from_ddf,
)
from DRDMCore.pipelines.moving import moved
from DRDMCore.pipelines.sampling import Sample, Subject
from DRDMCore.pipelines.settings import SamplingSettings

LARGEST = 1.5
_ROUNDS = 3
"""Rounding to mm may fold what has just been smoothed; strong folds may need more, too."""
_STILL = 1e-3
"""An axis along which nothing moves by more voxels than this is one across slices."""


def check_amplitude(amplitude: float) -> float:
    """The amplitude, if it can be used.

    Raises:
        InputError: If it does not lie in 0 .. `LARGEST`.
    """
    if not 0 <= amplitude <= LARGEST:
        raise InputError(f"`amplitude` must lie in 0 .. {LARGEST}, got {amplitude}.")
    return amplitude


def scaled(
    field: DisplacementField, amplitude: float, pulse: Callable[[], object] = lambda: None
) -> tuple[DisplacementField, int]:
    """A field times an amplitude, smoothed where that folds.

    Args:
        field: The field of a sample, as it is written.
        amplitude: 0 (nothing moves) to `LARGEST`; 1 gives the field back unchanged.
        pulse: Called now and then; may raise to stop.

    Returns:
        The scaled field, and the number of voxels that were smoothed.

    Raises:
        InputError: If the amplitude cannot be used.
    """
    if check_amplitude(amplitude) == 1:
        return field, 0
    field = replace(field, vectors_mm_lps=field.vectors_mm_lps * np.float32(amplitude))
    changed = 0
    for _ in range(_ROUNDS):
        ddf = torch.from_numpy(ddf_from_field(field))[None]
        if not bool(folded(ddf).any()):
            break
        axes = [axis for axis in range(ddf.ndim - 2) if float(ddf[0, axis].abs().max()) > _STILL]
        result = unfold(ddf, axes=axes, pulse=pulse)
        field = field_from_ddf(result.ddf[0].numpy(), field.geometry)
        changed = max(changed, result.changed)
    return field, changed


def scaled_sample(
    sample: Sample, subject: Subject, amplitude: float, settings: SamplingSettings
) -> Sample:
    """A sample at another amplitude; its originals are pulled anew, once."""
    if check_amplitude(amplitude) == 1:
        return sample
    field, changed = scaled(sample.field, amplitude)
    result = moved(subject.image, subject.labels, field, settings, repaired=changed)
    return replace(
        sample, field=field, image=result.image, labels=result.labels, quality=result.quality
    )


def on_grid_of(image: Volume, field: DisplacementField, name: str) -> DisplacementField:
    """The field with the very grid of an image; files round the numbers of a grid.

    Raises:
        InputError: If the field lies on another grid.
    """
    if image.dimension != field.geometry.dimension:
        difference: str | None = f"{image.dimension} and {field.geometry.dimension} axes"
    else:
        difference = describe_difference(image.geometry, field.geometry)
    if difference:
        raise InputError(
            f"{image.title} and the field {name} must lie on the same grid, but have {difference}: "
            "give the field that was made for this image."
        )
    return replace(field, geometry=image.geometry)
