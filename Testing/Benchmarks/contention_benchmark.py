"""Two threads beside other programs: what does waiting for each other cost?

    python -m Testing.Benchmarks.contention_benchmark

times fields of two cases on two threads, alone and beside programs that keep every core busy, for
several settings of how long OpenMP's threads spin (`DRDMCore.machine.wait_briefly`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from DRDMCore.machine import SPINS
from Testing.Benchmarks.machine import REPOSITORY, facts, table, write_result

WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "1 thread": (1, {}),
    "2 threads, spinning as OpenMP does": (2, {}),
    "2 threads, `GOMP_SPINCOUNT=30000`": (2, {"GOMP_SPINCOUNT": "30000"}),
    f"2 threads, `GOMP_SPINCOUNT={SPINS}` (ours)": (2, {"GOMP_SPINCOUNT": SPINS}),
    "2 threads, `GOMP_SPINCOUNT=3000`": (2, {"GOMP_SPINCOUNT": "3000"}),
    "2 threads, `OMP_WAIT_POLICY=PASSIVE`": (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
"""Threads and environment."""


def main(argv: list[str] | None = None) -> Path:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="fields per way and case (9)")
    parser.add_argument("--rounds", type=int, default=2, help="all ways so many times (2)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        print(json.dumps(timed(arguments.child, arguments.repeats)))
        raise SystemExit(0)
    alone = measured(arguments.repeats, arguments.rounds)
    with busy_cores():
        beside = measured(arguments.repeats, arguments.rounds)
    return write_result("benchmark-contention.md", page(alone, beside))


def measured(repeats: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by way and case; the ways take turns."""
    found: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    for _ in range(rounds):
        for way, (threads, environment) in WAYS.items():
            command = [sys.executable, "-m", __spec__.name, "--child", str(threads)]
            answer = subprocess.run(
                [*command, "--repeats", str(repeats)],
                check=True,
                capture_output=True,
                text=True,
                cwd=REPOSITORY,
                env={**_plain_environment(), **environment},
            )
            for case, seconds in json.loads(answer.stdout).items():
                found[way].setdefault(case, []).extend(seconds)
    return found


def timed(threads: int, repeats: int) -> dict[str, list[float]]:
    """In a process of its own: seconds of each field, by case."""
    import torch

    from Testing.Benchmarks.generation_cases import HEART, HIPPOCAMPUS, ready
    from Testing.Benchmarks.generation_gpu import model_fields

    torch.set_num_threads(threads)
    found: dict[str, list[float]] = {}
    for case in (HEART, HIPPOCAMPUS):
        job = model_fields(ready(case), 1, "fp32", "cpu")
        job()
        for _ in range(repeats):
            started = time.perf_counter()
            job()
            found.setdefault(case.title, []).append(time.perf_counter() - started)
    return found


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """A program on every core that never rests."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def page(
    alone: dict[str, dict[str, list[float]]], beside: dict[str, dict[str, list[float]]]
) -> list[str]:
    """The page as Markdown lines."""
    cases = list(next(iter(alone.values())))
    head = ["way", *[f"{case}, {where}" for case in cases for where in ("alone", "beside others")]]
    rows = [
        [way, *[_cell(where[way][case]) for case in cases for where in (alone, beside)]]
        for way in WAYS
    ]
    return [
        "# Benchmark: threads beside other programs",
        "",
        "Written by `python -m Testing.Benchmarks.contention_benchmark`. Milliseconds of a field",
        f"alone, median (shortest); *beside others*: {os.cpu_count()} programs that never rest, on",
        f"{os.cpu_count()} cores. All ways give the same numbers.",
        "",
        *facts("0"),
        "",
        *table(head, rows),
    ]


def _cell(seconds: list[float]) -> str:
    """Median and shortest, ms."""
    return f"{1e3 * statistics.median(seconds):.0f} ({1e3 * min(seconds):.0f})"


def _plain_environment() -> dict[str, str]:
    """This process's without what decides the waiting."""
    told = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
    return {key: value for key, value in os.environ.items() if key not in told}


if __name__ == "__main__":
    main()
