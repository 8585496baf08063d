"""What is measured: a model at which levels, how often, on which subjects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.errors import InputError
from DRDMCore.models import Model
from DRDMCore.training.presets import find_config
from DRDMCore.training.settings_file import read_settings
from DRDMCore.training.subjects import read_split
from Testing.Benchmarks.plausibility_cases import Population, from_parts, from_phantoms
from Testing.Experiments.weights import weights_sha256

CHOOSING, REPORTED = "validation", "test"
PARTS = (CHOOSING, REPORTED)
"""The recommendation is made on the first, the figures are reported on the second."""

RECOVERED, RANDOM, MATCHED, RIGID_FREE = "recovered", "random", "matched", "matched-rigid-free"
KINDS = (RECOVERED, RANDOM, MATCHED, RIGID_FREE)
"""What is made at every level; the page says what each is."""

REAL = "real"
"""Kind of the subjects as they are."""

_LEVELS = 8


@dataclass(frozen=True)
class Files:
    """Real subjects: folders below that of the data sets; the split is that of the training."""

    images: str
    labels: str


@dataclass(frozen=True)
class Phantoms:
    """Phantoms by ranges of seeds; those of the parts were not trained on."""

    kind: str
    training: str
    validation: str
    test: str


SOURCES: Mapping[str, Files | Phantoms] = {
    "hippocampus-mr-3d": Files("hippocampus/images", "hippocampus/labels"),
    "phantom-heart-2d": Phantoms("heart-2d", "0-95", "280-299", "300-319"),
}
"""The population of a model, by the name in its card."""


@dataclass(frozen=True)
class Plan:
    """All that the numbers depend on.

    Attributes:
        model: Name in the model's card.
        sha256: Of the model's file (`weights_sha256`).
        levels: Levels in rising order.
        recommended: The level that the card recommends.
        gain: Of the recovery, as the card has it; `None` for other networks.
        steps: Passes of the network.
        border: `fixed` or `free`.
        seeds: Samples per subject, level and kind.
        training: Names of the training shapes.
        subjects: Names of the evaluated subjects by part.
    """

    model: str
    sha256: str
    levels: tuple[int, ...]
    recommended: int
    gain: float | None
    steps: int | None
    border: str
    seeds: int
    training: tuple[str, ...]
    subjects: Mapping[str, tuple[str, ...]]

    @property
    def digest(self) -> str:
        """Tells the results of one plan from those of another."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def plan_of(content: Mapping[str, Any]) -> Plan:
    """The plan that was written as JSON."""
    lists = {key: tuple(content[key]) for key in ("levels", "training")}
    subjects = {part: tuple(names) for part, names in content["subjects"].items()}
    return Plan(**{**content, **lists, "subjects": subjects})


def make_plan(
    model: Model,
    populations: Mapping[str, Population],
    levels: tuple[int, ...] | None,
    seeds: int,
    border: str,
) -> Plan:
    """The plan for a model.

    Args:
        model: The model, with a network.
        populations: Subjects by part.
        levels: Levels to measure; by default eight over the model's range, one of them the
            recommended one.
        seeds: Samples per subject, level and kind; two at least, for the diversity.
        border: `fixed` or `free`.

    Raises:
        InputError: If a number cannot be used or a subject was trained on.
    """
    if seeds < 2:
        raise InputError(
            f"`seeds` must be at least 2, got {seeds}: two samples of a subject tell its diversity."
        )
    recommended = int(model.card.recommended.get("level", model.levels // 2))
    chosen = levels or spread_levels(model.levels, recommended)
    training = tuple(next(iter(populations.values())).training)
    for part, population in populations.items():
        known = sorted(set(population.evaluated) & set(training))
        if known:
            raise InputError(
                f"the {part} subjects must not be trained on, but {known[0]!r} is: correct the "
                "split."
            )
    assert model.path is not None
    return Plan(
        model=model.card.name,
        sha256=weights_sha256(model.path),
        levels=tuple(sorted(set(chosen))),
        recommended=recommended,
        gain=model.architecture.get("gain"),
        steps=model.recovery.steps if isinstance(model.recovery.steps, int) else None,
        border=border,
        seeds=seeds,
        training=training,
        subjects={part: tuple(each.evaluated) for part, each in populations.items()},
    )


def spread_levels(levels: int, recommended: int, count: int = _LEVELS) -> tuple[int, ...]:
    """Levels evenly over 0 .. levels - 1, without 0; the nearest one gives way to `recommended`."""
    spread = np.linspace(0, levels - 1, count + 1)[1:].round().astype(int)
    spread[np.abs(spread - recommended).argmin()] = recommended
    return tuple(sorted({int(level) for level in spread}))


def find_populations(
    model: str, data: Path, limits: Mapping[str, int] | None = None
) -> dict[str, Population]:
    """The subjects of both parts.

    Args:
        model: Name in the model's card.
        data: Folder of the data sets.
        limits: Take only the first so many of a part.

    Raises:
        InputError: If the model has no population, its files are not there, or a limit is wrong.
    """
    source = SOURCES.get(model)
    if source is None:
        raise InputError(
            f"`model` must be one with a population to compare with ({', '.join(SOURCES)}), got "
            f"{model!r}: choose one of them, or add its data to `SOURCES` of plan.py."
        )
    limits = limits or {}
    for part, limit in limits.items():
        if part not in PARTS or limit < 1:
            raise InputError(
                f"`limit` must give a number >= 1 of {' or '.join(PARTS)} subjects, got "
                f"{part}={limit}: correct it."
            )
    if isinstance(source, Phantoms):
        return {
            part: from_phantoms(
                source.kind, source.training, getattr(source, part), limits.get(part)
            )
            for part in PARTS
        }
    images, labels = data / source.images, data / source.labels
    settings = read_settings(find_config(model), {"data": str(images)})
    names = read_split(settings).names()
    return {part: from_parts(images, labels, names, part, limits.get(part)) for part in PARTS}
