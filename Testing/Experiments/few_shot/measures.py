"""How well a segmentation fits: Dice and surface distances."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import SimpleITK as sitk

Score = tuple[float, float | None, float | None]
"""Dice in percent, mean symmetric surface distance and HD95 in mm; `None` without a surface."""


def scores(
    found: np.ndarray, real: np.ndarray, values: Iterable[int], spacing: Sequence[float]
) -> dict[int, Score]:
    """Scores per label.

    Args:
        found: `(*S)` labels to be judged.
        real: `(*S)` the true ones.
        values: Labels that count.
        spacing: mm per axis.
    """
    return {value: score(found == value, real == value, spacing) for value in values}


def score(found: np.ndarray, real: np.ndarray, spacing: Sequence[float]) -> Score:
    """Dice and surface distances of two masks.

    The surface is the voxels of a mask that have a neighbour across a face outside it. The mean
    distance is that of all surface voxels of both masks to the other surface; HD95 is the larger
    of the two 95th percentiles.
    """
    total = int(found.sum()) + int(real.sum())
    dice = 100.0 if total == 0 else 200.0 * int((found & real).sum()) / total
    if not found.any() or not real.any():
        return dice, None, None
    edges = _surface(found), _surface(real)
    there = _distances_to(edges[1], spacing)[edges[0]]
    back = _distances_to(edges[0], spacing)[edges[1]]
    mean = float(np.concatenate([there, back]).mean())
    return dice, mean, float(max(np.percentile(there, 95), np.percentile(back, 95)))


def known_mean(values: np.ndarray) -> float:
    """Mean of the numbers that there are; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _surface(mask: np.ndarray) -> np.ndarray:
    """`(*S)` mask of the surface voxels; what lies beyond the grid is outside."""
    padded = np.pad(mask, 1)
    inner = padded.copy()
    for axis in range(mask.ndim):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    edge: np.ndarray = (padded & ~inner)[(slice(1, -1),) * mask.ndim]
    return edge


def _distances_to(edge: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """`(*S)` distance of every voxel to the nearest of a surface, mm."""
    image = sitk.GetImageFromArray(edge.astype(np.uint8))
    image.SetSpacing(tuple(spacing)[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.clip(sitk.GetArrayFromImage(distance), 0, None)
