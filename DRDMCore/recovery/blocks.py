"""Building blocks shared by the recovery networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from DRDMCore.fields.grid import Box


def conv_class(dimension: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    """The convolution for 2 or 3 spatial axes."""
    return nn.Conv2d if dimension == 2 else Convolution3d


class Convolution3d(nn.Conv3d):
    """A convolution that a CPU always does by oneDNN, which torch does not use for small images.

    Torch's own way (2.13, one image in float32) takes 8 times as long for 20x28x20 voxels.
    Where it learns in bf16, the smallest images are done in float32 (`fewest_voxels`).
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution itself."""
        small = len(input) == 1 and input.shape[:4].numel() <= _MOST_WITHOUT
        plain = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
        learns = torch.is_grad_enabled() and (weight.requires_grad or input.requires_grad)
        wide = self.kernel_size != (1, 1, 1) and self.padding_mode == "zeros"
        reduced = input.dtype == torch.bfloat16 or (input.dtype == torch.float32 and autocasts())
        small_side = min(input.shape[2:]) < fewest_voxels(1)
        if learns and reduced and small_side and input.device.type == "cpu":
            return self._in_full_precision(input, weight, bias)
        if not (small and plain and wide) or learns or autocasts() or not has_onednn():
            return super()._conv_forward(input, weight, bias)
        sizes = (self.padding, self.stride, self.dilation)
        return torch.mkldnn_convolution(input, weight, bias, *sizes, self.groups)  # type: ignore[arg-type]

    def _in_full_precision(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution in float32 whatever autocast says; the result of the type it says."""
        wanted = autocast_type() if autocasts() else input.dtype
        with torch.autocast("cpu", enabled=False):
            bias = bias if bias is None else bias.float()
            return super()._conv_forward(input.float(), weight.float(), bias).to(wanted)


def fewest_voxels(dilation: int) -> int:
    """A 3D convolution may learn in bf16 on a CPU if every side has so many voxels.

    Where the processor has no AMX, torch 2.13 gives wrong or NaN gradients of weights for images
    two voxels deep (kernel 3) or wide (kernel 4, stride 2), and may write beyond its memory.
    """
    return 4 * dilation


_MOST_WITHOUT = 20480
"""Up to this product of the first four sides torch does without oneDNN."""


def has_onednn() -> bool:
    """Whether this torch has oneDNN and it is not switched off."""
    return torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()


def autocasts() -> bool:
    """Whether autocast is on for the CPU."""
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # torch < 2.4
        return torch.is_autocast_cpu_enabled()


def autocast_type() -> torch.dtype:
    """The type that autocast computes in on the CPU."""
    try:
        return torch.get_autocast_dtype("cpu")
    except AttributeError:  # torch < 2.4
        return torch.get_autocast_cpu_dtype()


def channels_last(tensor: Tensor) -> Tensor:
    """The tensor in channels-last memory, which convolutions prefer (about 1.6 times faster)."""
    # `contiguous(memory_format=...)` leaves the strides of a single channel, and torch then takes
    # the slow way: first convolution 5 times slower.
    wanted = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    if tensor.stride(1) == 1 and tensor.is_contiguous(memory_format=wanted):
        return tensor
    return torch.movedim(torch.movedim(tensor, 1, -1).contiguous(), -1, 1)


def in_full_precision(module: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Run a module in float32 whatever autocast says.

    The first convolution of the published weights loses recovery in bf16 (docs/decisions.md).
    """
    with torch.autocast(image.device.type, enabled=False):
        return module(image.float())


def normalised(norm: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """A norm, in float32 where a gradient is wanted; the result is of the image's type.

    torch computes the statistics of bf16 in float32 anyway, but the gradient of a channels-last
    group norm takes twice as long in bf16.
    """
    if torch.is_grad_enabled():
        return in_full_precision(norm, image).to(image.dtype)
    return norm(image)


def neighbours_at_once(conv: nn.Conv2d | nn.Conv3d, image: Tensor) -> Tensor:
    """A convolution with few results in float32: those of neighbours are computed together.

    An AVX-512 processor computes 16 channels at a time, also where there are 2 or 3. So four
    neighbours along the last axis become channels of a wider convolution (3D: 1.6 times faster).

    Args:
        conv: A convolution that keeps every side, not dilated, its border filled with zeros.
        image: `(B, in, *S)`.

    Returns:
        `(B, out, *S)`.
    """
    n = 4
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    fits = n * conv.out_channels <= 16 and image.shape[-1] % n == 0
    plain = image.device.type == "cpu" and image.dtype == conv.weight.dtype == torch.float32
    if torch.is_grad_enabled() or autocasts() or not (wide and fits and plain and has_onednn()):
        return conv(image)
    assert conv.bias is not None
    weight = torch.cat([F.pad(conv.weight, (place, n - 1 - place)) for place in range(n)])
    sizes = (conv.padding, (*conv.stride[:-1], n), conv.dilation, conv.groups)
    result = torch.mkldnn_convolution(image, weight, conv.bias.repeat(n), *sizes)  # type: ignore[arg-type]
    voxels = torch.movedim(result, 1, -1).reshape(len(image), *image.shape[2:], -1)
    return torch.movedim(voxels, -1, 1)


def dilated(conv: nn.Conv2d | nn.Conv3d, image: Tensor) -> Tensor:
    """A convolution whose kernel is dilated; every side keeps its length.

    On a CPU in bf16, torch's gradient of dilated weights is 9 times slower than of plain ones, and
    NaN for some widths where the processor has no AMX (torch 2.13): ours is of plain ones.
    """
    learns = conv.weight.requires_grad and torch.is_grad_enabled()
    reduced = image.device.type == "cpu" and image.dtype == torch.bfloat16
    if not (learns and reduced and conv.dilation[0] > 1):
        return conv(image)
    if image.ndim == 5 and min(image.shape[2:]) < fewest_voxels(conv.dilation[0]):
        return in_full_precision(conv, image).to(image.dtype)
    assert conv.bias is not None
    weight, bias = conv.weight.to(image.dtype), conv.bias.to(image.dtype)
    return _Dilated.apply(image, weight, bias, conv.dilation[0])


class _Dilated(torch.autograd.Function):
    """A dilated convolution with a 3-wide kernel; the gradient of its weights is a plain one's.

    Voxels `d` apart never meet others: they are images of their own, `d ** D` of them.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, d: int) -> Tensor:
        """The convolution."""
        ctx.save_for_backward(image, weight)
        ctx.dilation = d
        conv = F.conv2d if image.ndim == 4 else F.conv3d
        return conv(image, weight, bias, padding=d, dilation=d)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradients of image, weight and bias."""
        image, weight = ctx.saved_tensors
        d, axes = ctx.dilation, image.ndim - 2
        at_once = torch.ops.aten.convolution_backward
        gradient = channels_last(gradient)
        of_image, of_weight, of_bias = None, None, None
        if ctx.needs_input_grad[0]:
            same = ([1] * axes, [d] * axes, [d] * axes, False, [0] * axes, 1)
            of_image = at_once(gradient, image, weight, None, *same, [True, False, False])[0]
        plain = ([1] * axes, [1] * axes, [1] * axes, False, [0] * axes, 1)
        parts = _every_nth(gradient, d), _every_nth(image, d)
        _, of_weight, of_bias = at_once(*parts, weight, [len(weight)], *plain, [False, True, True])
        return of_image, of_weight, of_bias, None


def _every_nth(image: Tensor, n: int) -> Tensor:
    """`(B, C, *S)` as `(n ** D * B, C, *(S / n))`: every n-th voxel, zeros where there is none."""
    last = torch.movedim(image, 1, -1)
    rest = [-side % n for side in reversed(image.shape[2:])]
    if any(rest):
        last = F.pad(last, [0, 0, *(each for side in rest for each in (0, side))])
    axes = last.ndim - 2
    split = [part for side in last.shape[1:-1] for part in (side // n, n)]
    order = [*range(2, 2 * axes + 1, 2), 0, *range(1, 2 * axes, 2), 2 * axes + 1]
    parts = last.reshape(len(last), *split, last.shape[-1]).permute(order)
    return torch.movedim(parts.reshape(-1, *split[::2], last.shape[-1]), -1, 1)


def pad_to_multiple(image: Tensor, multiple: int) -> tuple[Tensor, Box]:
    """Pad `(B, C, *S)` so that every side is a multiple, two at least; also the box that undoes it.

    At its coarsest a network has one voxel per multiple, and norms need more than one.

    The border voxels are repeated: a rim of zeros would look like an edge of the anatomy.
    """
    padding: list[int] = []
    box = []
    for side in image.shape[2:]:
        extra = max(-side % multiple, 2 * multiple - side)
        padding = [extra // 2, extra - extra // 2, *padding]
        box.append((extra // 2, extra // 2 + side))
    if any(padding):
        image = F.pad(image, padding, mode="replicate")
    return image, tuple(box)


def spatial(vector: Tensor, dimension: int) -> Tensor:
    """`(B, C)` as `(B, C, 1, ...)`, to scale or shift channels."""
    return vector.reshape(*vector.shape, *[1] * dimension)
