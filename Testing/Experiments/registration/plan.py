"""Which runs there are, and in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from Testing.Experiments.few_shot.arms import Setting, as_text
from Testing.Experiments.few_shot.plan import TEST, TUNING
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
class Run:
    """One network, or one method without a network, scored on real pairs.

    Attributes:
        study: Name of the study.
        stage: `tuning` (scored on validation subjects) or `test`.
        seed: Number of the network; first weights and draws follow from it and the stage.
        arm: What it is trained on.
        settings: Settings by kind of pairs, as `few_shot.arms.as_text` writes them.
        iterations: Optimisation steps.
        batch: Pairs per step.
        fields: Pre-drawn fields per subject.
        network: Features, precision, learning rate and weight of the similarity, as text.
        generator: Name and hash of the generator, where the arm has to do with it.
        rings: Which real pairs are scored (`Study.rings`).
    """

    study: str
    stage: str
    seed: int
    arm: str
    settings: str
    iterations: int
    batch: int
    fields: int
    network: str
    generator: str
    rings: str

    @property
    def key(self) -> str:
        """A name that no other run has; changed settings make another run."""
        text = json.dumps(asdict(self), sort_keys=True)
        short = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.study}-{self.stage}-{self.arm}-s{self.seed}-{short}"

    @property
    def by_kind(self) -> dict[str, Setting]:
        """The settings by kind of pairs."""
        kinds: dict[str, Setting] = json.loads(self.settings)
        return kinds


def run_of(study: Study, stage: str, seed: int, arm: str, settings: Mapping[str, Setting]) -> Run:
    """A run with what the study says of its training."""
    training = study.training
    made = bool(set(settings) - {REAL})
    return Run(
        study.name,
        stage,
        seed,
        arm,
        as_text(settings),
        training.iterations if settings else 0,
        training.batch if settings else 0,
        training.fields if made else 0,
        _network(study) if settings else "",
        study.data.generator if made else "",
        " ".join(map(str, study.rings)),
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
    done = {row["key"]: float(row["dice"]) for row in rows}
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in TUNED}
    complete = set(TUNED)
    for run in tuning_runs(study):
        if run.key not in done:
            complete.discard(run.arm)
            continue
        scores[run.arm].setdefault(run.settings, []).append(done[run.key])
    best = {}
    for name in sorted(complete):
        means = {text: sum(values) / len(values) for text, values in scores[name].items()}
        best[name] = json.loads(max(means, key=lambda text: means[text]))[ARMS[name].kinds[0]]
    return best


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
