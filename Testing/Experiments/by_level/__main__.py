"""Plausibility and diversity by level: what recovery makes of a random field, beside that field.

    python -m Testing.Experiments.by_level run
    python -m Testing.Experiments.by_level run --model phantom-heart-2d
    python -m Testing.Experiments.by_level page

`run` makes and measures the samples, subject by subject, and can be stopped at any time: the same
command goes on. At its end it writes the tables, the page and the pictures. `page` writes the
page and the charts again from the tables alone. A smaller run (`--limit`, `--levels`) should write
elsewhere (`--results`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from DRDMCore.errors import DRDMError, InputError
from DRDMCore.imaging import phantom
from DRDMCore.models import Model
from DRDMCore.pipelines.generate import open_model
from DRDMCore.pipelines.settings import BORDERS, SamplingSettings
from Testing.Benchmarks.accuracy_row import shared
from Testing.Benchmarks.machine import REPOSITORY, RESULTS, facts
from Testing.Benchmarks.plausibility_cases import Population
from Testing.Experiments.by_level.measuring import Yardstick, measure
from Testing.Experiments.by_level.page import write_page
from Testing.Experiments.by_level.pictures import draw_grid
from Testing.Experiments.by_level.plan import REPORTED, Plan, find_populations, make_plan
from Testing.Experiments.by_level.records import (
    Places,
    gathered,
    keep,
    read_tables,
    write_tables,
)


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        if arguments.command == "page":
            places = Places(arguments.model, arguments.out / "by_level", arguments.results)
            write_page(read_tables(places), places)
        else:
            run(arguments)
    except DRDMError as error:
        print(f"by_level: {error}", file=sys.stderr)
        return 1
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Measure the subjects that are missing, and write what comes out."""
    model = _opened(arguments.model, arguments.device)
    populations = find_populations(model.card.name, arguments.data, arguments.limit)
    plan = make_plan(model, populations, arguments.levels, arguments.seeds, arguments.border)
    places = Places(model.card.name, arguments.out / "by_level", arguments.results)
    for part, population in populations.items():
        _measure_part(model, plan, part, population, places)
    write_tables(gathered(places, plan, _facts(populations)), places)
    draw_grid(model, plan, populations[REPORTED], places.result("-samples.png"))
    write_page(read_tables(places), places)  # as `page` does: from the numbers as they are written
    _tell(f"{places.result('.md')} is written")


def _parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m Testing.Experiments.by_level",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", choices=("run", "page"))
    add("--model", default="hippocampus-mr-3d", help="name or file (hippocampus-mr-3d)")
    add("--data", type=Path, default=shared("data"), help="folder of the data sets")
    add("--levels", type=_levels, help="such as 20,40,60; default: eight over the model's range")
    add("--seeds", type=int, default=2, help="samples per subject, level and kind (2)")
    add("--border", choices=BORDERS, default="fixed", help="fixed (default) or free")
    add("--limit", type=_limits, default={}, help="first subjects only: validation=5,test=10")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    add("--threads", type=int, default=1, help="threads of torch (1)")
    add("--out", type=Path, default=REPOSITORY / "experiments-output", help="working folder")
    add("--results", type=Path, default=RESULTS, help="folder of tables and pages")
    return parser


def _levels(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    return tuple(int(part) for part in text.split(","))


def _limits(text: str) -> dict[str, int]:
    """Numbers by part."""
    pairs = (part.split("=") for part in text.split(","))
    return {name: int(count) for name, count in pairs}


def _opened(name: str, device: str) -> Model:
    """The model, which must have a network."""
    image = phantom("heart-2d", 0)[0]  # asked for by the random field alone
    model = open_model(name, image, SamplingSettings(), device)
    if model.step is None:
        raise InputError(
            f"`model` must have a network, got {name!r}: the random field is measured beside "
            "every model."
        )
    return model


def _measure_part(
    model: Model, plan: Plan, part: str, population: Population, places: Places
) -> None:
    """Measure the subjects of a part that are not finished."""
    files = {name: places.unit(plan, part, name) for name in plan.subjects[part]}
    missing = {name: path for name, path in files.items() if not path.is_file()}
    if not missing:
        return
    _tell(f"{part}: {len(missing)} of {len(files)} subjects to measure")
    yardstick = Yardstick(population)
    for number, (name, path) in enumerate(missing.items(), start=1):
        started = time.perf_counter()
        keep(measure(model, plan, part, name, yardstick), path)
        seconds = time.perf_counter() - started
        _tell(f"{part}: {number} of {len(missing)} ({name}, {seconds:.0f} s)")


def _facts(populations: Mapping[str, Population]) -> list[str]:
    """Where and when the results were put together."""
    titles = "; ".join(f"{part} {each.title}" for part, each in populations.items())
    seeds = "one per subject and number, derived from both; the same at every level and kind"
    return [*facts(seeds), f"- subjects: {titles}"]


def _tell(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
