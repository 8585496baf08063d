"""Pull images and labels through a displacement field."""

from __future__ import annotations

import torch
from torch import Tensor

from DRDMCore.checks import require_choice, require_field_for_image
from DRDMCore.fields.bspline import sample_cubic
from DRDMCore.fields.grid import PADDINGS, identity_coordinates, sample, sample_displaced

IMAGE_MODES = ("linear", "nearest", "cubic", "bicubic")
LABEL_MODES = ("nearest", "linear")


def warp(image: Tensor, ddf: Tensor, *, mode: str = "linear", padding: str = "border") -> Tensor:
    """Pull an image through a displacement field: `out(x) = image(x + ddf(x))`.

    Args:
        image: `(B, C, *S)`; a batch of one is shared by all fields.
        ddf: `(B, D, *S)` displacement, voxels.
        mode: `linear`, `nearest`, `cubic` (interpolating cubic B-spline; may overshoot) or
            `bicubic` (2D, as the published program).
        padding: `border`, `zeros` or `reflection` (not for `cubic`).

    Returns:
        `(B, C, *S)`.

    Raises:
        ValueError: If the shapes do not fit, or `mode` or `padding` is unknown.
    """
    require_field_for_image(image, ddf)
    require_choice("mode", mode, IMAGE_MODES)
    require_choice("padding", padding, ("border", "zeros") if mode == "cubic" else PADDINGS)
    if mode == "cubic":
        return sample_cubic(image, displaced_coordinates(ddf), padding=padding)
    return sample_displaced(image, ddf, mode=mode, padding=padding)


def warp_labels(
    labels: Tensor, ddf: Tensor, *, mode: str = "nearest", padding: str = "border"
) -> Tensor:
    """Pull a label map through a displacement field; no value appears that was not there.

    Args:
        labels: `(B, 1, *S)` integers.
        ddf: `(B, D, *S)` displacement, voxels.
        mode: `nearest`, or `linear`: each label is read linearly and the largest wins.
        padding: `border`, or `zeros` (label 0 outside).

    Returns:
        `(B, 1, *S)`, in the dtype of `labels`.

    Raises:
        TypeError: If `labels` are not integers.
        ValueError: If the shapes do not fit, or `mode` or `padding` is unknown.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"`labels` must be integers, got {labels.dtype}: use `warp` for images.")
    require_field_for_image(labels, ddf)
    require_choice("mode", mode, LABEL_MODES)
    require_choice("padding", padding, ("border", "zeros"))
    coordinates = displaced_coordinates(ddf)
    values = torch.unique(labels)  # sorted: indices stay exact in floating point
    if mode == "nearest":
        return _nearest_labels(labels, values, coordinates, padding)
    if padding == "zeros":  # label 0 lies outside, even where the map has none
        values = torch.unique(torch.cat([torch.zeros_like(values[:1]), values]))
    return _largest_label(labels, values, coordinates, padding)


def displaced_coordinates(ddf: Tensor) -> Tensor:
    """`x + ddf(x)` in voxel coordinates: `(B, D, *S)`."""
    return identity_coordinates(ddf.shape[2:], device=ddf.device, dtype=ddf.dtype) + ddf


def _nearest_labels(labels: Tensor, values: Tensor, coordinates: Tensor, padding: str) -> Tensor:
    """Nearest voxel's label; indices of `values` travel so that large labels stay exact."""
    index = torch.searchsorted(values, labels).to(coordinates.dtype) + 1
    read = sample(index, coordinates, mode="nearest", padding=padding).long()
    table = torch.cat([torch.zeros_like(values[:1]), values])  # entry 0: outside the grid
    return table[read].to(labels.dtype)


def _largest_label(labels: Tensor, values: Tensor, coordinates: Tensor, padding: str) -> Tensor:
    """The label whose linearly read indicator is largest (the smaller value on a tie)."""
    batch = max(labels.shape[0], coordinates.shape[0])
    best = torch.full((batch, 1, *coordinates.shape[2:]), -1.0, device=labels.device)
    best = best.to(coordinates.dtype)
    winner = torch.zeros(best.shape, dtype=labels.dtype, device=labels.device)
    for value in values:
        share = sample((labels == value).to(coordinates.dtype), coordinates, padding=padding)
        if padding == "zeros" and value == 0:
            inside = torch.ones_like(labels, dtype=coordinates.dtype)
            share = share + 1 - sample(inside, coordinates, padding="zeros")
        better = share > best
        winner = torch.where(better, value, winner)
        best = torch.where(better, share, best)
    return winner
