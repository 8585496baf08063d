"""A small made-up subject as the training libraries hold it: `(C, X, Y, Z)` and an affine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

SHAPES = {2: (26, 21), 3: (19, 16, 13)}


class Made(NamedTuple):
    """Image in two channels, labels 0, 3 and 7, and where they lie."""

    image: Tensor
    labels: Tensor
    affine: np.ndarray


def oblique_affine() -> np.ndarray:
    """Voxel to RAS mm: anisotropic, turned about two axes, one of them reversed."""
    turn = np.eye(3)
    for first, second, angle in ((0, 1, 0.3), (1, 2, -0.2)):
        step = np.eye(3)
        step[[first, second], [first, second]] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn * (1.6, -1.9, 2.3)
    affine[:3, 3] = (-71.5, 33.25, 120.0)
    return affine


@pytest.fixture
def made():
    """Makes a subject of 2 or 3 axes."""

    def make(dimension: int = 3, seed: int = 0, shape: tuple[int, ...] | None = None) -> Made:
        random = np.random.default_rng(seed)
        axes = [np.linspace(-1, 1, side) for side in shape or SHAPES[dimension]]
        grid = np.meshgrid(*axes, indexing="ij")
        radius = np.sqrt(sum(axis**2 for axis in grid))
        first = 0.4 + 0.3 * np.cos(3 * sum(grid)) + 0.3 * (radius < 0.6)
        first = 1000 * first + random.normal(0, 5, first.shape)
        image = np.stack([first, grid[0] + 2 * grid[1]]).astype(np.float32)
        labels = (3 * (radius < 0.8) + 4 * (radius < 0.5)).astype(np.uint8)[None]
        return Made(torch.from_numpy(image), torch.from_numpy(labels), oblique_affine())

    return make


@pytest.fixture
def same_geometry():
    """Whether two affines are equal but for rounding."""
    return lambda a, b: np.allclose(np.asarray(a), np.asarray(b), atol=1e-6)
