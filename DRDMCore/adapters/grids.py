"""Between the tensors of training libraries and our volumes.

MONAI and TorchIO hold images as `(C, X, Y, Z)` with an affine to RAS mm; a `Volume` holds
`(z, y, x)` with the geometry of ITK.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.imaging import DisplacementField, Geometry, Volume, ddf_from_field
from DRDMCore.imaging.gate import require_usable_grid

_TO_RAS = Geometry((1, 1, 1), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel().tolist())).affine
"""LPS to RAS: the affine of the grid of one voxel."""


def volume_of(channel: Tensor, affine: Tensor | np.ndarray | None, title: str) -> Volume:
    """One channel of an image as a volume.

    Args:
        channel: `(X, Y)` or `(X, Y, Z)`.
        affine: Voxel to RAS mm, `(D + 1, D + 1)` or `(4, 4)`; `None`: voxels of 1 mm.
        title: How to call the image in a message.

    Returns:
        The image in float32. Of a 2D image the sizes of its pixels are kept and its place in
        space is not, which no field in the plane depends on.

    Raises:
        InputError: If there are not 2 or 3 axes, or the affine is sheared or no affine.
    """
    array = channel.detach().to("cpu", torch.float32).numpy()
    if array.ndim not in (2, 3):
        raise InputError(
            f"{title} must have shape (C, X, Y) or (C, X, Y, Z), got {array.ndim} axes after the "
            "channels: give single images, not batches."
        )
    geometry = _geometry(array.shape, affine, title)
    require_usable_grid(geometry, title)
    return Volume(array.T, geometry)


def ddf_for_tensor(field: DisplacementField) -> Tensor:
    """A field as `(1, D, *S)` float32 voxels along the axes of the library's tensor."""
    ddf = ddf_from_field(field)  # (D, z, y, x), first component along z
    turned = np.stack([component.T for component in ddf[::-1]])
    return torch.from_numpy(np.ascontiguousarray(turned, dtype=np.float32))[None]


def _geometry(size: tuple[int, ...], affine: Tensor | np.ndarray | None, title: str) -> Geometry:
    """The grid of an affine."""
    count = len(size)
    given = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
    if given.shape not in ((count + 1, count + 1), (4, 4)) or not np.isfinite(given).all():
        raise InputError(
            f"The affine of {title} must be {count + 1} x {count + 1} or 4 x 4 finite numbers, got "
            f"shape {given.shape}: correct it."
        )
    steps = given[: given.shape[0] - 1, :count]
    spacing = np.linalg.norm(steps, axis=0)
    if not spacing.all():
        raise InputError(f"The affine of {title} must be invertible, got {given.tolist()}.")
    if count == 2:
        return Geometry(size, tuple(spacing.tolist()), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    lps = np.linalg.solve(_TO_RAS, given)
    return Geometry(
        size=size,
        spacing_mm=tuple(spacing.tolist()),
        origin_mm=tuple(lps[:3, 3].tolist()),
        direction=tuple((lps[:3, :3] / spacing).ravel().tolist()),
    )
