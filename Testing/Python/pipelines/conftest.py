"""Small made-up subjects in files, for the jobs that read and write files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DRDMCore.imaging import Geometry, Volume, write_volume
from DRDMCore.pipelines.generate import GenerateJob
from DRDMCore.pipelines.settings import SamplingSettings

HEART = "phantom-heart-2d"
SIZES = {2: (34, 27), 3: (23, 19, 16)}
SPACINGS = {2: (1.7, 2.3), 3: (1.9, 1.6, 2.3)}


def _turned(dimension: int) -> tuple[float, ...]:
    """An oblique direction: turned about every axis."""
    matrix = np.eye(dimension)
    for first in range(dimension):
        for second in range(first + 1, dimension):
            angle = 0.3 + 0.2 * first - 0.35 * second
            turn = np.eye(dimension)
            turn[first, first] = turn[second, second] = np.cos(angle)
            turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
            matrix = matrix @ turn
    return tuple(matrix.ravel().tolist())


def _oblique(dimension: int, size: tuple[int, ...] | None) -> Geometry:
    return Geometry(
        size=size or SIZES[dimension],
        spacing_mm=SPACINGS[dimension],
        origin_mm=(-71.5, 33.25, 120.0)[:dimension],
        direction=_turned(dimension),
    )


def _drawn(geometry: Geometry, dtype: type, seed: int) -> tuple[Volume, Volume]:
    """A bright ball in a textured box, 0 .. 240 (8 bits) or 0 .. 1900, labels 0, 3 and 7."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in geometry.shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    picture = 0.4 + 0.3 * np.cos(7 * sum(axes)) + 0.3 * (radius < 0.6)
    top = 240 if np.dtype(dtype).itemsize == 1 else 1900
    array = (top * np.clip(picture + random.normal(0, 0.01, geometry.shape), 0, 1)).astype(dtype)
    labels = (3 * (radius < 0.8) + 4 * (radius < 0.5)).astype(np.uint8)
    return Volume(array, geometry), Volume(labels, geometry, "labels", {3: "wall", 7: "pool"})


@pytest.fixture
def write_subject(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """Writes an oblique, anisotropic, non-cubic image with labels."""

    def write(
        dimension: int = 2,
        *,
        dtype: type = np.float32,
        ending: str = ".nrrd",
        labels_ending: str = ".nrrd",
        size: tuple[int, ...] | None = None,
        seed: int = 0,
    ) -> tuple[Path, Path]:
        image, labels = _drawn(_oblique(dimension, size), dtype, seed)
        paths = (tmp_path / f"scan{ending}", tmp_path / f"outlines{labels_ending}")
        write_volume(image, paths[0])
        write_volume(labels, paths[1])
        return paths

    return write


@pytest.fixture
def make_job(tmp_path, write_subject) -> Callable[..., GenerateJob]:
    """A quick job on such a subject; sampling settings and job settings by name."""

    def make(dimension: int = 2, *, out: str = "out", files=None, **given) -> GenerateJob:
        image, labels = files or write_subject(dimension)
        settings = {"image": image, "labels": labels, "out": tmp_path / out, "count": 1, "seed": 5}
        settings |= {"model": "none", "report": False}
        named = GenerateJob.__dataclass_fields__
        settings |= {key: value for key, value in given.items() if key in named}
        sampling = {key: value for key, value in given.items() if key not in named}
        if settings["model"] != "none":
            sampling = {"steps": 2, **sampling}
        return GenerateJob(**settings, sampling=SamplingSettings(**sampling))

    return make


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """SHA-256 of every file below a folder."""

    def read(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
