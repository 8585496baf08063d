"""Remove folds from a displacement field by smoothing it where it folds, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.fields.grid import Box, cut
from DRDMCore.fields.jacobian import folded


class Unfolded(NamedTuple):
    """A repaired field.

    Attributes:
        ddf: `(1, D, *S)` displacement, voxels.
        changed: Voxels whose displacement changed by more than 0.01 voxel.
        remaining: Voxels that still fold.
    """

    ddf: Tensor
    changed: int
    remaining: int


def unfold(
    ddf: Tensor,
    *,
    iterations: int = 40,
    axes: Sequence[int] | None = None,
    pulse: Callable[[], object] = lambda: None,
) -> Unfolded:
    """Smooth a field around its folds until none is left.

    Each round blends the field with a Gaussian-smoothed copy within a few voxels of the folds; the
    smoothing widens while folds remain. Zeros at the border stay zero there.

    Args:
        ddf: `(1, D, *S)` displacement, voxels.
        iterations: At most so many rounds.
        axes: Spatial axes to smooth along; all by default (a stack of slices: the plane's only).
        pulse: Called before every round; may raise to stop.

    Returns:
        The field, how much was changed, and what could not be repaired.
    """
    axes = [a for a in (range(ddf.ndim - 2) if axes is None else axes) if ddf.shape[2 + a] > 1]
    border, bad = _inner(ddf), folded(ddf)
    if not bool(bad.any()):
        return Unfolded(ddf, 0, 0)
    result = ddf.clone()
    for round_ in range(iterations):
        if not bool(bad.any()):
            break
        pulse()
        for box in _boxes(bad[0], axes, _reach(round_)):
            _smooth_where(bad, result, border, box, axes, round_)
    moved = (result - ddf).abs().amax(1) > 0.01
    return Unfolded(result, int(moved.sum()), int(bad.sum()))


def _sigma(round_: int) -> float:
    """Standard deviation of the smoothing, voxels."""
    return 1.0 + 0.15 * round_


def _radius(sigma: float) -> int:
    """Voxels to each side that a smoothing looks at."""
    return math.ceil(2.5 * sigma)


def _grow_by(round_: int) -> int:
    """Voxels around a fold that are smoothed entirely, or nearly so."""
    return 1 + round_ // 4


def _reach(round_: int) -> int:
    """Voxels around a fold that a round reads."""
    return _grow_by(round_) + 2 * _radius(_sigma(round_))


def _smooth_where(
    bad: Tensor, field: Tensor, border: Tensor, box: Box, axes: Sequence[int], round_: int
) -> None:
    """One round inside a box, in place: the field, and where it folds."""
    inside, part = cut(bad[:, None], box), cut(field, box)
    sigma = _sigma(round_)
    share = _smooth(_grown(inside.to(field), axes, _grow_by(round_)), sigma, axes)
    share = (1.5 * share).clamp(max=1)
    part.copy_(torch.lerp(part, _smooth(part, sigma, axes) * cut(border, box), share))
    inside[:, 0] = _folds_in(field, box)


def _folds_in(field: Tensor, box: Box) -> Tensor:
    """Where a field folds inside a box; the cells at its faces reach one voxel further."""
    wide = _widened(box, [1] * len(box), field.shape[2:])
    inner = [(low - far, high - far) for (low, high), (far, _) in zip(box, wide, strict=True)]
    return cut(folded(cut(field, wide))[:, None], tuple(inner))[:, 0]


def _boxes(bad: Tensor, axes: Sequence[int], reach: int) -> list[Box]:
    """Boxes around groups of folds `(*S)`, so far apart that none reads what another writes."""
    # Along an axis that is not smoothed, voxels beside what changed may begin or cease to fold.
    margins = [reach if axis in axes else 1 for axis in range(bad.ndim)]
    groups = _apart(bad.nonzero(), [2 * margin + 2 for margin in margins])
    boxes = []
    for group in groups:
        low, high = group.amin(0).tolist(), (group.amax(0) + 1).tolist()
        boxes.append(_widened(tuple(zip(low, high, strict=True)), margins, bad.shape))
    return boxes


def _apart(places: Tensor, gaps: Sequence[int]) -> list[Tensor]:
    """Split places `(N, D)` wherever an axis has a gap wider than asked for."""
    for axis, gap in enumerate(gaps):
        along, order = places[:, axis].sort()
        cuts = ((along[1:] - along[:-1]) > gap).nonzero().flatten() + 1
        if len(cuts):
            parts = torch.tensor_split(places[order], cuts.tolist())
            return [each for part in parts for each in _apart(part, gaps)]
    return [places]


def _widened(box: Box, margins: Sequence[int], shape: Sequence[int]) -> Box:
    """The box with a margin, as far as the grid goes."""
    return tuple(
        (max(low - margin, 0), min(high + margin, side))
        for (low, high), margin, side in zip(box, margins, shape, strict=True)
    )


def _inner(ddf: Tensor) -> Tensor:
    """0 where the field is zero at the border of the grid (it must stay so), else 1."""
    keep = torch.ones_like(ddf[:, :1])
    still = (ddf == 0).all(dim=1, keepdim=True)
    for axis in range(2, ddf.ndim):
        for index in (0, ddf.shape[axis] - 1):
            keep.select(axis, index).copy_(~still.select(axis, index))
    return keep


def _grown(mask: Tensor, axes: Sequence[int], reach: int) -> Tensor:
    """Dilate a mask of zeros and ones by `reach` voxels along the axes."""
    pool = F.max_pool2d if mask.ndim == 4 else F.max_pool3d
    kernel = [2 * reach + 1 if a in axes else 1 for a in range(mask.ndim - 2)]
    return pool(mask, kernel, stride=1, padding=[k // 2 for k in kernel])


def _smooth(image: Tensor, sigma: float, axes: Sequence[int]) -> Tensor:
    """Gaussian smoothing along the axes, border repeated."""
    for axis in axes:
        radius = min(_radius(sigma), image.shape[2 + axis] - 1)
        offset = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
        kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
        moved = torch.movedim(image, 2 + axis, -1)
        flat = F.pad(moved.reshape(-1, 1, moved.shape[-1]), (radius, radius), mode="replicate")
        flat = F.conv1d(flat, (kernel / kernel.sum())[None, None])
        image = torch.movedim(flat.reshape(moved.shape), -1, 2 + axis)
    return image
