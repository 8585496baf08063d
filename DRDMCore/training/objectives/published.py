"""The published objective: predict the displacement of a level's target field (paper, Alg. 1).

The network sees the deformed image and a whole level, twice (recursion), and is asked for the
field that takes the clean velocity's m(t)-fold composition away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from DRDMCore.fields import random_fields, warp
from DRDMCore.models import published_recovery
from DRDMCore.recovery import (
    PublishedNetwork,
    PublishedStep,
    RecoverySettings,
    image_count,
    target_count,
)
from DRDMCore.training.draws import Drawn, deformed
from DRDMCore.training.objectives.losses import (
    direction_loss,
    distance_loss,
    folding_loss,
    roughness_loss,
)
from DRDMCore.training.objectives.objective import Example
from DRDMCore.training.settings import TrainingSettings

_REGULARISER = 10.0
_FOLDING = 2.0


class PublishedObjective(nn.Module):
    """Published network and losses (see `Objective`)."""

    def __init__(self, settings: TrainingSettings) -> None:
        """A new network; the global random state gives its first weights."""
        super().__init__()
        self.settings = settings
        self.side = max(settings.shape)
        self.network = PublishedNetwork(len(settings.shape), levels=settings.levels)

    def level_of(self, amount: float) -> float:
        """Whole levels are uniform."""
        return float(min(int(amount * self.settings.levels), self.settings.levels - 1))

    def example(self, drawn: Drawn, device: torch.device) -> Example:
        """Images pulled through random fields; the clean velocity's field is the target."""
        levels = [int(level) for level in drawn.level.tolist()]
        fields = random_fields(
            self.settings.shape,
            [image_count(level) for level in levels],
            drawn.generators,
            self.settings.field,
            target_counts=[target_count(level) for level in levels],
            device=device,
        )
        assert fields.target is not None
        image, inside = deformed(drawn, fields.ddf)
        return Example(image, inside, drawn.level.to(device), fields.target / self.side)

    def forward(self, example: Example) -> dict[str, Tensor]:
        """`loss` and its parts, fraction of the side."""
        bf16 = self.settings.precision == "bf16"
        with torch.autocast(example.image.device.type, torch.bfloat16, enabled=bf16):
            ddf = self.step()(example.image, example.level, example.level)
        predicted, target = ddf / self.side, example.target
        # reference: zeros outside in 2D, the border in 3D
        padding = "zeros" if target.ndim == 4 else "border"
        rest = warp(predicted, self.side * target, padding=padding)
        distance, direction = distance_loss(rest, target), direction_loss(rest, target)
        roughness, folding = roughness_loss(predicted), folding_loss(ddf)
        folded = _FOLDING * self.settings.folding_weight * folding
        return {
            "loss": distance + direction + _REGULARISER * (roughness + folded),
            "distance": distance,
            "direction": direction,
            "roughness": roughness,
            "folding": folding,
        }

    def step(self) -> PublishedStep:
        """The network with the recursions of the settings."""
        return PublishedStep(self.network, side=self.side, recursions=self.settings.recursions)

    def recovery(self) -> RecoverySettings:
        """As the published program, but from the start field's own level (paper, Algorithm 2)."""
        return RecoverySettings(
            image_padding=published_recovery(len(self.settings.shape)).image_padding
        )

    def architecture(self) -> Mapping[str, Any]:
        """Numbers that rebuild the step."""
        return {
            "kind": "published",
            "dimension": len(self.settings.shape),
            "side": self.side,
            "levels": self.settings.levels,
            "recursions": self.settings.recursions,
        }
