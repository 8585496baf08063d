"""Small argument checks shared by the front doors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor


def require_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise `ValueError` listing the choices unless `value` is one of them."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be one of {listed}, got {value!r}.")


def require_field(name: str, ddf: Tensor) -> int:
    """Return the number of spatial axes of a `(B, D, *S)` field, or raise `ValueError`."""
    dimension = ddf.ndim - 2
    if dimension not in (2, 3) or ddf.shape[1] != dimension:
        raise ValueError(
            f"`{name}` must have shape (B, 2, H, W) or (B, 3, D, H, W), got {tuple(ddf.shape)}: "
            "one component per spatial axis."
        )
    if not torch.is_floating_point(ddf):
        raise TypeError(f"`{name}` must be a floating-point tensor, got {ddf.dtype}.")
    return dimension


def require_field_for_image(image: Tensor, ddf: Tensor) -> None:
    """Raise `ValueError` unless `ddf` lies on the grid of `image` (batches equal or one)."""
    require_field("ddf", ddf)
    batches = {image.shape[0], ddf.shape[0]}
    if image.shape[2:] != ddf.shape[2:] or (len(batches) > 1 and 1 not in batches):
        raise ValueError(
            f"`ddf` must lie on the grid of `image`, whose shape is {tuple(image.shape)}, "
            f"got {tuple(ddf.shape)}: resize one to the other first."
        )
