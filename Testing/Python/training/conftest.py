"""Tiny runs for the tests of training."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from DRDMCore.imaging import GridPolicy
from DRDMCore.training.settings import InputAugmentation, TrainingSettings
from DRDMCore.training.subjects import Subject

REPOSITORY = Path(__file__).resolve().parents[3]
STILL = InputAugmentation(share=0.0, intensity_share=0.0)


def tiny_settings(**changes: Any) -> TrainingSettings:
    plain = TrainingSettings(
        name="tiny",
        data="phantom:heart-2d",
        grid=GridPolicy(dimension=2, mode="fov", side=16),
        shape=(16, 16),
        widths=(8, 16),
        subjects=4,
        steps=6,
        batch=2,
        precision="fp32",
        validate_every=3,
        recoveries=2,
    )
    return replace(plain, **changes)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TrainingSettings]:
    """Settings of a run that takes about a second, with changes."""
    return tiny_settings


@pytest.fixture
def subjects() -> Callable[..., list[Subject]]:
    """Noise images by their shapes `(Z, *S)`."""

    def made(*shapes: tuple[int, ...]) -> list[Subject]:
        generator = torch.Generator().manual_seed(1)
        return [
            Subject(f"s{index}", torch.rand(shape[0], 1, *shape[1:], generator=generator))
            for index, shape in enumerate(shapes)
        ]

    return made


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Start `python ARGUMENTS` in the repository, with one thread."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
