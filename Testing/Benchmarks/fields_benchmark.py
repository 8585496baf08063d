"""How fast random fields are made, against the plain way, and how far the results differ."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from DRDMCore.fields import RandomFields, published_field, random_fields
from DRDMCore.recovery import image_count, target_count
from Testing.Benchmarks import naive
from Testing.Benchmarks.machine import facts, table, write_result

SEED = 0
METHODS = ("sequential", "squaring", "exact")
CASES = ((3, 128, 79), (3, 128, 40), (2, 256, 79), (2, 256, 40))
REPEATS = {3: 5, 2: 15}
TARGETS = {"sequential": "10x within 0.002 voxel", "squaring": "20x"}


@dataclass(frozen=True)
class Case:
    """One size and level."""

    dimension: int
    side: int
    level: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return (self.side,) * self.dimension

    def naive(self, *, target: bool) -> list[Tensor]:
        """Draw and integrate the plain way."""
        count = image_count(self.level)
        moving, clean = naive.draw(self.shape, SEED, published_field(self.side))
        fields = [naive.field(moving, count, count, self.side)]
        if target:
            fields.append(naive.field(clean, target_count(self.level), count, self.side))
        return fields

    def ours(self, method: str, *, target: bool) -> RandomFields:
        """Draw and integrate our way."""
        return random_fields(
            self.shape,
            [image_count(self.level)],
            [torch.Generator().manual_seed(SEED)],
            replace(published_field(self.side), integration=method),
            target_counts=[target_count(self.level)] if target else None,
        )


def interleaved(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each job; one round runs all, so that a slow minute slows all."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure(case: Case) -> list[list[str]]:
    """Rows of the table for one case."""
    jobs: dict[str, Callable[[], object]] = {}
    for target in (False, True):
        jobs[f"naive{target}"] = lambda target=target: case.naive(target=target)
        for method in METHODS:
            jobs[f"{method}{target}"] = lambda m=method, target=target: case.ours(m, target=target)
    plain = case.naive(target=True)
    differences = {m: _difference(case.ours(m, target=True), plain) for m in METHODS}
    seconds = interleaved(jobs, REPEATS[case.dimension])
    rows = []
    for target, what in ((False, "image field"), (True, "image + target field")):
        base = seconds[f"naive{target}"]
        rows.append([_title(case), what, "naive", _milliseconds(base), "1", "0"])
        for method in METHODS:
            own = seconds[f"{method}{target}"]
            ratio = statistics.median(base) / statistics.median(own)
            paired = statistics.median(b / o for b, o in zip(base, own, strict=True))
            rows.append(
                [
                    _title(case),
                    what,
                    method,
                    _milliseconds(own),
                    f"{ratio:.1f} ({paired:.1f}, {min(base) / min(own):.1f})",
                    f"{differences[method][target]:.5f}",
                ]
            )
    return rows


def _difference(ours: RandomFields, plain: list[Tensor]) -> tuple[float, float]:
    """Largest difference in voxels: of the image's field, of both fields."""
    assert ours.target is not None
    image = float((ours.ddf - plain[0]).abs().max())
    return image, max(image, float((ours.target - plain[1]).abs().max()))


def _title(case: Case) -> str:
    return f"{case.side}^{case.dimension}, t={case.level}"


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ({min(seconds) * 1e3:.0f})"


def main() -> Path:
    """Measure all cases and write docs/results/benchmark-fields.md."""
    rows = [row for case in CASES for row in measure(Case(*case))]
    lines = [
        "# Benchmark: random fields",
        "",
        "`make bench` (`python -m Testing.Benchmarks`) writes this page. One sample, from its seed",
        "to its field on the image's grid, drawing included, published settings. `naive` is the",
        "plain loop of `Testing/Benchmarks/naive.py` on the velocity that ours draws: a fresh",
        "sampling grid per step, every step for the target too, the canvas enlarged before it is",
        "cropped. Variants are interleaved in one process.",
        "",
        *facts(str(SEED)),
        f"- repeats: {REPEATS[3]} (3D), {REPEATS[2]} (2D)",
        f"- targets at 128^3, t=79: {', '.join(f'{k} {v}' for k, v in TARGETS.items())}",
        "",
        "Columns: median (and shortest) time; ratio of medians (median of the paired ratios, ratio",
        "of the shortest times); largest difference from `naive` in voxels (image field alone, or",
        "both fields). Squaring and exact interpolate less than the sequential way, so they differ",
        "from it; `docs/results/accuracy.md` compares all three with the exact flow.",
        "",
        *table(["case", "what", "method", "ms", "times faster", "voxels from naive"], rows),
    ]
    return write_result("benchmark-fields.md", lines)
