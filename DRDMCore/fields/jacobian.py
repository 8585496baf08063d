"""Jacobian determinants and folding."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from DRDMCore.checks import require_field

_SLAB = 8
"""Cells of the first axis that are looked at together when folds are searched."""


def jacobian_determinant(ddf: Tensor) -> Tensor:
    """det(I + grad u) by central differences (one-sided at the border).

    Axes of one voxel count as undeformed.

    Args:
        ddf: `(B, D, *S)` displacement, voxels.

    Returns:
        `(B, *S)`; 1 keeps the volume, below 0 folds.
    """
    require_field("ddf", ddf)
    axes = _long_axes(ddf)
    if not axes:
        return torch.ones_like(ddf[:, 0])
    rows = [list(torch.gradient(ddf[:, axis], dim=[a + 1 for a in axes])) for axis in axes]
    return _determinant(rows)


def corner_determinants(ddf: Tensor) -> Tensor:
    """det(I + grad u) at every corner of every cell of the grid, by one-sided differences.

    A cell is the cube between neighbouring voxels. Where all its corner determinants are
    positive, the field keeps the orientation of every corner simplex: a stricter test than
    central differences, which miss folds of one voxel.

    Args:
        ddf: `(B, D, *S)` displacement, voxels.

    Returns:
        `(B, 2 ** d, *cells)` with `d` the number of axes longer than one voxel, `cells` one less
        per such axis.
    """
    require_field("ddf", ddf)
    axes = _long_axes(ddf)
    corners = [
        _corner_determinant(ddf, axes, c) for c in itertools.product((0, 1), repeat=len(axes))
    ]
    return torch.stack(corners, dim=1)


def folded(ddf: Tensor) -> Tensor:
    """Voxels at which any corner determinant is not positive: `(B, *S)` booleans."""
    require_field("ddf", ddf)
    mask = torch.zeros((len(ddf), *ddf.shape[2:]), dtype=torch.bool, device=ddf.device)
    first = ddf.shape[2]
    # Slab by slab along the first axis: what is in the processor's cache is read eight times.
    for low in range(0, max(first - 1, 1), _SLAB):
        high = min(low + _SLAB + 1, first)
        mask[:, low:high] |= _folded(ddf[:, :, low:high], thick=first > 1)
    return mask


def _folded(ddf: Tensor, *, thick: bool) -> Tensor:
    """`folded` in one go."""
    axes = _long_axes(ddf) if thick else [a for a in _long_axes(ddf) if a > 0]
    mask = torch.zeros((len(ddf), *ddf.shape[2:]), dtype=torch.bool, device=ddf.device)
    for corner in itertools.product((0, 1), repeat=len(axes)):
        bad = _corner_determinant(ddf, axes, corner) <= 0
        box = [slice(None)] * (ddf.ndim - 1)
        for axis, offset in zip(axes, corner, strict=True):
            side = ddf.shape[2 + axis]
            box[1 + axis] = slice(offset, side - 1 + offset)
        mask[tuple(box)] |= bad
    return mask


def folding_percent(ddf: Tensor) -> Tensor:
    """Share of folded voxels in percent: `(B,)`."""
    return 100.0 * folded(ddf).flatten(1).double().mean(1)


def _long_axes(ddf: Tensor) -> list[int]:
    """Spatial axes of more than one voxel: the others cannot be differentiated."""
    return [axis for axis, side in enumerate(ddf.shape[2:]) if side > 1]


def _corner_determinant(ddf: Tensor, axes: list[int], corner: tuple[int, ...]) -> Tensor:
    """Determinant from the edges that meet at one corner of each cell: `(B, *cells)`."""
    if not axes:
        return torch.ones_like(ddf[:, 0])
    columns = []
    for axis in axes:
        edge = ddf
        for other, offset in zip(axes, corner, strict=True):
            if other != axis:
                edge = edge.narrow(2 + other, offset, ddf.shape[2 + other] - 1)
        columns.append(torch.diff(edge, dim=2 + axis))
    return _determinant([[column[:, row] for column in columns] for row in axes])


def _determinant(grad: list[list[Tensor]]) -> Tensor:
    """det(I + grad) of 1 x 1 to 3 x 3 matrices of tensors, written out (fast, any device)."""
    m = [[g + 1 if r == c else g for c, g in enumerate(row)] for r, row in enumerate(grad)]
    if len(m) == 1:
        return m[0][0]
    if len(m) == 2:
        return m[0][0] * m[1][1] - m[0][1] * m[1][0]
    return (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )
