"""Which runs there are, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from Testing.Experiments.planned import (
    TEST,
    TUNING,
    PlannedRun,
    Setting,
    as_text,
    best_of,
)
from Testing.Experiments.registration.arms import (
    ARMS,
    LEARNED,
    REAL,
    REFERENCES,
    TUNED,
    settings_of,
)
from Testing.Experiments.registration.study import Study


@dataclass(frozen=True)
class Run(PlannedRun):
    """One network, or one method without a network, scored on real pairs.

    Attributes:
        seed: Number of the network; first weights and draws follow from it and the stage.
        iterations: Optimisation steps.
        batch: Pairs per step.
        fields: Pre-drawn fields per subject.
        network: Features, precision, learning rate and weight of the similarity, as text.
        generator: Name and hash of the generator, where the arm has to do with it.
        rings: Which real pairs are scored (`Study.rings`).
    """

    seed: int
    iterations: int
    batch: int
    fields: int
    network: str
    generator: str
    rings: str

    @property
    def place(self) -> str:
        """Arm and number of the network."""
        return f"{self.arm}-s{self.seed}"


def run_of(study: Study, stage: str, seed: int, arm: str, settings: Mapping[str, Setting]) -> Run:
    """A run with what the study says of its training."""
    training = study.training
    made = bool(set(settings) - {REAL})
    return Run(
        study=study.name,
        stage=stage,
        seed=seed,
        arm=arm,
        settings=as_text(settings),
        iterations=training.iterations if settings else 0,
        batch=training.batch if settings else 0,
        fields=training.fields if made else 0,
        network=_network(study) if settings else "",
        generator=study.data.generator if made else "",
        rings=" ".join(map(str, study.rings)),
    )


def tuning_runs(study: Study) -> Iterator[Run]:
    """Every setting of the tuned arms."""
    for seed in range(study.tuning_seeds):
        for name in TUNED:
            for setting in ARMS[name].grid:
                settings = settings_of(ARMS[name], {name: setting})
                yield run_of(study, TUNING, seed, name, settings)


def test_runs(study: Study, chosen: Mapping[str, Setting]) -> list[Run]:
    """The runs that are reported: the references, then a network of every arm, then the next.

    Args:
        study: The study.
        chosen: Tuned setting by arm.
    """
    runs = [run_of(study, TEST, 0, name, {}) for name in REFERENCES]
    for seed in range(study.seeds):
        for name in LEARNED:
            runs.append(run_of(study, TEST, seed, name, settings_of(ARMS[name], chosen)))
    return runs


def best_settings(rows: Sequence[Mapping[str, str]], study: Study) -> dict[str, Setting]:
    """The setting of each tuned arm whose mean Dice on validation pairs is highest.

    Args:
        rows: Finished runs, as the table holds them.
        study: The study.

    Returns:
        Setting by arm; an arm is left out as long as one of its tuning runs is missing.
    """
    return best_of(rows, tuning_runs(study), TUNED)


def real_pairs(names: Sequence[str], rings: Sequence[int]) -> list[tuple[str, str]]:
    """Pairs of subjects, moving and fixed: everyone is each of both once per ring.

    Args:
        names: Subjects, in the order of the split, which is one by chance.
        rings: How many places further the fixed subject lies.
    """
    count = len(names)
    return [(names[k], names[(k + far) % count]) for far in rings for k in range(count)]


def _network(study: Study) -> str:
    """How networks are built and trained, as text."""
    training = study.training
    return (
        f"correlation U-Net {training.features} {training.precision}, "
        f"AdamW {training.learning_rate:g}, similarity {training.similarity:g}"
    )
