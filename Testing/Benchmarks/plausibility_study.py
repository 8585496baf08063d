"""Measure samples against the real shapes of a population, and sum up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from DRDMCore.imaging import Volume, ddf_from_field
from DRDMCore.pipelines.sampling import Sample
from Testing.Benchmarks.plausibility_cases import Population
from Testing.Benchmarks.plausibility_numbers import (
    excess,
    excess_interval,
    lengths_mm,
    pairwise_distance,
    pairwise_unlikeness,
    rigid_free_mm,
    share_beyond,
    spread_ratios,
    volumes_mm,
)
from Testing.Benchmarks.plausibility_samples import Made, correlation
from Testing.Benchmarks.shapes import Shape, ShapeBank, ShapeModes, grid_for, shape_of

MODES = 40
LEAST_FOR_MODES = 10
"""With fewer training shapes there are no modes to speak of."""

Record = dict[str, Any]
"""Numbers of one sample, or of one subject, as JSON has them."""


class RealShapes:
    """The real shapes of a population: what samples are compared with.

    Attributes:
        subjects: Per evaluated subject its `distance` to the nearest training shape, its
            `residual` outside the modes and its `volumes`.
        unlikeness: Mean aligned 1 - Dice between two evaluated subjects, or `None`.
        limit: The residual that 5 % of the real shapes outside the training exceed, or `None`.
        percentile_from: Number of those shapes.
        training: Number of training shapes.
        spacing_mm: Side of the voxels of the shapes' grid.
        modes: Number of modes; 0 where there are too few shapes.
        bank: The training shapes.
        shapes: Those of the evaluated subjects, by name.
    """

    def __init__(self, population: Population) -> None:
        """Read the labels and make the shapes."""
        names = [*population.training, *population.evaluated, *population.others]
        labels = {name: population.read(name)[1] for name in dict.fromkeys(names)}
        self._grid = grid_for(labels.values())
        shapes = {name: shape_of(volume, self._grid) for name, volume in labels.items()}
        known = [shapes[name] for name in population.training]
        self.bank = ShapeBank(known, population.training)
        self.shapes = {name: shapes[name] for name in population.evaluated}
        self._modes = ShapeModes(known, MODES) if len(known) >= LEAST_FOR_MODES else None
        self.training, self.modes = len(known), self._modes.count if self._modes else 0
        self.spacing_mm = self._grid.spacing_mm
        self.subjects: dict[str, Record] = {
            name: {
                "distance": self.bank.nearest(shapes[name], but=name),
                "residual": self.residual(shapes[name]),
                "volumes": volumes_mm(labels[name]),
            }
            for name in population.evaluated
        }
        self.unlikeness = pairwise_unlikeness([shapes[name] for name in population.evaluated])
        unseen = {*population.evaluated, *population.others} - {*population.training}
        residuals = [self.residual(shapes[name]) for name in sorted(unseen)]
        known_residuals = [value for value in residuals if value is not None]
        self.percentile_from = len(known_residuals)
        self.limit = float(np.percentile(known_residuals, 95)) if known_residuals else None

    def compare(self, labels: Volume, name: str) -> tuple[Shape, Record]:
        """The shape of labels made of a subject, and its distances."""
        shape = self.shape(labels)
        distance = self.bank.nearest(shape, but=name)
        return shape, {"distance": distance, "residual": self.residual(shape)}

    def shape(self, labels: Volume) -> Shape:
        """The shape of labels, on the grid that all shapes share."""
        return shape_of(labels, self._grid)

    def residual(self, shape: Shape) -> float | None:
        """What the modes cannot express, mm."""
        return None if self._modes is None else self._modes.residual(shape)


def measure_subject(
    made: Iterable[Made], name: str, real: RealShapes
) -> tuple[list[Record], Record]:
    """Numbers of each sample of a subject, and how different its samples are.

    Args:
        made: The samples of one subject at one setting; taken one by one.
        name: The subject.
        real: Shapes to compare with.

    Returns:
        A record per sample, and one of the subject.
    """
    records, shapes, ddfs = [], [], []
    for each in made:
        shape, record = _measured(each, name, real)
        records.append(record)
        shapes.append(shape)
        ddfs.append(ddf_from_field(each.sample.field))
    different = {
        "subject": name,
        "unlikeness": pairwise_unlikeness(shapes),
        "difference_voxels": pairwise_distance(ddfs),
    }
    return records, different


def _measured(made: Made, name: str, real: RealShapes) -> tuple[Shape, Record]:
    """Shape and numbers of one sample."""
    sample, original = made.sample, made.original
    assert sample.labels is not None
    shape, recovered = real.compare(sample.labels, name)
    compared = {
        "recovered": recovered,
        "start": real.compare(made.start[1], name)[1],
        "random": real.compare(_labels(made.random), name)[1],
        "random_rigid_free": real.compare(_labels(made.random_rigid_free), name)[1],
    }
    mean_mm = float(lengths_mm(sample.field).mean())
    ddf = ddf_from_field(sample.field)
    quality: Mapping[str, Any] = sample.quality
    return shape, {
        "subject": name,
        "seed": sample.seed,
        "seconds": made.seconds,
        "rejected": made.rejected,
        "folded_percent": quality["folding"]["percent"],
        "folded_before_percent": made.folded_before,
        "mean_mm": mean_mm,
        "mean_voxels": float(np.linalg.norm(ddf, axis=0).mean()),
        "kept": mean_mm / float(lengths_mm(sample.start_field).mean()),
        "rigid_free_mm": rigid_free_mm(sample.field, sample.labels),
        "random_mm": float(lengths_mm(made.random.field).mean()),
        "random_rigid_free_mm": rigid_free_mm(
            made.random_rigid_free.field, _labels(made.random_rigid_free)
        ),
        "ncc": correlation(original, sample.image),
        "ncc_start": correlation(original, made.start[0]),
        "volumes": volumes_mm(sample.labels),
        **compared,
    }


def _labels(sample: Sample) -> Volume:
    """The labels, which every sample here has."""
    assert sample.labels is not None
    return sample.labels


def summed_up(
    records: Sequence[Record], different: Sequence[Record], real: RealShapes
) -> dict[str, Any]:
    """The numbers of one setting.

    Args:
        records: Of all samples.
        different: Of all subjects.
        real: Shapes that were compared with.

    Returns:
        Means over the samples unless the name says otherwise; `None` where there is nothing to
        take a number from.
    """
    names = ("kept", "mean_mm", "mean_voxels", "ncc", "ncc_start", "folded_before_percent")
    folded = [record["folded_percent"] for record in records]
    difference = _mean([each["difference_voxels"] for each in different])
    unlike = _mean([each["unlikeness"] for each in different])
    diversity = unlike / real.unlikeness if unlike is not None and real.unlikeness else None
    return {
        "samples": len(records),
        **{name: _mean([record[name] for record in records]) for name in names},
        "folded_worst": max(folded),
        "folded_mean": _mean(folded),
        "rejected": sum(record["rejected"] for record in records),
        **_distances(records, real),
        "beyond": _shares(records, real),
        "volumes": spread_ratios(
            [record["volumes"] for record in records],
            [subject["volumes"] for subject in real.subjects.values()],
        ),
        "unlikeness": unlike,
        "difference_voxels": difference,
        "diversity": diversity,
    }


def _distances(records: Sequence[Record], real: RealShapes) -> dict[str, Any]:
    """Shape distances and excesses with their intervals, each subject counting the same."""
    names = list(dict.fromkeys(record["subject"] for record in records))
    kinds = ("recovered", "start", "random", "random_rigid_free")
    columns = {
        kind: [
            float(np.mean([r[kind]["distance"] for r in records if r["subject"] == name]))
            for name in names
        ]
        for kind in kinds
    }
    floor = [real.subjects[name]["distance"] for name in names]
    plain = columns["recovered"], floor, columns["random"]
    free = columns["recovered"], floor, columns["random_rigid_free"]
    return {
        "distance": {"floor": _mean(floor), **{kind: _mean(columns[kind]) for kind in kinds}},
        "excess": excess(*plain),
        "excess_interval": excess_interval(*plain),
        "rigid_free_excess": excess(*free),
        "rigid_free_excess_interval": excess_interval(*free),
    }


def _shares(records: Sequence[Record], real: RealShapes) -> dict[str, float] | None:
    """Percent of shapes that lie further outside the modes than 95 % of the real ones."""
    if real.limit is None:
        return None
    columns = {
        kind: [record[kind]["residual"] for record in records]
        for kind in ("recovered", "start", "random", "random_rigid_free")
    }
    columns["real"] = [subject["residual"] for subject in real.subjects.values()]
    return {kind: share_beyond(values, real.limit) for kind, values in columns.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the numbers that there are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
