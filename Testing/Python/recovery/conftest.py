"""Small networks and stand-ins for a trained network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from DRDMCore.recovery import PublishedNetwork, PublishedStep, VelocityNetwork, VelocityStep


def _randomised(network: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        with torch.no_grad():
            noise = torch.randn(parameter.shape, generator=generator)
            fan = max(parameter[0].numel() if parameter.ndim > 1 else 1, 1)
            parameter.copy_(noise * (0.7 / fan**0.5 if parameter.ndim > 1 else 0.1))
    return network.eval()


@pytest.fixture(scope="session")
def published_step():
    """A published step with random weights, for 2 or 3 axes."""

    def build(dimension: int, *, side: int = 16, recursions: int = 2) -> PublishedStep:
        network = _randomised(PublishedNetwork(dimension), seed=1)
        with torch.no_grad():
            network.conv_out.weight *= 0.05
            network.conv_out.bias.zero_()
        return PublishedStep(network, side=side, recursions=recursions).eval()

    return build


@pytest.fixture(scope="session")
def velocity_step():
    """A small velocity step with random weights: smooth in its input, so not chaotic."""

    def build(dimension: int, *, rms: float = 0.5) -> VelocityStep:
        network = _randomised(VelocityNetwork(dimension, widths=(8, 16)), seed=2)
        return VelocityStep(network, velocity_rms=rms).eval()

    return build


class KnownVelocity(nn.Module):
    """Knows the true velocity: a perfect velocity network."""

    multiple = 4

    def __init__(self, velocity: Tensor) -> None:
        super().__init__()
        self.velocity, self.dimension = velocity, velocity.shape[1]

    def forward(self, image: Tensor, scale: Tensor, stride: Tensor) -> Tensor:
        return self.velocity.expand(len(image), *self.velocity.shape[1:])


class Nudge:
    """A step that moves everything by `amount` voxels along the first axis, and keeps a diary."""

    def __init__(self, dimension: int, amount: float = 0.5, limit: int | None = None) -> None:
        self.dimension, self.amount, self.limit = dimension, amount, limit
        self.calls: list[tuple[list[float], list[float]]] = []

    def plan(self, levels, *, start, steps):
        top = 79.0 if start == "top" else float(levels.max())
        stations = torch.linspace(top, 0, (steps or 4) + 1)
        plan = []
        for high, low in zip(stations[:-1].tolist(), stations[1:].tolist(), strict=True):
            here, below = torch.full_like(levels, high), torch.full_like(levels, low)
            plan.append((here, torch.where(levels < high, here, below)))
        return plan

    def __call__(self, image, level, after, *, window, shared):
        if self.limit is not None and len(image) > self.limit:
            raise torch.cuda.OutOfMemoryError("out of memory (pretended)")
        self.calls.append((level.tolist(), after.tolist()))
        step = torch.zeros(len(image), self.dimension, *image.shape[2:])
        step[:, 0] = self.amount
        return step if window is None else step * window


@pytest.fixture
def nudge():
    return Nudge


@pytest.fixture
def known_velocity():
    return KnownVelocity
