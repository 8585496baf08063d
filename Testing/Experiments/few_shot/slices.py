"""Subjects whose samples are the slices of their stacks; slices of a patient stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from DRDMCore.imaging import (
    GridPolicy,
    Volume,
    resample_labels,
    resampled_geometry,
    slice_geometry,
    to_model_grid,
)
from DRDMCore.imaging.resizing import resize_vectors
from Testing.Experiments.few_shot.study import Study
from Testing.Experiments.few_shot.subjects import (
    CLIP,
    Example,
    Subjects,
    fitted,
    normalised,
    uncut,
)

_SLICE = "_slice"


def subjects_of(study: Study, data: Path, parts: dict[str, list[str]] | None = None) -> Subjects:
    """The subjects of a study: volumes, or patients with slices."""
    return (Subjects if study.side is None else SlicedSubjects)(study, data, parts)


def patient_of(study: Study, name: str) -> str:
    """Whose a case or stack is."""
    return name if study.side is None else name.split("_")[0]


class SlicedSubjects(Subjects):
    """Patients with stacks of slices; a sample is a slice, `patient001_frame01_slice03`.

    Each slice is resampled so that the longer side of its field of view has `study.side` pixels,
    and its middle is taken. Grey values are clipped and normalised per stack.
    """

    def __init__(self, study: Study, data: Path, parts: dict[str, list[str]] | None = None) -> None:
        """Find the patients; their stacks are on the same side of the split."""
        super().__init__(study, data, parts)
        self._stacks: dict[str, list[str]] = {}
        for case in sorted(self._cases):
            self._stacks.setdefault(patient_of(study, case), []).append(case)
        self.parts = {
            part: list(dict.fromkeys(patient_of(study, name) for name in names))
            for part, names in self.parts.items()
        }
        self._counts: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._thick: dict[str, float] = {}
        self._last: tuple[str, tuple[Volume, Volume]] | None = None

    def volumes(self, name: str) -> tuple[Volume, Volume]:
        """Image and labels of a slice, one voxel thick, on the grid of their file."""
        case, index = _parsed(name)
        image, labels = self._stack(case)
        return _cut(image, index), _cut(labels, index)

    def example(self, name: str) -> Example:
        """A slice on the networks' grid."""
        if name not in self._examples:
            self._bring(_parsed(name)[0])
        return self._examples[name]

    def samples(self, subject: str) -> list[str]:
        """All slices of all stacks of a patient."""
        return [name for names in self.stacks(subject).values() for name in names]

    def shown(self, subject: str) -> str:
        """The middle slice of the first stack."""
        names = next(iter(self.stacks(subject).values()))
        return names[len(names) // 2]

    def stacks(self, subject: str) -> dict[str, list[str]]:
        """The slices of each stack of a patient."""
        found = {}
        for case in self._stacks[subject]:
            self._bring(case)
            found[case] = [f"{case}{_SLICE}{index:02d}" for index in range(self._counts[case])]
        return found

    def joined(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The slices of a stack as one volume."""
        return np.stack(arrays)

    def spacing(self, samples: Sequence[str]) -> tuple[float, ...]:
        """mm per axis of a stack."""
        return (self._thick[_parsed(samples[0])[0]], *self.example(samples[0]).spacing)

    def own_shape(self, name: str) -> tuple[int, ...]:
        """Shape of the part of the networks' grid that a slice covers."""
        sides = zip(self._shape(name), self.study.shape, strict=True)
        return tuple(min(own, side) for own, side in sides)

    def placed(self, ddf: np.ndarray, name: str) -> np.ndarray:
        """A field of a slice of one voxel's thickness as pixels of the networks' grid."""
        return fitted(resize_vectors(ddf[1:, 0], self._shape(name)), self.study.shape)

    def partners(self, name: str, subjects: Sequence[str]) -> list[str]:
        """The slices of other patients at the same time of the heartbeat and the same height."""
        case, index = _parsed(name)
        patient = patient_of(self.study, case)
        found = []
        for other in super().partners(patient, subjects):
            stacks = list(self.stacks(other))
            stack = stacks[min(self._stacks[patient].index(case), len(stacks) - 1)]
            found.append(f"{stack}{_SLICE}{self._level_with(case, index, stack):02d}")
        return found

    def target(self, name: str, partner: str) -> Example:
        """The partner's slice, moved so that the heart of its stack lies on that of the sample's.

        Where a heart lies is no part of its shape, and the affine maps vary it in all arms.
        """
        fixed = self.example(partner)
        ways = self._heart(_parsed(partner)[0])[1:] - self._heart(_parsed(name)[0])[1:]
        way = [round(float(each)) for each in ways]
        return replace(fixed, image=_moved(fixed.image, way), labels=_moved(fixed.labels, way))

    def _stack(self, case: str) -> tuple[Volume, Volume]:
        """Image and labels of a stack; the last one is kept, for its slices come one by one."""
        if self._last is None or self._last[0] != case:
            self._last = (case, self._read(case))
        return self._last[1]

    def _bring(self, case: str) -> None:
        """All slices of a stack to the networks' grid."""
        if case in self._counts:
            return
        image, labels = self._stack(case)
        assert self.study.side is not None
        low, high = (float(value) for value in np.percentile(image.array, CLIP))
        policy = GridPolicy(
            dimension=2,
            side=self.study.side,
            intensity="window",
            intensity_range=(low, max(high, low + 1e-6)),
        )
        view = to_model_grid(image, policy, slice_axis=0)
        grey, shape = normalised(view.image[:, 0].numpy()), view.spatial_shape
        grid = resampled_geometry(labels.geometry, (len(grey), *shape))
        small = resample_labels(labels, grid).array.astype(np.uint8)
        placed = uncut(case, small, self.study.shape)
        for index, (one, truth) in enumerate(zip(grey, placed, strict=True)):
            name = f"{case}{_SLICE}{index:02d}"
            cut = fitted(one, self.study.shape)
            self._examples[name] = Example(name, cut, truth, view.spacing_mm)
        self._shapes[case] = shape
        self._thick[case] = image.geometry.spacing_zyx[0]
        self._counts[case] = len(grey)

    def _shape(self, name: str) -> tuple[int, ...]:
        """Shape of the resampled slices of a stack, before the middle is taken."""
        case = _parsed(name)[0]
        self._bring(case)
        return self._shapes[case]

    def _labels(self, case: str) -> np.ndarray:
        """`(Z, *S)` labels of a stack on the networks' grid."""
        patient = patient_of(self.study, case)
        return np.stack([self.example(name).labels for name in self.stacks(patient)[case]])

    def _heart(self, case: str) -> np.ndarray:
        """The middle of everything labelled in a stack, voxels."""
        return np.argwhere(self._labels(case) > 0).mean(axis=0)

    def _level_with(self, case: str, index: int, other: str) -> int:
        """The slice of another stack that lies as high in its heart."""
        (first, last), (begin, end) = (_extent(self._labels(each)) for each in (case, other))
        height = (index - first) / max(last - first, 1)
        return int(np.clip(round(begin + height * (end - begin)), 0, self._counts[other] - 1))


def _parsed(name: str) -> tuple[str, int]:
    """Stack and number of a slice."""
    case, _, index = name.rpartition(_SLICE)
    return case, int(index)


def _cut(volume: Volume, index: int) -> Volume:
    """One slice of a stack."""
    array = np.ascontiguousarray(volume.array[index : index + 1])
    return replace(volume, array=array, geometry=slice_geometry(volume.geometry, 0, index))


def _extent(labels: np.ndarray) -> tuple[int, int]:
    """The first and the last labelled slice."""
    found = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    return int(found[0]), int(found[-1])


def _moved(array: np.ndarray, way: Sequence[int]) -> np.ndarray:
    """An array that shows at `x` what it showed at `x + way`; its border goes on."""
    for axis, step in enumerate(way):
        places = np.arange(array.shape[axis]) + step
        array = np.take(array, np.clip(places, 0, array.shape[axis] - 1), axis=axis)
    return np.ascontiguousarray(array)
