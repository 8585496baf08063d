"""Resize a displacement in voxels between grids over the same field of view.

One matrix per axis, so that a cubic resize costs three small products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_Kernel = Callable[[np.ndarray], np.ndarray]


def resize_vectors(ddf: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize a displacement; it moves anatomy by the same part of the field of view.

    Cubic splines along axes that get more voxels (the Jacobian then has no kinks), else linear.
    Beyond the outer voxel centres the field goes on as it came (odd reflection), so affine fields
    stay affine to the edge.

    Args:
        ddf: `(D, *S)` float32, voxels.
        shape: `D` integers >= 1.

    Returns:
        `(D, *shape)` float32, voxels of the new grid.
    """
    old = ddf.shape[1:]
    result = ddf.copy()
    for axis, (before, after) in enumerate(zip(old, shape, strict=True)):
        if before != after:
            matrix = _resizing_matrix(before, after).astype(np.float32)
            moved = np.tensordot(matrix, result, axes=(1, axis + 1))
            result = np.moveaxis(moved, 0, axis + 1)
            result[axis] *= after / before
    return np.ascontiguousarray(result)


def _resizing_matrix(before: int, after: int) -> np.ndarray:
    """`(after, before)` weights from voxels to voxels of an edge-aligned axis."""
    positions = (np.arange(after) + 0.5) * before / after - 0.5
    if after > before > 2:  # with two voxels the spline is the line
        return _weights(positions, before, _cubic, 2) @ _spline_coefficients(before)
    return _weights(positions, before, _hat, 1)


def _spline_coefficients(count: int) -> np.ndarray:
    """Matrix from samples to the coefficients of the natural cubic spline through them."""
    collocation = np.eye(count) * 4 + np.eye(count, k=1) + np.eye(count, k=-1)
    collocation[0], collocation[-1] = 6 * np.eye(count)[0], 6 * np.eye(count)[-1]
    return 6 * np.linalg.inv(collocation)


def _weights(positions: np.ndarray, count: int, kernel: _Kernel, reach: int) -> np.ndarray:
    """Kernel weights of each coefficient at each position, odd reflection at both ends."""
    matrix = np.zeros((len(positions), count))
    last = count - 1
    rows = np.arange(len(positions))
    for offset in range(1 - reach, reach + 1):
        index = np.floor(positions).astype(int) + offset
        weight = kernel(np.abs(positions - index))
        inside = np.clip(index, 0, last)
        beyond = index != inside
        # c[-k] = 2 c[0] - c[k]: a line goes on as a line
        mirrored = np.clip(2 * inside - index, 0, last)
        np.add.at(matrix, (rows, inside), np.where(beyond, 2 * weight, weight))
        np.add.at(matrix, (rows, mirrored), np.where(beyond, -weight, 0.0))
    return matrix


def _hat(distance: np.ndarray) -> np.ndarray:
    """Linear B-spline."""
    return np.clip(1 - distance, 0, None)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Cubic B-spline."""
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)
