"""What the trainer needs of an objective: one interface, whatever the network predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from DRDMCore.models import Model
from DRDMCore.recovery import PublishedStep, RecoverySettings, VelocityStep
from DRDMCore.training.draws import Drawn


@dataclass(frozen=True)
class Example:
    """A deformed batch and what is to be recovered from it.

    Attributes:
        image: `(B, 1, *S)` deformed images.
        inside: `(B, 1, *S)` 1 where the voxel comes from the image, 0 from padding.
        level: `(B,)` real-valued levels.
        target: `(B, D, *R)` what the network should find, in the objective's own unit and grid.
        stride: `(B,)` part of the level's scale that the target is for, 0 .. 1; `None`: next to
            nothing of it.
    """

    image: Tensor
    inside: Tensor
    level: Tensor
    target: Tensor
    stride: Tensor | None = None


class Objective(Protocol):
    """A network with its kind of example and its loss; an `nn.Module`."""

    network: nn.Module

    def eval(self) -> Any:
        """Ready for inference."""

    def level_of(self, amount: float) -> float:
        """The level of a uniform random number in 0 .. 1."""

    def example(self, drawn: Drawn, device: torch.device) -> Example:
        """Deform the drawn images by random fields of their levels."""

    def __call__(self, example: Example) -> dict[str, Tensor]:
        """Losses of a batch, scalars; `loss` is the one to minimise."""

    def step(self) -> PublishedStep | VelocityStep:
        """The network behind the interface of recovery (image, level -> field step)."""

    def recovery(self) -> RecoverySettings:
        """How models of this objective recover by default."""

    def architecture(self) -> Mapping[str, Any]:
        """Numbers that rebuild the step (`models.network.build_step`)."""


def as_model(objective: Objective, card: Any, settings: Any) -> Model:
    """The objective's network as a model, on the device where it is."""
    return Model(
        card=card,
        grid=settings.grid,
        field=settings.field,
        recovery=objective.recovery(),
        step=objective.step(),
        architecture=objective.architecture(),
    )
