"""The default objective: predict the stationary velocity of the random field.

The loss is MSE(V) + weight MSE(grad V) at half the resolution, which is the band limit of the
field; its optimum is the posterior mean E[V | deformed image, scale].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from DRDMCore.fields import RandomFlows, random_flows
from DRDMCore.recovery import (
    RecoverySettings,
    VelocityNetwork,
    VelocityStep,
    image_count,
    level_scale,
    scale_level,
)
from DRDMCore.training.draws import Drawn, deformed, sample_generator
from DRDMCore.training.objectives.losses import folding_loss
from DRDMCore.training.objectives.objective import Example
from DRDMCore.training.settings import TrainingSettings

_FULL_COUNT = image_count(79)
_PASSES = 8


class VelocityObjective(nn.Module):
    """Velocity network and loss (see `Objective`)."""

    strided = False
    """Whether the network is told how large a part of the scale its velocity is for."""

    def __init__(self, settings: TrainingSettings) -> None:
        """A new network; the global random state gives its first weights."""
        super().__init__()
        self.settings = settings
        self.coarse = [side // 2 for side in settings.shape]
        self.velocity_rms = measure_velocity_rms(settings)
        self.network = VelocityNetwork(
            len(settings.shape),
            widths=settings.widths,
            strided=self.strided,
            stem=settings.stem,
        )

    def level_of(self, amount: float) -> float:
        """Scales, which are flow times, are uniform."""
        return float(scale_level(torch.tensor(amount)))

    def example(self, drawn: Drawn, device: torch.device) -> Example:
        """Images pulled through flows of random velocities; the velocity is the target."""
        flows = self.flows(drawn, device)
        image, inside = deformed(drawn, flows.ddf)
        return Example(image, inside, drawn.level.to(device), flows.svf / self.velocity_rms)

    def flows(self, drawn: Drawn, device: torch.device) -> RandomFlows:
        """Random velocities and their flows, each of its sample's level."""
        return random_flows(
            self.settings.shape,
            level_scale(drawn.level).tolist(),
            drawn.generators,
            self.settings.field,
            full_count=_FULL_COUNT,
            svf_shape=self.coarse,
            device=device,
        )

    def forward(self, example: Example) -> dict[str, Tensor]:
        """`loss` and its parts; `explained` is the share of the velocity's variance."""
        settings = self.settings
        bf16 = settings.precision == "bf16"
        with torch.autocast(example.image.device.type, torch.bfloat16, enabled=bf16):
            predicted = self.network(example.image, level_scale(example.level), example.stride)
        weight = _half_weight(example.inside, settings.padding_weight)
        error = predicted - example.target
        velocity = (error.square() * weight).mean()
        slope = _slope_loss(error, weight)
        # One pass of the sampler, as a displacement: nothing in it may fold.
        part = 1 / _PASSES if example.stride is None else example.stride
        folding = folding_loss(self.step().taken_away(predicted, level_scale(example.level) * part))
        total = velocity + settings.gradient_weight * slope + settings.folding_weight * folding
        explained = 1 - velocity / (example.target.square() * weight).mean()
        return {
            "loss": total,
            "velocity": velocity,
            "slope": slope,
            "folding": folding,
            "explained": explained,
        }

    def step(self) -> VelocityStep:
        """The probability-flow step with the gain of the settings."""
        return VelocityStep(self.network, velocity_rms=self.velocity_rms, gain=self.settings.gain)

    def recovery(self) -> RecoverySettings:
        """Eight passes."""
        return RecoverySettings(steps=_PASSES)

    def architecture(self) -> Mapping[str, Any]:
        """Numbers that rebuild the step."""
        return {
            "kind": "velocity",
            "dimension": len(self.settings.shape),
            "widths": list(self.settings.widths),
            "stem": self.settings.stem,
            "velocity_rms": self.velocity_rms,
            "gain": self.settings.gain,
        }


def measure_velocity_rms(settings: TrainingSettings) -> float:
    """Root mean square of the velocity at scale 1, per component, half-resolution voxels."""
    generators = [sample_generator(settings.seed, "velocity rms", 0, i) for i in range(16)]
    flows = random_flows(
        settings.shape,
        [0.0] * 16,
        generators,
        settings.field,
        full_count=_FULL_COUNT,
        svf_shape=[side // 2 for side in settings.shape],
    )
    return float(flows.svf.square().mean().sqrt())


def _half_weight(inside: Tensor, padding_weight: float) -> Tensor:
    """Weight of each half-resolution voxel: 1 inside the image, `padding_weight` in padding."""
    pool = F.avg_pool2d if inside.ndim == 4 else F.avg_pool3d
    return padding_weight + (1 - padding_weight) * pool(inside, 2)


def _slope_loss(error: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference of neighbours, averaged over the axes."""
    slopes = []
    for axis in range(2, error.ndim):
        share = weight.narrow(axis, 1, weight.shape[axis] - 1)
        slopes.append((torch.diff(error, dim=axis).square() * share).mean())
    return torch.stack(slopes).mean()
