"""Brushes for phantoms: implicit shapes, texture and a canvas to paint them on.

Distances are in mm, positive inside a shape. All randomness comes from the generator given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
"""float32 unless said otherwise."""


@dataclass(frozen=True)
class Canvas:
    """A picture under way.

    Attributes:
        points: `(D, *S)` mm from the centre of the field of view, in array order.
        image: `(*S)` intensities, painted in place.
        labels: `(*S)` label map, painted in place.
        edge_mm: Width of the soft edges (partial volume).
    """

    points: Array
    image: Array
    labels: Array
    edge_mm: float

    def paint(self, distance: Array, value: Array | float, label: int | None = None) -> None:
        """Lay a tissue over what is there.

        Args:
            distance: `(*S)` mm, positive inside the tissue.
            value: Intensity, one or per voxel.
            label: Label value, or None to leave the label map alone.
        """
        self.image[...] += soft(distance, self.edge_mm) * (value - self.image)
        if label is not None:
            self.labels[distance > 0] = label


# Shapes -----------------------------------------------------------------------------------------


def soft(distance: Array, edge: float) -> Array:
    """Share of a voxel that lies inside: a sigmoid of the distance."""
    return 0.5 + 0.5 * np.tanh(distance / np.float32(2 * edge))


def vary(rng: np.random.Generator, mean: float, sd: float) -> float:
    """A normal number without tails: never further than 2 sd from the mean."""
    return mean + sd * float(np.clip(rng.standard_normal(), -2, 2))


def rotation(rng: np.random.Generator, dimension: int, sd_degrees: float) -> Array:
    """A small random rotation matrix, `(D, D)`."""
    matrix = np.eye(dimension)
    planes = [(0, 1)] if dimension == 2 else [(0, 1), (0, 2), (1, 2)]
    for a, b in planes:
        angle = np.deg2rad(vary(rng, 0, sd_degrees))
        turn = np.eye(dimension)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[b, a] = np.sin(angle)
        turn[a, b] = -turn[b, a]
        matrix = matrix @ turn
    return matrix.astype(np.float32)


def harmonics(direction: Array) -> list[Array]:
    """Low-order smooth functions on the circle or sphere, about unit size."""
    if len(direction) == 2:
        y, x = direction
        return [x * x - y * y, 2 * x * y, x * (x * x - 3 * y * y), y * (3 * x * x - y * y)]
    z, y, x = direction
    return [x * x - y * y, 2 * x * y, 2 * y * z, 2 * x * z, 1.5 * z * z - 0.5, z * (x * x - y * y)]


def blob(
    rng: np.random.Generator,
    points: Array,
    centre: Sequence[float] | Array,
    radii: Sequence[float],
    wobble: float = 0.03,
    degrees: float = 0.0,
) -> Array:
    """A slightly irregular ellipse or ellipsoid: about the distance to its surface, mm.

    `degrees` turns it in the plane of the last two axes; `wobble` is the sd of each harmonic of
    its radius, relative.
    """
    shape = (-1,) + (1,) * (points.ndim - 1)
    local = points - np.asarray(centre, np.float32).reshape(shape)
    if degrees:
        c, s = np.float32(np.cos(np.deg2rad(degrees))), np.float32(np.sin(np.deg2rad(degrees)))
        local[-2], local[-1] = c * local[-2] - s * local[-1], s * local[-2] + c * local[-1]
    local /= np.asarray(radii, np.float32).reshape(shape)
    radius = np.sqrt(np.sum(local * local, axis=0)) + np.float32(1e-6)
    surface = np.ones_like(radius)
    for harmonic in harmonics(local / radius):
        surface += np.float32(vary(rng, 0, wobble)) * harmonic
    return (surface - radius) * np.float32(np.exp(np.mean(np.log(radii))))


def posed(rng: np.random.Generator, points: Array, shift_mm: float, bend_mm: float) -> Array:
    """Points in the subject's own frame: small rotation, shift, scale and a slow smooth bend.

    Every structure shares it, so that neighbours vary together.
    """
    dimension = len(points)
    scale = 1 + np.array([vary(rng, 0, 0.035) for _ in range(dimension)])
    matrix = rotation(rng, dimension, 3.0) * scale.astype(np.float32)
    own = np.tensordot(matrix, points, axes=1)
    reach = float(np.abs(points).max())
    for axis in range(dimension):
        own[axis] += np.float32(vary(rng, 0, shift_mm))
        wave = points[(axis + 1) % dimension] * np.float32(np.pi / reach)
        own[axis] += np.float32(bend_mm) * np.sin(wave + np.float32(rng.uniform(0, 2 * np.pi)))
    return own


# Texture ----------------------------------------------------------------------------------------


def cloud(rng: np.random.Generator, shape: Sequence[int], cell: float) -> Array:
    """Smooth noise of zero mean and unit variance everywhere; `cell` voxels between bumps."""
    counts = [int(np.ceil(n / cell)) + 3 for n in shape]
    noise = rng.standard_normal(counts, dtype=np.float32)
    for n, count in zip(shape, counts, strict=True):
        gap = np.arange(n)[:, None] / cell - (np.arange(count)[None] - 1)
        weights = np.exp(-0.5 * (gap / 0.6) ** 2)
        weights /= np.sqrt(np.sum(weights**2, axis=1, keepdims=True))
        # Contracting the first axis puts the new one last: after D turns the order is back.
        noise = np.tensordot(noise, weights.astype(np.float32), axes=(0, 1))
    return noise


def texture_of(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Tissue texture at three scales, about unit size."""
    finest = max(1.5, shape[-1] / 48)
    weights = ((finest, 0.5), (2 * finest, 0.6), (5 * finest, 0.6))
    texture = np.zeros(tuple(shape), np.float32)
    for cell, weight in weights:
        texture += np.float32(weight) * cloud(rng, shape, cell)
    return texture


def threads(rng: np.random.Generator, shape: Sequence[int], cell: float, width: float) -> Array:
    """Vessel-like threads, 0 to 1: where smooth noise crosses zero (two at once in 3D)."""
    total = cloud(rng, shape, cell) ** 2
    if len(shape) == 3:
        total += cloud(rng, shape, cell) ** 2
    return np.exp(-total / np.float32(width))
