"""How well a field registers two subjects, and how well made pairs are undone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from DRDMCore.fields import folding_percent, jacobian_determinant, warp_labels
from Testing.Experiments.few_shot.measures import known_mean, scores
from Testing.Experiments.few_shot.subjects import Example
from Testing.Experiments.registration.losses import endpoint_misses
from Testing.Experiments.registration.pairs import MadePairs

Method = Callable[[Example, Example], np.ndarray]
"""Gives the field `(D, *S)`, voxels, that takes a moving to a fixed subject."""

Judged = dict[str, list[float | None]]
"""Per label Dice in percent, mean surface distance and HD95 in mm; and under `FIELD` the mean
displacement in mm, the folded voxels in percent and the least determinant."""

FIELD = "field"


def judged(ddf: np.ndarray, moving: Example, fixed: Example, values: Sequence[int]) -> Judged:
    """Scores of a field between two real subjects.

    Labels are pulled by linear shares, the largest of which wins, which roughens outlines less than
    nearest voxels do. A voxel is folded where any determinant of one-sided differences
    about it is not positive, which is stricter than central differences.

    Args:
        ddf: `(D, *S)` voxels, from the fixed to the moving subject.
        moving: The subject that is pulled.
        fixed: The one that it should look like.
        values: Labels that count.
    """
    field = torch.from_numpy(ddf)[None]
    labels = torch.from_numpy(moving.labels).long()[None, None]
    pulled = warp_labels(labels, field, mode="linear")[0, 0].numpy()
    found = scores(pulled, fixed.labels, values, fixed.spacing)
    scale = np.array(fixed.spacing).reshape(-1, *[1] * (ddf.ndim - 1))
    lengths = np.linalg.norm(ddf * scale, axis=0)
    shape = [
        float(lengths.mean()),
        float(folding_percent(field)[0]),
        float(jacobian_determinant(field).min()),
    ]
    told: Judged = {str(value): [_rounded(each) for each in found[value]] for value in found}
    return {**told, FIELD: [_rounded(each) for each in shape]}


def endpoint_error(method: Method, pairs: MadePairs, count: int) -> float:
    """Mean distance (voxels) by which a method misses the truth of made pairs.

    Args:
        method: The method.
        pairs: Pairs that it has not been trained on.
        count: The first so many of them.
    """
    errors = []
    for number in range(count):
        pair = pairs.pair(number)
        assert pair.ways is not None
        images = [each[0, 0].numpy() for each in (pair.moving, pair.fixed)]
        nobody = np.zeros(images[0].shape, dtype=np.uint8)
        moving, fixed = (Example("", image, nobody, (1.0,) * nobody.ndim) for image in images)
        ddf = torch.from_numpy(method(moving, fixed))[None]
        errors.append(float(endpoint_misses(ddf, *pair.ways).mean()))
    return float(np.mean(errors))


def summed_up(found: Mapping[str, Judged]) -> dict[str, str]:
    """Means over pairs and labels of the scores of a run.

    A surface distance is the mean of those that exist.
    """
    labels = [name for name in next(iter(found.values())) if name != FIELD]
    table = np.array([[each[name] for name in labels] for each in found.values()], dtype=float)
    fields = np.array([each[FIELD] for each in found.values()], dtype=float)
    by_label = {
        name: [round(known_mean(table[:, number, k]), 4) for k in range(3)]
        for number, name in enumerate(labels)
    }
    means = [known_mean(table[..., k]) for k in range(3)]
    return {
        "dice": f"{means[0]:.4f}",
        "surface_mm": f"{means[1]:.4f}",
        "hd95_mm": f"{means[2]:.4f}",
        "displacement_mm": f"{fields[:, 0].mean():.4f}",
        "folded_percent": f"{fields[:, 1].mean():.5f}",
        "least_determinant": f"{fields[:, 2].min():.4f}",
        "by_label": json.dumps(by_label, separators=(",", ":")),
    }


def _rounded(value: float | None) -> float | None:
    """Few digits are enough, and the file stays small."""
    return None if value is None else round(value, 4)
