"""Which runs there are, and in which order: the decisive ones first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from Testing.Experiments.few_shot.arms import (
    ARMS,
    settings_of,
)
from Testing.Experiments.few_shot.study import ALL, Study
from Testing.Experiments.planned import TEST, TUNING, PlannedRun, Setting, as_text, best_of

GENERATED = {"drdm", "random", "between", "smooth"}
"""Kinds of fields that the generator or its statistics enter."""


@dataclass(frozen=True)
class Run(PlannedRun):
    """One network.

    Attributes:
        n: Number of labelled subjects; 0 for all.
        subset: Number of the labelled subset, and of the initialisation.
        iterations: Optimisation steps.
        batch: Images per step.
        fields: Pre-drawn fields per labelled subject.
        network: Kind, features and precision, as text.
        generator: Name and hash of the generator, where the arm has to do with it.
    """

    n: int
    subset: int
    iterations: int
    batch: int
    fields: int
    network: str
    generator: str

    @property
    def place(self) -> str:
        """Number of labelled subjects, subset, arm."""
        return f"n{self.n}-s{self.subset}-{self.arm}"


def run_of(
    study: Study, stage: str, n: int, subset: int, arm: str, settings: Mapping[str, Setting]
) -> Run:
    """A run with what the study says of its training."""
    training = study.training
    iterations = training.iterations[n]
    if stage == TUNING and training.tuning_iterations is not None:
        iterations = training.tuning_iterations
    return Run(
        study=study.name,
        stage=stage,
        n=n,
        subset=subset,
        arm=arm,
        settings=as_text(settings),
        iterations=iterations,
        batch=training.batch,
        fields=training.fields[n] if settings else 0,
        network=f"BasicUNet {training.features} {training.precision}",
        generator=_generator(study, settings),
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


def reported_keys(
    study: Study, rows: Sequence[Mapping[str, str]], arms: Sequence[str] = ()
) -> list[str]:
    """Keys of the runs of the test that count: of the plan, and of arms that were asked for.

    Rows of other settings, models or lengths of training are not among them; nor is any row while
    tuning goes on.

    Args:
        study: The study, with its generators.
        rows: Finished runs.
        arms: Further arms.
    """
    chosen = best_settings(rows, study)
    if not all(name in chosen for name in study.tuned):
        return []
    asked_before = [row["arm"] for row in rows if row["stage"] == TEST]
    return [run.key for run in test_runs(study, chosen, [*arms, *dict.fromkeys(asked_before)])]


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
    return best_of(rows, tuning_runs(study), study.tuned)


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
