"""One recovery step behind one interface: (image, level, next level) -> displacement in voxels.

`recover` knows only this interface; what a network predicts, and in which unit, stays here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from DRDMCore.fields import exp_svf, resize, resize_ddf, warp
from DRDMCore.fields.grid import cut
from DRDMCore.recovery.blocks import pad_to_multiple
from DRDMCore.recovery.published_network import PublishedNetwork
from DRDMCore.recovery.schedule import (
    check_level,
    level_scale,
    scale_level,
    visited_levels,
)
from DRDMCore.recovery.velocity_network import VelocityNetwork

Plan = list[tuple[Tensor, Tensor]]
"""Per pass: the level before and after, `(B,)` each; a sample rests where both are equal."""


class RecoveryStep(Protocol):
    """What `recover` needs of a recovery network."""

    dimension: int

    def plan(self, levels: Tensor, *, start: str, steps: int | Sequence[int] | None) -> Plan:
        """Levels to visit from `levels` `(B,)` down."""

    def __call__(
        self, image: Tensor, level: Tensor, after: Tensor, *, window: Tensor | None, shared: bool
    ) -> Tensor:
        """Displacement that takes one step of implausible deformation away.

        Args:
            image: `(B, 1, *S)` deformed image in [0, 1].
            level: `(B,)` its level.
            after: `(B,)` the level after the step.
            window: `(1, 1, *S)` factor of the step, 0 where the field must stay as it is.
            shared: The batch is one stack with one field: average the prediction over it.

        Returns:
            `(B, D, *S)` displacement, voxels.
        """


class PublishedStep(nn.Module):
    """The published network: a displacement per whole level, refined by recursions."""

    def __init__(self, network: PublishedNetwork, *, side: int, recursions: int = 2) -> None:
        """Wrap a network.

        Args:
            network: The published network.
            side: Side of the images that it was trained on, voxels: its unit of displacement.
            recursions: Passes per step, each on the image warped by the last.
        """
        super().__init__()
        if recursions < 1:
            raise ValueError(f"`recursions` must be at least 1, got {recursions}.")
        self.network, self.side, self.recursions = network, side, recursions
        self.dimension = network.dimension

    def plan(self, levels: Tensor, *, start: str, steps: int | Sequence[int] | None) -> Plan:
        """Whole levels; with `start="level"` a sample joins when its own level is reached."""
        for level in levels.tolist():
            check_level(level, self.network.levels)
        visited = visited_levels(
            int(levels.max()), start=start, steps=steps, levels=self.network.levels
        )
        plan = []
        for index, level in enumerate(visited):
            here = torch.full_like(levels, level)
            below = visited[index + 1] if index + 1 < len(visited) else -1
            rests = (levels < level) & (start == "level")
            plan.append((here, torch.where(rests, here, torch.full_like(levels, below))))
        return plan

    def forward(
        self,
        image: Tensor,
        level: Tensor,
        after: Tensor,
        *,
        window: Tensor | None = None,
        shared: bool = False,
    ) -> Tensor:
        """One step (see `RecoveryStep`); `after` does not matter to this network."""
        padded, box = pad_to_multiple(image, 8)
        ddf = self._pass(padded, level, shared)
        for _ in range(self.recursions - 1):
            one = self._pass(warp(padded, ddf, padding="zeros"), level, shared)
            ddf = one + warp(ddf, one)
        ddf = cut(ddf, box)
        return ddf if window is None else ddf * window

    def _pass(self, image: Tensor, level: Tensor, shared: bool) -> Tensor:
        """One pass, in voxels, limited as in the published program."""
        limit = 1 - 1 / self.side
        ddf = self.network(image, level).float().clamp(-limit, limit) * self.side
        return ddf.mean(0, keepdim=True).expand_as(ddf) if shared else ddf


class VelocityStep(nn.Module):
    """A velocity network: the probability-flow step exp(-gain * ds * V) for any two levels."""

    def __init__(self, network: VelocityNetwork, *, velocity_rms: float, gain: float = 1.0) -> None:
        """Wrap a network.

        Args:
            network: Predicts the velocity in units of its rms.
            velocity_rms: That rms per component, voxels of the half-resolution grid at scale 1.
            gain: 1 keeps the statistics of the levels in theory; more seeks likelier shapes.
        """
        super().__init__()
        self.network, self.velocity_rms, self.gain = network, velocity_rms, gain
        self.dimension = network.dimension

    def plan(self, levels: Tensor, *, start: str, steps: int | Sequence[int] | None) -> Plan:
        """Equal parts of each sample's own scale; `start="top"` begins every sample at the top."""
        for level in levels.tolist():
            check_level(level)
        if start == "top":
            levels = torch.full_like(levels, 79)
        if steps is not None and not isinstance(steps, int):
            raise ValueError("`steps` must be a number of passes for a velocity network.")
        count = 8 if steps is None else steps
        if count < 1:
            raise ValueError(f"`steps` must be at least 1, got {count}.")
        top = level_scale(levels)
        stations = [scale_level(top * (1 - k / count)) for k in range(count + 1)]
        return list(itertools.pairwise(stations))

    def forward(
        self,
        image: Tensor,
        level: Tensor,
        after: Tensor,
        *,
        window: Tensor | None = None,
        shared: bool = False,
    ) -> Tensor:
        """One step (see `RecoveryStep`)."""
        scale, rest = level_scale(level), level_scale(after)
        padded, box = pad_to_multiple(image, self.network.multiple)
        velocity = self.network(padded, scale, 1 - rest / scale.clamp(min=1e-9)).float()
        svf = self.taken_away(velocity, scale - rest)
        if shared:
            svf = svf.mean(0, keepdim=True).expand_as(svf)
        if window is not None:
            full = torch.zeros_like(padded[:1])
            cut(full, box).copy_(window)
            svf = svf * resize(full, svf.shape[2:])
        ddf = cut(resize_ddf(exp_svf(svf, steps=3), padded.shape[2:]), box)
        # Half the resolution lets a little through to where the window is 0.
        return ddf if window is None else ddf * (window > 0)

    def taken_away(self, velocity: Tensor, scale: Tensor) -> Tensor:
        """The velocity field of a step: `velocity` in units of its rms, over a part of the scale.

        Args:
            velocity: `(B, D, *S / 2)` what the network predicts.
            scale: `(B,)` what the step takes of the scale.

        Returns:
            `(B, D, *S / 2)` voxels of the half-resolution grid.
        """
        amount = self.gain * self.velocity_rms * scale
        return -amount.reshape(-1, *[1] * (velocity.ndim - 1)) * velocity
