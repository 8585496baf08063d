"""A model: a recovery network with its grid policy, random field and card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.recovery import LEVELS, PublishedStep, RecoverySettings, VelocityStep

RANDOM_FIELD = "none"
"""The name of the model without a network: the random field alone, for any anatomy."""


@dataclass(frozen=True)
class Card:
    """What a user should know of a model.

    Attributes:
        name: Short name, the file's stem.
        title: One line.
        modality: `MR`, `CT`, `phantom` or `any`.
        anatomy: What it knows.
        data: What it was trained on, with source and number of subjects.
        licence: Licence of the weights, with conditions.
        recommended: Settings to start from: `level`, `steps`, ...
        metrics: Measured quality, with the number of subjects and seeds.
        training: Seconds, hardware, steps, seed, versions.
        cost: Time and memory on named hardware.
        notes: Limits, warnings.
    """

    name: str
    title: str = ""
    modality: str = "any"
    anatomy: str = "any"
    data: str = ""
    licence: str = ""
    recommended: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cost: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True)
class Model:
    """A network with all it takes to use it on an image.

    Attributes:
        card: What a user should know.
        grid: How an image comes to the network's grid.
        field: How random fields are drawn for it.
        recovery: How a recovery runs by default.
        step: The network behind the step interface; `None` for the random field alone.
        architecture: Numbers that rebuild the network.
        sha256: Hash of the model file; empty for the random field.
        path: The file it came from.
    """

    card: Card
    grid: GridPolicy
    field: RandomFieldSettings
    recovery: RecoverySettings
    step: PublishedStep | VelocityStep | None = None
    architecture: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sha256: str = ""
    path: Path | None = None

    @property
    def levels(self) -> int:
        """Number of levels T."""
        return int(self.architecture.get("levels", LEVELS))

    def to(self, device: torch.device | str) -> Model:
        """The model with its network on a device, ready for inference."""
        if self.step is not None:
            self.step.to(device).eval()
        return self


def random_field_model(dimension: int, *, longest: int | None = None) -> Model:
    """The random field without recovery, for any anatomy.

    Args:
        dimension: 2 or 3.
        longest: Voxels of the image's longest side; the grid has no more, and at most 256 (2D) or
            96 (3D). Small images get as large fields, a part of their side, but smoother ones.
    """
    side = min({2: 256, 3: 96}[dimension], longest or 256)
    relative, spacing = 2.0 * side / 64, max(2.0 * side / 64, 2.0)
    return Model(
        card=Card(
            name=RANDOM_FIELD,
            title="Random field, no model: smooth and free of folds, but it knows no anatomy",
            recommended={"level": 30},
        ),
        grid=GridPolicy(dimension=dimension, mode="fov", side=max(side, 4)),
        field=RandomFieldSettings(
            control_spacing=spacing,
            velocity_sd=RandomFieldSettings.velocity_sd * relative / spacing,
        ),
        recovery=RecoverySettings(),
    )
