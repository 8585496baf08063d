"""Objectives by name: what a network is trained to predict, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from DRDMCore.training.objectives.distilled import DistilledObjective
from DRDMCore.training.objectives.objective import Example, Objective, as_model
from DRDMCore.training.objectives.published import PublishedObjective
from DRDMCore.training.objectives.velocity import VelocityObjective
from DRDMCore.training.settings import TrainingSettings

__all__ = ["KINDS", "Example", "Objective", "as_model", "new_objective"]

KINDS: dict[str, Callable[[TrainingSettings], Any]] = {
    "velocity": VelocityObjective,
    "distilled": DistilledObjective,
    "published": PublishedObjective,
}


def new_objective(settings: TrainingSettings) -> Any:
    """An objective with the first weights of the seed; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return KINDS[settings.objective](settings)
