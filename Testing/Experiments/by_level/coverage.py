"""How much of a real population some shapes cover.

Two definitions, both of the real (here: training) shapes. The first asks that a sample lies close:

- M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and Diversity Metrics for
  Generative Models", ICML 2020: a real shape is covered if a sample lies within the distance of
  its k-th nearest real neighbour (k = 5 there and here).
- P. Achlioptas, O. Diamanti, I. Mitliagkas, L. Guibas, "Learning Representations and Generative
  Models for 3D Point Clouds", ICML 2018: a real shape is covered if it is the nearest one of some
  sample, however far that lies.

Both grow with the number of shapes: only equal numbers may be compared.
"""

from __future__ import annotations

import math

import numpy as np

NEIGHBOURS = 5


def neighbourhoods(between: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """How near a shape must lie to a real one to cover it.

    Args:
        between: `(K, K)` distances of real shapes to each other.
        neighbours: Number k; at most K - 1 are used.

    Returns:
        `(K,)` distance of each to its k-th nearest other.
    """
    others = np.array(between, dtype=float)
    np.fill_diagonal(others, np.inf)
    place = min(neighbours, len(others) - 1) - 1
    found: np.ndarray = np.sort(others, axis=1)[:, place]
    return found


def within(distances: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Numbers of the real shapes that one shape covers.

    Args:
        distances: `(K,)` from the shape to each real one.
        reach: `neighbourhoods` of these.
    """
    return np.flatnonzero(distances <= reach)


def coverage(covered: np.ndarray) -> float:
    """Share of the real shapes that at least one of the shapes covers.

    Args:
        covered: `(N, K)` booleans: does shape n cover the real shape k?
    """
    return float(covered.any(axis=0).mean())


def coverage_by_few(covering: np.ndarray, subjects: int, few: int) -> np.ndarray:
    """Coverage to be expected of a few subjects, drawn without replacement.

    Args:
        covering: `(..., K)` how many of the subjects cover each real shape, whole numbers.
        subjects: How many there are.
        few: How many of them are drawn; at most all.

    Returns:
        `(...)` share of the real shapes that one of those drawn covers, mean over all draws.
    """
    few = min(few, subjects)
    ways = math.comb(subjects, few)
    reached = np.array([1 - math.comb(subjects - c, few) / ways for c in range(subjects + 1)])
    mean: np.ndarray = reached[covering].mean(axis=-1)
    return mean
