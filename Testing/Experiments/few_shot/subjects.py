"""Subjects of a study on the networks' grid, split as the generator was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DRDMCore.errors import InputError
from DRDMCore.imaging import Case, Volume, list_cases, read_image, read_labels
from DRDMCore.training.presets import find_config
from DRDMCore.training.settings_file import read_settings
from DRDMCore.training.subjects import read_split
from Testing.Experiments.few_shot.study import Study

_CLIP = (0.5, 99.5)  # percentiles


@dataclass(frozen=True)
class Example:
    """One subject on the networks' grid.

    Attributes:
        name: Of its file.
        image: `(*S)` float32 of mean 0 and standard deviation 1, clipped at percentiles.
        labels: `(*S)` uint8.
        spacing: mm per axis of the grid.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, ...]


class Subjects:
    """All subjects of a study; images are read when they are asked for, and kept.

    Attributes:
        study: The study.
        parts: Names of `training`, `validation` and `test`: the split of the generator's training,
            derived as its trainer derives it.
    """

    def __init__(self, study: Study, data: Path, parts: dict[str, list[str]] | None = None) -> None:
        """Find the subjects and split them; `parts` replaces the generator's split."""
        images = data / study.images
        self.study = study
        self._cases = {case.name: case for case in list_cases(images, data / study.labels)}
        self._examples: dict[str, Example] = {}
        if parts is None:
            settings = read_settings(find_config(study.model), {"data": str(images)})
            parts = read_split(settings).names()
        self.parts = parts

    def case(self, name: str) -> Case:
        """The files of a subject."""
        return self._cases[name]

    def volumes(self, name: str) -> tuple[Volume, Volume]:
        """Image and labels as their files hold them."""
        case = self._cases[name]
        if case.labels is None:
            raise InputError(f"{case.image} must have labels, but has none: leave it out.")
        return read_image(case.image), read_labels(case.labels)

    def example(self, name: str) -> Example:
        """A subject on the networks' grid."""
        if name not in self._examples:
            image, labels = self.volumes(name)
            self._examples[name] = on_grid(name, image, labels, self.study.shape)
        return self._examples[name]


def on_grid(name: str, image: Volume, labels: Volume, shape: Sequence[int]) -> Example:
    """Cut or pad a subject about its middle; nothing is resampled.

    Raises:
        InputError: If a part of the labels would be cut off.
    """
    grey = image.array.astype(np.float32)
    grey = np.clip(grey, *np.percentile(grey, _CLIP))
    grey = ((grey - grey.mean()) / max(float(grey.std()), 1e-6)).astype(np.float32)
    placed = fitted(labels.array.astype(np.uint8), shape, mode="constant")
    if (placed > 0).sum() != (labels.array > 0).sum():
        raise InputError(
            f"the labels of {name} must lie within the middle {tuple(shape)} voxels, but reach "
            "beyond: give the study a larger shape."
        )
    return Example(name, fitted(grey, shape), placed, tuple(image.geometry.spacing_zyx))


def fitted(array: np.ndarray, shape: Sequence[int], *, mode: str = "edge") -> np.ndarray:
    """Cut or pad the last axes of an array to a shape, about the middle.

    Args:
        array: `(..., *S)`.
        shape: Wanted size of the last axes.
        mode: What padding shows: `edge` the nearest voxel, `constant` 0.

    Returns:
        `(..., *shape)`.
    """
    lead = array.ndim - len(shape)
    for axis, wanted in enumerate(shape, start=lead):
        size = array.shape[axis]
        if size > wanted:
            low = (size - wanted) // 2
            array = np.take(array, range(low, low + wanted), axis=axis)
        elif size < wanted:
            low = (wanted - size) // 2
            pad = [(0, 0)] * array.ndim
            pad[axis] = (low, wanted - size - low)
            array = np.pad(array, pad, mode=mode)  # type: ignore[call-overload]
    return np.ascontiguousarray(array)
