"""How fast a training step is, against the plain way, and what it is spent on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from DRDMCore.fields import RandomFieldSettings, published_field
from DRDMCore.imaging import GridPolicy
from DRDMCore.recovery import PublishedNetwork
from DRDMCore.sharding import Share
from DRDMCore.training.distribution import Workers
from DRDMCore.training.draws import draw_step
from DRDMCore.training.learner import Learner
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.settings_file import read_settings
from DRDMCore.training.subjects import Subject
from Testing.Benchmarks import naive_training
from Testing.Benchmarks.fields_benchmark import interleaved
from Testing.Benchmarks.machine import REPOSITORY, facts, table, write_result

SEED, REPEATS, STEPS = 0, 5, 1000
SIDE, BATCH, LEVELS = 64, 2, (20, 60)
"""The levels of the plain step: the means of the two halves in which ours are drawn."""
CPU = torch.device("cpu")
TARGETS = {"ours, bf16": "4x", "ours, velocity network, bf16": "10x"}
_ORDER = ("fields and data", "forward", "backward", "optimiser and average")


def published() -> TrainingSettings:
    """The published network at 64^3."""
    shape = (SIDE,) * 3
    return TrainingSettings(
        name="benchmark",
        data="phantom:torso-3d",
        grid=GridPolicy(dimension=3, mode="fov", side=SIDE),
        shape=shape,
        objective="published",
        field=replace(published_field(SIDE), integration="squaring"),
        steps=STEPS,
        batch=BATCH,
    )


def velocity_alike() -> TrainingSettings:
    """The velocity network on the same images."""
    field = RandomFieldSettings(control_spacing=2.0)
    return replace(published(), objective="velocity", field=field)


def velocity() -> TrainingSettings:
    """The velocity network as the bundled hippocampus model trains."""
    path = REPOSITORY / "Resources" / "Configurations" / "train_hippocampus-mr-3d.yaml"
    return read_settings(path, {"steps": STEPS})


def subjects(settings: TrainingSettings) -> list[Subject]:
    """Noise: what an image shows does not matter to the time."""
    generator = torch.Generator().manual_seed(SEED)
    images = torch.rand(4, 1, 1, *settings.shape, generator=generator)
    return [Subject(str(index), image) for index, image in enumerate(images)]


def new_learner(settings: TrainingSettings) -> Learner:
    """A learner in one process."""
    return Learner(settings, Workers(Share(), CPU))


def plain_step(settings: TrainingSettings) -> Callable[[], object]:
    """The plain step as a job."""
    network = PublishedNetwork(3)
    optimizer = torch.optim.Adam([w for w in network.parameters() if w.requires_grad], lr=1e-4)
    image = torch.cat([each.images for each in subjects(settings)[:BATCH]])
    field = published_field(SIDE)
    return lambda: naive_training.step(network, optimizer, image, LEVELS, range(BATCH), field)


def our_step(settings: TrainingSettings) -> Callable[[], object]:
    """Our step as a job, complete: draws, augmentation, gradients, optimiser, average."""
    learner, data, step = new_learner(settings), subjects(settings), [0]

    def job() -> object:
        step[0] += 1
        return learner.learn(data, step[0], STEPS)

    return job


def parts_of(settings: TrainingSettings) -> dict[str, float]:
    """Median seconds of the parts of a step."""
    learner, data = new_learner(settings), subjects(settings)
    objective = learner.objective
    seconds: dict[str, list[float]] = {name: [] for name in _ORDER}
    for step in range(1, REPEATS + 2):
        marks = [time.perf_counter()]
        drawn = draw_step(data, settings, step, objective.level_of, Share())
        example = objective.example(drawn, CPU)
        marks.append(time.perf_counter())
        loss = objective(example)["loss"]
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        learner.optimizer.step(settings.learning_rate)
        learner.optimizer.zero_grad()
        marks.append(time.perf_counter())
        if step > 1:  # the first one warms up
            for name, low, high in zip(_ORDER, marks, marks[1:], strict=False):
                seconds[name].append(high - low)
    return {name: statistics.median(each) for name, each in seconds.items()}


def ratio_rows() -> list[list[str]]:
    """A step of the published network, plain and ours, and of the velocity network."""
    full, half = published(), replace(published(), precision="fp32")
    jobs = {
        "plain, fp32": plain_step(full),
        "ours, fp32": our_step(half),
        "ours, bf16": our_step(full),
        "ours, velocity network, bf16": our_step(velocity_alike()),
    }
    for job in jobs.values():
        job()
    seconds = interleaved(jobs, REPEATS)
    base = seconds["plain, fp32"]
    rows = []
    for name, own in seconds.items():
        median = statistics.median(own)
        ratio = statistics.median(base) / median
        paired = statistics.median(b / o for b, o in zip(base, own, strict=True))
        cells = f"{ratio:.1f} ({paired:.1f}, {min(base) / min(own):.1f})"
        times = f"{1e3 * median:.0f} ({1e3 * min(own):.0f})"
        rows.append([name, times, cells, TARGETS.get(name, "")])
    return rows


def share_rows() -> list[list[str]]:
    """What our steps are spent on."""
    rows = []
    for title, settings in (("published, 64^3 x 2", published()), ("velocity", velocity())):
        parts = parts_of(settings)
        total = sum(parts.values())
        shares = [f"{100 * parts[name] / total:.0f} %" for name in _ORDER]
        rows.append([title, f"{1e3 * total:.0f}", *shares])
    return rows


def main() -> Path:
    """Measure and write docs/results/benchmark-training.md."""
    lines = [
        "# Benchmark: a training step",
        "",
        "`make bench-training` (`python -m Testing.Benchmarks.training_benchmark`) writes this",
        f"page. One step of the published 3D network, {SIDE}^3, batch {BATCH}, two recursions,",
        "and of the velocity network that makes the bundled models, on the same images.",
        "`plain` is `Testing/Benchmarks/naive_training.py`: float32, torch's default layout in",
        "memory, a fresh sampling grid for every warp and every step of the sequential fields, the",
        "same losses, Adam; no augmentation. `ours` is the trainer's own step, complete: draws,",
        "augmentation, fields by squaring, losses, gradients, optimiser, average of the weights.",
        "Variants are interleaved in one process, after one step each to warm up.",
        "",
        *facts(str(SEED)),
        f"- repeats: {REPEATS}",
        "",
        "Columns: median (and shortest) time; ratio of medians (median of the paired ratios, ratio",
        "of the shortest times).",
        "",
        *table(["step", "ms", "times faster", "target"], ratio_rows()),
        "",
        "What our step (bf16) is spent on, medians; `velocity` is the default network as the",
        "bundled hippocampus model trains: 40x56x40, batch 8.",
        "",
        *table(["network", "ms", *_ORDER], share_rows()),
    ]
    return write_result("benchmark-training.md", lines)


if __name__ == "__main__":
    print(main().read_text(encoding="utf-8"))
