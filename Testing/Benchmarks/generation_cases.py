"""What is generated: bundled models on grids of given sizes, and our samples of them as jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from DRDMCore.imaging import Volume, list_cases, phantom, read_image, read_labels
from DRDMCore.imaging.datasets import Case as DatasetCase
from DRDMCore.imaging.geometry import Geometry
from DRDMCore.models import Model, load_model
from DRDMCore.pipelines.sampling import Subject, make_sample, make_samples, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from Testing.Benchmarks.accuracy_row import shared

SUBJECT_SEED = 1_000_001
"""No training subject has this seed."""


@dataclass(frozen=True)
class Case:
    """A model and the grid that its network works on.

    Attributes:
        title: What the page calls it.
        model: Name of a bundled model.
        kind: Phantom that lends its picture, or `hippocampus`: a real one (`DRDM_SHARED`). What an
            image shows matters to the time only where a model does not know it: fields may fold
            then, and are repaired.
        shape: Voxels of the image, which are those of the network.
    """

    title: str
    model: str
    kind: str
    shape: tuple[int, ...]


TORSO = Case("3D 128^3", "phantom-torso-3d", "torso-3d", (128, 128, 128))
HEART = Case("2D 256^2", "phantom-heart-2d", "heart-2d", (256, 256))
HIPPOCAMPUS = Case("hippocampus 40x56x40", "hippocampus-mr-3d", "hippocampus", (40, 56, 40))


@dataclass(frozen=True)
class Ready:
    """A model with an image on its own grid, ready to make samples.

    Attributes:
        model: The model, on its device.
        subject: The image and its labels.
        settings: Resolved.
    """

    model: Model
    subject: Subject
    settings: SamplingSettings

    def sample(self) -> Callable[[], object]:
        """A job that makes one sample, complete, of the next seed at every call."""
        seeds = itertools.count()
        return lambda: make_sample(self.model, self.subject, next(seeds), self.settings)

    def batch(self, size: int) -> Callable[[], object]:
        """A job that makes `size` samples together."""
        seeds = itertools.count(step=size)

        def job() -> object:
            first = next(seeds)
            group = range(first, first + size)
            return make_samples(self.model, self.subject, group, self.settings)

        return job


def ready(case: Case, *, precision: str = "fp32", device: str = "cpu") -> Ready:
    """The model and an image whose voxels are the model's: nothing is resampled."""
    model = load_model(case.model, device=device)
    model = replace(model, grid=replace(model.grid, max_side=max(case.shape)))
    image, labels = volumes(case.kind, case.shape, model.grid.spacing_mm or 1.0)
    settings = resolved(SamplingSettings(precision=precision), model)
    subject = see(model, image, labels, settings)
    made = tuple(subject.view.spatial_shape)
    if made != case.shape:
        raise ValueError(f"`shape` must be that of the model's grid {made}, got {case.shape}.")
    return Ready(model, subject, settings)


def volumes(kind: str, shape: tuple[int, ...], spacing_mm: float) -> tuple[Volume, Volume]:
    """Image and labels on a grid of isotropic voxels."""
    cases = real_hippocampi() if kind == "hippocampus" else []
    if cases:
        pair = read_image(cases[0].image), read_labels(cases[0].labels or cases[0].image)
    else:
        pair = phantom("torso-3d" if kind == "hippocampus" else kind, SUBJECT_SEED, shape=shape)
    origin, still = (0.0,) * len(shape), tuple(np.eye(len(shape)).ravel().tolist())
    grid = Geometry(shape[::-1], (spacing_mm,) * len(shape), origin, still)
    image, labels = (
        replace(each, array=_padded(each.array, shape), geometry=grid) for each in pair
    )
    return image, labels


def real_hippocampi() -> list[DatasetCase]:
    """Real subjects beside the repository, if they are there."""
    folder = shared("data", "hippocampus")
    return list_cases(folder / "images", folder / "labels") if folder.is_dir() else []


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in the middle of a grid that is not smaller, its border repeated."""
    rest = [side - own for side, own in zip(shape, array.shape, strict=True)]
    return np.pad(array, [(each // 2, each - each // 2) for each in rest], mode="edge")
