"""Voxel coordinates and sampling: the only module that knows `align_corners`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from DRDMCore.checks import require_choice

Box = tuple[tuple[int, int], ...]
"""First and one-past-last voxel per spatial axis."""

PADDINGS = ("border", "zeros", "reflection")
"""What lies outside the grid: the nearest voxel, nothing, or the mirror image."""

_TORCH_MODES = {"linear": "bilinear", "nearest": "nearest", "bicubic": "bicubic"}


def identity_coordinates(
    shape: Sequence[int], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Voxel coordinates of a grid: `(D, *shape)`, component `c` along axis `c`."""
    axes = [torch.arange(side, device=device, dtype=dtype) for side in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def cut(field: Tensor, box: Box) -> Tensor:
    """The box of a `(B, C, *S)` tensor, as a view."""
    for axis, (low, high) in enumerate(box, start=2):
        field = field.narrow(axis, low, high - low)
    return field


def sample(
    image: Tensor, coordinates: Tensor, *, mode: str = "linear", padding: str = "border"
) -> Tensor:
    """Read an image at voxel coordinates.

    Along an axis of one voxel the image is constant, whatever the coordinate and the padding.

    Args:
        image: `(B, C, *S)`.
        coordinates: `(B, D, *R)` voxel coordinates in `image`, any shape `R` of `D` axes.
        mode: `linear`, `nearest`, or `bicubic` (2D only: the cubic convolution with a = -0.75 that
            the published 2D program uses; `bspline.sample_cubic` is better and works in 3D).
        padding: One of `PADDINGS`.

    Returns:
        `(B, C, *R)`, in the dtype of `image`.

    Raises:
        ValueError: If `mode` or `padding` is unknown or not to be had in 3D.
    """
    along = list(coordinates.unbind(1))
    return _read(image, along, mode, padding)


def sample_displaced(
    image: Tensor, ddf: Tensor, *, mode: str = "linear", padding: str = "border"
) -> Tensor:
    """`sample` at `x + ddf(x)`, the same to the bit; no grid of coordinates is made.

    Args:
        image: `(B, C, *S)`.
        ddf: `(B, D, *S)` displacement, voxels.
        mode: As in `sample`.
        padding: One of `PADDINGS`.

    Returns:
        `(B, C, *S)`, in the dtype of `image`.
    """
    along = []
    for axis, side in enumerate(ddf.shape[2:]):
        index = torch.arange(side, device=ddf.device, dtype=ddf.dtype)
        along.append(index.reshape(-1, *[1] * (ddf.ndim - 3 - axis)) + ddf[:, axis])
    return _read(image, along, mode, padding)


def self_composed(ddf: Tensor, times: int, *, padding: str = "border") -> Tensor:
    """A displacement composed with itself `times` times: `d <- d + d(x + d)`.

    The same as repeated `sample`, but torch's own coordinates are kept from one to the next.

    Args:
        ddf: `(B, D, *S)` displacement, voxels.
        times: Number of squarings.
        padding: One of `PADDINGS`.

    Returns:
        `(B, D, *S)` displacement, voxels.
    """
    axes = [torch.linspace(-1, 1, side).to(ddf) for side in ddf.shape[2:]]
    base = torch.stack(torch.meshgrid(*axes, indexing="ij")).flip(0)
    last = torch.tensor([max(side - 1, 1) for side in ddf.shape[2:]]).to(ddf)
    last = last.reshape(-1, *[1] * len(axes))
    field = (2 * ddf / last).flip(1)
    for _ in range(times):
        lookup = torch.movedim(base + field, 1, -1)
        field = field + _grid_sample(field, lookup, "bilinear", padding)
    return field.flip(1) * last / 2


def _read(image: Tensor, along: Sequence[Tensor], mode: str, padding: str) -> Tensor:
    """Read an image at voxel coordinates, given as one `(B, *R)` tensor per axis."""
    require_choice("mode", mode, tuple(_TORCH_MODES))
    if mode == "bicubic" and image.ndim != 4:
        raise ValueError("`mode` 'bicubic' works in 2D only: use 'cubic' (B-spline) in 3D.")
    require_choice("padding", padding, PADDINGS)
    # This order of rounding is the published program's; another one moves its outputs by 2e-4.
    sides = image.shape[2:]
    scaled = [2 * at / max(side - 1, 1) - 1 for at, side in zip(along, sides, strict=True)]
    # Torch's order of axes; stacked in front, which is three plain copies, and seen from behind.
    lookup = torch.movedim(torch.stack(scaled[::-1], dim=1), 1, -1).to(image.dtype)
    batch = max(image.shape[0], lookup.shape[0])
    image = image.expand(batch, *image.shape[1:])
    lookup = lookup.expand(batch, *lookup.shape[1:])
    return _grid_sample(image, lookup, _TORCH_MODES[mode], padding)


def _grid_sample(image: Tensor, lookup: Tensor, mode: str, padding: str) -> Tensor:
    """Torch's `grid_sample`, exact voxels at -1 .. 1.

    On a CPU in 3D torch gives each sample of a batch to one thread: a single sample is read in as
    many parts as there are threads, which changes no bit.
    """
    parts = _parts(image, lookup)
    if parts > 1:
        shape = lookup.shape[1:-1]
        lookup = lookup.reshape(parts, -1, *[1] * (len(shape) - 1), len(shape))
        image = image.expand(parts, *image.shape[1:])
    read = F.grid_sample(image, lookup, mode=mode, padding_mode=padding, align_corners=True)
    if parts > 1:
        read = torch.movedim(read, 0, 1).reshape(1, -1, *shape)
    return read


def _parts(image: Tensor, lookup: Tensor) -> int:
    """In how many equal parts a lookup is read."""
    plain = image.device.type == "cpu" and image.ndim == 5 and len(lookup) == 1
    voxels = lookup.shape[1:-1].numel()
    if not plain or voxels < _FEWEST_IN_PARTS or image.requires_grad or lookup.requires_grad:
        return 1
    return max(n for n in range(1, torch.get_num_threads() + 1) if voxels % n == 0)


_FEWEST_IN_PARTS = 2**13
"""Fewer voxels than this are read by one thread: the others would cost more than they do."""


def resampling_matrix(
    side_in: int,
    side_out: int,
    *,
    start: float,
    step: float,
    beyond: str = "line",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Linear interpolation along one axis as a `(side_out, side_in)` matrix.

    Output voxel `i` reads the input coordinate `start + i * step`. Outside the input, `line` goes
    on along the last two voxels, so that affine fields are resized exactly; `border` stays at the
    last voxel.
    """
    position = start + step * torch.arange(side_out, device=device, dtype=torch.float64)
    if beyond == "border":
        position = position.clamp(0, side_in - 1)
    if side_in == 1:
        return torch.ones(side_out, 1, device=device, dtype=dtype)
    low = position.floor().clamp(0, side_in - 2)
    weight = position - low
    matrix = torch.zeros(side_out, side_in, device=device, dtype=torch.float64)
    rows = torch.arange(side_out, device=device)
    matrix[rows, low.long()] = 1 - weight
    matrix[rows, low.long() + 1] = weight
    return matrix.to(dtype)


def apply_along_axes(image: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each spatial axis of `(B, C, *S)` by its `(out, in)` matrix."""
    *others, along_last = matrices
    for axis, matrix in enumerate(others, start=2):
        before, side, after = image.shape[:axis], image.shape[axis], image.shape[axis + 1 :]
        product = matrix @ image.reshape(-1, side, math.prod(after))
        image = product.reshape(*before, len(matrix), *after)
    return image @ along_last.T


def resize(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample `(B, C, *S)` linearly to `shape` over the same field of view (edge-aligned)."""
    matrices = []
    for side_in, side_out in zip(image.shape[2:], shape, strict=True):
        step = side_in / side_out
        matrices.append(
            resampling_matrix(
                side_in,
                side_out,
                start=0.5 * step - 0.5,
                step=step,
                device=image.device,
                dtype=image.dtype,
            )
        )
    return apply_along_axes(image, matrices)


def upsample(image: Tensor, factor: int) -> Tensor:
    """Enlarge `(B, C, *S)` by a whole factor: linear, edge-aligned, constant beyond the border."""
    if factor == 1:
        return image
    matrices = [
        resampling_matrix(
            side, side * factor, start=0.5 / factor - 0.5, step=1 / factor, beyond="border"
        ).to(image)
        for side in image.shape[2:]
    ]
    return apply_along_axes(image, matrices)
