"""Registration: does a network learn from made pairs, and do DRDM's fields make better ones?

    python -m Testing.Experiments.registration run
    python -m Testing.Experiments.registration page
    python -m Testing.Experiments.registration plan

`run` makes what is missing, the tuning first, and can be stopped at any time: the same command goes
on. Several processes share the work if the command is started several times. `page` writes
docs/results/registration-STUDY.md and its chart from the table, and draws registered pairs where
the weights of the networks are at hand; `plan` says what is done and what is missing.
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import replace

import torch

from DRDMCore.errors import DRDMError, InputError
from DRDMCore.models import find_model
from Testing.Experiments.command import parser_of, tell, tell_plan
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.subjects import Subjects
from Testing.Experiments.planned import make_tuning
from Testing.Experiments.registration.arms import ARMS, TUNED
from Testing.Experiments.registration.page import write_page
from Testing.Experiments.registration.pictures import draw_pairs
from Testing.Experiments.registration.plan import Run, best_settings
from Testing.Experiments.registration.plan import test_runs as runs_of_test
from Testing.Experiments.registration.plan import tuning_runs as runs_of_tuning
from Testing.Experiments.registration.records import Records
from Testing.Experiments.registration.running import Bench, describe_fields, make_runs
from Testing.Experiments.registration.study import STUDIES, Study
from Testing.Experiments.weights import weights_sha256


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for."""
    commands = ("run", "page", "plan")
    parser = parser_of("registration", __doc__, commands, list(STUDIES))
    arguments = parser.parse_args(argv)
    study = STUDIES[arguments.study]
    records = Records(study.name, arguments.out / f"registration-{study.name}", arguments.results)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        study = replace(study, data=replace(study.data, generator=_named(study, arguments)))
        if arguments.command == "plan":
            _tell_plan(study, records)
        else:
            bench = _bench(study, records, arguments)
            run(bench, arguments) if arguments.command == "run" else show(bench)
    except DRDMError as error:
        print(f"registration: {error}", file=sys.stderr)
        return 1
    return 0


def run(bench: Bench, arguments: argparse.Namespace) -> None:
    """Tune, then make the runs that are reported."""
    study, tuning = bench.study, list(runs_of_tuning(bench.study))
    make = functools.partial(make_runs, bench, tuning)
    left = make_tuning(bench.records, make, arguments.limit)
    chosen = best_settings(bench.records.rows(), study)
    if set(chosen) != set(TUNED):
        bench.tell("the tuning is not finished: run again")
        return
    bench = replace(bench, chosen=chosen)
    wanted = _wanted(runs_of_test(study, chosen), arguments)
    make_runs(bench, wanted, limit=left)
    show(bench)


def show(bench: Bench) -> None:
    """Write the page and its pictures."""
    chosen = best_settings(bench.records.rows(), bench.study)
    if set(chosen) == set(TUNED):
        bench = replace(bench, chosen=chosen)
        describe_fields(bench)
        draw_pairs(bench, runs_of_test(bench.study, chosen), bench.records.pictures)
    write_page(bench.study, bench.records)


def _wanted(runs: list[Run], arguments: argparse.Namespace) -> list[Run]:
    """The runs that the options leave."""
    arms = arguments.arms or tuple(ARMS)
    unknown = sorted(set(arms) - set(ARMS))
    if unknown:
        raise InputError(
            f"`arms` must be of {', '.join(ARMS)}, got {unknown[0]!r}: correct the name."
        )
    return [each for each in runs if each.arm in arms]


def _bench(study: Study, records: Records, arguments: argparse.Namespace) -> Bench:
    """What the runs need. The fields are those of the few-shot experiment, where it drew them."""
    subjects = Subjects(study.data, arguments.data)
    folder = arguments.out / study.name / "fields"
    model = arguments.model or study.data.model
    cache = FieldCache(subjects, folder, model, arguments.device, tell)
    return Bench(study, subjects, cache, records, {}, arguments.device, tell)


def _named(study: Study, arguments: argparse.Namespace) -> str:
    """Name and hash of the generator's file."""
    path = find_model(arguments.model or study.data.model)
    return f"{path.stem} {weights_sha256(path)[:12]}"


def _tell_plan(study: Study, records: Records) -> None:
    """What is done and what is missing."""
    rows = records.rows()
    chosen = best_settings(rows, study)
    runs = runs_of_test(study, chosen) if set(chosen) == set(TUNED) else []
    tell_plan(rows, list(runs_of_tuning(study)), runs, chosen)


if __name__ == "__main__":
    sys.exit(main())
