"""The published weights: our network calls and recoveries against the baseline's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from DRDMCore.models import Model
from DRDMCore.models.published import import_published
from DRDMCore.recovery import LEVELS, PublishedNetwork, PublishedStep, recover
from Testing.Benchmarks import naive_training
from Testing.Benchmarks.accuracy_row import shared
from Testing.Benchmarks.generation_baseline import Baseline

LEVEL = 48
CALL_LEVELS = (0, 5, 20, 40, 60, 79)
PRECISIONS = ("fp32", "bf16")


def files() -> tuple[Path, Path] | None:
    """The published 2D weights and a recorded image, if both are there (`DRDM_SHARED`)."""
    found = sorted(shared("data", "cmr_published").glob("*_recresacnet.pth"))
    recorded = shared("reference", "cmr2d.npz")
    return (found[0], recorded) if found and recorded.is_file() else None


@dataclass(frozen=True)
class Published:
    """The published weights twice, ours and plain, with an image.

    Attributes:
        model: Ours.
        plain: The same weights in torch's default layout.
        image: `(1, 1, 256, 256)` in [0, 1].
    """

    model: Model
    plain: PublishedNetwork
    image: Tensor

    @property
    def step(self) -> PublishedStep:
        """Our step."""
        assert isinstance(self.model.step, PublishedStep)
        return self.model.step

    def call(self, precision: str, level: int = LEVEL) -> Tensor:
        """One network call of ours, fraction of the side."""
        reduced = precision == "bf16"
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            return self.step.network(self.image, torch.tensor([level])).float()

    def plain_call(self, level: int = LEVEL) -> Tensor:
        """One network call of the baseline, fraction of the side."""
        with torch.no_grad():
            return naive_training.one_pass(self.plain, self.image, torch.tensor([level]))

    def calls(self) -> dict[str, Callable[[], object]]:
        """Jobs: one call each."""
        ours = {each: lambda each=each: self.call(each) for each in PRECISIONS}
        return {"baseline": self.plain_call, **ours}

    def difference(self, precision: str) -> float:
        """Largest difference of one call from the baseline over some levels, of the side."""
        gaps = (self.call(precision, each) - self.plain_call(each) for each in CALL_LEVELS)
        return max(float(gap.abs().max()) for gap in gaps)

    def recoveries(self, levels: int) -> dict[str, Callable[[], object]]:
        """Jobs: the first `levels` levels of a recovery, two passes each."""
        baseline = Baseline(self.plain, self.image, LEVEL)
        visited = tuple(range(LEVELS - 1, LEVELS - 1 - levels, -1))
        start = baseline.start(0)

        def ours(precision: str) -> object:
            settings = replace(self.model.recovery, precision=precision, steps=visited)
            return recover(self.step, self.image, start, LEVEL, settings)

        jobs: dict[str, Callable[[], object]] = {
            each: lambda each=each: ours(each) for each in PRECISIONS
        }
        return {"baseline": lambda: baseline.from_field(start, visited), **jobs}


def load(weights: Path, recorded: Path) -> Published:
    """Read both files."""
    model = import_published(weights, name="published")
    plain = PublishedNetwork(2)
    assert isinstance(model.step, PublishedStep)
    state = {name: each.contiguous() for name, each in model.step.network.state_dict().items()}
    plain.load_state_dict(state)
    image = torch.from_numpy(np.load(recorded)["image"]).float()
    return Published(model, plain.eval(), image.reshape(1, 1, *image.shape[-2:]))
