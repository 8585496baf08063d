"""Motion Separability: how far two neighbours are torn apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.checks import require_field

_SLAB_VOXELS = 2**16
"""Voxels that are looked at together: they stay in the processor's cache."""
_LARGE = 2**18
"""Voxels of a field from which on it pays to look only where a pair can be large."""
_BLOCK = 8
"""Side of the blocks whose extremes say where that is, voxels."""
_FIRST, _BATCH = 4, 16
"""Blocks that are looked at together: the likeliest, and all others."""
_WORTH = 8
"""Looking at single blocks pays where at most one of so many is in question."""


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
    if distance == 1:
        return torch.stack([_of_neighbours(field) for field in ddf])
    axes = [axis for axis in range(dimension) if ddf.shape[2 + axis] > distance]
    of = _of_blocks if ddf[0, 0].numel() >= _LARGE else _of_slabs
    return torch.stack([of(field, axes, distance) for field in ddf])


def _of_neighbours(field: Tensor) -> Tensor:
    """Distance 1 in a field `(D, *S)`: all pairs of one offset after the other."""
    dimension = field.ndim - 1
    offsets = [o for o in itertools.product((0, 1, -1), repeat=dimension) if o > (0,) * dimension]
    thick = _thickness(field)
    worst = field.new_zeros(())
    for low in range(0, field.shape[1], thick):
        slab = field[:, low : low + thick + 1]
        for offset in offsets:
            one, two = slab, slab
            for axis, step in enumerate(offset, start=1):
                side = max(slab.shape[axis] - abs(step), 0)
                one = one.narrow(axis, min(max(-step, 0), slab.shape[axis] - side), side)
                two = two.narrow(axis, min(max(step, 0), slab.shape[axis] - side), side)
            if one.numel():
                worst = torch.maximum(worst, (one - two).abs_().max())
    return worst


def _of_slabs(field: Tensor, axes: Sequence[int], distance: int) -> Tensor:
    """All pairs of a field `(D, *S)`, that far apart along one axis after the other."""
    worst = field.new_zeros(())
    for axis in axes:
        along = torch.movedim(field, 1 + axis, 1).contiguous()
        aside = _aside(along.shape[1:], 0, distance)
        length, thick = along.shape[1] - distance, _thickness(along)
        for low in range(0, length, thick):
            high = min(low + thick, length)
            there = _padded(along[None, :, low + distance : high + distance], aside, aside)
            worst = torch.maximum(worst, _largest(along[None, :, low:high], there, aside))
    return worst


def _of_blocks(field: Tensor, axes: Sequence[int], distance: int) -> Tensor:
    """The same, to the bit, but only in blocks where a pair may be the largest.

    In a smooth field they are few; else all pairs are looked at.
    """
    low, high = _extremes(field)
    worst = field.new_zeros(())
    for axis in axes:
        bounds = _bounds(low, high, field.shape[1 + axis], axis, distance)
        order = bounds.flatten().argsort(descending=True)
        worst = _in_boxes(field, _corners(order[:_FIRST], bounds), axis, distance, worst)
        left = order[bounds.flatten()[order] > worst]
        if len(left) * _WORTH > len(order):
            return _of_slabs(field, axes, distance)
        for start in range(0, len(left), _BATCH):
            corners = _corners(left[start : start + _BATCH], bounds)
            worst = _in_boxes(field, corners, axis, distance, worst)
    return worst


def _extremes(field: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each block of a field: `(D, *blocks)` both."""
    short = [-side % _BLOCK for side in field.shape[1:]]
    low = high = _padded(field[None], [0] * len(short), short)[0]
    for axis in range(1, field.ndim):
        for _ in range(_BLOCK.bit_length() - 1):
            low = torch.minimum(*low.unflatten(axis, (-1, 2)).unbind(axis + 1))
            high = torch.maximum(*high.unflatten(axis, (-1, 2)).unbind(axis + 1))
    return low, high


def _bounds(low: Tensor, high: Tensor, side: int, axis: int, distance: int) -> Tensor:
    """What no pair of a block exceeds, `(*blocks)`.

    Args:
        low: `(D, *blocks)` smallest value of each block.
        high: The largest.
        side: Voxels along the axis.
        axis: Along which the other voxel of a pair is ahead.
        distance: How far.
    """
    around = (distance + _BLOCK - 1) // _BLOCK
    aside = _aside(low.shape[1:], axis, around)
    here = torch.arange(-(-(side - distance) // _BLOCK), device=low.device)
    first, last = distance // _BLOCK, (distance + _BLOCK - 1) // _BLOCK
    blocks = [(here + each).clamp(max=low.shape[1 + axis] - 1) for each in (first, last)]

    def highest_ahead(extremes: Tensor) -> Tensor:
        wide = _running_maximum(_padded(extremes[None], aside, aside), aside)[0]
        return torch.maximum(*[wide.index_select(1 + axis, each) for each in blocks])

    above = highest_ahead(high) - low.index_select(1 + axis, here)
    below = high.index_select(1 + axis, here) + highest_ahead(-low)
    return torch.maximum(above, below).amax(0)


def _corners(numbers: Tensor, blocks: Tensor) -> Tensor:
    """`(count, axes)` first voxels of some of the blocks, by their number."""
    return _BLOCK * torch.stack(torch.unravel_index(numbers, blocks.shape), dim=1)


def _in_boxes(field: Tensor, corners: Tensor, axis: int, distance: int, worst: Tensor) -> Tensor:
    """`worst`, or what is larger in some blocks.

    Beyond the border of the grid is the voxel at the border, which belongs to the pairs anyway.
    """
    shape = field.shape[1:]
    aside, inner, outer = _aside(shape, axis, distance), [], []
    for each, (side, reach) in enumerate(zip(shape, aside, strict=True)):
        ahead = distance if each == axis else 0
        wide = torch.arange(-reach, _BLOCK + reach, device=field.device)
        near = corners[:, each, None] + wide[reach : reach + _BLOCK]
        far = corners[:, each, None] + wide
        inner.append(near.clamp(0, side - 1 - ahead))
        outer.append(far.clamp(0, side - 1 - ahead) + ahead)
    found = _largest(_gathered(field, inner), _gathered(field, outer), aside)
    return torch.maximum(worst, found)


def _gathered(field: Tensor, places: Sequence[Tensor]) -> Tensor:
    """`(count, D, *sides)` of `(D, *S)`: the voxels at `(count, side)` places along each axis."""
    index: list[slice | Tensor] = [slice(None)]
    for axis, each in enumerate(places):
        sides = [1] * len(places)
        sides[axis] = each.shape[1]
        index.append(each.reshape(len(each), *sides))
    return torch.movedim(field[tuple(index)], 0, 1)


def _largest(inner: Tensor, outer: Tensor, aside: Sequence[int]) -> Tensor:
    """`()` largest difference of `(B, D, *S)` to windows of another, which is wider by `aside`."""
    above = _running_maximum(outer, aside) - inner
    below = inner + _running_maximum(-outer, aside)
    return torch.maximum(above.max(), below.max())


def _running_maximum(image: Tensor, aside: Sequence[int]) -> Tensor:
    """Maximum over `2 reach + 1` voxels per axis, by doubling; the image gets that much smaller."""
    for along, reach in enumerate(aside, start=2):
        width, wanted = 1, 2 * reach + 1
        while width < wanted:
            step = min(width, wanted - width)
            side = image.shape[along] - step
            image = torch.maximum(image.narrow(along, 0, side), image.narrow(along, step, side))
            width += step
    return image


def _aside(shape: Sequence[int], axis: int, reach: int) -> list[int]:
    """How far a window goes along each axis: not at all along the one of the pairs."""
    return [0 if each == axis else min(reach, side - 1) for each, side in enumerate(shape)]


def _padded(image: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """`(B, D, *S)` with its border repeated, which changes no extreme of a window."""
    both = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return F.pad(image, both, mode="replicate") if any(both) else image


def _thickness(field: Tensor) -> int:
    """Voxels of the first axis that are looked at together."""
    return max(_SLAB_VOXELS // field.shape[2:].numel(), 1)
