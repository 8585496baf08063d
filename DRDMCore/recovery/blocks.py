"""Building blocks shared by the recovery networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from DRDMCore.fields.grid import Box


def conv_class(dimension: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    """The convolution for 2 or 3 spatial axes."""
    return nn.Conv2d if dimension == 2 else nn.Conv3d


def channels_last(tensor: Tensor) -> Tensor:
    """The tensor in channels-last memory, which convolutions prefer (about 1.6 times faster)."""
    layout = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    return tensor.contiguous(memory_format=layout)


def in_full_precision(module: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Run a module in float32 whatever autocast says.

    The first convolution of the published weights loses recovery in bf16 (docs/decisions.md).
    """
    with torch.autocast(image.device.type, enabled=False):
        return module(image.float())


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
