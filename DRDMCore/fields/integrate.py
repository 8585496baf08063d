"""Integration of stationary velocity fields: three ways to the same n-fold composition.

The random field of the paper is the n-fold self-composition of `id + v` for a small velocity `v`.
`sequential` makes n - 1 steps with the positions `x + v(x)`, as the published program does;
`squaring` composes powers of two; `exact` follows the trajectory of every wanted voxel, without
ever interpolating an intermediate displacement. `exp_svf` is the flow for a real time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from DRDMCore.checks import require_choice, require_field
from DRDMCore.fields.grid import (
    Box,
    cut,
    identity_coordinates,
    sample,
    sample_displaced,
    self_composed,
)


def integrate(
    svf: Tensor,
    counts: Sequence[int] | Tensor,
    *,
    method: str = "squaring",
    box: Box | None = None,
    padding: str = "border",
) -> Tensor:
    """n-fold self-composition of `id + svf`, each sample with its own n.

    Args:
        svf: `(B, D, *S)` velocity, voxels per step.
        counts: `B` whole numbers >= 0; 0 gives a zero field.
        method: `sequential`, `squaring` or `exact` (see the module).
        box: The part of the grid that is wanted; the whole grid by default.
        padding: Velocity outside the grid: `border` or `zeros`.

    Returns:
        `(B, D, *box)` displacement, voxels.

    Raises:
        ValueError: If the shapes, the counts or the names do not fit.
    """
    require_field("svf", svf)
    require_choice("method", method, tuple(METHODS))
    require_choice("padding", padding, ("border", "zeros"))
    whole = tuple((0, side) for side in svf.shape[2:])
    numbers = [int(count) for count in counts]
    if len(numbers) != len(svf) or min(numbers) < 0:
        raise ValueError(f"`counts` must be {len(svf)} whole numbers >= 0, got {list(counts)}.")
    power = METHODS[method]
    # One sample at a time: a sample never depends on the company it keeps.
    return torch.cat(
        [power(svf[i : i + 1], number, box or whole, padding) for i, number in enumerate(numbers)]
    )


def exp_svf(svf: Tensor, *, steps: int = 6, padding: str = "border") -> Tensor:
    """Flow of a velocity for unit time by scaling and squaring.

    Args:
        svf: `(B, D, *S)` velocity, voxels per unit time (scale it for another time).
        steps: Squarings; the first of the `2 ** steps` short steps is taken by the midpoint rule,
            so that one squaring more makes the error a quarter.
        padding: Displacement outside the grid: `border` or `zeros`.

    Returns:
        `(B, D, *S)` displacement, voxels.
    """
    require_field("svf", svf)
    short = svf / 2**steps
    first = sample_displaced(short, short / 2, padding=padding)
    return self_composed(first, steps, padding=padding)


def _sequential(svf: Tensor, count: int, box: Box, padding: str) -> Tensor:
    """`d_{k+1}(x) = v(x) + d_k(x + v(x))`: the positions never change, so the gather is fixed."""
    gather = _fixed_gather(svf, padding)
    ddf = torch.zeros_like(svf) if count == 0 else svf
    return cut(gather(ddf, max(count - 1, 0)), box)


def _squaring(svf: Tensor, count: int, box: Box, padding: str) -> Tensor:
    """Square on the whole grid until few steps are left; these move the voxels of the box alone."""
    identity = identity_coordinates(svf.shape[2:], device=svf.device, dtype=svf.dtype)[None]
    here = cut(identity, box)
    moved = torch.zeros_like(here)
    power = svf
    while count > _STEPS_AFTER_SQUARING:
        if count & 1:
            moved = moved + sample(power, here + moved, padding=padding)
        count >>= 1
        power = power + sample_displaced(power, power, padding=padding)
    for _ in range(count):
        moved = moved + sample(power, here + moved, padding=padding)
    return moved


_STEPS_AFTER_SQUARING = 12
"""Every square reads displacements between voxels, which smooths them: the last ones most. Steps of
a box smooth nothing and, a box being a seventh of a canvas in 3D, cost little."""


def _exact(svf: Tensor, count: int, box: Box, padding: str) -> Tensor:
    """Follow each voxel of the box for `count` steps."""
    identity = identity_coordinates(svf.shape[2:], device=svf.device, dtype=svf.dtype)
    here = cut(identity[None], box)
    travelled = torch.zeros_like(here)
    for _ in range(count):
        travelled = travelled + sample(svf, here + travelled, padding=padding)
    return travelled


METHODS: dict[str, Callable[[Tensor, int, Box, str], Tensor]] = {
    "sequential": _sequential,
    "squaring": _squaring,
    "exact": _exact,
}


_FEWEST_FOR_SPARSE = 2**13
"""Fewer voxels than this are sampled: threads that wait for each other cost more than they do."""


def _fixed_gather(svf: Tensor, padding: str) -> Callable[[Tensor, int], Tensor]:
    """A function `(d, n)` that repeats `d <- svf + d(x + svf(x))` n times."""
    small = svf[0, 0].numel() < _FEWEST_FOR_SPARSE
    if small or svf.requires_grad or not _has_sparse_product(svf.device):
        return _gather_by_sampling(svf, padding)
    return _gather_by_sparse_product(svf, padding)


def _gather_by_sampling(svf: Tensor, padding: str) -> Callable[[Tensor, int], Tensor]:
    """The differentiable way, for any device."""
    position = identity_coordinates(svf.shape[2:], device=svf.device, dtype=svf.dtype) + svf

    def repeat(ddf: Tensor, times: int) -> Tensor:
        for _ in range(times):
            ddf = svf + sample(ddf, position, padding=padding)
        return ddf

    return repeat


def _gather_by_sparse_product(svf: Tensor, padding: str) -> Callable[[Tensor, int], Tensor]:
    """The fast way: linear interpolation at fixed positions is one sparse matrix."""
    matrix = _interpolation_matrix(svf, padding)
    # A fourth column costs nothing and lets the product use whole vector registers.
    columns = _as_columns(svf, 4)

    def repeat(ddf: Tensor, times: int) -> Tensor:
        moving = _as_columns(ddf, 4)
        other = torch.empty_like(moving)
        for _ in range(times):
            torch.addmm(columns, matrix, moving, out=other)
            moving, other = other, moving
        return moving[:, : svf.shape[1]].T.reshape(svf.shape).contiguous()

    return repeat


def _as_columns(field: Tensor, width: int) -> Tensor:
    """`(1, D, *S)` as `(voxels, width)`, padded with zeros."""
    columns = field.new_zeros(field[0, 0].numel(), width)
    columns[:, : field.shape[1]] = field[0].flatten(1).T
    return columns


def _interpolation_matrix(svf: Tensor, padding: str) -> Tensor:
    """Sparse `(voxels, voxels)`: row x holds the linear weights of the voxels around x + v(x)."""
    shape = svf.shape[2:]
    position = (identity_coordinates(shape, device=svf.device, dtype=svf.dtype) + svf[0]).flatten(1)
    index = torch.zeros(position.shape[1], 1, dtype=torch.int32, device=svf.device)
    value = torch.ones_like(position[0])[:, None]
    for along, side in zip(position, shape, strict=True):
        low, weights = _linear_weights(along, side, padding)
        pair = torch.stack([low, low + min(1, side - 1)], dim=1)
        index = (index[:, :, None] * side + pair[:, None]).flatten(1)
        value = (value[:, :, None] * weights[:, None]).flatten(1)
    return _csr(index, value)


def _linear_weights(along: Tensor, side: int, padding: str) -> tuple[Tensor, Tensor]:
    """Lower voxel `(voxels,)` and the weights of it and the next `(voxels, 2)` on one axis."""
    inside = along.clamp(0, side - 1)
    low = inside.floor().clamp(max=max(side - 2, 0))
    fraction = inside - low
    weights = torch.stack([1 - fraction, fraction], dim=1)
    if padding == "zeros" and side > 1:
        # reference: outside, `zeros` fades linearly to nothing over one voxel
        weights = weights * (1 - (along - inside).abs().clamp(max=1))[:, None]
    return low.to(torch.int32), weights


def _csr(index: Tensor, value: Tensor) -> Tensor:
    """Compressed rows from `(voxels, entries)` columns and values."""
    rows, entries = index.shape
    offsets = torch.arange(0, rows * entries + 1, entries, dtype=torch.int32, device=index.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            offsets, index.reshape(-1), value.reshape(-1), size=(rows, rows), check_invariants=False
        )


def _has_sparse_product(device: torch.device) -> bool:
    """Whether torch multiplies compressed sparse rows there."""
    return device.type == "cuda" or (device.type == "cpu" and torch.backends.mkl.is_available())
