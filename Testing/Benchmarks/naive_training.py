"""A training step of the published network as plainly as it can be written.

Our own code from the description of the published program: float32, torch's default layout in
memory, a fresh sampling grid for every warp, the plain fields of `naive.py`, Adam.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from DRDMCore.fields import RandomFieldSettings
from DRDMCore.recovery import PublishedNetwork, image_count, target_count
from Testing.Benchmarks import naive

SLOPE = 1e-6


def step(
    network: PublishedNetwork,
    optimizer: torch.optim.Optimizer,
    image: Tensor,
    levels: Sequence[int],
    seeds: Sequence[int],
    field: RandomFieldSettings,
) -> float:
    """One step on `(B, 1, *S)` images: fields, losses, gradients, new weights."""
    side, shape = image.shape[-1], image.shape[2:]
    pairs = []
    for level, seed in zip(levels, seeds, strict=True):
        moving, clean = naive.draw(shape, seed, field)
        count = image_count(level)
        pairs.append(
            (
                naive.field(moving, count, count, side),
                naive.field(clean, target_count(level), count, side),
            )
        )
    ddf, target = (torch.cat(each) for each in zip(*pairs, strict=True))
    loss = losses(network, warp(image, ddf), torch.tensor(levels), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def losses(network: PublishedNetwork, image: Tensor, level: Tensor, target: Tensor) -> Tensor:
    """Distance, direction and regulariser of two recursions; `target` in voxels."""
    side = image.shape[-1]
    limit = 1 - 1 / side
    predicted = one_pass(network, image, level).clamp(-limit, limit)
    again = warp(image, side * predicted, padding="zeros")
    one = one_pass(network, again, level).clamp(-limit, limit)
    predicted = one + warp(predicted, side * one)
    rest, target = warp(predicted, target), target / side
    distance = (100 * (rest + target)).square().sum(1) / ((100 * target).square().sum(1) + 1e-3)
    far, near = 1e5 * rest, 1e5 * target
    lengths = (far.square().sum(1) * near.square().sum(1) + 1e-4).sqrt()
    direction = ((far * near).sum(1) / lengths).mean()
    axes = range(2, predicted.ndim)
    slopes = [(predicted.diff(dim=axis).abs() - 1e-4).relu().mean() for axis in axes]
    rough = torch.stack(slopes).mean()
    return distance.mean() + direction + 10 * (rough + 2 * folding(side * predicted))


def folding(ddf: Tensor) -> Tensor:
    """Mean of ReLU(-det(I + grad u)) by central differences, matrix by matrix."""
    dimension = ddf.shape[1]
    grad = torch.stack(torch.gradient(ddf, dim=list(range(2, ddf.ndim))), dim=-1)
    matrices = torch.movedim(grad, 1, -2) + torch.eye(dimension)
    return torch.linalg.det(matrices).neg().relu().mean()


def warp(image: Tensor, ddf: Tensor, padding: str = "border") -> Tensor:
    """`image(x + ddf(x))`."""
    shape = image.shape[2:]
    axes = [torch.arange(side, dtype=torch.float32) for side in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None] + ddf
    scaled = [2 * grid[:, axis] / (side - 1) - 1 for axis, side in enumerate(shape)]
    lookup = torch.stack(scaled[::-1], dim=-1)
    return F.grid_sample(image, lookup, padding_mode=padding, align_corners=True)


def one_pass(net: PublishedNetwork, image: Tensor, level: Tensor) -> Tensor:
    """One pass of the network on its own layers, in torch's default memory layout."""
    time = net.time_embed(level)

    def head(layers: nn.Module) -> Tensor:
        return layers(time)[(...,) + (None,) * (image.ndim - 2)]

    x1 = stage(net.b1, image + head(net.te1))
    x2 = stage(net.b2, net.down1(x1) + head(net.te2))
    x3 = stage(net.b3, net.down2(x2) + head(net.te3))
    x = stage(net.b_mid, net.down3(x3) * head(net.te_mid))
    x = stage(net.b4, torch.cat([x3, net.up1(x)], dim=1) + head(net.te4))
    x = stage(net.b5, torch.cat([x2, net.up2(x)], dim=1) + head(net.te5))
    x = stage(net.b_out, torch.cat([x1, net.up3(x)], dim=1) + head(net.te_out))
    return net.conv_out(x)


def stage(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """Three atrous blocks."""
    for block in blocks:
        x = block.conv0(x)
        x = block.ln(x) if hasattr(block, "ln") else x
        deep = x
        for conv in block.convs:
            deep = conv(F.leaky_relu(deep, SLOPE))
        x = F.leaky_relu(deep + x, SLOPE)
    return x
