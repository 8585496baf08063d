"""Whether two images are the same but for rounding.

The same preparation gives other last digits with another number of threads, on another machine or
a GPU, so that fields cannot be found by the bits of an image alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCKS = 4
_CLOSE = 1e-4
"""Largest difference, as a part of the image's own variation."""


def likeness(array: np.ndarray) -> list[float]:
    """What an image is recognised by: mean and root mean square of 4 blocks along each axis.

    Args:
        array: `(*S)`; values are taken relative to their mean and standard deviation, which are
            the first two numbers.

    Returns:
        `2 + 2 * 4 ** D` numbers, fewer where an axis is shorter than 4.
    """
    values = array.astype(np.float64)
    mean, spread = float(values.mean()), float(values.std())
    values -= mean
    if spread > 0:
        values /= spread
    squares = np.sqrt(_block_means(values**2))
    return [mean, spread, *_block_means(values).tolist(), *squares.tolist()]


def alike(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two images, told by their likeness, differ by rounding only."""
    if len(first) != len(second) or not len(first):
        return False
    spread = max(first[1], second[1], abs(first[0]) * _CLOSE)
    apart = np.abs(np.subtract(first, second))
    return bool((apart[:2] <= _CLOSE * spread).all() and (apart[2:] <= _CLOSE).all())


def _block_means(values: np.ndarray) -> np.ndarray:
    """`(N,)` means of the blocks."""
    for axis, count in enumerate(values.shape):
        edges = np.unique(np.linspace(0, count, _BLOCKS + 1).astype(int))
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        shape = [-1 if a == axis else 1 for a in range(values.ndim)]
        values = sums / np.diff(edges).reshape(shape)
    return values.ravel()
