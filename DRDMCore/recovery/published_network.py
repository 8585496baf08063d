"""The published recovery network ("recresacnet"), 2D and 3D.

Module names are those of the published state dictionary, which loads with `strict=True`.
Architecture: docs/method.md; Zheng et al., Medical Image Analysis 2026.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from DRDMCore.recovery.blocks import channels_last, conv_class, in_full_precision, spatial
from DRDMCore.recovery.fused import (
    Convolution,
    Transposed,
    activated,
    activated_sum,
    convolved,
    fleeting_activation,
    in_working_type,
    joined,
    normed,
)
from DRDMCore.recovery.schedule import LEVELS

_EMBEDDING = 100


class AtrousBlock(nn.Module):
    """Convolution, norm (encoder only), then two convolutions with dilation 1 and 3, residual."""

    def __init__(self, dimension: int, channels_in: int, channels: int, *, norm: bool) -> None:
        """Build the block for 2 or 3 spatial axes."""
        super().__init__()
        conv = conv_class(dimension)
        self.conv0 = conv(channels_in, channels, 3, padding=1)
        if norm:
            norms = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
            self.ln = norms[dimension](channels, affine=True)
        self.convs = nn.ModuleList(
            [conv(channels, channels, 3, padding=d, dilation=d) for d in (1, 3)]
        )

    def entry(self, image: Tensor) -> Tensor:
        """First convolution and norm."""
        image = convolved(self.conv0, image)
        return normed(self.ln, image) if hasattr(self, "ln") else image

    def residual(self, image: Tensor) -> Tensor:
        """The two dilated convolutions around the skip; without gradients, `image` is lost."""
        near, far = (cast(nn.Conv2d, conv) for conv in self.convs)
        image = in_working_type(image)
        return activated_sum(far, activated(near, fleeting_activation(image)), image)

    def forward(self, image: Tensor) -> Tensor:
        """`(B, in, *S)` to `(B, out, *S)`."""
        return self.residual(self.entry(image))


class PublishedNetwork(nn.Module):
    """Image and level to a displacement as a fraction of the side: one pass."""

    def __init__(self, dimension: int, *, levels: int = LEVELS) -> None:
        """Build the network for 2 or 3 spatial axes and `levels` levels."""
        super().__init__()
        self.dimension, self.levels = dimension, levels
        self.time_embed = nn.Embedding.from_pretrained(_time_table(levels), freeze=True)
        self.te1, self.b1, self.down1 = self._head(1), self._stage(1, 10, 10, 10), self._down(10)
        self.te2, self.b2, self.down2 = self._head(10), self._stage(10, 20, 20, 20), self._down(20)
        self.te3, self.b3, self.down3 = self._head(20), self._stage(20, 40, 40, 40), self._down(40)
        self.te_mid, self.b_mid = self._head(40), self._stage(40, 20, 20, 40)
        self.up1 = self._up(40)
        self.te4, self.b4 = self._head(80), self._stage(80, 40, 20, 20, norm=False)
        self.up2, self.te5 = self._up(20), self._head(40)
        self.b5, self.up3 = self._stage(40, 20, 10, 10, norm=False), self._up(10)
        self.te_out, self.b_out = self._head(20), self._stage(20, 10, 10, 10, norm=False)
        self.conv_out = conv_class(dimension)(10, dimension, 3, padding=1)

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """One pass.

        Args:
            image: `(B, 1, *S)` in [0, 1], sides multiples of 8.
            level: `(B,)` whole levels.

        Returns:
            `(B, D, *S)` displacement, fraction of the side, not yet clamped.
        """
        time = self.time_embed(level.long())
        x1 = self._fine(channels_last(image + spatial(self._embed(self.te1, time), image.ndim - 2)))
        x2 = self._half(x1, self._embed(self.te2, time))
        x3 = self.b3(convolved(self.down2, x2, self._embed(self.te3, time)))
        x = convolved(self.down3, x3)
        x = self.b_mid(x * spatial(self._embed(self.te_mid, time), image.ndim - 2).to(x.dtype))
        x = self.b4(joined(x3, self.up1, x, self._embed(self.te4, time)))
        x = self.b5(joined(x2, self.up2, x, self._embed(self.te5, time)))
        x = self.b_out(joined(x1, self.up3, x, self._embed(self.te_out, time)))
        return convolved(self.conv_out, x)

    def _embed(self, head: Callable[[Tensor], Tensor], time: Tensor) -> Tensor:
        """A level's embedding `(B, C)`, without gradients in full precision."""
        return head(time) if torch.is_grad_enabled() else in_full_precision(head, time)

    def _fine(self, x: Tensor) -> Tensor:
        """First stage."""
        first, second, third = (cast(AtrousBlock, block) for block in self.b1)
        if not _is_careful(x):
            return third(second(first.residual(in_full_precision(first.entry, x))))
        x = in_full_precision(second.entry, in_full_precision(first, x))
        return third(second.residual(x))

    def _half(self, x: Tensor, shift: Tensor) -> Tensor:
        """Second stage, on half the grid."""
        first, second, third = (cast(AtrousBlock, block) for block in self.b2)
        if not _is_careful(x):
            return third(second(first(convolved(self.down1, x, shift))))

        def entry(x: Tensor) -> Tensor:
            return first.entry(convolved(self.down1, x, shift))

        return third(second(first.residual(in_full_precision(entry, x))))

    def _head(self, channels: int) -> nn.Sequential:
        """Two-layer head of the time embedding."""
        return nn.Sequential(
            nn.Linear(_EMBEDDING, channels), nn.ReLU(), nn.Linear(channels, channels)
        )

    def _stage(self, *channels: int, norm: bool = True) -> nn.Sequential:
        """Three atrous blocks."""
        pairs = itertools.pairwise(channels)
        return nn.Sequential(*[AtrousBlock(self.dimension, a, b, norm=norm) for a, b in pairs])

    def _down(self, channels: int) -> Convolution:
        """Halve the resolution."""
        return conv_class(self.dimension)(channels, channels, 4, stride=2, padding=1)

    def _up(self, channels: int) -> Transposed:
        """Double the resolution."""
        up = nn.ConvTranspose2d if self.dimension == 2 else nn.ConvTranspose3d
        return up(channels, channels, 4, stride=2, padding=1)


def _is_careful(image: Tensor) -> bool:
    """Whether more than the first convolution stays in float32 under autocast.

    It brings a CPU's bf16 three times closer to float32 (docs/decisions.md). Elsewhere it is not
    measured, and training does not need it.
    """
    return image.device.type == "cpu" and not torch.is_grad_enabled()


def _time_table(levels: int) -> Tensor:
    """Sinusoidal embedding of the levels: `(levels, 100)`.

    reference: the frequencies are every second of 10000^(-2j / 100), j = 0 .. 99.
    """
    index = torch.arange(0, _EMBEDDING, 2, dtype=torch.float64)
    frequency = 10000.0 ** (-2 * index / _EMBEDDING)
    angle = torch.arange(levels, dtype=torch.float64)[:, None] * frequency
    table = torch.zeros(levels, _EMBEDDING, dtype=torch.float64)
    table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
    return table.float()
