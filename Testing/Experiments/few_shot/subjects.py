"""Subjects of a study on the networks' grid, split as the generator was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DRDMCore.errors import InputError
from DRDMCore.imaging import Case, Volume, list_cases, read_image, read_labels
from DRDMCore.training.presets import find_config
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.settings_file import read_settings
from DRDMCore.training.subjects import read_split
from Testing.Experiments.few_shot.study import Study

CLIP = (0.5, 99.5)
"""Percentiles at which grey values are clipped."""
_PARTNERS = 10
"""A subject is registered with at most so many others."""


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

    A *sample* is what a network sees at once. Here it is the subject itself, and has its name;
    `slices.SlicedSubjects` has many samples of a subject.

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
            settings = training_settings(study, data)
            parts = read_split(settings).names()
        self.parts = parts

    def case(self, name: str) -> Case:
        """The files of a subject."""
        return self._cases[name]

    def volumes(self, name: str) -> tuple[Volume, Volume]:
        """Image and labels of a sample as their files hold them."""
        return self._read(name)

    def example(self, name: str) -> Example:
        """A sample on the networks' grid."""
        if name not in self._examples:
            image, labels = self.volumes(name)
            self._examples[name] = on_grid(name, image, labels, self.study.shape)
        return self._examples[name]

    def samples(self, subject: str) -> list[str]:
        """What a network sees of a subject: here its one volume."""
        return [subject]

    def shown(self, subject: str) -> str:
        """The sample of a subject that stands for it."""
        return subject

    def stacks(self, subject: str) -> dict[str, list[str]]:
        """What is judged of a subject, by name, and the samples that it is put together from."""
        return {subject: [subject]}

    def joined(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The samples of a stack as one array."""
        return arrays[0]

    def spacing(self, samples: Sequence[str]) -> tuple[float, ...]:
        """mm per axis of a joined array."""
        return self.example(samples[0]).spacing

    def own_shape(self, name: str) -> tuple[int, ...]:
        """Shape of the part of the networks' grid that a sample's image covers (or more)."""
        return self.volumes(name)[0].geometry.shape

    def placed(self, ddf: np.ndarray, name: str) -> np.ndarray:
        """A field on the grid of a sample's file, on the networks' grid: `(D, *shape)` voxels."""
        return fitted(ddf, self.study.shape)

    def partners(self, name: str, subjects: Sequence[str]) -> list[str]:
        """The samples of other subjects that a sample is registered with."""
        place = subjects.index(name)
        circle = [*subjects[place + 1 :], *subjects[:place]]
        return circle[:_PARTNERS]

    def target(self, name: str, partner: str) -> Example:
        """What a sample is made to look like by a registration."""
        return self.example(partner)

    def _read(self, case: str) -> tuple[Volume, Volume]:
        """Image and labels of a file."""
        found = self._cases[case]
        if found.labels is None:
            raise InputError(f"{found.image} must have labels, but has none: leave it out.")
        return read_image(found.image), read_labels(found.labels)


def training_settings(study: Study, data: Path) -> TrainingSettings:
    """The settings by which the generator of a study is trained, and its subjects are split."""
    return read_settings(
        find_config(study.trained or study.model), {"data": str(data / study.images)}
    )


def on_grid(name: str, image: Volume, labels: Volume, shape: Sequence[int]) -> Example:
    """Cut or pad a subject about its middle; nothing is resampled.

    Raises:
        InputError: If a part of the labels would be cut off.
    """
    grey = image.array.astype(np.float32)
    grey = normalised(np.clip(grey, *np.percentile(grey, CLIP)))
    placed = uncut(name, labels.array.astype(np.uint8), shape)
    return Example(name, fitted(grey, shape), placed, tuple(image.geometry.spacing_zyx))


def normalised(grey: np.ndarray) -> np.ndarray:
    """Grey values of mean 0 and standard deviation 1, float32."""
    return ((grey - grey.mean()) / max(float(grey.std()), 1e-6)).astype(np.float32)


def uncut(name: str, labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Labels cut or padded about the middle of their last axes.

    Raises:
        InputError: If a part of them would be cut off.
    """
    placed = fitted(labels, shape, mode="constant")
    if (placed > 0).sum() != (labels > 0).sum():
        raise InputError(
            f"the labels of {name} must lie within the middle {tuple(shape)} voxels, but reach "
            "beyond: give the study a larger shape."
        )
    return placed


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
