"""Distillation: learn to do in a few passes what a trained network does in many.

A teacher recovers deformed images in many passes. Where a pass of the student takes as much of the
scale away as several of the teacher's, its target is the mean of their velocities; it is told how
much that is (`stride`). The states are the teacher's own, so nothing is ambiguous: unlike the
velocity of the random field, the target follows from the image.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.fields import compose, exp_svf, resize_ddf
from DRDMCore.models import Model, load_model
from DRDMCore.recovery import (
    RecoverySettings,
    VelocityNetwork,
    VelocityStep,
    level_scale,
    scale_level,
)
from DRDMCore.training.draws import Drawn, deformed
from DRDMCore.training.objectives.objective import Example
from DRDMCore.training.objectives.velocity import VelocityObjective
from DRDMCore.training.settings import TrainingSettings

_PICKS = 3
"""Passes of the student that are learned from one recovery by the teacher."""


class DistilledObjective(VelocityObjective):
    """A velocity network that learns from another one (see `Objective`)."""

    strided = True

    def __init__(self, settings: TrainingSettings) -> None:
        """A student with the weights of the teacher, if it is as wide, else random ones."""
        super().__init__(settings)
        assert settings.teacher is not None
        teacher = load_model(settings.teacher)
        step = _velocity_step_of(teacher, settings)
        self.velocity_rms = step.velocity_rms
        self.taught_by = f"{teacher.card.name} {teacher.sha256}"
        self.teacher: VelocityNetwork = step.network.requires_grad_(False)
        kind = operator.attrgetter("widths", "stem_factor")
        if kind(self.teacher) == kind(self.network):
            self.network.load_state_dict(self.teacher.state_dict(), strict=False)

    def example(self, drawn: Drawn, device: torch.device) -> Example:
        """States of the teacher's recoveries, and the mean velocities from there on."""
        scale = level_scale(drawn.level).to(device)
        states, velocities = self._recovered(drawn, self.flows(drawn, device).ddf, scale)
        chosen = [self._pick(generator) for generator in drawn.generators for _ in range(_PICKS)]
        return _example(states, velocities, scale, chosen, self.settings.teacher_passes)

    def recovery(self) -> RecoverySettings:
        """The first of the numbers of passes."""
        return RecoverySettings(steps=self.settings.passes[0])

    def architecture(self) -> Mapping[str, Any]:
        """Numbers that rebuild the step."""
        return {**super().architecture(), "strided": True}

    @torch.no_grad()
    def _recovered(self, drawn: Drawn, ddf: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Images (with where they are images) and velocities before each pass of the teacher.

        Returns:
            `(P, B, 2, *S)` and `(P, B, D, *S / 2)`.
        """
        states, velocities, passes = [], [], self.settings.teacher_passes
        step, bf16 = self.step(), self.settings.precision == "bf16"
        for done in range(passes):
            states.append(torch.cat(deformed(drawn, ddf), dim=1))
            with torch.autocast(ddf.device.type, torch.bfloat16, enabled=bf16):
                left = scale * (1 - done / passes)
                velocities.append(self.teacher(states[-1][:, :1], left).float())
            taken = exp_svf(step.taken_away(velocities[-1], scale / passes), steps=3)
            ddf = compose(ddf, resize_ddf(taken, ddf.shape[2:]))
        return torch.stack(states), torch.stack(velocities)

    def _pick(self, generator: torch.Generator) -> tuple[int, int]:
        """A number of passes, and one of them from 0."""
        index = int(torch.randint(len(self.settings.passes), (1,), generator=generator))
        passes = self.settings.passes[index]
        return passes, int(torch.randint(passes, (1,), generator=generator))


def _example(
    states: Tensor,
    velocities: Tensor,
    scale: Tensor,
    chosen: Sequence[tuple[int, int]],
    teacher_passes: int,
) -> Example:
    """What the student sees, and is to find, at each of its chosen passes.

    Args:
        states: As `DistilledObjective._recovered` gives them.
        velocities: The same.
        scale: `(B,)` where the recoveries began.
        chosen: Number of passes and index of one, the same number of pairs for each sample.
        teacher_passes: Passes of the teacher.
    """
    images, targets, scales, strides = [], [], [], []
    for number, (passes, index) in enumerate(chosen):
        sample, share = number // (len(chosen) // len(scale)), teacher_passes // passes
        images.append(states[index * share, sample])
        targets.append(velocities[index * share : (index + 1) * share, sample].mean(dim=0))
        scales.append(scale[sample] * (1 - index / passes))
        strides.append(1 / (passes - index))
    both = torch.stack(images)
    level = scale_level(torch.stack(scales))
    stride = torch.tensor(strides, device=scale.device)
    return Example(both[:, :1], both[:, 1:], level, torch.stack(targets), stride)


def _velocity_step_of(teacher: Model, settings: TrainingSettings) -> VelocityStep:
    """The step of a teacher that saw what the student will see.

    Raises:
        InputError: If the teacher is of another kind, or learned on another grid or other fields.
    """
    step = teacher.step
    if not isinstance(step, VelocityStep) or step.network.embed_stride is not None:
        raise InputError(
            f"`teacher` must be a model of objective `velocity`, got {teacher.card.name}: name "
            "another one."
        )
    ours = {"grid": settings.grid, "field": settings.field}
    theirs = {"grid": teacher.grid, "field": teacher.field}
    for name, value in ours.items():
        if theirs[name] != value:
            raise InputError(
                f"`{name}` must be that of the teacher {teacher.card.name} ({theirs[name]}), got "
                f"{value}: begin with the settings of the teacher's run."
            )
    return step
