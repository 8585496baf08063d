"""Generation on a GPU: one sample, batches, field sampling, and the share of the roofline."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from DRDMCore.fields import random_fields
from DRDMCore.recovery import deform, image_count, recover
from Testing.Benchmarks.generation_cases import Case, Ready, ready

BATCHES = (4, 16)
REPEATS = 10
FIELD_LEVEL = 79
_SQUARE = 4096


def rows(case: Case, device: str, *, precision: str = "bf16") -> list[list[str]]:
    """Rows `what, time, target` of a case on a device."""
    made = ready(case, precision=precision, device=device)
    single = milliseconds(model_fields(made, 1, precision, device), device)
    roof, reached = matmul_rate(device), flops(made, precision, device) / (single / 1e3)
    answer = [
        ["one sample, model grid", f"{single:.1f} ms", "20 ms"],
        ["share of the device's own bf16 matrix products", f"{100 * reached / roof:.0f} %", ""],
    ]
    for size in BATCHES:
        each = milliseconds(model_fields(made, size, precision, device), device)
        rate = 1e3 * size / each
        answer.append([f"batches of {size}", f"{rate:.0f} samples/s", "100 samples/s"])
    drawn = milliseconds(field_job(made, device), device)
    answer.append([f"field, level {FIELD_LEVEL}", f"{drawn:.1f} ms", "3 ms"])
    return answer


def model_fields(made: Ready, size: int, precision: str, device: str) -> Callable[[], object]:
    """A job from seeds to `size` recovered fields on the model's grid, fields drawn included."""
    model, settings = made.model, made.settings
    assert model.step is not None and settings.level is not None
    step, level = model.step, settings.level
    one = made.subject.view.image.to(device)
    image = one.expand(size, *one.shape[1:])
    recovery = replace(model.recovery, precision=precision)

    def job() -> object:
        generators = [torch.Generator().manual_seed(seed) for seed in range(size)]
        ddf = deform(image, level, generators, model.field).ddf
        return recover(step, image, ddf, level, recovery)

    return job


def field_job(made: Ready, device: str) -> Callable[[], object]:
    """A job that draws one field of the highest level and integrates it."""
    shape, field = made.subject.view.spatial_shape, made.model.field

    def job() -> object:
        generator = torch.Generator().manual_seed(0)
        return random_fields(shape, [image_count(FIELD_LEVEL)], [generator], field, device=device)

    return job


def milliseconds(job: Callable[[], object], device: str) -> float:
    """Median time of a job, two runs to warm up."""
    seconds = []
    for index in range(REPEATS + 2):
        _wait(device)
        start = time.perf_counter()
        job()
        _wait(device)
        if index >= 2:
            seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def flops(made: Ready, precision: str, device: str) -> float:
    """Floating point operations of the convolutions of one sample."""
    job = model_fields(made, 1, precision, device)
    with FlopCounterMode(display=False) as counter:
        job()
    return float(counter.get_total_flops())


def matmul_rate(device: str) -> float:
    """Operations per second of a large bf16 matrix product: the roof that can be reached."""
    left = torch.ones(_SQUARE, _SQUARE, dtype=torch.bfloat16, device=device)
    return 2 * _SQUARE**3 / (milliseconds(lambda: left @ left, device) / 1e3)


def _wait(device: str) -> None:
    """Until the device has done everything asked of it."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
