"""Small volumes and grids for the imaging tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from DRDMCore.imaging import Geometry, Volume

SIZES = {2: (9, 7), 3: (9, 7, 6)}
SPACINGS = {
    "oblique": (1.0, 1.0, 1.0),
    "anisotropic": (0.7, 1.3, 3.1),
    "left_handed": (0.9, 1.1, 2.0),
    "cropped": (1.5625, 1.5625, 10.0),
}


def _rotation(dimension: int) -> np.ndarray:
    def turn(first: int, second: int, angle: float) -> np.ndarray:
        matrix = np.eye(dimension)
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return matrix

    matrix = turn(0, 1, 0.3)
    return matrix @ turn(0, 2, -0.2) @ turn(1, 2, 0.5) if dimension == 3 else matrix


@pytest.fixture
def make_geometry() -> Callable[..., Geometry]:
    """A grid by name; `left_handed` mirrors an axis, `cropped` starts far from the origin."""

    def make(name: str, dimension: int = 3, size: tuple[int, ...] | None = None) -> Geometry:
        matrix = np.eye(dimension) if name == "anisotropic" else _rotation(dimension)
        if name == "left_handed":
            matrix[:, 0] *= -1
        origin = (-123.25, 87.5, 1043.75) if name == "cropped" else (3.5, -2.25, 10.0)
        return Geometry(
            size=size or SIZES[dimension],
            spacing_mm=SPACINGS[name][:dimension],
            origin_mm=origin[:dimension],
            direction=tuple(matrix.ravel().tolist()),
        )

    return make


@pytest.fixture
def make_image() -> Callable[..., Volume]:
    """A smooth image with some noise."""

    def make(geometry: Geometry, dtype: type = np.float32, seed: int = 0) -> Volume:
        generator = np.random.default_rng(seed)
        axes = np.meshgrid(*(np.linspace(0, 3, n) for n in geometry.shape), indexing="ij")
        array = 100 + 80 * np.sin(sum(axes)) + generator.normal(0, 5, geometry.shape)
        return Volume(array.astype(dtype), geometry)

    return make


@pytest.fixture
def make_labels() -> Callable[..., Volume]:
    """Labels 0, 3 and 7 at random places."""

    def make(geometry: Geometry, dtype: type = np.uint8, seed: int = 1) -> Volume:
        generator = np.random.default_rng(seed)
        array = generator.choice(np.array([0, 3, 7], dtype=dtype), size=geometry.shape)
        return Volume(array, geometry, kind="labels")

    return make
