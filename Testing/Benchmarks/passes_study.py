"""Plausibility against time: are few passes as good as many, and how fast are they?

    python Testing/Benchmarks/plausibility.py --model TEACHER --steps 1,2,4,8,16,32 \\
        ... --json many.json --out many.md
    python Testing/Benchmarks/plausibility.py --model STUDENT --steps 1,2,4,8,16 \\
        ... --json few.json --out few.md
    python Testing/Benchmarks/passes_study.py --of many.json TEACHER --of few.json STUDENT \\
        --out docs/results/plausibility-by-passes.md

All JSON files must be of the same subjects, seeds, level and border. The largest number of passes
of the first file is what the others are compared with. Times are of the field alone, measured here
on a grid of the hippocampus, one after another in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DRDMCore.atomic import write_text_whole
from Testing.Benchmarks.fields_benchmark import interleaved
from Testing.Benchmarks.generation_cases import HIPPOCAMPUS, ready
from Testing.Benchmarks.generation_gpu import model_fields
from Testing.Benchmarks.machine import facts, table
from Testing.Benchmarks.passes_picture import Curve, draw

_REPEATS = 7
_RESAMPLINGS = 2000
HEAD = [
    *("model", "passes", "field alone, ms", "excess", "rigid-free excess", "beyond %"),
    *("distance, mm: seeds", "against the reference"),
    *("NCC", "kept %", "mean voxels", "diversity", "folded % (before smoothing)"),
]


@dataclass(frozen=True)
class Measured:
    """One model at one number of passes.

    Attributes:
        model: Its name.
        passes: Number of passes.
        numbers: Its entry in the JSON file of `plausibility.py`.
        seconds: Of a field alone, every repetition.
    """

    model: str
    passes: int
    numbers: Mapping[str, Any]
    seconds: Sequence[float]

    @property
    def distances(self) -> np.ndarray:
        """`(subjects, seeds)` distance to the nearest training shape, mm."""
        rows: dict[str, list[float]] = {}
        for sample in self.numbers["samples"]:
            rows.setdefault(sample["subject"], []).append(sample["recovered"]["distance"])
        return np.array([rows[name] for name in sorted(rows)])


def main(argv: list[str] | None = None) -> int:
    """Measure the times, write page and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pair = ("JSON", "MODEL")
    parser.add_argument("--of", nargs=2, action="append", required=True, metavar=pair)
    parser.add_argument("--note", default="", help="which subjects and border, for the page")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    measured = with_times([(Path(numbers), model) for numbers, model in arguments.of])
    picture = arguments.out.with_suffix(".png")
    draw(curves(measured), picture)
    write_text_whole(arguments.out, "\n".join(page(measured, picture.name, arguments.note)) + "\n")
    print(arguments.out.read_text(encoding="utf-8"))
    return 0


def with_times(files: Sequence[tuple[Path, str]]) -> list[Measured]:
    """Every setting of the files with its time."""
    found, jobs = [], {}
    for path, model in files:
        prepared = ready(replace(HIPPOCAMPUS, model=model))
        for entry in json.loads(path.read_text(encoding="utf-8"))["settings"]:
            recovery = replace(prepared.model.recovery, steps=entry["steps"])
            chosen = replace(prepared, model=replace(prepared.model, recovery=recovery))
            jobs[entry["model"], entry["steps"]] = model_fields(chosen, 1, "fp32", "cpu")
            found.append(entry)
    for job in jobs.values():
        job()
    seconds = interleaved(jobs, _REPEATS)
    return [
        Measured(each["model"], each["steps"], each, seconds[each["model"], each["steps"]])
        for each in found
    ]


def page(measured: Sequence[Measured], picture: str, note: str = "") -> list[str]:
    """The page as Markdown lines."""
    reference = most_passes(measured)
    return [
        "# Plausibility by number of passes",
        "",
        "Written by `python Testing/Benchmarks/passes_study.py`, which says how to run it; the",
        "[page of one model](plausibility-hippocampus-free.md) says what the columns mean.",
        "",
        *facts("as the JSON files"),
        *comparison(measured, reference, note),
        "",
        f"![Shape excess against time]({picture})",
    ]


def most_passes(measured: Sequence[Measured]) -> Measured:
    """What the others are compared with: the first model at its largest number of passes."""
    same = (each for each in measured if each.model == measured[0].model)
    return max(same, key=lambda each: each.passes)


def comparison(measured: Sequence[Measured], reference: Measured, note: str = "") -> list[str]:
    """What was compared, and the table, as Markdown lines."""
    first = measured[0].numbers
    return [
        f"- samples: {first['summary']['samples']} per row, {len(measured[0].distances)} subjects, "
        f"level {first['level']}, gain {first['gain']}",
        f"- reference: {reference.model}, {reference.passes} passes",
        *([f"- note: {note}"] if note else []),
        "",
        "*distance*: mean shape distance, and its standard deviation over the seeds; *against the",
        "reference*: difference of that distance from the reference's on the same subjects and",
        "seeds, with the 95 % interval over subjects (bootstrap).",
        "",
        *table(HEAD, [_cells(each, reference) for each in measured]),
    ]


def curves(measured: Sequence[Measured]) -> list[Curve]:
    """Excess against milliseconds, a curve per model."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    for each in measured:
        point = 1e3 * statistics.median(each.seconds), each.numbers["summary"]["excess"]
        found.setdefault(each.model, []).append((*point, each.passes))
    return [Curve(model, sorted(points)) for model, points in found.items()]


def paired_interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean of `one - other` over subjects `(N, seeds)`, and its 95 % interval over subjects."""
    difference = (one - other).mean(axis=1)
    picks = np.random.default_rng(0).integers(len(difference), size=(_RESAMPLINGS, len(difference)))
    low, high = np.percentile(difference[picks].mean(axis=1), (2.5, 97.5))
    return float(difference.mean()), float(low), float(high)


def _cells(each: Measured, reference: Measured) -> list[str]:
    """A row of the table."""
    numbers, distances = each.numbers["summary"], each.distances
    against = "is the reference"
    if each is not reference:
        mean, low, high = paired_interval(distances, reference.distances)
        against = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    spread = distances.mean(axis=0).std(ddof=1) if distances.shape[1] > 1 else float("nan")
    return [
        each.model,
        str(each.passes),
        f"{1e3 * statistics.median(each.seconds):.0f} ({1e3 * min(each.seconds):.0f})",
        f"{numbers['excess']:.2f}{_interval(numbers['excess_interval'])}",
        f"{numbers['rigid_free_excess']:.2f}",
        f"{numbers['beyond']['recovered']:.0f}",
        f"{distances.mean():.3f} ± {spread:.3f}",
        against,
        f"{numbers['ncc']:.3f}",
        f"{100 * numbers['kept']:.0f}",
        f"{numbers['mean_voxels']:.2f}",
        f"{numbers['diversity']:.2f}",
        f"{numbers['folded_worst']:.2g} ({numbers['folded_before_percent']:.2g})",
    ]


def _interval(bounds: Sequence[float] | None) -> str:
    """The interval in brackets, if there is one."""
    return "" if bounds is None else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
