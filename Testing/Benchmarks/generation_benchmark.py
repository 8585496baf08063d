"""How fast samples are made, against the published program's way and against other packages."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from DRDMCore.recovery import LEVELS, PublishedNetwork
from Testing.Benchmarks import (
    generation_gpu,
    generation_memory,
    generation_native,
    generation_peers,
    generation_published,
)
from Testing.Benchmarks.fields_benchmark import interleaved
from Testing.Benchmarks.generation_baseline import PASSES, Baseline
from Testing.Benchmarks.generation_cases import (
    HEART,
    HIPPOCAMPUS,
    TORSO,
    Case,
    ready,
    real_hippocampi,
)
from Testing.Benchmarks.machine import facts, table, write_result

SEED, LEVEL = 0, 48
BATCH = 8
REPEATS = {TORSO.title: 3, HEART.title: 9, HIPPOCAMPUS.title: 5}
_PAGE = "benchmark-generation.md"
Seconds = dict[str, list[float]]


def sample_rows(case: Case, target: str, *, whole: bool = False) -> list[list[str]]:
    """Rows of one case: the baseline's sample, and ours in two precisions, alone and in batches."""
    full, reduced = ready(case), ready(case, precision="bf16")
    jobs = {
        "fp32, field alone": generation_gpu.model_fields(full, 1, "fp32", "cpu"),
        "bf16, field alone": generation_gpu.model_fields(reduced, 1, "bf16", "cpu"),
        "fp32": full.sample(),
        "bf16": reduced.sample(),
    }
    if case is HIPPOCAMPUS:
        jobs["bf16, batches"] = reduced.batch(BATCH)
    image = reduced.subject.view.image
    network = PublishedNetwork(image.ndim - 2).eval()
    baseline = Baseline(network, image, LEVEL)
    parts = {"whole": lambda: baseline.whole(SEED)}
    if not whole:
        parts = dict(zip(("start", "level"), baseline.parts(SEED), strict=True))
    for job in jobs.values():
        job()
    seconds = interleaved({**parts, **jobs}, 1 if whole else REPEATS[case.title])
    if "bf16, batches" in seconds:
        seconds["bf16, batches"] = [each / BATCH for each in seconds["bf16, batches"]]
    base = _whole_baseline(seconds)
    rows = [[case.title, "baseline", _time(base), "1", ""]]
    for name in jobs:
        rate = f", {1 / statistics.median(seconds[name]):.1f} samples/s" if "batch" in name else ""
        own = _time(seconds[name]) + rate
        rows.append([case.title, f"ours, {name}", own, _ratio(base, seconds[name]), target])
    return rows


def _whole_baseline(seconds: Seconds) -> list[float]:
    """Seconds of whole baseline samples: measured, or of their parts."""
    if "whole" in seconds:
        return seconds["whole"]
    pairs = zip(seconds["start"], seconds["level"], strict=True)
    return [start + LEVELS * level for start, level in pairs]


def published_rows() -> list[list[str]]:
    """Rows of the published weights; empty if they are not there."""
    found = generation_published.files()
    if found is None:
        return []
    published = generation_published.load(*found)
    rows = []
    levels = 2
    for what, jobs in (
        ("one call", published.calls()),
        (f"recovery, {2 * levels} passes", published.recoveries(levels)),
    ):
        for job in jobs.values():
            job()
        seconds = interleaved(jobs, 9)
        rows.append([what, "baseline", _time(seconds["baseline"]), "1", "0", ""])
        for name in generation_published.PRECISIONS:
            gap = f"{published.difference(name):.1e}" if what == "one call" else ""
            ratio = _ratio(seconds["baseline"], seconds[name])
            rows.append([what, f"ours, {name}", _time(seconds[name]), ratio, gap, "3x, 1e-3"])
    return rows


def recovery_lines() -> list[str]:
    """What whole recoveries of the published weights come to in each precision."""
    found = generation_published.files()
    if found is None:
        return []
    seeds = len(generation_published.SEEDS)
    head = ["whole recovery, 160 passes", "residual", "correlation", "folds %"]
    return [
        f"Means over {seeds} start fields, and how far from the first row's on average. Residual:",
        "part of the start field; correlation: with the image. A recovery is chaotic: what a",
        "change in the last digit of its start does (second row) is the floor for any precision.",
        "",
        *table(head, generation_published.load(*found).outcome_rows()),
        "",
    ]


def native_rows() -> list[list[str]]:
    """Rows of the application at native resolution."""
    jobs = generation_native.jobs(*generation_native.inputs(generation_native.SHAPE, SEED))
    ours, alone = (job() for job in jobs.values())
    same = all((a == b).all() for a, b in zip(ours, alone, strict=True))
    seconds = interleaved(jobs, 5)
    base = seconds["SimpleITK alone"]
    return [
        ["SimpleITK alone", _time(base), "1", ""],
        ["ours", _time(seconds["ours"]), _ratio(base, seconds["ours"]), "1x"],
        ["same numbers", "yes" if same else "no", "", "yes"],
    ]


def peer_rows() -> list[list[str]]:
    """Rows of the other packages and ours on the same image with labels."""
    jobs = generation_peers.jobs(ready(TORSO))
    for job in jobs.values():
        job()
    seconds = interleaved(jobs, 5)
    rows = [[name, _time(each)] for name, each in seconds.items()]
    missing = [name for name in generation_peers.PEERS if generation_peers.version(name) is None]
    return rows + [[name, "not installed (`pip install -e '.[bench]'`)"] for name in missing]


def memory_rows() -> list[list[str]]:
    """Rows of the peak memory of a whole job."""
    return [
        [f"`generate`, 128^3, {name}", f"{generation_memory.peak_bytes(name) / 1e9:.2f} GB", "2 GB"]
        for name in ("fp32", "bf16")
    ]


def gpu_lines() -> list[str]:
    """The section of the GPU, or why it is left out."""
    if not torch.cuda.is_available():
        return ["Left out: torch sees no CUDA device on this machine."]
    name = torch.cuda.get_device_name()
    rows = generation_gpu.rows(TORSO, "cuda")
    return [f"{name}, bf16, 128^3.", "", *table(["what", "measured", "target"], rows)]


def _time(seconds: list[float]) -> str:
    """Median and shortest, in the unit that reads best."""
    unit, factor = ("s", 1.0) if statistics.median(seconds) >= 1 else ("ms", 1e3)
    median, least = factor * statistics.median(seconds), factor * min(seconds)
    return f"{median:.3g} ({least:.3g}) {unit}"


def _ratio(base: list[float], own: list[float]) -> str:
    """Ratio of medians, and of the shortest times."""
    return f"{statistics.median(base) / statistics.median(own):.3g} ({min(base) / min(own):.3g})"


def _peer_versions() -> str:
    """What else takes part, and its version."""
    versions = {name: generation_peers.version(name) for name in ("SimpleITK", "torchio", "monai")}
    return ", ".join(f"{name} {each or 'not installed'}" for name, each in versions.items())


def _subject() -> str:
    """What the hippocampus model is shown."""
    if real_hippocampi():
        return "a real subject, its border repeated up to the grid"
    return "a phantom that the model does not know (no `DRDM_SHARED`): repairing folds takes longer"


def _introduction(*, whole: bool, note: str) -> list[str]:
    """What is measured, and where."""
    how = "all of them" if whole else f"its start field plus {LEVELS} times one of its levels"
    return [
        "# Benchmark: generation",
        "",
        "`make bench-generation` (`python -m Testing.Benchmarks.generation_benchmark`) writes this",
        "page. `baseline` is `Testing/Benchmarks/generation_baseline.py`, the published program's",
        "schedule and network on the same grid: float32, torch's default layout in memory, a fresh",
        "sampling grid for every warp, sequential fields, levels 79 .. 0 with two recursions,",
        f"{PASSES} passes. Its time is {how}",
        "(`--whole` runs all passes), and it makes the field alone. `ours` is a complete sample:",
        "field, image and labels pulled through it, and the measures of its quality; `field alone`",
        "is what the baseline makes. Variants are interleaved in one process.",
        "",
        *facts(str(SEED)),
        f"- packages: {_peer_versions()}",
        f"- hippocampus: {_subject()}",
        *([f"- note: {note}"] if note else []),
        "",
        "Times are medians (and shortest); ratios are of medians (and of the shortest times).",
        "",
    ]


def page(*, whole: bool = False, note: str = "") -> list[str]:
    """All measurements as Markdown."""
    targets = {TORSO: "260x", HEART: "110x", HIPPOCAMPUS: "4 samples/s in batches"}
    samples = [row for case, to in targets.items() for row in sample_rows(case, to, whole=whole)]
    published = published_rows()
    head = ["what", "way", "time", "times faster", "difference", "target"]
    weights = table(head, published) if published else ["Left out: the weights are not there."]
    return [
        *_introduction(whole=whole, note=note),
        "## One sample",
        "",
        *table(["case", "way", "time a sample", "times faster", "target"], samples),
        "",
        "## Published weights, 2D 256^2",
        "",
        "Difference of one call from the baseline's: the largest, as a fraction of the side, over",
        "some levels, on the image and on the image deformed by some start fields.",
        "",
        *weights,
        "",
        *recovery_lines(),
        "## Image and labels of 256x256x200 pulled through a field",
        "",
        *table(["way", "time", "times faster", "target"], native_rows()),
        "",
        "## Elastic deformation of an image with labels, 128^3",
        "",
        *table(["way", "time"], peer_rows()),
        "",
        "## Peak memory of a job in a process of its own",
        "",
        *table(["job", "peak resident set", "target"], memory_rows()),
        "",
        "## GPU",
        "",
        *gpu_lines(),
    ]


def main(arguments: list[str] | None = None) -> Path:
    """Measure and write docs/results/benchmark-generation.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="run all passes of the baseline")
    parser.add_argument("--note", default="", help="what else the page should say")
    options = parser.parse_args(arguments)
    return write_result(_PAGE, page(whole=options.whole, note=options.note))


if __name__ == "__main__":
    print(main().read_text(encoding="utf-8"))
