"""Mirror a deformed image along array axes, with its field, so that the field still makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from DRDMCore.imaging import DisplacementField, ddf_from_field, field_from_ddf


def drawn_axes(shape: Sequence[int], seed: int) -> list[int]:
    """Array axes to mirror, each with probability one half; axes of one voxel never are."""
    bits = hashlib.sha256(f"mirror {seed}".encode()).digest()
    return [axis for axis, count in enumerate(shape) if count > 1 and bits[axis] % 2]


def mirrored(field: DisplacementField, axes: Sequence[int]) -> DisplacementField:
    """The field that pulls what `field` makes, mirrored along array axes.

    With the mirror `m(x)`: `image(m(x) + u(m(x))) = image(x + w(x))`, `w(x) = m(x) - x + u(m(x))`.

    Args:
        field: Any field.
        axes: Array axes; none gives the field itself.
    """
    if not axes:
        return field
    ddf = np.flip(ddf_from_field(field), tuple(1 + axis for axis in axes)).copy()
    for axis in axes:
        count = ddf.shape[1 + axis]
        step = (count - 1 - 2 * np.arange(count)).astype(ddf.dtype)
        ddf[axis] += step.reshape(-1, *(1,) * (ddf.ndim - 2 - axis))
    return field_from_ddf(ddf, field.geometry)
