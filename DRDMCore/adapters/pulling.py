"""Move the tensor of an image or of labels with a field, where the tensor is."""

from __future__ import annotations

import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import invert, warp, warp_labels

PADDINGS = ("border", "zeros")


def pull(image: Tensor, ddf: Tensor, *, mode: str, padding: str, title: str) -> Tensor:
    """Pull every channel through one field: `out(x) = image(x + ddf(x))`.

    Args:
        image: `(C, *S)` on any device.
        ddf: `(1, D, *S)` displacement, voxels along the axes of `image`.
        mode: `nearest` for labels, of any type: no value appears that was not there; `linear` or
            `cubic` for images.
        padding: `border` or `zeros`.
        title: How to call the image in a message.

    Returns:
        `(C, *S)` on the device of `image`; labels and floating-point images in their type, integer
        images in float32.

    Raises:
        InputError: If the field lies on another grid.
    """
    if image.shape[1:] != ddf.shape[2:]:
        raise InputError(
            f"{title} must have the grid of the field, {tuple(ddf.shape[2:])}, got "
            f"{tuple(image.shape[1:])}: bring all images of a subject to one grid first."
        )
    ddf = ddf.to(image.device)
    if mode != "nearest":
        kind = image.dtype if image.is_floating_point() else torch.float32
        return warp(_exact(image, kind)[None], ddf, mode=mode, padding=padding)[0].to(kind)
    if image.is_floating_point():
        return warp(_exact(image, image.dtype)[None], ddf, mode=mode, padding=padding)[0].to(image)
    labels = image.to(torch.uint8) if image.dtype == torch.bool else image
    return warp_labels(labels[:, None], ddf, padding=padding)[:, 0].to(image.dtype)


def inverted(ddf: Tensor) -> Tensor:
    """The numerical inverse of a field without folds, `(1, D, *S)`, voxels.

    Exact to a thousandth of a voxel inside. Where a field does not end at zero at the border,
    what it pushed out of the image is lost.
    """
    return invert(ddf).ddf


def _exact(image: Tensor, kind: torch.dtype) -> Tensor:
    """At least float32, in which the places that are read from are exact enough."""
    return image.to(torch.promote_types(kind, torch.float32))
