"""All samples of one subject, measured: rows of the table, and histograms of det J."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from DRDMCore.fields import jacobian_determinant
from DRDMCore.imaging import DisplacementField, Volume, ddf_from_field
from DRDMCore.models import Model
from DRDMCore.pipelines.quality import SEPARABILITY_DISTANCES
from DRDMCore.pipelines.sampling import Sample, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from Testing.Benchmarks.plausibility_cases import Population
from Testing.Benchmarks.plausibility_numbers import lengths_mm, rigid_free_mm, volumes_mm
from Testing.Benchmarks.plausibility_samples import make, random_alone
from Testing.Benchmarks.plausibility_study import RealShapes
from Testing.Benchmarks.shapes import Shape, unlikeness
from Testing.Experiments.by_level.coverage import neighbourhoods, within
from Testing.Experiments.by_level.plan import (
    MATCHED,
    RANDOM,
    REAL,
    RECOVERED,
    RIGID_FREE,
    Plan,
)

LEAST_DETERMINANT = 1e-3
"""Smaller determinants count as this much where a logarithm is taken."""

EDGES = np.linspace(-4, 4, 81)
"""Edges of the histogram of log2 det J; what lies outside counts in the first and last bin."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What was found of one subject.

    Attributes:
        rows: One per sample, and one of the subject as it is.
        histograms: Voxels by bin of `EDGES`, summed over the samples, by kind and level.
    """

    rows: list[Row]
    histograms: dict[str, list[int]]


class Yardstick:
    """The real shapes of a part, and how near a shape must come to each to cover it."""

    def __init__(self, population: Population) -> None:
        """Read the shapes."""
        self.population = population
        self.real = RealShapes(population)
        self.reach = neighbourhoods(self.real.bank.between().numpy())

    def row(self, shape: Shape) -> Row:
        """Where a shape lies among the real ones."""
        distances = self.real.bank.distances(shape).numpy()
        residual, limit = self.real.residual(shape), self.real.limit
        known = residual is not None and limit is not None
        return {
            "distance_mm": float(distances.min()),
            "residual_mm": residual,
            "beyond": int(residual > limit) if known else None,  # type: ignore[operator]
            "nearest": int(distances.argmin()),
            "covered": " ".join(str(k) for k in within(distances, self.reach)),
        }


def histogram_key(kind: str, level: int) -> str:
    """Name of a histogram."""
    return f"{kind} {level}"


def measure(model: Model, plan: Plan, part: str, name: str, yardstick: Yardstick) -> Measured:
    """Make and measure all samples of a subject."""
    image, labels = yardstick.population.read(name)
    rows = [{"part": part, "subject": name, **_real_row(labels, name, yardstick)}]
    histograms: dict[str, list[int]] = {}
    for level in plan.levels:
        settings = resolved(SamplingSettings(level=level, border=plan.border), model)
        subject = see(model, image, labels, settings)
        found: dict[str, list[tuple[Shape, Row]]] = {}
        for number in range(plan.seeds):
            made = make(model, subject, name, number, settings)
            alone = random_alone(model, subject, made.sample.seed, settings)
            pairs = {
                RECOVERED: (made.sample, made.unrepaired.field),
                RANDOM: (alone, alone.start_field),
                MATCHED: (made.random, made.random.start_field),
                RIGID_FREE: (made.random_rigid_free, made.random_rigid_free.start_field),
            }
            start_mm = float(lengths_mm(made.sample.start_field).mean())
            for kind, (sample, before) in pairs.items():
                shape, row = _sample_row(sample, before, start_mm, name, yardstick)
                row = {"number": number, **row}
                if kind == RECOVERED:
                    row |= {"seconds": made.seconds, "passed_over": made.rejected}
                found.setdefault(kind, []).append((shape, row))
                counts = _histogram(sample.field)
                key = histogram_key(kind, level)
                histograms[key] = (np.array(histograms.get(key, 0)) + counts).tolist()
        for kind, pairs_of_kind in found.items():
            place = {"part": part, "subject": name, "kind": kind, "level": level}
            rows += [{**place, **row} for row in _with_siblings(pairs_of_kind)]
    return Measured(rows, histograms)


def _real_row(labels: Volume, name: str, yardstick: Yardstick) -> Row:
    """The subject itself; unlike the other evaluated subjects as samples are unlike others."""
    shape = yardstick.real.shapes[name]
    others = [unlikeness(shape, each) for key, each in yardstick.real.shapes.items() if key != name]
    return {
        "kind": REAL,
        **yardstick.row(shape),
        "unlike_siblings": float(np.mean(others)) if others else None,
        **_volumes(labels),
    }


def _sample_row(
    sample: Sample, before: DisplacementField, start_mm: float, name: str, yardstick: Yardstick
) -> tuple[Shape, Row]:
    """Shape and numbers of one sample; `before` is its field before folds were smoothed."""
    assert sample.labels is not None
    quality: Any = sample.quality
    shape = yardstick.real.shape(sample.labels)
    apart = quality["motion_separability_voxels"]
    lengths = np.linalg.norm(ddf_from_field(sample.field), axis=0)
    mean_mm = float(lengths_mm(sample.field).mean())
    return shape, {
        "seed": sample.seed,
        **yardstick.row(shape),
        "unlike_original": unlikeness(shape, yardstick.real.shapes[name]),
        "mean_voxels": float(lengths.mean()),
        "mean_mm": mean_mm,
        "kept": mean_mm / start_mm,
        "rigid_free_mm": rigid_free_mm(sample.field, sample.labels),
        **_determinants(sample.field, before),
        "folded_percent": quality["folding"]["percent"],
        **{f"separability_{d}": apart.get(str(d)) for d in SEPARABILITY_DISTANCES},
        "ncc": quality["image"]["ncc"],
        **_volumes(sample.labels),
    }


def _with_siblings(found: list[tuple[Shape, Row]]) -> Iterator[Row]:
    """The rows, each with how unlike the subject's other samples it is."""
    for number, (shape, row) in enumerate(found):
        others = [unlikeness(shape, other) for k, (other, _) in enumerate(found) if k != number]
        yield {**row, "unlike_siblings": float(np.mean(others))}


def _determinants(field: DisplacementField, before: DisplacementField) -> Row:
    """Percentiles and spread of det J; how much of it is not positive before smoothing."""
    values = _determinant(field)
    low, middle, high = np.percentile(values, (1, 50, 99))
    return {
        "det_p1": float(low),
        "det_p50": float(middle),
        "det_p99": float(high),
        "log_det_sd": float(np.log(values.clip(min=LEAST_DETERMINANT)).std()),
        "not_positive_before_percent": 100.0 * float((_determinant(before) <= 0).mean()),
    }


def _determinant(field: DisplacementField) -> np.ndarray:
    """det J by central differences."""
    ddf = torch.from_numpy(ddf_from_field(field).astype(np.float32))[None]
    return jacobian_determinant(ddf)[0].numpy()


def _histogram(field: DisplacementField) -> np.ndarray:
    """Voxels by bin of `EDGES`."""
    logarithm = np.log2(_determinant(field).clip(min=LEAST_DETERMINANT))
    return np.histogram(logarithm.clip(EDGES[0], EDGES[-1]), bins=EDGES)[0]


def _volumes(labels: Volume) -> Row:
    """Volume by label, and of all together."""
    found = volumes_mm(labels)
    return {f"volume_{value or 'all'}": size for value, size in found.items()}
