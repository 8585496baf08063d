"""Two threads beside other programs: what does waiting for each other cost?

    python -m Testing.Benchmarks.contention_benchmark

times fields of two cases on two threads for several settings of how long OpenMP's threads spin
(`DRDMCore.machine.wait_briefly`): alone; beside programs that keep every core busy; and on one
core, as where the system gives the others to programs that it prefers. Linux only.
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

_BUSY = 2
_PLACES = ("alone", "beside others", "on one core")

WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "1 thread": (1, {}),
    "2 threads, `GOMP_SPINCOUNT=300000` (OpenMP's own)": (2, {"GOMP_SPINCOUNT": "300000"}),
    "2 threads, `GOMP_SPINCOUNT=30000`": (2, {"GOMP_SPINCOUNT": "30000"}),
    f"2 threads, `GOMP_SPINCOUNT={SPINS}` (ours)": (2, {"GOMP_SPINCOUNT": SPINS}),
    "2 threads, `GOMP_SPINCOUNT=3000`": (2, {"GOMP_SPINCOUNT": "3000"}),
    "2 threads, `OMP_WAIT_POLICY=PASSIVE`": (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
"""Threads and environment."""

Seconds = dict[str, dict[str, list[float]]]
"""By way and case."""


def main(argv: list[str] | None = None) -> Path:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="fields per way and case (9)")
    parser.add_argument("--rounds", type=int, default=2, help="all ways so many times (2)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--pinned", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        print(json.dumps(timed(arguments.child, arguments.repeats, pinned=arguments.pinned)))
        raise SystemExit(0)
    found = {}
    for place in _PLACES:
        with busy_cores() if place == "beside others" else contextlib.nullcontext():
            pinned = ["--pinned"] if place == "on one core" else []
            found[place] = measured(arguments.repeats, arguments.rounds, pinned)
    return write_result("benchmark-contention.md", page(found))


def measured(repeats: int, rounds: int, options: list[str]) -> Seconds:
    """Seconds by way and case; the ways take turns."""
    found: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    for _ in range(rounds):
        for way, (threads, environment) in WAYS.items():
            command = [sys.executable, "-m", __spec__.name, "--child", str(threads)]
            answer = subprocess.run(
                [*command, "--repeats", str(repeats), *options],
                check=True,
                capture_output=True,
                text=True,
                cwd=REPOSITORY,
                env={**_plain_environment(), **environment},
                encoding="utf-8",
            )
            for case, seconds in json.loads(answer.stdout).items():
                found[way].setdefault(case, []).extend(seconds)
    return found


def timed(threads: int, repeats: int, *, pinned: bool) -> dict[str, list[float]]:
    """In a process of its own: seconds of each field, by case."""
    import torch

    from Testing.Benchmarks.generation_cases import HEART, HIPPOCAMPUS, ready
    from Testing.Benchmarks.generation_gpu import model_fields

    torch.set_num_threads(threads)
    if pinned:  # after the import: OpenMP shall not see it and spin less by itself
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
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
    """Two programs per core that never rest, each in a session of its own, as users start them."""
    command = [sys.executable, "-c", "while True: pass"]
    count = _BUSY * (os.cpu_count() or 1)
    others = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def page(found: dict[str, Seconds]) -> list[str]:
    """The page as Markdown lines."""
    cases = list(next(iter(found["alone"].values())))
    head = ["way", *[f"{case}, {place}" for case in cases for place in _PLACES]]
    rows = [
        [way, *[_cell(found[place][way][case]) for case in cases for place in _PLACES]]
        for way in WAYS
    ]
    return [
        "# Benchmark: threads beside other programs",
        "",
        "Written by `python -m Testing.Benchmarks.contention_benchmark`. Milliseconds of a field",
        f"alone, median (shortest); *beside others*: {_BUSY} programs per core that never rest;",
        f"*on one core*: of {os.cpu_count()}, as where the system prefers other programs.",
        "All ways of two threads give the same numbers.",
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
