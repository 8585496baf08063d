"""What the experiment works on, and how its networks are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from Testing.Experiments.few_shot import study as few_shot


@dataclass(frozen=True)
class Training:
    """How a network is trained, in every arm alike.

    Attributes:
        features: Channels at half, a quarter and an eighth of the resolution.
        precision: Of the convolutions in training: `bf16` or `fp32`.
        iterations: Optimisation steps.
        batch: Pairs per step.
        learning_rate: Of AdamW at the first step; it falls to 0 as a cosine.
        similarity: Weight of the images' likeness beside the end-point error of made pairs.
        fields: Pre-drawn fields per subject, of which any two make a pair.
    """

    features: tuple[int, ...] = (12, 24, 32)
    precision: str = "bf16"
    iterations: int = 1000
    batch: int = 2
    learning_rate: float = 2e-3
    similarity: float = 10.0
    fields: int = 6


@dataclass(frozen=True)
class Study:
    """One data set with its generator.

    Attributes:
        data: Images, labels, grid and generator: the study of few-shot segmentation.
        seeds: Networks per arm that are reported: other first weights, other pairs.
        tuning_seeds: Networks per setting that is tried.
        rings: Subjects lie in a circle, and each is registered with those so many places further:
            the real pairs that are scored.
        training: How networks are trained.
    """

    data: few_shot.Study
    seeds: int = 3
    tuning_seeds: int = 1
    rings: tuple[int, ...] = (1, 7)
    training: Training = field(default_factory=Training)

    @property
    def name(self) -> str:
        """In file names."""
        return self.data.name


STUDIES = {"hippocampus": Study(few_shot.HIPPOCAMPUS)}
"""By name."""
