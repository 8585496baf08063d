"""What an experiment works on, and how its networks are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from Testing.Experiments.few_shot.arms import (
    ARMS,
    DECISIVE,
    DRDM_GRID,
    DRDM_GRID_2D,
    ELASTIC_GRID,
    ELASTIC_GRID_2D,
    OTHERS,
    PUBLISHED_GRID,
)
from Testing.Experiments.planned import Setting

ALL = 0
"""As the number of labelled subjects: all of the training part."""


@dataclass(frozen=True)
class Pose:
    """How far affine maps vary a sample, in every arm but `none`.

    Attributes:
        turn: Degrees to both sides, in each plane.
        scaling: Share to both sides.
        shift: Voxels of the networks' grid to both sides, along each axis.
    """

    turn: float = 15.0
    scaling: float = 0.15
    shift: float = 3.0


@dataclass(frozen=True)
class Training:
    """How a segmentation network is trained, in every arm alike.

    Attributes:
        features: Of the five floors of MONAI's BasicUNet, and of its last layer.
        precision: Of the convolutions in training: `bf16` or `fp32`.
        iterations: Optimisation steps by the number of labelled subjects.
        tuning_iterations: Those of tuning, if others.
        batch: Images per step.
        learning_rate: Of AdamW at the first step; it falls to 0 as a cosine.
        weight_decay: Of AdamW.
        fields: Pre-drawn fields per labelled subject (of a study of slices: per slice), by the
            number of labelled subjects; the same number in every arm.
        pose: How far affine maps go.
    """

    features: tuple[int, ...] = (8, 16, 32, 64, 64, 8)
    precision: str = "bf16"
    iterations: Mapping[int, int] = field(
        default_factory=lambda: {1: 1000, 2: 1000, 5: 1000, 20: 1500, ALL: 4000}
    )
    tuning_iterations: int | None = None
    batch: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    fields: Mapping[int, int] = field(
        default_factory=lambda: {1: 100, 2: 100, 5: 50, 20: 25, ALL: 10}
    )
    pose: Pose = Pose()


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
        others: The same of further generators, by the name that settings know them by.
        trained: Training settings of a generator that is not bundled: the experiment trains it.
        checkpoints: Published checkpoints of further generators, below the folder of shared data.
        side: Of a study of slices: pixels of the longer side of the field of view, to which each
            slice is resampled; `None`: volumes, which are not resampled.
        grids: Settings that are tried, by tuned arm; as many of elastic as of DRDM fields.
        decisive: Arms that run first.
        later: Arms that run after them.
        order: Numbers of labelled subjects of the decisive arms, in the order of the runs.
        later_order: Those of the other arms.
        fewer: Numbers of the labelled subsets where not all of them are run, by number of subjects.
        seen: What the generators have seen, for the page.
        remarks: Further items for the page.
        person_of: Whose a subject is, where the parts of the split share persons.
        persons: That in words, for the page.
        paper: Dice of the paper by number of labelled subjects and column, for comparison.
        everyone: Subjects of the training part, as the place of "all" among the paper's numbers.
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
    others: Mapping[str, str] = field(default_factory=dict)
    trained: Path | None = None
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    side: int | None = None
    grids: Mapping[str, tuple[Setting, ...]] = field(
        default_factory=lambda: {"elastic": ELASTIC_GRID, "drdm": DRDM_GRID}
    )
    decisive: tuple[str, ...] = DECISIVE
    later: tuple[str, ...] = OTHERS
    order: tuple[int, ...] = (5, 2, ALL, 20, 1)
    later_order: tuple[int, ...] = (5, 2, 1, 20, ALL)
    fewer: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    seen: str = (
        "It has seen the unlabelled images of the training part, and never a test subject; its "
        "checkpoint was chosen on the validation part. Only the arm drdm-own has a generator that "
        "saw the labelled subjects alone"
    )
    remarks: tuple[str, ...] = ()
    person_of: Callable[[str], str] | None = None
    persons: str = ""
    paper: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    everyone: int = 0
    subsets: int = 8
    all_runs: int = 1
    tuning_subjects: int = 20
    tuning_subsets: int = 3
    tuning_size: int = 5
    training: Training = field(default_factory=Training)

    @property
    def tuned(self) -> tuple[str, ...]:
        """The arms whose settings are chosen, in the order of all arms."""
        return tuple(name for name in ARMS if name in self.grids)

    @property
    def possible(self) -> tuple[str, ...]:
        """The arms whose settings are known and whose fields can be made, in their order."""
        names = []
        for name, arm in ARMS.items():
            needed = arm.tuned_as or ((name,) if arm.kinds else ())
            # slices are registered with hearts on each other, which takes labels
            unlabelled = "population" in arm.kinds and self.side is not None
            if set(needed) <= set(self.tuned) and not unlabelled:
                names.append(name)
        return tuple(names)

    def subsets_of(self, n: int) -> tuple[int, ...]:
        """Numbers of the labelled subsets that are run at a number of labelled subjects."""
        return self.fewer.get(n, tuple(range(self.all_runs if n == ALL else self.subsets)))

    def generator_of(self, model: str) -> str:
        """Name and hash of the generator that settings call `model`; `""` is the study's own."""
        return self.others[model] if model else self.generator


def person_of_hippocampus(name: str) -> str:
    """Whose a volume of Task04 is: numbers 2k - 1 and 2k are two sides of one person."""
    return f"person {(int(name.rpartition('_')[2]) + 1) // 2}"


HIPPOCAMPUS = Study(
    name="hippocampus",
    title="hippocampus, T1 MR crops, 3D (MSD Task04)",
    images="hippocampus/images",
    labels="hippocampus/labels",
    shape=(40, 56, 40),
    values={1: "anterior", 2: "posterior"},
    model="hippocampus-mr-3d",
    fewer={20: (0, 2, 4, 6)},  # these have no volume in common
    person_of=person_of_hippocampus,
    persons=(
        "Subjects are volumes of one hippocampus, and volumes 2k - 1 and 2k of Task04 come from "
        "one scan: where a volume's steps of grey values are not whole, those of the other are the "
        "same, and its anatomy is alike. The data do not say so, and the split, made volume by "
        "volume, was made before it was noticed."
    ),
)

ACDC = Study(
    name="acdc",
    title="heart, short-axis cine MR, 2D (ACDC)",
    images="acdc/images",
    labels="acdc/labels",
    shape=(128, 128),
    values={1: "RV", 2: "MYO", 3: "LV"},
    model="acdc-mr-2d",
    trained=Path(__file__).with_name("acdc_generator.yaml"),
    checkpoints={"published": "cmr_published/000000_cmr_recresacnet.pth"},
    side=184,
    grids={"elastic": ELASTIC_GRID_2D, "drdm": DRDM_GRID_2D, "drdm-published": PUBLISHED_GRID},
    decisive=(*DECISIVE, "drdm-published"),
    order=(5, 2, ALL, 20),
    later_order=(5, 2, 20, ALL),
    fewer={20: (0, 3, 5, 8)},
    seen=(
        "It has seen the unlabelled images of all training patients, labelled or not, which the "
        "arms without DRDM have not; it has seen no test patient. Its checkpoint was chosen on the "
        "validation patients, and it began from phantom-heart-2d, which has seen phantoms alone"
    ),
    remarks=(
        "what the published weights have seen is not known: nothing that comes with them says so. "
        "The paper's cardiac images are from Sunnybrook, M&Ms, LASC and SCD, not ACDC; the authors "
        "ship one ACDC patient with the program (001, here a training patient). That they have "
        "seen no test patient, as unlabelled images, cannot be shown",
        "the published weights' recovery is cut from 160 passes to 12 or 24, in bf16, and two "
        "settings of theirs are tuned instead of three: the price of a field",
        "slices: the longer side of the field of view is resampled to 184 pixels and the middle "
        "128 x 128 taken, without a look at the labels; n counts patients, each with all slices "
        "of end-diastole and end-systole. Scores are those of whole stacks on that grid, and "
        "*failed* counts stacks; *both* draws patients anew, with both stacks. The data have lost "
        "their spacing: distances are in nominal mm, of headers that say 1.5 x 1.5 x 10 mm",
        "subsets: those of two patients share nobody, neighbours among those of five share one "
        "patient, those of twenty overlap",
    ),
    paper={
        5: {"none": 46.9, "BigAug": 59.7, "DRDM": 68.2},
        20: {"none": 65.8, "BigAug": 66.9, "DRDM": 77.5},
        50: {"none": 75.9, "BigAug": 74.8, "DRDM": 87.1},
        100: {"none": 86.5, "BigAug": 81.9, "DRDM": 88.6},
    },
    everyone=50,
    subsets=10,
    all_runs=2,
    tuning_subjects=10,
    tuning_subsets=2,
    training=Training(
        iterations={2: 3600, 5: 3600, 20: 5000, ALL: 8000},
        tuning_iterations=1800,
        batch=4,
        fields={2: 5, 5: 5, 20: 3, ALL: 3},
        pose=Pose(turn=30.0, scaling=0.25, shift=10.0),  # hearts differ much in size and place
    ),
)

STUDIES = {study.name: study for study in (HIPPOCAMPUS, ACDC)}
"""By name."""
