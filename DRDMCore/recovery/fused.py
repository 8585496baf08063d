"""Convolutions that a CPU does in one go with what follows them; where it cannot, one by one.

oneDNN applies an activation, or adds another image, while a convolution's result is still in the
processor's cache. Torch offers that to its compiler only (`torch.ops.mkldnn`), so a small trial
decides whether this torch and this processor do it; without, and wherever a gradient is wanted,
the same is done by plain functions.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from DRDMCore.recovery.blocks import (
    autocast_type,
    autocasts,
    channels_last,
    dilated,
    has_onednn,
    spatial,
)

SLOPE = 1e-6  # reference: LeakyReLU with a slope so small that it is a ReLU with a trace

Convolution = nn.Conv2d | nn.Conv3d
Transposed = nn.ConvTranspose2d | nn.ConvTranspose3d
Kept = dict[tuple[object, torch.dtype], tuple[Tensor, ...]]
"""By type: weight and bias of a convolution, in oneDNN's own order; memory of a shape."""

_kept: ContextVar[Kept | None] = ContextVar("_kept", default=None)


@contextlib.contextmanager
def weights_kept(earlier: Kept | None = None) -> Iterator[None]:
    """A time in which no weight changes: each is brought into oneDNN's own order once.

    Args:
        earlier: What another such time has filled, if no weight has changed since.
    """
    token = _kept.set({} if earlier is None else earlier)
    try:
        yield
    finally:
        _kept.reset(token)


def convolved(conv: Convolution | Transposed, image: Tensor, shift: Tensor | None = None) -> Tensor:
    """A convolution, plain or transposed, and a number added to each channel.

    Args:
        conv: The convolution, its border filled with zeros.
        image: `(B, in, *S)`.
        shift: `(B, out)` or nothing.

    Returns:
        `(B, out, *R)`, of autocast's type where that is on.
    """
    kind = _fused_type(image)
    if kind is None or (shift is not None and len(shift) > 1):
        result = conv(image)
        return result if shift is None else shifted(result, shift)
    return _fused(conv, image, kind, shift=shift)


def in_working_type(image: Tensor) -> Tensor:
    """An image in the type that convolutions work in, so that what follows handles less memory."""
    kind = _fused_type(image)
    return image if kind is None else image.to(kind)


def fleeting_activation(image: Tensor) -> Tensor:
    """The activation of an image, good until the next one of that shape is asked for.

    New memory costs more than the activation: the system has to clear it page by page.
    """
    kept, key = _kept.get(), (image.shape, image.dtype)
    if kept is None or _fused_type(image) is None:
        return F.leaky_relu(image, SLOPE)
    if key not in kept:
        kept[key] = (torch.empty_like(image),)
    (memory,) = kept[key]
    return torch.ops.aten.leaky_relu.out(image, SLOPE, out=memory)


def activated(conv: Convolution, image: Tensor) -> Tensor:
    """`convolved` and its activation, by a convolution that keeps every side."""
    kind = _fused_type(image)
    if kind is None:
        return F.leaky_relu(dilated(conv, image), SLOPE)
    return _fused(conv, image, kind, "leaky_relu", [SLOPE])


def activated_sum(conv: Convolution, image: Tensor, other: Tensor) -> Tensor:
    """`convolved` plus another image, and the activation of the sum.

    Args:
        conv: A convolution that keeps every side, its border filled with zeros.
        image: `(B, in, *S)`.
        other: `(B, out, *S)`; without gradients it may be overwritten.

    Returns:
        `(B, out, *S)`.
    """
    kind = _fused_type(image)
    if kind is None:
        return F.leaky_relu(dilated(conv, image) + other, SLOPE)
    # The sum knows no leaky activation; the trace of the negative is far below bf16's last digit.
    exact = kind == torch.float32
    activation = None if exact else "relu"
    fused = torch.ops.mkldnn._convolution_pointwise_.binary
    image, other = channels_last(image.to(kind)), channels_last(other.to(kind))
    arguments = _arguments(conv, image)
    result: Tensor = fused(other, image, *arguments, "add", 1.0, activation, [], "")
    return F.leaky_relu_(result, SLOPE) if exact else result


def joined(skip: Tensor, conv: Transposed, image: Tensor, shift: Tensor) -> Tensor:
    """An image beside a transposed convolution of another, a number added to each channel.

    Args:
        skip: `(B, C, *R)`; without gradients it may be overwritten.
        conv: The transposed convolution.
        image: `(B, in, *S)`.
        shift: `(B, C + out)`.

    Returns:
        `(B, C + out, *R)`.
    """
    if _fused_type(image) is None:
        return shifted(torch.cat([skip, conv(image)], dim=1), shift)
    old, new = shift.tensor_split([skip.shape[1]], dim=1)
    return torch.cat([shifted(skip, old), convolved(conv, image, new)], dim=1)


def normed(norm: nn.Module, image: Tensor) -> Tensor:
    """An instance norm whose result is in channels-last memory.

    Args:
        norm: `nn.InstanceNorm2d` or `nn.InstanceNorm3d` with factor and shift.
        image: `(B, C, *S)` in channels-last memory; without gradients it may be overwritten.

    Returns:
        `(B, C, *S)`.
    """
    if torch.is_grad_enabled() or image.device.type != "cpu" or len(image) > 1:
        return channels_last(norm(image))  # torch's norm leaves the channels-last layout
    assert isinstance(norm, (nn.InstanceNorm2d, nn.InstanceNorm3d))
    if image.dtype == torch.float32:
        return _normed_rows(norm, image)
    # The instance norm of one sample is its batch norm, which works in any layout.
    return F.batch_norm(image, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)


def _normed_rows(norm: nn.InstanceNorm2d | nn.InstanceNorm3d, image: Tensor) -> Tensor:
    """The same by rows of voxels and one product of matrices: in float32 1.4 times as fast."""
    rows, wide = _as_rows(channels_last(image))[0], image.shape[-1]
    voxels = image[0, 0].numel()
    mean = rows.sum(0).reshape(wide, -1).sum(0) / voxels
    rows = rows.sub_(mean.repeat(wide))
    columns = rows.reshape(voxels, -1)
    variance = (columns.T @ columns).diagonal() / voxels
    scale = norm.weight * (variance + norm.eps).rsqrt()
    rows = torch.addcmul(norm.bias.repeat(wide), rows, scale.repeat(wide), out=rows)
    return torch.movedim(rows.reshape(1, *image.shape[2:], -1), -1, 1)


def shifted(image: Tensor, shift: Tensor) -> Tensor:
    """An image with a number added to each channel.

    Args:
        image: `(B, C, *S)` in channels-last memory; without gradients it is overwritten.
        shift: `(B, C)`.

    Returns:
        `(B, C, *S)`, of the type of `image`.
    """
    shift = shift.to(image.dtype)
    if torch.is_grad_enabled():
        return image + spatial(shift, image.ndim - 2)
    # Whole rows of voxels: torch adds a few channels at a time 4 times slower.
    image = channels_last(image)
    _as_rows(image).add_(shift.repeat(1, image.shape[-1])[:, None])
    return image


def _as_rows(image: Tensor) -> Tensor:
    """`(B, C, *S, W)` in channels-last memory as `(B, rows, W * C)`, a view."""
    last = torch.movedim(image, 1, -1)
    return last.view(len(image), -1, last.shape[-2] * last.shape[-1])


def _fused(
    conv: Convolution | Transposed,
    image: Tensor,
    kind: torch.dtype,
    activation: str = "none",
    numbers: Sequence[float] = (),
    shift: Tensor | None = None,
) -> Tensor:
    """A convolution and its activation at once."""
    image = channels_last(image.to(kind))
    weight, bias, *sizes = _arguments(conv, image)
    if shift is not None:
        bias = bias + shift[0].to(kind)
    fused = torch.ops.mkldnn._convolution_pointwise
    if isinstance(conv, Transposed):
        fused = torch.ops.mkldnn._convolution_transpose_pointwise
    result: Tensor = fused(image, weight, bias, *sizes, activation, numbers, "")
    return result


def _arguments(conv: Convolution | Transposed, image: Tensor) -> list[Any]:
    """A convolution as the arguments that follow the image."""
    sizes = [conv.padding, conv.stride, conv.dilation, conv.groups]
    if isinstance(conv, Transposed):
        sizes.insert(1, conv.output_padding)
    return [*_weights(conv, image, sizes), *sizes]


def _weights(
    conv: Convolution | Transposed, image: Tensor, sizes: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    """Weight and bias in the type of the image; in oneDNN's order where they are kept."""
    kept, key = _kept.get(), (conv, image.dtype)
    if kept is not None and key in kept:
        weight, bias = kept[key]
        return weight, bias
    assert conv.bias is not None
    weight, bias = conv.weight.to(image.dtype), conv.bias.to(image.dtype)
    order = torch.ops.mkldnn._reorder_convolution_weight
    if isinstance(conv, Transposed):
        order = torch.ops.mkldnn._reorder_convolution_transpose_weight
    elif kept is None:
        return weight, bias
    weight = order(weight, *sizes, image.shape)
    if kept is not None:
        kept[key] = weight, bias
    return weight, bias


def _fused_type(image: Tensor) -> torch.dtype | None:
    """The type to compute in, `None` where the plain functions must do."""
    if torch.is_grad_enabled() or image.device.type != "cpu" or not has_onednn():
        return None
    kind = autocast_type() if autocasts() else image.dtype
    return kind if _is_fused(kind, image.ndim - 2) else None


@functools.cache
def _is_fused(kind: torch.dtype, dimension: int) -> bool:
    """Whether torch and processor convolve, activate and add at once, found by doing it."""
    if kind not in (torch.float32, torch.bfloat16):
        return False
    shape, sides = [3] * dimension, [1] * dimension
    image = channels_last(torch.ones(1, 2, *shape, dtype=kind))
    weight, bias = torch.zeros(2, 2, *shape, dtype=kind), torch.ones(2, dtype=kind)
    weight.flatten(2)[..., 3**dimension // 2] = 1
    arguments = (weight, bias, sides, sides, sides, 1)
    try:
        if kind == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        activated = torch.ops.mkldnn._convolution_pointwise(
            image, *arguments, "leaky_relu", [SLOPE], ""
        )
        added = torch.ops.mkldnn._convolution_pointwise_.binary(
            -5 * image, image, *arguments, "add", 1.0, "relu", [], ""
        )
        sizes = (sides, [0] * dimension, sides, sides, 1)
        order = torch.ops.mkldnn._reorder_convolution_transpose_weight
        enlarged = torch.ops.mkldnn._convolution_transpose_pointwise(
            image, order(weight, *sizes, image.shape), bias, *sizes, "none", [], ""
        )
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool((activated == 3).all() and (added == 0).all() and (enlarged == 3).all())
