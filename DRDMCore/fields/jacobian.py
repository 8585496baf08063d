"""Jacobian determinants, folding, and Motion Separability."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.checks import require_field

_SLAB = 8
"""Cells of the first axis that are looked at together when folds are searched."""
_SLAB_VOXELS = 2**16
"""Voxels that are looked at together when pairs are searched."""


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


def motion_separability(ddf: Tensor, distance: int) -> Tensor:
    """Largest difference of motion between two voxels at a Chebyshev distance (RAN, MedIA 2024).

    `max |d(x1) - d(x2)|_inf` over all pairs with `|x1 - x2|_inf = distance`.

    Args:
        ddf: `(B, D, *S)` displacement, voxels (scale it first for other units).
        distance: Voxels, at least 1 and less than the longest side.

    Returns:
        `(B,)` in the unit of `ddf`.

    Raises:
        ValueError: If `distance` does not fit the grid.
    """
    dimension = require_field("ddf", ddf)
    if not 1 <= distance < max(ddf.shape[2:]):
        raise ValueError(
            f"`distance` must be 1 .. {max(ddf.shape[2:]) - 1} voxels, got {distance}."
        )
    worst = torch.zeros(len(ddf), device=ddf.device, dtype=ddf.dtype)
    for axis in range(dimension):
        if ddf.shape[2 + axis] > distance:
            worst = torch.maximum(worst, _separability_along(ddf, axis, distance))
    return worst


def _separability_along(ddf: Tensor, axis: int, distance: int) -> Tensor:
    """Pairs that lie exactly `distance` apart along `axis` and at most that along the others."""
    # Slab by slab along the axis, as folds are searched: a slab stays in the processor's cache.
    ddf = torch.movedim(ddf, 2 + axis, 2).contiguous()
    window = [1] + [2 * distance + 1] * (ddf.ndim - 3)
    worst = torch.zeros(len(ddf), device=ddf.device, dtype=ddf.dtype)
    slab = max(_SLAB_VOXELS // ddf.shape[3:].numel(), 1)
    for low in range(0, ddf.shape[2] - distance, slab):
        high = min(low + slab, ddf.shape[2] - distance)
        here, there = ddf[:, :, low:high], ddf[:, :, low + distance : high + distance]
        above = _window_maximum(there, window) - here
        below = here + _window_maximum(-there, window)
        worst = torch.maximum(worst, torch.maximum(above, below).flatten(1).amax(1))
    return worst


def _window_maximum(image: Tensor, window: list[int]) -> Tensor:
    """Maximum over a centred window per axis, cut off at the border of the grid."""
    for axis, width in enumerate(window):
        if width > 1:
            reach = min(width // 2, image.shape[2 + axis] - 1)
            image = _axis_maximum(image, axis, reach)
    return image


def _axis_maximum(image: Tensor, axis: int, reach: int) -> Tensor:
    """Running maximum over `2 reach + 1` voxels of one axis, by doubling."""
    along = 2 + axis
    pad = [0, 0] * (image.ndim - 2)
    pad[2 * (image.ndim - 3 - axis)] = pad[2 * (image.ndim - 3 - axis) + 1] = reach
    result = F.pad(image, pad, value=-torch.inf)
    width, wanted = 1, 2 * reach + 1
    while width < wanted:
        step = min(width, wanted - width)
        side = result.shape[along] - step
        result = torch.maximum(result.narrow(along, 0, side), result.narrow(along, step, side))
        width += step
    return result


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
