"""Few-shot segmentation: does augmentation with DRDM help, and compared with what?

    python -m Testing.Experiments.few_shot run
    python -m Testing.Experiments.few_shot run --study acdc
    python -m Testing.Experiments.few_shot page
    python -m Testing.Experiments.few_shot look --out pictures
    python -m Testing.Experiments.few_shot plan

`run` makes what is missing, the decisive runs first, and can be stopped at any time: the same
command goes on. Several processes share the work if the command is started several times. `page`
writes docs/results/few-shot-STUDY.md and its picture from the table; `look` draws augmented
samples of each arm; `plan` says what is done and what is missing. `train` only trains the generator
of a study that has none in the repository (acdc), which `run` and `look` do where it is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import torch

from DRDMCore.errors import DRDMError, InputError
from Testing.Benchmarks.accuracy_row import shared
from Testing.Benchmarks.machine import REPOSITORY, RESULTS
from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.generators import (
    Generators,
    require_trained_here,
    require_unseen,
)
from Testing.Experiments.few_shot.page import write_page
from Testing.Experiments.few_shot.pictures import draw_samples_of_arms
from Testing.Experiments.few_shot.plan import TUNING, Run, best_settings, labelled
from Testing.Experiments.few_shot.plan import test_runs as runs_of_test
from Testing.Experiments.few_shot.plan import tuning_runs as runs_of_tuning
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.running import Bench, describe_fields, make_runs
from Testing.Experiments.few_shot.slices import subjects_of
from Testing.Experiments.few_shot.study import STUDIES, Study

_PAUSE = 20.0  # seconds until another process may have finished a run


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for."""
    arguments = _parser().parse_args(argv)
    study = STUDIES[arguments.study]
    records = Records(study.name, arguments.out / study.name, arguments.results)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        generators = Generators(study, records, arguments.data, arguments.model)
        if arguments.command == "train":
            require_trained_here(study)
        if arguments.command in ("train", "run", "look"):
            generators.make(arguments.device, _tell)
        study = generators.identified()
        if arguments.command == "page":
            write_page(study, records, _extra(study, arguments))
        elif arguments.command == "plan":
            _tell_plan(study, records, arguments)
        elif arguments.command == "look":
            draw_samples_of_arms(_bench(study, generators, arguments), arguments.pictures)
        elif arguments.command == "run":
            run(_bench(study, generators, arguments), arguments)
    except DRDMError as error:
        print(f"few_shot: {error}", file=sys.stderr)
        return 1
    return 0


def run(bench: Bench, arguments: argparse.Namespace) -> None:
    """Tune, then make the runs that are reported."""
    study, left = bench.study, arguments.limit
    tuning = list(runs_of_tuning(study))
    before = len(bench.records.rows())
    while make_runs(bench, tuning, limit=left):
        if left is not None:
            break
        time.sleep(_PAUSE)  # the settings are chosen when all processes have finished theirs
    chosen = best_settings(bench.records.rows(), study)
    if left is not None:
        left -= len(bench.records.rows()) - before
    if len(chosen) < len(study.tuned):
        bench.tell("the tuning is not finished: run again")
        return
    runs = runs_of_test(study, chosen, _extra(study, arguments))
    wanted = _wanted(runs, arguments)
    if wanted:
        training = bench.subjects.parts["training"]
        n = study.order[0]
        firsts = [labelled(each, study, training)[0] for each in runs if each.n == n]
        describe_fields(bench, chosen, list(dict.fromkeys(firsts)), study.training.fields[n])
    make_runs(bench, wanted, limit=left)
    write_page(study, bench.records, _extra(study, arguments))


def _parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m Testing.Experiments.few_shot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", choices=("run", "page", "look", "plan", "train"))
    add("--study", choices=sorted(STUDIES), default="hippocampus")
    add("--data", type=Path, default=shared("data"), help="folder of the data sets")
    add("--model", help="generator instead of the study's: name or file")
    add("--own-models", type=Path, help="folder of generators for the arm drdm-own")
    add("--n", type=_numbers, help="only these numbers of labelled subjects, such as 5,2; 0: all")
    add("--arms", type=lambda text: text.split(","), help="only these arms")
    add("--limit", type=int, help="make at most so many runs")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    add("--threads", type=int, default=1, help="threads of torch (1)")
    add("--out", type=Path, default=REPOSITORY / "experiments-output", help="working folder")
    add("--results", type=Path, default=RESULTS, help="folder of tables and pages")
    add("--pictures", type=Path, default=Path("few-shot-samples"), help="folder for `look`")
    return parser


def _numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def _extra(study: Study, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Arms beyond the planned ones."""
    planned = {*study.decisive, *study.later}
    possible = [name for name, arm in ARMS.items() if {*arm.tuned_as} <= {*study.tuned}]
    asked = arguments.arms or ()
    unknown = sorted(set(asked) - {*planned, *possible})
    if unknown:
        raise InputError(
            f"`arms` must be of {', '.join(possible)}, got {unknown[0]!r}: correct the name."
        )
    own = {"drdm-own"} if arguments.own_models is not None else set()
    return tuple(name for name in ARMS if name in {*asked, *own} - planned)


def _wanted(runs: list[Run], arguments: argparse.Namespace) -> list[Run]:
    """The runs that the options leave."""
    arms, numbers = arguments.arms or tuple(ARMS), arguments.n
    return [each for each in runs if each.arm in arms and (not numbers or each.n in numbers)]


def _bench(study: Study, generators: Generators, arguments: argparse.Namespace) -> Bench:
    """What the runs need."""
    if importlib.util.find_spec("monai") is None:
        raise InputError(
            "MONAI must be installed, for the network and the elastic fields, but is not: "
            "pip install -c constraints.txt -e '.[bench]'"
        )
    records, device = generators.records, arguments.device
    subjects = subjects_of(study, arguments.data)
    require_unseen(generators.own, subjects)
    cache = FieldCache(
        subjects,
        records.folder / "fields",
        str(generators.own),
        device,
        _tell,
        others=generators.others,
    )
    return Bench(subjects, cache, records, arguments.own_models, device, _tell)


def _tell_plan(study: Study, records: Records, arguments: argparse.Namespace) -> None:
    """What is done and what is missing."""
    rows = records.rows()
    done = {row["key"] for row in rows}
    chosen = best_settings(rows, study)
    runs = list(runs_of_tuning(study))
    if len(chosen) == len(study.tuned):
        runs += _wanted(runs_of_test(study, chosen, _extra(study, arguments)), arguments)
    for each in runs:
        print("done   " if each.key in done else "missing", each.key)
    for name, setting in chosen.items():
        print(f"tuned on {study.tuning_subsets} subsets: {name} {dict(setting)}")
    if not any(each.stage != TUNING for each in runs):
        print("the runs of the test follow when the tuning is finished")


def _tell(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
