"""Build the network of a model from a few numbers, and fill it with checked weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from DRDMCore.errors import ModelError
from DRDMCore.recovery import (
    PublishedNetwork,
    PublishedStep,
    VelocityNetwork,
    VelocityStep,
)

_WIDEST, _DEEPEST = 1024, 6


def build_step(architecture: Mapping[str, Any]) -> PublishedStep | VelocityStep:
    """An empty network behind the step interface; refuses sizes that no real model has."""
    kind, dimension = architecture["kind"], architecture["dimension"]
    if dimension not in (2, 3):
        raise ValueError(f"`dimension` must be 2 or 3, got {dimension!r}")
    if kind == "published":
        if not 1 <= architecture["levels"] <= 10_000:
            raise ValueError(f"`levels` must be 1 .. 10000, got {architecture['levels']!r}")
        network = PublishedNetwork(dimension, levels=architecture["levels"])
        return PublishedStep(
            network, side=int(architecture["side"]), recursions=int(architecture["recursions"])
        )
    if kind != "velocity":
        raise ValueError(f"`kind` must be 'published' or 'velocity', got {kind!r}")
    widths = [int(width) for width in architecture["widths"]]
    if not 1 <= len(widths) <= _DEEPEST or not all(1 <= width <= _WIDEST for width in widths):
        raise ValueError(f"`widths` must be at most {_DEEPEST} numbers up to {_WIDEST}")
    rms, gain = float(architecture["velocity_rms"]), float(architecture["gain"])
    if not (0 < rms < math.inf and 0 <= gain < math.inf):
        raise ValueError(f"`velocity_rms` and `gain` must be positive numbers, got {rms}, {gain}")
    strided = architecture.get("strided", False)
    if not isinstance(strided, bool):
        raise ValueError(f"`strided` must be true or false, got {strided!r}")
    stem = architecture.get("stem", 2)
    if stem not in (2, 4):
        raise ValueError(f"`stem` must be 2 or 4, got {stem!r}")
    velocity = VelocityNetwork(dimension, widths=widths, strided=strided, stem=stem)
    return VelocityStep(velocity, velocity_rms=rms, gain=gain)


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights by strict names and shapes; refuse numbers that are not finite."""
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path} has NaN or infinite numbers in {name!r}: get it again.")
    try:
        network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"{path} does not hold the weights it should ({first}).") from error
    _channels_last(network.eval())


def _channels_last(network: nn.Module) -> None:
    """Lay convolution weights out channels-last, as the inputs will be."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
