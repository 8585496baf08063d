"""The benchmark of generation measures what it says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from DRDMCore.fields import warp
from DRDMCore.recovery import PublishedNetwork
from Testing.Benchmarks import (
    generation_benchmark,
    generation_gpu,
    generation_memory,
    generation_native,
    generation_peers,
)
from Testing.Benchmarks.generation_baseline import PASSES, Baseline, pull
from Testing.Benchmarks.generation_cases import HEART, HIPPOCAMPUS, Case, ready
from Testing.Benchmarks.machine import REPOSITORY

SMALL = Case("small", "phantom-torso-3d", "torso-3d", (16, 24, 20))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(13, 18), (8, 11, 9)])
def test_plain_warp_is_ours(shape):
    image = torch.rand(1, 2, *shape, generator=seeded())
    ddf = 3 * torch.randn(1, len(shape), *shape, generator=seeded(1))
    torch.testing.assert_close(pull(image, ddf, padding="zeros"), warp(image, ddf, padding="zeros"))


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 16)])
def test_parts_of_the_baseline_add_up_to_the_whole(shape):
    image = torch.rand(1, 1, *shape, generator=seeded())
    baseline = Baseline(PublishedNetwork(len(shape)).eval(), image, 30)
    start, one_level = baseline.parts(3)
    assert start().shape == (1, len(shape), *shape)
    one_level()
    after_two_levels, _ = one_level()
    assert torch.equal(after_two_levels, baseline.whole(3, [79, 78]))
    assert not torch.equal(after_two_levels, baseline.whole(3, [79]))
    assert PASSES == 160


def test_a_cut_of_the_baseline_counts_every_level():
    seconds = {"start": [1.0, 2.0], "level": [0.5, 0.25]}
    assert generation_benchmark._whole_baseline(seconds) == [41.0, 22.0]


@pytest.mark.parametrize("case", [HEART, HIPPOCAMPUS, SMALL])
def test_the_network_works_on_the_grid_of_the_title(case):
    assert ready(case).subject.view.spatial_shape == case.shape


def test_native_way_is_simpleitk_alone():
    image, labels, field = generation_native.inputs((10, 14, 12), seed=3)
    ours, alone = (job() for job in generation_native.jobs(image, labels, field).values())
    for mine, theirs in zip(ours, alone, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (ours[0] != image.array).any()


def test_jobs_of_the_page_run_on_a_small_case():
    made = ready(SMALL, precision="bf16")
    first, second = (made.batch(2)() for _ in range(2))
    assert [each.seed for each in first] == [0, 1] and len(second) == 2
    names = generation_peers.jobs(made)
    image, labels = names["ours, deformation + recovery"]()
    assert image.shape == labels.shape == (1, 1, *SMALL.shape)


def test_rows_of_the_gpu_are_those_of_any_device(monkeypatch):
    monkeypatch.setattr(generation_gpu, "REPEATS", 1)
    monkeypatch.setattr(generation_gpu, "BATCHES", (2,))
    monkeypatch.setattr(generation_gpu, "_SQUARE", 32)
    rows = generation_gpu.rows(SMALL, "cpu", precision="fp32")
    assert len(rows) == 4 and all(len(row) == 3 for row in rows)
    assert generation_gpu.flops(ready(SMALL), "fp32", "cpu") > 1e6


def test_peak_memory_is_that_of_the_process_alone():
    command = [sys.executable, "-c", "from Testing.Benchmarks import generation_memory as m;"]
    command[-1] += "held = bytearray(int({})); print(m.own_peak())"
    kept = np.ones(600_000_000, dtype=np.uint8)  # of the parent: must not be counted

    def peak(size: float) -> int:
        line = [*command[:-1], command[-1].format(size)]
        answer = subprocess.run(
            line, cwd=REPOSITORY, capture_output=True, text=True, check=True, encoding="utf-8"
        )
        return int(answer.stdout)

    small, large = peak(1), peak(3e8)
    assert generation_memory.own_peak() > kept.nbytes
    assert 2e8 < large - small < 4e8
