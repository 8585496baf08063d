"""What the command lines of experiments share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from Testing.Benchmarks.accuracy_row import shared
from Testing.Benchmarks.machine import REPOSITORY, RESULTS
from Testing.Experiments.finished import Row
from Testing.Experiments.planned import PlannedRun, Setting


def parser_of(
    name: str, text: str | None, commands: Sequence[str], studies: Sequence[str]
) -> argparse.ArgumentParser:
    """A parser with the options that every experiment has.

    Args:
        name: Of the experiment's package.
        text: What `--help` says, as it stands.
        commands: What it can do.
        studies: What it can be done with.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m Testing.Experiments.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", choices=commands)
    add("--study", choices=sorted(studies), default="hippocampus")
    add("--data", type=Path, default=shared("data"), help="folder of the data sets")
    add("--model", help="generator instead of the study's: name or file")
    add("--arms", type=lambda text: text.split(","), help="only these arms")
    add("--limit", type=int, help="make at most so many runs")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    add("--threads", type=int, default=1, help="threads of torch (1)")
    add("--out", type=Path, default=REPOSITORY / "experiments-output", help="working folder")
    add("--results", type=Path, default=RESULTS, help="folder of tables and pages")
    return parser


def tell_plan(
    rows: Sequence[Row],
    tuning: Sequence[PlannedRun],
    runs: Sequence[PlannedRun],
    chosen: Mapping[str, Setting],
) -> None:
    """Print what is done and what is missing.

    Args:
        rows: Finished runs.
        tuning: Runs of tuning.
        runs: Those that are reported; none before the tuning is finished.
        chosen: Tuned setting by arm.
    """
    done = {row["key"] for row in rows}
    for each in [*tuning, *runs]:
        print("done   " if each.key in done else "missing", each.key)
    for name, setting in chosen.items():
        print(f"tuned: {name} {dict(setting)}")
    if not runs:
        print("the runs of the test follow when the tuning is finished")


def tell(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)
