"""A half-resolution U-Net that predicts the velocity of the random field (docs/method.md).

The random field is band-limited to about half the image's resolution, so nothing is lost by
working there, and the network costs an eighth of a full-resolution one in 3D.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from DRDMCore.recovery.blocks import (
    channels_last,
    conv_class,
    in_full_precision,
    neighbours_at_once,
    normalised,
    spatial,
)
from DRDMCore.recovery.fused import Convolution, convolved, in_working_type

_FREQUENCIES = 16


class ConditionedBlock(nn.Module):
    """Two convolutions with group norm, the level as scale and shift, residual."""

    def __init__(self, dimension: int, channels_in: int, channels: int, embedding: int) -> None:
        """Build the block for 2 or 3 spatial axes."""
        super().__init__()
        conv = conv_class(dimension)
        self.dimension = dimension
        self.skip = conv(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        self.conv1 = conv(channels_in, channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(_groups(channels), channels)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.conv2 = conv(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(_groups(channels), channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """`(B, in, *S)` and `(B, E)` or `(1, E)` to `(B, out, *S)`."""
        if _is_quick(x):
            return self._quickly(x, embedding)
        scale, shift = self.modulation(embedding).chunk(2, dim=1)
        y = normalised(self.norm1, self.conv1(x))
        scale, shift = spatial(1 + scale, self.dimension), spatial(shift, self.dimension)
        y = F.silu(torch.addcmul(shift, y, scale))
        y = normalised(self.norm2, self.conv2(y))
        # In the type of `y`: the stem stays in float32, and what it adds must not spread that.
        return F.silu(y + self.skip(x).to(y.dtype))

    def _quickly(self, x: Tensor, embedding: Tensor) -> Tensor:
        """The same in less memory: norm and level of a sample are one factor and one shift."""
        scale, shift = in_full_precision(self.modulation, embedding).chunk(2, dim=1)
        weight = self.norm1.weight * (1 + scale)
        bias = torch.addcmul(shift, self.norm1.bias, 1 + scale)
        # One call a line: what it was made of is freed, and its memory, still in cache, used again.
        y = convolved(self.conv1, x)
        kind = y.dtype
        y = _normed(self.norm1, y, weight, bias)
        y = F.silu(y, inplace=True)
        y = convolved(self.conv2, y)
        y = _normed(self.norm2, y, self.norm2.weight[None], self.norm2.bias[None])
        y += x if isinstance(self.skip, nn.Identity) else convolved(self.skip, x)
        return F.silu(y, inplace=True).to(kind)


def _is_quick(tensor: Tensor) -> bool:
    """Whether a CPU computes without gradients; elsewhere the quick way is not measured."""
    return tensor.device.type == "cpu" and not torch.is_grad_enabled()


def _normed(norm: nn.GroupNorm, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A group norm with factors and shifts `(B, C)` or `(1, C)`; of bf16 it may be float32."""
    if len(weight) > 1:
        samples = zip(image.split(1), weight.split(1), bias.split(1), strict=True)
        return torch.cat([_normed(norm, *sample) for sample in samples])
    if image.dtype == torch.bfloat16 and image.shape[1] % 16 != 0:
        image = image.float()  # 24 channels: 3 times as fast; 16 or 48 would not be
    return F.group_norm(image, norm.num_groups, weight[0], bias[0], norm.eps)


class VelocityNetwork(nn.Module):
    """Image and scale to a velocity of unit rms on a grid of half the resolution."""

    def __init__(
        self,
        dimension: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        embedding: int = 64,
        strided: bool = False,
        stem: int = 2,
    ) -> None:
        """Build the network.

        Args:
            dimension: 2 or 3.
            widths: Channels per resolution, from fine to coarse; each halves the grid.
            embedding: Width of the level embedding.
            strided: Whether it is told how large a part of the scale its velocity is for.
            stem: 2 or 4, how many times coarser than the image its finest features are.
        """
        super().__init__()
        self.dimension, self.widths, self.stem_factor = dimension, tuple(widths), stem
        conv = conv_class(dimension)
        self.embed = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_stride = _stride_embedding(embedding) if strided else None
        self.stem = conv(stem**dimension, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList([self._block(w, w, embedding) for w in widths])
        self.down = nn.ModuleList([conv(a, b, 2, stride=2) for a, b in itertools.pairwise(widths)])
        self.middle = self._block(widths[-1], widths[-1], embedding)
        self.up = nn.ModuleList([conv(b, a, 1) for a, b in itertools.pairwise(widths)])
        self.decoder = nn.ModuleList([self._block(2 * w, w, embedding) for w in widths[:-1]])
        self.head = conv(widths[0], dimension * (stem // 2) ** dimension, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def _block(self, channels_in: int, channels: int, embedding: int) -> ConditionedBlock:
        """A block of this network."""
        return ConditionedBlock(self.dimension, channels_in, channels, embedding)

    @property
    def multiple(self) -> int:
        """Sides of the image must be multiples of this."""
        return int(self.stem_factor * 2 ** (len(self.widths) - 1))

    def forward(self, image: Tensor, scale: Tensor, stride: Tensor | None = None) -> Tensor:
        """One pass.

        Args:
            image: `(B, 1, *S)` in [0, 1], sides multiples of `multiple`.
            scale: `(B,)` in 0 .. 1, `schedule.level_scale` of the level.
            stride: `(B,)` part of the scale that the step takes away, 0 .. 1; used by a strided
                network alone, for which `None` is the smallest.

        Returns:
            `(B, D, *S / 2)` velocity in units of its own rms, float32.
        """
        stride = torch.zeros_like(scale) if stride is None else stride
        if _is_quick(image) and _are_same(scale) and _are_same(stride):
            scale, stride = scale[:1], stride[:1]  # of all samples
        embedding = _embedded(self.embed, _fourier(scale))
        if self.embed_stride is not None:
            embedding = embedding + _embedded(self.embed_stride, _stride_feature(stride))
        x = in_full_precision(self.stem, channels_last(_space_to_depth(image, self.stem_factor)))
        x, skips = in_working_type(x), []
        for index, block in enumerate(self.encoder):
            x = block(x, embedding)
            if index < len(self.down):
                skips.append(x)
                x = convolved(cast(Convolution, self.down[index]), x)
        x = self.middle(x, embedding)
        for index in reversed(range(len(self.decoder))):
            x = convolved(cast(Convolution, self.up[index]), x)
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = torch.cat([skips.pop(), x], dim=1)
            x = self.decoder[index](x, embedding)
        velocity = in_full_precision(functools.partial(neighbours_at_once, self.head), x)
        return (
            velocity if self.stem_factor == 2 else _depth_to_space(velocity, self.stem_factor // 2)
        )


def _are_same(numbers: Tensor) -> bool:
    """Whether all of them are equal."""
    return bool((numbers == numbers[0]).all())


def _embedded(layers: Callable[[Tensor], Tensor], feature: Tensor) -> Tensor:
    """An embedding; without gradients in full precision, which is quicker for so few numbers."""
    return in_full_precision(layers, feature) if _is_quick(feature) else layers(feature)


def _space_to_depth(image: Tensor, n: int) -> Tensor:
    """`(B, 1, *S)` to `(B, n ** D, *S / n)`: neighbours become channels."""
    if image.ndim == 4:
        return F.pixel_unshuffle(image, n)
    b, _, d, h, w = image.shape
    blocks = image.reshape(b, d // n, n, h // n, n, w // n, n)
    return blocks.permute(0, 2, 4, 6, 1, 3, 5).reshape(b, n**3, d // n, h // n, w // n)


def _depth_to_space(image: Tensor, n: int) -> Tensor:
    """`(B, C n ** D, *S)` to `(B, C, *S n)`: channels become neighbours."""
    if image.ndim == 4:
        return F.pixel_shuffle(image, n)
    b, c, d, h, w = image.shape
    blocks = image.reshape(b, c // n**3, n, n, n, d, h, w)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // n**3, d * n, h * n, w * n)


def _fourier(scale: Tensor) -> Tensor:
    """`(B,)` to sines and cosines of geometric frequencies `(B, 2 F)`."""
    frequency = torch.exp(torch.linspace(0, math.log(64.0), _FREQUENCIES, device=scale.device))
    angle = math.pi * scale.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


_SMALLEST_STRIDE = 1 / 16
"""Smaller ones count as this: there the velocity of the step is that of the moment."""


def _stride_embedding(width: int) -> nn.Sequential:
    """What is added to the embedding of the level: nothing, before it has learned."""
    layers = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
    nn.init.zeros_(layers[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(layers[2].bias)  # type: ignore[arg-type]
    return layers


def _stride_feature(stride: Tensor) -> Tensor:
    """`(B,)` strides as `(B, 1)`: -1 for the smallest, 0 for the whole scale."""
    octaves = stride.float().clamp(_SMALLEST_STRIDE, 1).log2()
    return (octaves / -math.log2(_SMALLEST_STRIDE))[:, None]


def _groups(channels: int) -> int:
    """Groups of eight channels where that divides."""
    return max(channels // 8, 1) if channels % 8 == 0 else 1
