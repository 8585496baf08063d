"""A sample by the path of `drdm generate`, its random start, and random fields of its size."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from DRDMCore.errors import InputError
from DRDMCore.imaging import Volume, apply_field
from DRDMCore.models import Model
from DRDMCore.pipelines.augment_plan import derived_seed
from DRDMCore.pipelines.sampling import Rejection, Sample, Subject, draw_samples, make_sample
from DRDMCore.pipelines.settings import SamplingSettings
from Testing.Benchmarks.plausibility_numbers import lengths_mm, rigid_free_mm

_CLOSE = 0.01  # a random field is as large as wanted if it is off by less than 1 %
_TRIES = 6


@dataclass(frozen=True)
class Made:
    """One sample with what it is compared with.

    Attributes:
        original: The image of the subject.
        sample: What `drdm generate` would write.
        seconds: Time that it took.
        rejected: Seeds that were passed over before it.
        unrepaired: The sample before folds were smoothed.
        start: Image and labels pulled through the start field.
        random: Sample of the random field alone of the same mean displacement.
        random_rigid_free: The same, as large as the sample after rigid motion is taken off.
    """

    original: Volume
    sample: Sample
    seconds: float
    rejected: int
    unrepaired: Sample
    start: tuple[Volume, Volume]
    random: Sample
    random_rigid_free: Sample

    @property
    def folded_before(self) -> float:
        """Folded voxels before they were smoothed, percent."""
        folding = self.unrepaired.quality["folding"]
        assert isinstance(folding, dict)
        return float(folding["percent"])


def make(model: Model, subject: Subject, name: str, index: int, settings: SamplingSettings) -> Made:
    """Make sample number `index` of a subject, and what it is compared with.

    Its seed is derived from the number and the name, so that no two subjects share noise;
    `drdm generate --seed` with that of the sample makes the same files.

    Raises:
        InputError: If no seed gives an acceptable sample.
    """
    sample, rejected, started = None, 0, time.perf_counter()
    for drawn in draw_samples(model, subject, derived_seed(index, name), 1, settings):
        if isinstance(drawn, Rejection):
            rejected += 1
        else:
            sample = drawn
    seconds = time.perf_counter() - started
    assert sample is not None and sample.labels is not None and subject.labels is not None
    random = _as_large(model, subject, sample, settings, _mean_mm, _mean_mm(sample))
    rigid_free, wanted = _rigid_free_mm(random), _rigid_free_mm(sample)
    first = _mean_mm(random) * wanted / max(rigid_free, 1e-6)
    return Made(
        subject.image,
        sample,
        seconds,
        rejected,
        _unrepaired(model, subject, sample, settings),
        _started(subject, sample, settings),
        random,
        _as_large(model, subject, sample, settings, _rigid_free_mm, first),
    )


def random_alone(model: Model, subject: Subject, seed: int, settings: SamplingSettings) -> Sample:
    """The sample of a seed by the same path without a network: its start, folds smoothed."""
    chosen = replace(settings, gain=None, recursions=None)
    made = make_sample(replace(model, step=None), subject, seed, chosen)
    assert made is not None
    return made


def _mean_mm(sample: Sample) -> float:
    """Mean displacement, mm."""
    return float(lengths_mm(sample.field).mean())


def _rigid_free_mm(sample: Sample) -> float:
    """Mean displacement of the labels without rigid motion, mm."""
    assert sample.labels is not None
    return rigid_free_mm(sample.field, sample.labels)


def _as_large(
    model: Model,
    subject: Subject,
    sample: Sample,
    settings: SamplingSettings,
    size: Callable[[Sample], float],
    first_mm: float,
) -> Sample:
    """The random field of the sample's seed, followed until its size is that of the sample.

    It is the sample's own start at a lower level, by the same path without a network.
    """
    wanted, mean, best = size(sample), first_mm, None
    for _ in range(_TRIES):
        made = random_alone(model, subject, sample.seed, replace(settings, mean_mm=mean))
        got = size(made)
        if best is None or abs(got - wanted) < abs(best[0] - wanted):
            best = got, made
        if abs(got - wanted) <= _CLOSE * wanted or not got > 0:
            break
        mean *= wanted / got
    assert best is not None
    if abs(best[0] - wanted) > 0.1 * wanted:
        raise InputError(
            f"a random field of {wanted:.3g} mm is wanted for seed {sample.seed}, but the closest "
            f"one has {best[0]:.3g} mm: choose another level."
        )
    return best[1]


def _unrepaired(
    model: Model, subject: Subject, sample: Sample, settings: SamplingSettings
) -> Sample:
    """The sample with the field as the network left it."""
    if not sample.quality["repaired_voxels"]:
        return sample
    made = make_sample(model, subject, sample.seed, replace(settings, repair=False))
    assert made is not None
    return made


def _started(subject: Subject, sample: Sample, settings: SamplingSettings) -> tuple[Volume, Volume]:
    """Image and labels of the random start."""
    options = {
        "interpolation": settings.interpolation,
        "label_interpolation": settings.label_interpolation,
        "padding": settings.padding,
    }
    assert subject.labels is not None
    image, labels = (
        apply_field(volume, sample.start_field, **options)  # type: ignore[arg-type]
        for volume in (subject.image, subject.labels)
    )
    return image, labels


def correlation(first: Volume, second: Volume) -> float:
    """Normalised cross-correlation of two images."""
    return float(np.corrcoef(first.array.ravel(), second.array.ravel())[0, 1])
