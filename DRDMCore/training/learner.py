"""What learns: a network, its average, its optimiser. One step, one validation, one state."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from DRDMCore.errors import InputError
from DRDMCore.models import Model
from DRDMCore.training.distribution import Workers
from DRDMCore.training.draws import draw_step
from DRDMCore.training.objectives import Objective, new_objective
from DRDMCore.training.optimizer import Optimizer
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.subjects import Subject
from DRDMCore.training.validation import validate

_BUILDS = ("kind", "dimension", "widths", "levels", "strided", "stem")
"""What of an architecture the weights depend on."""

_AVERAGE_FROM = 10.0
"""The average follows quickly at first: its decay rises from 0 to `ema` like n / (n + 10)."""


class Learner:
    """Network, averaged network and optimiser of one process.

    Attributes:
        objective: The network with its loss.
        average: The same with averaged weights.
        optimizer: Changes the weights.
        done: Steps that the weights have seen; `None` in the middle of one, where they are of no
            step and must not be saved.
    """

    def __init__(self, settings: TrainingSettings, team: Workers) -> None:
        """Begin with the first weights of the seed."""
        self.settings, self.team = settings, team
        self.objective: Any = new_objective(settings).to(team.device)
        self.average: Objective = copy.deepcopy(self.objective).requires_grad_(False)
        self.optimizer = Optimizer(self.objective.network, settings)
        self._together = team.together(self.objective)
        self.done: int | None = 0

    def begin_from(self, model: Model) -> str:
        """Begin with the weights of a model instead of random ones.

        Returns:
            Its name and SHA-256.

        Raises:
            InputError: If its network is another one than that of the settings.
        """
        theirs, ours = dict(model.architecture), dict(self.objective.architecture())
        theirs = {"stem": 2, **theirs} if theirs.get("kind") == "velocity" else theirs
        differing = [key for key in _BUILDS if theirs.get(key) != ours.get(key)]
        if model.step is None or differing:
            wanted = {key: ours.get(key) for key in differing}
            raise InputError(
                f"`begin_from` must name a model with the network of the settings ({wanted}), got "
                f"{model.card.name} with { {key: theirs.get(key) for key in differing} }: "
                "name another model, or change the settings."
            )
        for network in (self.objective.network, self.average.network):
            network.load_state_dict(model.step.network.state_dict())
        return f"{model.card.name} {model.sha256}"

    def learn(self, subjects: Sequence[Subject], step: int, steps: int) -> dict[str, float]:
        """One optimisation step.

        Args:
            subjects: Training subjects.
            step: Its number, from 1.
            steps: Steps of the whole run.

        Returns:
            Every part of the loss, the mean over the processes, and the learning `rate`.

        Raises:
            InputError: If loss or gradient is no number; the weights are as before.
        """
        rate = learning_rate(step, steps, self.settings)
        drawn = draw_step(subjects, self.settings, step, self.objective.level_of, self.team.share)
        self._together.train()
        parts = self._together(self.objective.example(drawn, self.team.device))
        self._find_gradient(parts["loss"])
        self.done = None
        self.optimizer.step(rate)
        update_average(self.average.network, self.objective.network, self._decay(step))
        self.done = step
        losses = self.team.mean({name: float(value.detach()) for name, value in parts.items()})
        return {**losses, "rate": rate}

    def validate(self, subjects: Sequence[Subject]) -> dict[str, float]:
        """Validation of the averaged network."""
        return validate(self.average, subjects, self.settings, self.team.device)

    def state(self) -> dict[str, Any]:
        """Everything that a step changes."""
        return {
            "network": self.objective.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any], step: int) -> None:
        """Go on from the state after a step."""
        self.objective.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = step

    def _decay(self, step: int) -> float:
        """Decay of the average at a step."""
        return min(self.settings.ema, step / (step + _AVERAGE_FROM))

    def _find_gradient(self, loss: Tensor) -> None:
        """The clipped gradient; what is no number is refused before it spoils the weights."""
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.objective.network.parameters(), self.settings.clip)
        # The gradient is shared, so all processes come to the same verdict.
        if not bool(torch.isfinite(norm)):
            raise InputError(
                f"the loss is no longer a number (loss {loss.item():g}, gradient {norm.item():g}): "
                "lower `learning_rate`, or set `precision` to fp32."
            )


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """Rise over the first part of the steps, then a cosine to zero or a constant."""
    highest = settings.learning_rate
    warm = max(1, round(settings.warmup * steps))
    if step <= warm:
        return highest * step / warm
    if settings.decay == "constant":
        return highest
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights."""
    for mean, new in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(new, 1 - decay)
