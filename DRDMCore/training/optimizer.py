"""The optimiser of a run: Muon for the convolutions between the first and the last, AdamW else.

Muon makes the update of a weight matrix orthogonal, so that every direction learns at the same
pace. On our networks it learns several times as much in the same number of steps
(docs/results/training-runs.md). torch's takes matrices only; a convolution's weights are
one, `(out, in * kernel)`, and get a view of that shape.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from DRDMCore.errors import InputError
from DRDMCore.training.settings import TrainingSettings


class Optimizer:
    """AdamW, and Muon where the settings want it, with one rate schedule."""

    def __init__(self, network: nn.Module, settings: TrainingSettings) -> None:
        """Share the weights that learn among the two.

        Raises:
            InputError: If torch is too old for Muon.
        """
        self._rate = settings.learning_rate
        learning = [each for each in network.parameters() if each.requires_grad]
        inner = inner_convolutions(network) if settings.optimizer == "muon" else []
        known = {id(each) for each in inner}
        rest = [each for each in learning if id(each) not in known]
        decay = settings.weight_decay
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=self._rate, weight_decay=decay)
        ]
        self._highest = [self._rate, settings.muon_rate]
        self._weights = learning
        self._viewed = [(each, nn.Parameter(each.data.flatten(1))) for each in inner]
        if inner:
            self._parts.append(_muon([view for _, view in self._viewed], settings))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for each in self._weights:
            each.grad = None

    def step(self, rate: float) -> None:
        """One step; `rate` is AdamW's, Muon's follows in proportion."""
        for weight, view in self._viewed:
            assert weight.grad is not None
            view.grad = weight.grad.flatten(1)
        for part, highest in zip(self._parts, self._highest, strict=False):
            for group in part.param_groups:
                group["lr"] = highest * rate / self._rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of each part."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from a state."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def inner_convolutions(network: nn.Module) -> list[nn.Parameter]:
    """Weights of all convolutions but the first and the last."""
    weights = [each for each in network.parameters() if each.requires_grad and each.ndim >= 4]
    return weights[1:-1]


def _muon(views: list[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Muon over matrices."""
    if not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"`optimizer` 'muon' needs torch 2.9 or later, but {torch.__version__} is installed: "
            "set it to 'adamw', or update torch."
        )
    return torch.optim.Muon(views, lr=settings.muon_rate, weight_decay=settings.weight_decay)
