"""Random fields as large and as rough as recovered ones: the control of the experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from DRDMCore.fields import folding_percent, jacobian_determinant, random_field_of_mean
from DRDMCore.models import Model
from DRDMCore.pipelines.model_fields import border_window
from DRDMCore.pipelines.settings import SamplingSettings
from Testing.Experiments.few_shot.subjects import fitted

SUBJECTS, FIELDS = 8, 4
"""How many subjects, and fields of each, the roughness is matched on."""

QUANTILES = (1, 5, 25, 50, 75, 95, 99)

_SMOOTHEST, _ROUGHEST = 8.0, 1.0
_HALVINGS = 6

Pairs = Sequence[tuple[np.ndarray, tuple[int, ...]]]


class Random:
    """Draws random fields like the generator's noise, with another distance of control points.

    The distance of the control points sets how rough a field of a given size is; the scales of the
    noise keep their ratios.
    """

    def __init__(self, model: Model, sampling: SamplingSettings, control_spacing: float) -> None:
        """Take the generator's random field and its border."""
        self._settings = replace(model.field, control_spacing=control_spacing)
        self._sampling = sampling

    def like(self, ddf: np.ndarray, shape: tuple[int, ...], seed: int) -> np.ndarray:
        """A random field on the image's own grid with the mean displacement of another field.

        Args:
            ddf: `(D, *S)` field, voxels, on the networks' grid.
            shape: Of the image's own grid, where the border lies.
            seed: Of the noise.

        Returns:
            `(D, *shape)` voxels.
        """
        middle = inside(ddf, shape)
        made = random_field_of_mean(
            shape,
            float(np.linalg.norm(middle.astype(np.float32), axis=0).mean()),
            torch.Generator().manual_seed(seed),
            self._settings,
            window=border_window(shape, self._sampling),
        )
        return made[0].numpy()


def control_spacing(model: Model, sampling: SamplingSettings, pairs: Pairs) -> float:
    """Distance of control points at which the determinants of random fields vary as wanted.

    Args:
        model: The generator.
        sampling: How it is sampled.
        pairs: Recovered fields with the shapes of their images.

    Returns:
        Voxels, between 1 and 8: the roughness is matched as far as this reaches.
    """
    wanted = determinant_sd([inside(ddf, shape) for ddf, shape in pairs])
    low, high = np.log(_ROUGHEST), np.log(_SMOOTHEST)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        random = Random(model, sampling, float(np.exp(middle)))
        made = [
            inside(fitted(random.like(ddf, shape, seed), ddf.shape[1:]), shape)
            for seed, (ddf, shape) in enumerate(pairs)
        ]
        if determinant_sd(made) > wanted:
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))


def determinant_sd(ddfs: Sequence[np.ndarray]) -> float:
    """Standard deviation of the determinants of fields, taken per field."""
    return float(np.mean([_determinants(ddf).std() for ddf in ddfs]))


def statistics(ddfs: Sequence[np.ndarray]) -> dict[str, Any]:
    """What fields are like, for the table that shows the match.

    Args:
        ddfs: `(D, *S)` each, voxels, without padding (`inside`).

    Returns:
        Mean displacement and its deviation between fields, root mean square of the displacement's
        gradient, deviation and quantiles of the determinant, folded voxels in percent.
    """
    fields = [np.asarray(ddf, dtype=np.float32) for ddf in ddfs]
    sizes = [float(np.linalg.norm(ddf, axis=0).mean()) for ddf in fields]
    slopes = [np.gradient(ddf, axis=tuple(range(1, ddf.ndim))) for ddf in fields]
    steep = [float(np.sqrt(np.square(slope).sum(axis=(0, 1)).mean())) for slope in slopes]
    determinants = np.concatenate([_determinants(ddf).ravel() for ddf in fields])
    folds = [float(folding_percent(torch.from_numpy(ddf)[None])[0]) for ddf in fields]
    return {
        "fields": len(fields),
        "mean_voxels": float(np.mean(sizes)),
        "sd_of_mean": float(np.std(sizes)),
        "gradient": float(np.mean(steep)),
        "determinant_sd": determinant_sd(fields),
        "quantiles": [float(v) for v in np.percentile(determinants, QUANTILES)],
        "folded_percent": float(np.mean(folds)),
    }


def common(ddfs: Sequence[np.ndarray]) -> float:
    """What fields of one subject have in common: 0 if they are independent, 1 if they are equal.

    Args:
        ddfs: `(D, *S)` each.

    Returns:
        The mean product of two of them, relative to that of a field with itself; NaN for a single
        field.
    """
    if len(ddfs) < 2:
        return float("nan")
    fields = np.stack(ddfs).astype(np.float32).reshape(len(ddfs), -1)
    products = fields @ fields.T
    itself = float(np.trace(products)) / len(fields)
    pairs = len(fields) * (len(fields) - 1)
    return (float(products.sum()) - float(np.trace(products))) / pairs / itself


def inside(ddf: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The part of a field that lies on the image, without what pads the networks' grid.

    Args:
        ddf: `(D, *S)` on the networks' grid.
        shape: Of the image's own grid.
    """
    box = [slice(None)]
    for side, own in zip(ddf.shape[1:], shape, strict=True):
        low = max((side - own) // 2, 0)
        box.append(slice(low, low + min(side, own)))
    return ddf[tuple(box)]


def _determinants(ddf: np.ndarray) -> np.ndarray:
    """`(*S)` determinants."""
    field = torch.from_numpy(np.asarray(ddf, dtype=np.float32))[None]
    return jacobian_determinant(field)[0].numpy()
