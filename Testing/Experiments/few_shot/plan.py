"""Which runs there are, and in which order: the decisive ones first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from Testing.Experiments.few_shot.arms import (
    ARMS,
    Setting,
    as_text,
    settings_of,
)
from Testing.Experiments.few_shot.study import ALL, Study

TUNING, TEST = "tuning", "test"

GENERATED = {"drdm", "random", "between", "smooth"}
"""Kinds of fields that the generator or its statistics enter."""


@dataclass(frozen=True)
class Run:
    """One network.

    Attributes:
        study: Name of the study.
        stage: `tuning` (scored on validation subjects) or `test`.
        n: Number of labelled subjects; 0 for all.
        subset: Number of the labelled subset, and of the initialisation.
        arm: How it is augmented.
        settings: Settings by kind of field, as `arms.as_text` writes them.
        iterations: Optimisation steps.
        batch: Images per step.
        fields: Pre-drawn fields per labelled subject.
        network: Kind, features and precision, as text.
        generator: Name and hash of the generator, where the arm has to do with it.
    """

    study: str
    stage: str
    n: int
    subset: int
    arm: str
    settings: str
    iterations: int
    batch: int
    fields: int
    network: str
    generator: str

    @property
    def key(self) -> str:
        """A name that no other run has; changed settings make another run."""
        text = json.dumps(asdict(self), sort_keys=True)
        short = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.study}-{self.stage}-n{self.n}-s{self.subset}-{self.arm}-{short}"

    @property
    def by_kind(self) -> dict[str, Setting]:
        """The settings by kind of field."""
        kinds: dict[str, Setting] = json.loads(self.settings)
        return kinds


def run_of(
    study: Study, stage: str, n: int, subset: int, arm: str, settings: Mapping[str, Setting]
) -> Run:
    """A run with what the study says of its training."""
    training = study.training
    return Run(
        study.name,
        stage,
        n,
        subset,
        arm,
        as_text(settings),
        training.iterations[n],
        training.batch,
        training.fields[n] if settings else 0,
        f"BasicUNet {training.features} {training.precision}",
        _generator(study, settings),
    )


def tuning_runs(study: Study) -> Iterator[Run]:
    """Every setting of the tuned arms on the subsets of tuning."""
    for subset in range(study.tuning_subsets):
        for name in study.tuned:
            for setting in study.grids[name]:
                settings = settings_of(ARMS[name], {name: setting})
                yield run_of(study, TUNING, study.tuning_size, subset, name, settings)


def test_runs(study: Study, chosen: Mapping[str, Setting], arms: Sequence[str] = ()) -> list[Run]:
    """The runs that are reported, in the order in which they should be made.

    Args:
        study: The study.
        chosen: Tuned setting by arm.
        arms: Further arms after the others, such as `drdm-own`.
    """
    order = [
        *((n, study.decisive) for n in study.order),
        *((n, (*study.later, *arms)) for n in study.later_order),
    ]
    runs = []
    for n, names in order:
        for subset in study.subsets_of(n):
            for name in names:
                if name == "registration" and n in (1, ALL):
                    continue  # there is no other subject to register with, or far too many
                settings = settings_of(ARMS[name], chosen)
                runs.append(run_of(study, TEST, n, subset, name, settings))
    return runs


def _generator(study: Study, settings: Mapping[str, Setting]) -> str:
    """Name and hash of the generator that fields are drawn by or matched to, if any."""
    drawn = [settings[kind] for kind in settings if kind in GENERATED]
    return study.generator_of(drawn[0].get("model", "")) if drawn else ""


def best_settings(rows: Sequence[Mapping[str, str]], study: Study) -> dict[str, Setting]:
    """The setting of each tuned arm whose mean Dice over the subsets of tuning is highest.

    Args:
        rows: Finished runs, as the table holds them.
        study: The study.

    Returns:
        Setting by arm; an arm is left out as long as one of its tuning runs is missing.
    """
    done = {row["key"]: float(row["dice"]) for row in rows}
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in study.tuned}
    complete = set(study.tuned)
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


def labelled(run: Run, study: Study, training: Sequence[str]) -> list[str]:
    """The labelled subjects of a run.

    The training part is shuffled once. Its first subjects are for tuning. Subsets of the rest
    begin at distances as even as can be, so that small ones share nobody, and a smaller subset is
    the beginning of the larger one of its number.

    Args:
        run: The run.
        study: Its study.
        training: Names of the training part of the split.
    """
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(20240717))
    shuffled = [sorted(training)[i] for i in order.tolist()]
    if run.n == ALL:
        return shuffled
    apart, count = study.tuning_subjects, study.subsets
    pool = shuffled[apart:]
    if run.stage == TUNING:
        pool, count = shuffled[:apart], study.tuning_subsets
    first = run.subset * len(pool) // count
    return [pool[(first + k) % len(pool)] for k in range(run.n)]
