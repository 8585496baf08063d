"""What the shapes and fields of samples are summed up to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from DRDMCore.imaging import DisplacementField, Volume
from Testing.Benchmarks.shapes import Shape, unlikeness

_RESAMPLINGS = 2000
_LEAST_ADDED = 0.05


def lengths_mm(field: DisplacementField) -> np.ndarray:
    """`(*S)` length of a displacement, mm."""
    return np.linalg.norm(field.vectors_mm_lps, axis=-1)


def rigid_free_mm(field: DisplacementField, labels: Volume) -> float:
    """Mean displacement of everything labelled that no translation and rotation explains, mm.

    Args:
        field: Displacement.
        labels: The labels that it led to: what lies there was moved by the field's value there.

    Returns:
        Mean length after the best rigid motion (least squares) is taken off.
    """
    inside = np.argwhere(labels.array > 0)
    geometry = labels.geometry
    steps = geometry.matrix * np.array(geometry.spacing_mm)
    points = inside[:, ::-1] @ steps.T  # mm along L, P, S
    moved = points + field.vectors_mm_lps[labels.array > 0]
    return float(np.linalg.norm(moved - rigidly_moved(points, moved), axis=1).mean())


def rigidly_moved(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Points after the translation and rotation that bring them closest to their targets.

    Args:
        points: `(N, D)`.
        targets: `(N, D)`, one for each.

    Returns:
        `(N, D)`; never mirrored.
    """
    middle, aim = points.mean(axis=0), targets.mean(axis=0)
    left, _, right = np.linalg.svd((targets - aim).T @ (points - middle))
    signs = np.ones(points.shape[1])
    signs[-1] = np.sign(np.linalg.det(left @ right))
    return (points - middle) @ (left * signs @ right).T + aim


def volumes_mm(labels: Volume) -> dict[int, float]:
    """Volume of each label and, as 0, of all together; mm3, or mm2 in 2D."""
    size = float(np.prod(labels.geometry.spacing_mm))
    values, counts = np.unique(labels.array[labels.array > 0], return_counts=True)
    each = {int(v): int(n) * size for v, n in zip(values, counts, strict=True)}
    return {0: sum(each.values()), **each}


def spread_ratios(
    made: Sequence[dict[int, float]], real: Sequence[dict[int, float]]
) -> dict[int, tuple[float, float | None]]:
    """Mean and standard deviation of the volumes made, relative to the real ones, per label.

    Args:
        made: `volumes_mm` of the samples.
        real: `volumes_mm` of real subjects.

    Returns:
        By label, 0 for all together; `None` for the deviation where there are fewer than three.
    """
    result = {}
    for value in sorted({value for volumes in real for value in volumes}):
        ours = np.array([volumes.get(value, 0.0) for volumes in made])
        theirs = np.array([volumes.get(value, 0.0) for volumes in real])
        enough = min(len(ours), len(theirs)) >= 3 and theirs.std() > 0
        spread = float(ours.std(ddof=1) / theirs.std(ddof=1)) if enough else None
        result[value] = float(ours.mean() / theirs.mean()), spread
    return result


def excess(
    recovered: Sequence[float], floor: Sequence[float], random: Sequence[float]
) -> float | None:
    """Distance beyond that of real shapes, as a part of what a random field adds.

    Args:
        recovered: Distance to the nearest training shape of samples, one number per subject.
        floor: The same of the real subjects.
        random: The same of random fields of equal size.

    Returns:
        0 as real shapes, 1 as random ones; `None` where random fields add less than 5 % to the
        floor, so that the ratio would be noise.
    """
    bottom, top = float(np.mean(floor)), float(np.mean(random))
    if top - bottom < _LEAST_ADDED * bottom:
        return None
    return (float(np.mean(recovered)) - bottom) / (top - bottom)


def excess_interval(
    recovered: Sequence[float], floor: Sequence[float], random: Sequence[float]
) -> tuple[float, float] | None:
    """95 % interval of `excess` over subjects (bootstrap); `None` for fewer than five."""
    columns = np.array([recovered, floor, random])
    count = columns.shape[1]
    if count < 5:
        return None
    drawn = [excess(*columns[:, pick]) for pick in resamplings(count)]
    known = [value for value in drawn if value is not None]
    if len(known) < 0.95 * len(drawn):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def resamplings(count: int) -> np.ndarray:
    """`(N, count)` numbers of subjects drawn with replacement, always the same (bootstrap)."""
    return np.random.default_rng(0).integers(count, size=(_RESAMPLINGS, count))


def pairwise_unlikeness(shapes: Sequence[Shape]) -> float | None:
    """Mean aligned 1 - Dice over all pairs; `None` without a pair."""
    values = [unlikeness(a, b) for a, b in combinations(shapes, 2)]
    return float(np.mean(values)) if values else None


def pairwise_distance(ddfs: Sequence[np.ndarray]) -> float | None:
    """Mean length of the difference of displacements `(D, *S)` over all pairs, in their unit."""
    values = [np.linalg.norm(a - b, axis=0).mean() for a, b in combinations(ddfs, 2)]
    return float(np.mean(values)) if values else None


def share_beyond(values: Sequence[float], limit: float) -> float:
    """Percent of the values above a limit."""
    return 100.0 * float(np.mean(np.array(values) > limit))
