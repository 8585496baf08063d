"""Plausibility against time, by network: widths, depth and stem.

    python -m Testing.Benchmarks.architecture_study --data FOLDER --work FOLDER

trains every candidate alike for a few hundred steps, measures its samples on validation subjects
at several numbers of passes, and writes docs/results/architecture.md and its picture. The same
command goes on with what was interrupted. `--data` has the `images` and `labels` of the
hippocampi. So short a training ranks networks; it does not finish them.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from DRDMCore.atomic import write_text_whole
from DRDMCore.cli import main as drdm
from DRDMCore.errors import DRDMError, InputError
from DRDMCore.models import load_model
from Testing.Benchmarks import plausibility
from Testing.Benchmarks.accuracy_row import shared
from Testing.Benchmarks.machine import REPOSITORY, RESULTS, facts, table
from Testing.Benchmarks.passes_picture import draw
from Testing.Benchmarks.passes_study import Measured, comparison, curves, most_passes, with_times

_SAMPLING = (
    *("--levels", "68", "--gains", "1.5", "--border", "free"),
    *("--seeds", "2", "--steps", "2,4,8"),
)
_HEAD = ["network", "widths", "stem", "parameters", "steps", "explained, %"]


@dataclass(frozen=True)
class Candidate:
    """A network.

    Attributes:
        name: In tables and of its folder.
        widths: Channels per resolution, from fine to coarse.
        stem: How many times coarser than the image its finest features are.
    """

    name: str
    widths: tuple[int, ...]
    stem: int = 2


CANDIDATES = (
    Candidate("widths-16-32-64", (16, 32, 64)),
    Candidate("widths-8-16-32", (8, 16, 32)),
    Candidate("widths-24-48-96", (24, 48, 96)),
    Candidate("widths-16-32", (16, 32)),
    Candidate("stem4-32-64", (32, 64), 4),
    Candidate("stem4-64-128", (64, 128), 4),
)
"""The first is that of the bundled models, with which the others are compared.

A fourth width would want sides that are multiples of 16, which the hippocampi's 56 is not.
"""


def main(argv: list[str] | None = None) -> int:
    """Train, measure, write page and picture."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(1)
    chosen = [each for each in CANDIDATES if not arguments.only or each.name in arguments.only]
    try:
        for each in chosen:
            _do(drdm, training(each, arguments))
            if not _numbers(each, arguments).is_file():
                _do(plausibility.main, judging(each, arguments))
    except DRDMError as error:
        print(f"architecture_study: {error}", file=sys.stderr)
        return 1
    files = [(_numbers(each, arguments), str(_model(each, arguments))) for each in chosen]
    measured = [replace(each, model=each.model.split()[0]) for each in with_times(files)]
    picture = arguments.out.with_suffix(".png")
    draw(curves(measured), picture)
    rows = [_described(each, arguments) for each in chosen]
    write_text_whole(arguments.out, "\n".join(page(rows, measured, picture.name)) + "\n")
    return 0


def training(candidate: Candidate, arguments: argparse.Namespace) -> list[str]:
    """The command that trains a candidate, or goes on with it, or finds it finished."""
    settings = {
        "validate_every": max(arguments.steps // 2, 1),
        "widths": list(candidate.widths),
        "stem": candidate.stem,
    }
    return [
        *("train", "--config", "hippocampus-mr-3d", "--steps", str(arguments.steps)),
        *("--data", str(arguments.data / "images"), "--name", candidate.name),
        *("--out", str(arguments.work / candidate.name)),
        *("--set", *[f"{key}={value}" for key, value in settings.items()]),
    ]


def judging(candidate: Candidate, arguments: argparse.Namespace) -> list[str]:
    """The command that measures its samples on validation subjects."""
    numbers, folder = _numbers(candidate, arguments), arguments.work / candidate.name
    limit = ("--limit", str(arguments.limit)) if arguments.limit else ()
    return [
        *("--model", str(_model(candidate, arguments)), "--subjects", "validation"),
        *("--images", str(arguments.data / "images"), "--labels", str(arguments.data / "labels")),
        *("--split", str(folder / "split.json"), *_SAMPLING, *limit),
        *("--json", str(numbers), "--out", str(numbers.with_suffix(".md"))),
    ]


def page(rows: list[list[str]], measured: Sequence[Measured], picture: str) -> list[str]:
    """The page as Markdown lines."""
    return [
        "# Networks: widths, depth and stem",
        "",
        "Written by `python -m Testing.Benchmarks.architecture_study`, which says how to run it.",
        "Every network was trained alike (`hippocampus-mr-3d`, fewer steps, seed 0), then measured",
        "on validation subjects; *explained*: of the velocity, at three levels, small to large.",
        "",
        *facts("0 in training; samples: one per subject and number"),
        "",
        *table(_HEAD, rows),
        "",
        "## Plausibility against time",
        "",
        *comparison(measured, most_passes(measured)),
        "",
        f"![Shape excess against time]({picture})",
    ]


def _described(candidate: Candidate, arguments: argparse.Namespace) -> list[str]:
    """A row of the table of networks."""
    network = load_model(str(_model(candidate, arguments))).step.network
    steps = _table(candidate, arguments, "training.csv")
    last = _table(candidate, arguments, "validation.csv")[-1]
    explained = [float(value) for key, value in last.items() if key.startswith("val_explained_")]
    return [
        candidate.name,
        " ".join(map(str, candidate.widths)),
        str(candidate.stem),
        f"{sum(each.numel() for each in network.parameters()):,}",
        str(len(steps)),
        " / ".join(f"{100 * value:.0f}" for value in explained),
    ]


def _table(candidate: Candidate, arguments: argparse.Namespace, name: str) -> list[dict[str, str]]:
    """A table of the run's folder."""
    with (arguments.work / candidate.name / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _do(command: Callable[[list[str]], int], options: list[str]) -> None:
    """Run a command; stop where it fails."""
    if command(options):
        raise InputError(f"This command must succeed, but failed: {' '.join(options)}")


def _model(candidate: Candidate, arguments: argparse.Namespace) -> Path:
    """The model of a run."""
    return Path(arguments.work / candidate.name / f"{candidate.name}.safetensors")


def _numbers(candidate: Candidate, arguments: argparse.Namespace) -> Path:
    """What was measured of its samples."""
    return Path(arguments.work / f"{candidate.name}.json")


def _parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=shared("data", "hippocampus"), help="images and labels")
    add("--work", type=Path, default=REPOSITORY / "experiments-output" / "architecture")
    add("--steps", type=int, default=600, help="of training (600)")
    add("--only", nargs="+", help="names of candidates; all by default")
    add("--limit", type=int, help="measure only the first subjects")
    add("--out", type=Path, default=RESULTS / "architecture.md", help="page to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
