"""How good is one deformed sample: size of the motion, folding, volumes, likeness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from DRDMCore.fields import folded, jacobian_determinant, motion_separability
from DRDMCore.imaging import apply_field, ddf_from_field, read_field, read_image, read_labels

SEPARABILITY_DISTANCES = (1, 4, 16)
"""Distances in voxels at which Motion Separability is reported."""


def measure(
    ddf: np.ndarray,
    spacing_zyx: Sequence[float],
    labels_before: np.ndarray | None = None,
    labels_after: np.ndarray | None = None,
    image_before: np.ndarray | None = None,
    image_after: np.ndarray | None = None,
    label_names: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Measure one deformed sample; everything in the answer can be written as JSON.

    Axes of one voxel count as undeformed in the Jacobian.

    Args:
        ddf: `(D, *S)` displacement in voxels on the image's own grid, D = 2 or 3.
        spacing_zyx: Voxel size per array axis, mm.
        labels_before: `(*S)` integer label map of the original, or None.
        labels_after: `(*S)` the same, deformed; given exactly if `labels_before` is.
        image_before: `(*S)` original image, or None.
        image_after: `(*S)` deformed image; given exactly if `image_before` is.
        label_names: Name per label value; others are called "label 7".

    Returns:
        `displacement_mm`: `mean`, `p95`, `max`, and `foreground_mean` over the deformed labels
        (None without). `jacobian`: `min`, `p1`, `p99`, `max` of det J. `folding`: `voxels` and
        `percent` by the strict test of all cell corners. `labels`: per label `value`, `name`,
        `before`, `after` (in `volume_unit`: ml, or mm2 in 2D) and `change_percent` (None if the
        label was empty). `image`: `ncc` and `intensity_change_percent` (of the mean, relative to
        the 1st to 99th percentile range), or None. `motion_separability_voxels`: by distance.

    Raises:
        ValueError: If shapes differ, a partner is missing, or `ddf` holds NaN or infinity.
    """
    _check(ddf, spacing_zyx)
    _check_pair("labels", labels_before, labels_after, ddf.shape[1:])
    _check_pair("image", image_before, image_after, ddf.shape[1:])
    field = torch.from_numpy(np.ascontiguousarray(ddf, dtype=np.float32))[None]
    return {
        "displacement_mm": _displacement(ddf, spacing_zyx, labels_after),
        "jacobian": _jacobian(field),
        "folding": _folding(field),
        "volume_unit": "ml" if len(spacing_zyx) == 3 else "mm2",
        "labels": _label_rows(labels_before, labels_after, spacing_zyx, label_names or {}),
        "image": _likeness(image_before, image_after),
        "motion_separability_voxels": _separability(field),
    }


def measure_file(
    field: Path, *, labels: Path | None = None, image: Path | None = None
) -> dict[str, Any]:
    """Measure a field file, with the labels and the image that it moves, if given.

    Raises:
        DRDMError: If a file cannot be used or lies on another grid.
    """
    read = read_field(field)
    before = {
        "labels": None if labels is None else read_labels(labels),
        "image": None if image is None else read_image(image),
    }
    after = {k: None if v is None else apply_field(v, read) for k, v in before.items()}
    arrays = {
        f"{kind}_{when}": None if volume is None else volume.array
        for when, volumes in (("before", before), ("after", after))
        for kind, volume in volumes.items()
    }
    names = before["labels"].label_names if before["labels"] is not None else None
    ddf = ddf_from_field(read)
    return measure(ddf, read.geometry.spacing_zyx, label_names=names, **arrays)


def acceptable(
    quality: Mapping[str, Any],
    *,
    max_folding_percent: float | None = None,
    min_mean_mm: float | None = None,
    max_mean_mm: float | None = None,
) -> str | None:
    """Judge a sample by the limits given; None for a limit means no limit.

    Args:
        quality: What `measure` returned.
        max_folding_percent: Most folded voxels allowed, percent.
        min_mean_mm: Least mean displacement allowed, mm.
        max_mean_mm: Most mean displacement allowed, mm.

    Returns:
        None if the sample is good, else the reason for rejection, one sentence.
    """
    folding, mean = quality["folding"]["percent"], quality["displacement_mm"]["mean"]
    if max_folding_percent is not None and folding > max_folding_percent:
        return (
            f"The field folds at {folding:.3g} % of the voxels; "
            f"at most {max_folding_percent:g} % are allowed."
        )
    if min_mean_mm is not None and mean < min_mean_mm:
        return f"The mean displacement is {mean:.3g} mm; at least {min_mean_mm:g} mm is wanted."
    if max_mean_mm is not None and mean > max_mean_mm:
        return f"The mean displacement is {mean:.3g} mm; at most {max_mean_mm:g} mm is allowed."
    return None


def _check(ddf: np.ndarray, spacing_zyx: Sequence[float]) -> None:
    """Refuse anything but a finite field with a spacing per axis."""
    dimension = ddf.ndim - 1
    if dimension not in (2, 3) or ddf.shape[0] != dimension or ddf.size == 0:
        raise ValueError(
            f"`ddf` must have shape (2, H, W) or (3, D, H, W), got {ddf.shape}: "
            "one component per spatial axis."
        )
    if len(spacing_zyx) != dimension or not all(0 < s < math.inf for s in spacing_zyx):
        raise ValueError(
            f"`spacing_zyx` must be {dimension} numbers > 0 in mm, got {tuple(spacing_zyx)}."
        )
    if not np.isfinite(ddf).all():
        raise ValueError("`ddf` must be finite, but holds NaN or infinity: recover it again.")


def _check_pair(
    name: str, before: np.ndarray | None, after: np.ndarray | None, shape: tuple[int, ...]
) -> None:
    """Refuse one without the other, and other grids than the field's."""
    if (before is None) != (after is None):
        raise ValueError(f"`{name}_before` and `{name}_after` must be given together.")
    for when, array in (("before", before), ("after", after)):
        if array is not None and array.shape != shape:
            raise ValueError(
                f"`{name}_{when}` must have the shape of the field {shape}, got {array.shape}."
            )


def _displacement(
    ddf: np.ndarray, spacing_zyx: Sequence[float], labels_after: np.ndarray | None
) -> dict[str, float | None]:
    """Length of the displacement in mm; the pull field belongs to the deformed labels' grid."""
    squares = [(ddf[c].astype(np.float64) * spacing_zyx[c]) ** 2 for c in range(len(ddf))]
    length = np.sqrt(np.sum(squares, axis=0))
    inside = length[labels_after != 0] if labels_after is not None else length[:0]
    return {
        "mean": float(length.mean()),
        "p95": float(np.percentile(length, 95)),
        "max": float(length.max()),
        "foreground_mean": float(inside.mean()) if inside.size else None,
    }


def _jacobian(field: Tensor) -> dict[str, float]:
    """Range of det J by central differences."""
    det = jacobian_determinant(field).numpy()
    low, high = np.percentile(det, (1, 99))
    return {
        "min": float(det.min()),
        "p1": float(low),
        "p99": float(high),
        "max": float(det.max()),
    }


def _folding(field: Tensor) -> dict[str, float]:
    """Folded voxels by the strict test."""
    bad = folded(field)
    count = int(bad.sum())
    return {"voxels": count, "percent": 100.0 * count / bad.numel()}


def _label_rows(
    before: np.ndarray | None,
    after: np.ndarray | None,
    spacing_zyx: Sequence[float],
    names: Mapping[int, str],
) -> list[dict[str, Any]]:
    """One row per label value but 0, sorted."""
    if before is None or after is None:
        return []
    first, second = _counts(before), _counts(after)
    unit = math.prod(spacing_zyx) / (1000 if len(spacing_zyx) == 3 else 1)
    return [
        {
            "value": value,
            "name": names.get(value) or f"label {value}",
            "before": first.get(value, 0) * unit,
            "after": second.get(value, 0) * unit,
            "change_percent": _change_percent(first.get(value, 0), second.get(value, 0)),
        }
        for value in sorted((first.keys() | second.keys()) - {0})
    ]


def _counts(labels: np.ndarray) -> dict[int, int]:
    """Voxels per label value."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(v): int(n) for v, n in zip(values, counts, strict=True)}


def _change_percent(before: int, after: int) -> float | None:
    """Relative change, or None where there was nothing."""
    return 100.0 * (after - before) / before if before else None


def _likeness(before: np.ndarray | None, after: np.ndarray | None) -> dict[str, Any] | None:
    """Normalised cross-correlation and change of the mean intensity."""
    if before is None or after is None:
        return None
    a, b = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    a_mean, b_mean = a.mean(), b.mean()
    low, high = np.percentile(a, (1, 99))
    change = 100.0 * (b_mean - a_mean) / (high - low) if high > low else None
    a -= a_mean
    b -= b_mean
    # Not `a @ b`: its last digits depend on the number of threads.
    norm = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return {
        "ncc": _finite(float((a * b).sum()) / norm if norm > 0 else None),
        "intensity_change_percent": _finite(change),
    }


def _finite(number: float | None) -> float | None:
    """The number, or None where it is not one (an image may hold NaN; JSON may not)."""
    return float(number) if number is not None and math.isfinite(number) else None


def _separability(field: Tensor) -> dict[str, float | None]:
    """Motion Separability in voxels at the distances that fit the grid."""
    return {
        str(distance): _finite(float(motion_separability(field, distance)))
        for distance in SEPARABILITY_DISTANCES
        if distance < max(field.shape[2:])
    }
