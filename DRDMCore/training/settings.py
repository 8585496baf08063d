"""What a training run needs to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from DRDMCore.errors import InputError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.models import Card
from DRDMCore.recovery import LEVELS

OBJECTIVES = ("velocity", "distilled", "published")


@dataclass(frozen=True)
class InputAugmentation:
    """Random changes of a training image before it is deformed.

    Attributes:
        share: Part of the images whose pose is changed (the seven settings that follow).
        rotation_deg: Largest rotation in each plane of the axes.
        scaling: Largest relative change of size.
        stretch: Largest relative change of size along each axis by itself.
        shear: Largest shear of each axis along each other, voxels per voxel.
        shift: Largest shift as a part of each side.
        crop: Smallest part of the sides that is cut out at random and enlarged to the whole.
        bend: Standard deviation of a smooth bend with 4 control points a side, part of the side.
        flips: Axes (array order) that are mirrored in half of the images; left becomes right.
        intensity_share: Part of the images whose grey values are changed.
        gain: Standard deviation of the intensity factor around 1.
        offset: Standard deviation of the intensity offset.
        gamma: Standard deviation of the logarithm of the intensity exponent.
        floor: Largest value below which grey values become 0.
        autocontrast: Part of the images that are stretched to fill 0 .. 1.
        noise: Largest standard deviation of added Gaussian noise.
    """

    share: float = 1.0
    rotation_deg: float = 8.0
    scaling: float = 0.1
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.04
    crop: float = 1.0
    bend: float = 0.0
    flips: tuple[int, ...] = ()
    intensity_share: float = 1.0
    gain: float = 0.1
    offset: float = 0.05
    gamma: float = 0.15
    floor: float = 0.0
    autocontrast: float = 0.0
    noise: float = 0.03

    def __post_init__(self) -> None:
        """Refuse what is no amount."""
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            highest = 1.0 if each.name in _SHARES else float("inf")
            if each.name != "flips" and not 0 <= value <= highest:
                raise InputError(f"`{each.name}` must be a number 0 .. {highest:g}, got {value}.")
        if not 0 < self.crop:
            raise InputError(f"`crop` must be above 0 and at most 1, got {self.crop}.")

    @property
    def moves(self) -> bool:
        """Whether it changes the pose at all."""
        amounts = (self.rotation_deg, self.scaling, self.stretch, self.shear, self.shift, self.bend)
        return self.share > 0 and (any(amounts) or self.crop < 1 or bool(self.flips))


_SHARES = ("share", "crop", "intensity_share", "autocontrast", "floor")


@dataclass(frozen=True)
class TrainingSettings:
    """One training run.

    Attributes:
        name: Name of the model.
        data: A folder of images, one image, a `.txt` list of files, or `phantom:KIND`.
        begin_from: Name or file of a model whose weights a new run begins with; `None`: random.
        grid: How images come to the network's grid.
        shape: Spatial shape of training images; smaller ones are padded, larger ones cut at random.
        objective: `velocity` (half-resolution network, any number of steps), `distilled` (the same
            network learns to do in a few passes what a teacher does in many) or `published` (the
            published network and losses).
        teacher: Name or file of the velocity model that a `distilled` one learns from.
        teacher_passes: Passes of the teacher.
        passes: Numbers of passes that a `distilled` model learns, divisors of the teacher's; the
            first is what it does by default.
        field: How random fields are drawn.
        widths: Channels of the velocity network per resolution.
        stem: How many times coarser than the image the first of them is, 2 or 4.
        levels: Number of levels of the published network.
        recursions: Passes per level of the published network.
        steps: Optimisation steps; `None` where `epochs` says how long.
        epochs: Passes over the training images, instead of `steps`.
        batch: Images per step and process.
        optimizer: `muon` (for the convolutions; AdamW for the rest) or `adamw`.
        learning_rate: Highest rate of AdamW.
        muon_rate: Highest rate of Muon.
        warmup: Part of the steps in which the rate rises to its highest.
        decay: `cosine` to zero, or `constant`.
        weight_decay: Decay of the weights.
        ema: Decay of the average of weights that becomes the model.
        clip: Largest norm of the gradient.
        gradient_weight: Weight of the loss on the velocity's gradient (`velocity`).
        folding_weight: Weight of the loss on folds, ReLU(-det(I + grad u)).
        padding_weight: Weight of the loss where an image was padded.
        validation_share: Part of the patients held out to validate on.
        test_share: Part of the patients put aside and never looked at.
        validate_every: Steps between validations.
        recoveries: Held-out images recovered at each validation.
        patience: Validations without a better loss before the run stops; `None` never stops early.
        save_minutes: Minutes between checkpoints.
        subjects: Number of phantom subjects.
        gain: Gain of the velocity sampler, recorded in the model.
        seed: Seed of everything random.
        precision: `bf16` or `fp32`.
        augmentation: Changes of the images before they are deformed.
        card: Entries of the model's card.
    """

    name: str
    data: str
    grid: GridPolicy
    shape: tuple[int, ...]
    objective: str = "velocity"
    teacher: str | None = None
    teacher_passes: int = 16
    passes: tuple[int, ...] = (4, 1, 2, 8, 16)
    field: RandomFieldSettings = dataclasses.field(
        default_factory=lambda: RandomFieldSettings(control_spacing=2.0)
    )
    widths: tuple[int, ...] = (16, 32, 64)
    stem: int = 2
    levels: int = LEVELS
    recursions: int = 2
    steps: int | None = None
    epochs: int | None = None
    batch: int = 8
    optimizer: str = "muon"
    learning_rate: float = 1e-3
    muon_rate: float = 0.02
    warmup: float = 0.02
    decay: str = "cosine"
    weight_decay: float = 0.01
    ema: float = 0.995
    clip: float = 1.0
    gradient_weight: float = 4.0
    folding_weight: float = 1.0
    padding_weight: float = 0.05
    validation_share: float = 0.2
    test_share: float = 0.0
    validate_every: int = 200
    recoveries: int = 8
    patience: int | None = None
    save_minutes: float = 5.0
    subjects: int = 128
    gain: float = 2.0
    seed: int = 0
    begin_from: str | None = None
    precision: str = "bf16"
    augmentation: InputAugmentation = dataclasses.field(default_factory=InputAugmentation)
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse, before any work, what cannot be trained."""
        checks = (*_choices(self), *_amounts(self), *_shapes(self), *_teaching(self))
        for wrong, message in checks:
            if wrong:
                raise InputError(message)


def _choices(settings: TrainingSettings) -> list[tuple[bool, str]]:
    """Settings that are one of a few words."""
    words = {
        "objective": OBJECTIVES,
        "optimizer": ("muon", "adamw"),
        "decay": ("cosine", "constant"),
        "precision": ("bf16", "fp32"),
    }
    allowed = {each.name for each in dataclasses.fields(Card)} - {"name", "metrics", "training"}
    unknown = [f"card.{key}" for key in settings.card if key not in allowed]
    return [
        (
            getattr(settings, name) not in choices,
            f"`{name}` must be {' or '.join(map(repr, choices))}, got {getattr(settings, name)!r}.",
        )
        for name, choices in words.items()
    ] + [
        (
            bool(unknown),
            f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(allowed))}.",
        ),
        (
            settings.name.strip(". ") == "" or any(sign in settings.name for sign in "/\\:\0"),
            f"`name` must be a plain file name without ending, got {settings.name!r}: choose one.",
        ),
        (
            settings.steps is not None and settings.epochs is not None,
            "`steps` and `epochs` must not both be given: remove one.",
        ),
        (
            settings.steps is None and settings.epochs is None,
            "`steps` (or `epochs`) must be given: say how long to train.",
        ),
    ]


_AT_LEAST = {
    **{"steps": 1, "epochs": 1, "batch": 1, "subjects": 2, "seed": 0, "levels": 1},
    **{"recursions": 1, "validate_every": 1, "recoveries": 0, "patience": 1, "gain": 0},
    **{"gradient_weight": 0, "folding_weight": 0, "padding_weight": 0, "weight_decay": 0},
}
_ABOVE_ZERO = ("learning_rate", "muon_rate", "validation_share", "clip", "save_minutes")
_PARTS = ("learning_rate", "muon_rate", "validation_share", "test_share", "ema", "warmup")


def _amounts(settings: TrainingSettings) -> list[tuple[bool, str]]:
    """Settings that are numbers within bounds."""
    values = {name: getattr(settings, name) for name in (*_AT_LEAST, *_ABOVE_ZERO, *_PARTS)}
    held = settings.validation_share + settings.test_share
    return [
        *(
            (
                values[name] is not None and not values[name] >= low,
                f"`{name}` must be at least {low}, got {values[name]}.",
            )
            for name, low in _AT_LEAST.items()
        ),
        *(
            (not 0 <= values[name] < 1, f"`{name}` must lie between 0 and 1, got {values[name]}.")
            for name in _PARTS
        ),
        *(
            (not values[name] > 0, f"`{name}` must be above 0, got {values[name]}.")
            for name in _ABOVE_ZERO
        ),
        (held >= 1, f"`validation_share` and `test_share` must leave some, got {held:g} together."),
    ]


def _shapes(settings: TrainingSettings) -> list[tuple[bool, str]]:
    """Settings of the grid and the network."""
    shape = settings.shape
    multiple = settings.stem * 2 ** (len(settings.widths) - 1)
    multiple = 8 if settings.objective == "published" else multiple
    return [
        (settings.stem not in (2, 4), f"`stem` must be 2 or 4, got {settings.stem}."),
        (not settings.widths, "`widths` must name at least one width, got none."),
        (
            len(shape) != settings.grid.dimension or any(n < 1 or n % multiple for n in shape),
            f"`shape` must be {settings.grid.dimension} (`grid.dimension`) multiples of {multiple} "
            "(`stem`, and 2 for each of `widths` but the first; 8 for the published network), got "
            f"{list(shape)}.",
        ),
    ]


def _teaching(settings: TrainingSettings) -> list[tuple[bool, str]]:
    """Settings of a model that learns from another one."""
    passes, most = settings.passes, settings.teacher_passes
    distilled = settings.objective == "distilled"
    return [
        (
            distilled and settings.teacher is None,
            "`teacher` must name a model of objective `velocity`, got none.",
        ),
        (
            not distilled and settings.teacher is not None,
            f"`teacher` is for the objective `distilled`, got {settings.teacher}: leave it out.",
        ),
        (
            not passes or any(n < 1 or most % n for n in passes),
            f"`passes` must be divisors of `teacher_passes` ({most}), got {list(passes)}.",
        ),
    ]
