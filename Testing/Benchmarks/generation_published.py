"""The published weights: our network calls and recoveries against the baseline's.

Whole recoveries are chaotic: a start field changed in its last digit ends pixels away. So a
precision is judged by what comes out over some seeds, beside a float32 recovery from such a start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from DRDMCore.fields import folding_percent
from DRDMCore.models import Model
from DRDMCore.models.published import import_published
from DRDMCore.recovery import LEVELS, PublishedNetwork, PublishedStep, recover
from DRDMCore.recovery.fused import Kept, weights_kept
from Testing.Benchmarks import naive_training
from Testing.Benchmarks.accuracy_row import shared
from Testing.Benchmarks.generation_baseline import Baseline, pull

LEVEL = 48
CALL_LEVELS = (0, 5, 20, 40, 60, 79)
PRECISIONS = ("fp32", "bf16")
SEEDS = (0, 1, 2, 3)
NUDGE = 1e-6
WAYS = {
    "fp32": ("fp32", 0.0),
    f"fp32, start x (1 + {NUDGE})": ("fp32", NUDGE),
    "bf16": ("bf16", 0.0),
}
"""Precision of a whole recovery, and by what part its start field is changed."""


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
        kept: Weights of earlier calls: as from the second pass of a recovery on.
    """

    model: Model
    plain: PublishedNetwork
    image: Tensor
    kept: Kept = field(default_factory=dict)

    @property
    def step(self) -> PublishedStep:
        """Our step."""
        assert isinstance(self.model.step, PublishedStep)
        return self.model.step

    def call(self, precision: str, level: int = LEVEL, image: Tensor | None = None) -> Tensor:
        """One network call of ours, fraction of the side."""
        image = self.image if image is None else image
        reduced = precision == "bf16"
        with torch.no_grad(), weights_kept(self.kept):
            with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                return self.step.network(image, torch.tensor([level])).float()

    def plain_call(self, level: int = LEVEL, image: Tensor | None = None) -> Tensor:
        """One network call of the baseline, fraction of the side."""
        image = self.image if image is None else image
        with torch.no_grad():
            return naive_training.one_pass(self.plain, image, torch.tensor([level]))

    def calls(self) -> dict[str, Callable[[], object]]:
        """Jobs: one call each."""
        ours = {each: lambda each=each: self.call(each) for each in PRECISIONS}
        return {"baseline": self.plain_call, **ours}

    def difference(self, precision: str) -> float:
        """Largest difference of a call from the baseline, of the side.

        Over some levels, on the image and on the image deformed by some start fields.
        """
        baseline = Baseline(self.plain, self.image, LEVEL)
        deformed = [pull(self.image, baseline.start(seed), padding="zeros") for seed in SEEDS]
        gaps = (
            self.call(precision, level, image) - self.plain_call(level, image)
            for image in (self.image, *deformed)
            for level in CALL_LEVELS
        )
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

    def outcome(self, way: str, seed: int) -> list[float]:
        """A whole recovery: residual |recovered| / |start|, correlation with the image, folds %."""
        precision, nudge = WAYS[way]
        start = Baseline(self.plain, self.image, LEVEL).start(seed)
        settings = replace(self.model.recovery, precision=precision)
        result = recover(self.step, self.image, start * (1 + nudge), LEVEL, settings)
        pair = torch.stack([self.image.flatten(), result.image.flatten()])
        residual = result.ddf.norm() / start.norm()
        return [
            float(residual),
            float(torch.corrcoef(pair)[0, 1]),
            float(folding_percent(result.ddf)),
        ]

    def outcome_rows(self, seeds: Sequence[int] = SEEDS) -> list[list[str]]:
        """Per way, what comes out: means over the seeds, and (how far from plain fp32's)."""
        found = {way: np.array([self.outcome(way, seed) for seed in seeds]) for way in WAYS}
        rows = []
        for way, each in found.items():
            apart = np.abs(each - found["fp32"]).mean(0)
            pairs = zip(each.mean(0), apart, (3, 3, 2), strict=True)
            rows.append([way, *[f"{mean:.{n}f} ({gap:.{n}f})" for mean, gap, n in pairs]])
        return rows


def load(weights: Path, recorded: Path) -> Published:
    """Read both files."""
    model = import_published(weights, name="published")
    plain = PublishedNetwork(2)
    assert isinstance(model.step, PublishedStep)
    state = {name: each.contiguous() for name, each in model.step.network.state_dict().items()}
    plain.load_state_dict(state)
    image = torch.from_numpy(np.load(recorded)["image"]).float()
    return Published(model, plain.eval(), image.reshape(1, 1, *image.shape[-2:]))
