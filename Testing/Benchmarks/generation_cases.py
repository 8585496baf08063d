"""What is generated: bundled models on grids of given sizes, and our samples of them as jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from DRDMCore.imaging import Volume, phantom
from DRDMCore.imaging.geometry import Geometry
from DRDMCore.models import Model, load_model
from DRDMCore.pipelines.sampling import Subject, make_sample, make_samples, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved

SUBJECT_SEED = 1_000_001
"""No training subject has this seed."""


@dataclass(frozen=True)
class Case:
    """A model and the grid that its network works on.

    Attributes:
        title: What the page calls it.
        model: Name of a bundled model.
        kind: Phantom that lends its picture; what an image shows does not matter to the time.
        shape: Voxels of the image, which are those of the network.
    """

    title: str
    model: str
    kind: str
    shape: tuple[int, ...]


TORSO = Case("3D 128^3", "phantom-torso-3d", "torso-3d", (128, 128, 128))
HEART = Case("2D 256^2", "phantom-heart-2d", "heart-2d", (256, 256))
HIPPOCAMPUS = Case("hippocampus 40x56x40", "hippocampus-mr-3d", "torso-3d", (40, 56, 40))


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
    """Image and labels of a phantom on a grid of isotropic voxels."""
    image, labels = phantom(kind, SUBJECT_SEED, shape=shape)
    old = image.geometry
    new = Geometry(old.size, (spacing_mm,) * len(shape), old.origin_mm, old.direction)
    return replace(image, geometry=new), replace(labels, geometry=new)


def model_image(case: Case) -> torch.Tensor:
    """The image as the network sees it, `(1, 1, *S)`."""
    return ready(case).subject.view.image
