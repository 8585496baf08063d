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
import functools
import importlib.util
import json
import sys
from pathlib import Path

import torch

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import DRDMError, InputError
from Testing.Experiments.command import parser_of, tell, tell_plan
from Testing.Experiments.few_shot.arms import ARMS
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.generators import (
    Generators,
    require_trained_here,
    require_unseen,
)
from Testing.Experiments.few_shot.longer import lengthened
from Testing.Experiments.few_shot.page import write_page
from Testing.Experiments.few_shot.pictures import draw_samples_of_arms
from Testing.Experiments.few_shot.plan import Run, best_settings, labelled
from Testing.Experiments.few_shot.plan import test_runs as runs_of_test
from Testing.Experiments.few_shot.plan import tuning_runs as runs_of_tuning
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.running import Bench, describe_fields, make_runs
from Testing.Experiments.few_shot.slices import subjects_of
from Testing.Experiments.few_shot.study import STUDIES, Study
from Testing.Experiments.planned import make_tuning


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
            generators.make(arguments.device, tell)
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
    study, tuning = bench.study, list(runs_of_tuning(bench.study))
    write_text_whole(bench.records.split, f"{json.dumps(bench.subjects.parts, indent=1)}\n")
    make = functools.partial(make_runs, bench, tuning)
    left = make_tuning(bench.records, make, arguments.limit)
    chosen = best_settings(bench.records.rows(), study)
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
    commands = ("run", "page", "look", "plan", "train")
    parser = parser_of("few_shot", __doc__, commands, list(STUDIES))
    add = parser.add_argument
    add("--own-models", type=Path, help="folder of generators for the arm drdm-own")
    add("--n", type=_numbers, help="only these numbers of labelled subjects, such as 5,2; 0: all")
    add("--subsets", type=_numbers, help="only the labelled subsets of these numbers, such as 0,1")
    add("--iterations", type=int, help="train the networks of the test for so many steps")
    add("--pictures", type=Path, default=Path("few-shot-samples"), help="folder for `look`")
    return parser


def _numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def _extra(study: Study, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Arms beyond the planned ones."""
    planned = {*study.decisive, *study.later}
    asked = arguments.arms or ()
    unknown = sorted(set(asked) - set(study.possible))
    if unknown:
        raise InputError(
            f"`arms` must be of {', '.join(study.possible)}, got {unknown[0]!r}: correct the name."
        )
    own = {"drdm-own"} if arguments.own_models is not None else set()
    return tuple(name for name in ARMS if name in {*asked, *own} - planned)


def _wanted(runs: list[Run], arguments: argparse.Namespace) -> list[Run]:
    """The runs that the options leave."""
    arms, numbers = arguments.arms or tuple(ARMS), arguments.n
    wanted = [each for each in runs if each.arm in arms and (not numbers or each.n in numbers)]
    wanted = [e for e in wanted if arguments.subsets is None or e.subset in arguments.subsets]
    return lengthened(wanted, arguments.iterations) if arguments.iterations else wanted


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
        tell,
        others=generators.others,
    )
    return Bench(subjects, cache, records, arguments.own_models, device, tell)


def _tell_plan(study: Study, records: Records, arguments: argparse.Namespace) -> None:
    """What is done and what is missing."""
    rows = records.rows()
    chosen = best_settings(rows, study)
    runs = []
    if len(chosen) == len(study.tuned):
        runs = _wanted(runs_of_test(study, chosen, _extra(study, arguments)), arguments)
    tell_plan(rows, list(runs_of_tuning(study)), runs, chosen)


if __name__ == "__main__":
    sys.exit(main())
