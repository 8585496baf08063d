"""Settings for images that nobody has written settings for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import (
    Geometry,
    GridPolicy,
    Volume,
    most_common,
    orientation_of,
    to_model_grid,
    turn_to,
)
from DRDMCore.progress import Callback, Event, tell
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.sources import Source, find_sources

STEPS = 2000
_LOOKED_AT = 24
_THICK = 3.0
_FEW_SLICES = 12
_COVERED = 75
_MULTIPLE = 8
_MOST_VOXELS = {2: 192**2, 3: 64**3}
_LONGEST = 192
_CONTROL_POINTS = 32


def plan_settings(data: str, name: str, progress: Callback | None = None) -> TrainingSettings:
    """Settings made from the images.

    At most 24 images, evenly spread over the sorted names, are looked at. The network is 2D if one
    of them is a single slice, or if most are stacks of fewer than 12 slices or of slices more than
    3 times as thick as their pixels; else 3D. The voxels are isotropic, of the median of the
    images' own. The shape is, for each axis, what covers three quarters of the images, to the next
    multiple of 8; the others are cut at random. If that is more than 64^3 (3D) or 192^2 (2D)
    voxels, or 192 on a side, the voxels are made coarser, so that a step stays affordable. The
    random field has 32 control points along the longest side, but none closer than 2 voxels. A 3D
    network gets volumes turned so that their axes run as those of most do.

    Args:
        data: As `sources.find_sources` describes.
        name: Name of the model.
        progress: Told of each image that is looked at (`read`).

    Raises:
        MissingFileError: If `data` does not exist.
        InputError: If it holds no images, or one that cannot be used.
        Cancelled: If the caller stopped it.
    """
    sources, _ = find_sources(data, phantoms=TrainingSettings.subjects)
    volumes = _look(sources, progress)
    dimension = _dimension(volumes)
    orientation = _orientation(volumes) if dimension == 3 else ""
    boxes = [_box(volume, dimension, orientation) for volume in volumes]
    spacing_mm = statistics.median(math.prod(spacing) ** (1 / dimension) for _, spacing in boxes)
    extents_mm = [np.multiply(count, spacing) for count, spacing in boxes]
    covered_mm = np.percentile(np.stack(extents_mm), _COVERED, axis=0)
    spacing_mm, shape = _affordable(covered_mm, spacing_mm)
    where = data if data.startswith("phantom:") else Path(data).resolve().name
    return TrainingSettings(
        name=name,
        data=data,
        grid=GridPolicy(
            dimension=dimension, mode="spacing", spacing_mm=spacing_mm, orientation=orientation
        ),
        shape=shape,
        field=RandomFieldSettings(control_spacing=max(2.0, max(shape) / _CONTROL_POINTS)),
        steps=STEPS,
        optimizer="muon" if hasattr(torch.optim, "Muon") else "adamw",
        card={"title": f"Trained on {where}", "data": f"{len(sources)} images"},
    )


def _look(sources: Sequence[Source], progress: Callback | None) -> list[Volume]:
    """Some of the images."""
    picked = np.linspace(0, len(sources) - 1, min(_LOOKED_AT, len(sources))).round().astype(int)
    volumes = []
    for number, index in enumerate(picked, start=1):
        volumes.append(sources[index].read())
        message = f"looking at {number} of {len(picked)}"
        tell(progress, Event("read", message, number, len(picked)))
    return volumes


def _dimension(volumes: Sequence[Volume]) -> int:
    """2 or 3 spatial axes for the network."""
    if any(volume.dimension == 2 or 1 in volume.geometry.shape for volume in volumes):
        return 2
    stacks = sum(
        min(volume.geometry.shape) < _FEW_SLICES
        or max(volume.geometry.spacing_mm) > _THICK * min(volume.geometry.spacing_mm)
        for volume in volumes
    )
    return 2 if 2 * stacks > len(volumes) else 3


def _orientation(volumes: Sequence[Volume]) -> str:
    """Where the axes of most volumes run to."""
    return most_common([orientation_of(volume.geometry) for volume in volumes])


def _box(volume: Volume, dimension: int, orientation: str) -> tuple[list[int], list[float]]:
    """Voxels and their size, mm, per axis that the network sees, array order."""
    geometry = _turned(volume.geometry, orientation)
    axes = list(range(geometry.dimension))
    if dimension < geometry.dimension:
        view = to_model_grid(volume, GridPolicy(dimension=2, side=_MULTIPLE))
        axes = [axis for axis in axes if axis != view.slice_axis]
    return [geometry.shape[a] for a in axes], [geometry.spacing_zyx[a] for a in axes]


def _turned(geometry: Geometry, orientation: str) -> Geometry:
    """The grid with its axes as the network will see them."""
    turn = turn_to(geometry, orientation) if orientation else None
    return geometry if turn is None else turn.geometry(geometry)


def _affordable(covered_mm: np.ndarray, spacing_mm: float) -> tuple[float, tuple[int, ...]]:
    """Voxels of 3 digits, coarser if need be, and how many of them cover these sides."""
    most = _MOST_VOXELS[len(covered_mm)]
    while True:
        digits = 2 - math.floor(math.log10(spacing_mm))
        rounded = round(spacing_mm, digits)
        voxels = np.round(covered_mm / rounded)
        shape = tuple(int(-(-n // _MULTIPLE)) * _MULTIPLE for n in np.maximum(voxels, 1))
        if math.prod(shape) <= most and max(shape) <= _LONGEST:
            return rounded, shape
        spacing_mm *= 1.02
