"""What an experiment works on, and how its networks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALL = 0
"""As the number of labelled subjects: all of the training part."""


@dataclass(frozen=True)
class Training:
    """How a segmentation network is trained, in every arm alike.

    Attributes:
        features: Of the five floors of MONAI's BasicUNet, and of its last layer.
        precision: Of the convolutions in training: `bf16` or `fp32`.
        iterations: Optimisation steps by the number of labelled subjects.
        batch: Images per step.
        learning_rate: Of AdamW at the first step; it falls to 0 as a cosine.
        weight_decay: Of AdamW.
        fields: Pre-drawn fields per labelled subject, by the number of labelled subjects; the
            same number in every arm.
    """

    features: tuple[int, ...] = (8, 16, 32, 64, 64, 8)
    precision: str = "bf16"
    iterations: Mapping[int, int] = field(
        default_factory=lambda: {1: 1000, 2: 1000, 5: 1000, 20: 1500, ALL: 4000}
    )
    batch: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    fields: Mapping[int, int] = field(
        default_factory=lambda: {1: 100, 2: 100, 5: 50, 20: 25, ALL: 10}
    )


@dataclass(frozen=True)
class Study:
    """One data set with its generator.

    Attributes:
        name: Of the study, in file names.
        title: One line for the page.
        images: Folder of images, below the folder of shared data.
        labels: Folder of labels, below it.
        shape: Grid on which networks work; images are cut or padded about their middle.
        values: Label values with their names.
        model: The training settings that the split is derived from, and the generator.
        generator: Name and hash of the generator's file, by which runs with it are told apart.
        subsets: Labelled subsets per number of subjects.
        all_runs: Runs with all labelled subjects (they differ in their initialisation).
        tuning_subjects: Training subjects set aside for the subsets of tuning.
        tuning_subsets: Labelled subsets on which the settings of arms are chosen.
        tuning_size: Subjects in each of these.
        training: How networks are trained.
    """

    name: str
    title: str
    images: str
    labels: str
    shape: tuple[int, ...]
    values: Mapping[int, str]
    model: str
    generator: str = ""
    subsets: int = 8
    all_runs: int = 1
    tuning_subjects: int = 20
    tuning_subsets: int = 3
    tuning_size: int = 5
    training: Training = field(default_factory=Training)


HIPPOCAMPUS = Study(
    name="hippocampus",
    title="hippocampus, T1 MR crops, 3D (MSD Task04)",
    images="hippocampus/images",
    labels="hippocampus/labels",
    shape=(40, 56, 40),
    values={1: "anterior", 2: "posterior"},
    model="hippocampus-mr-3d",
)

STUDIES = {study.name: study for study in (HIPPOCAMPUS,)}
"""By name. A 2D study is one more entry, with slices for subjects and a shape of two sides."""
