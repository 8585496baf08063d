"""What a training run needs to know."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.models import Card


@dataclass(frozen=True)
class InputAugmentation:
    """Random changes of a training image before it is deformed.

    Attributes:
        rotation_deg: Largest rotation about each axis.
        scaling: Largest relative change of size.
        shift: Largest shift as a part of each side.
        gain: Standard deviation of the intensity factor around 1.
        offset: Standard deviation of the intensity offset.
        gamma: Standard deviation of the logarithm of the intensity exponent.
        noise: Largest standard deviation of added Gaussian noise.
    """

    rotation_deg: float = 8.0
    scaling: float = 0.1
    shift: float = 0.04
    gain: float = 0.1
    offset: float = 0.05
    gamma: float = 0.15
    noise: float = 0.03


@dataclass(frozen=True)
class TrainingSettings:
    """One training run.

    Attributes:
        name: Name of the model.
        data: A folder or file of images, or `phantom:KIND`.
        grid: How images come to the network's grid.
        shape: Spatial shape of training images; smaller ones are padded, larger ones cut at random.
        field: How random fields are drawn.
        widths: Channels of the network per resolution.
        steps: Optimisation steps.
        batch: Images per step.
        learning_rate: Highest rate; warmed up over 2 % of the steps, then cosine to zero.
        ema: Decay of the average of weights that becomes the model.
        gradient_weight: Weight of the loss on the velocity's gradient.
        padding_weight: Weight of the loss where an image was padded.
        validation_share: Part of the subjects held out.
        subjects: Number of phantom subjects.
        gain: Gain of the sampler, recorded in the model.
        seed: Seed of everything random.
        precision: `bf16` or `fp32`.
        card: Entries of the model's card.
    """

    name: str
    data: str
    grid: GridPolicy
    shape: tuple[int, ...]
    field: RandomFieldSettings = dataclasses.field(
        default_factory=lambda: RandomFieldSettings(control_spacing=2.0)
    )
    widths: tuple[int, ...] = (16, 32, 64)
    steps: int = 1500
    batch: int = 8
    learning_rate: float = 1e-3
    ema: float = 0.995
    gradient_weight: float = 4.0
    padding_weight: float = 0.05
    validation_share: float = 0.2
    subjects: int = 128
    gain: float = 2.0
    seed: int = 0
    precision: str = "bf16"
    augmentation: InputAugmentation = dataclasses.field(default_factory=InputAugmentation)
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse, before any work, what cannot be trained."""
        for wrong, message in _rules(self):
            if wrong:
                raise InputError(message)


_PARTS = {
    "grid": GridPolicy,
    "field": RandomFieldSettings,
    "augmentation": InputAugmentation,
}


def read_settings(path: Path) -> TrainingSettings:
    """Read the settings of a run from a YAML file.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no YAML, a key is unknown or missing, or a value cannot be used.
    """
    if not os.path.isfile(path):
        raise MissingFileError(f"{path} does not exist: give a YAML file of training settings.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({error}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold `key: value` lines, got {type(values).__name__}.")
    try:
        return _built(TrainingSettings, values, "")
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def _rules(settings: TrainingSettings) -> list[tuple[bool, str]]:
    """What makes settings unusable, each with its message."""
    shape, multiple = settings.shape, 2 ** len(settings.widths)
    allowed = {each.name for each in dataclasses.fields(Card)} - {"name", "metrics", "training"}
    unknown = [f"card.{key}" for key in settings.card if key not in allowed]
    at_least = {"steps": 1, "batch": 1, "subjects": 2, "seed": 0}
    return [
        (value < low, f"`{name}` must be at least {low}, got {value}.")
        for name, low in at_least.items()
        for value in [getattr(settings, name)]
    ] + [
        (not settings.widths, "`widths` must name at least one width, got none."),
        (
            len(shape) != settings.grid.dimension or any(n < 1 or n % multiple for n in shape),
            f"`shape` must be {settings.grid.dimension} (`grid.dimension`) multiples of {multiple} "
            f"(2 for each of `widths`), got {list(shape)}.",
        ),
        (
            not 0 < settings.learning_rate < 1,
            f"`learning_rate` must lie between 0 and 1, got {settings.learning_rate}.",
        ),
        (not 0 <= settings.ema < 1, f"`ema` must be 0 or more and below 1, got {settings.ema}."),
        (
            not 0 < settings.validation_share < 1,
            f"`validation_share` must lie between 0 and 1, got {settings.validation_share}.",
        ),
        (
            settings.precision not in ("bf16", "fp32"),
            f"`precision` must be 'bf16' or 'fp32', got {settings.precision!r}.",
        ),
        (
            bool(unknown),
            f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(allowed))}.",
        ),
    ]


def _built(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """A settings object from nested mappings; lists become tuples."""
    known = {each.name: each for each in dataclasses.fields(kind)}
    unknown = [f"{where}{key}" for key in values if key not in known]
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    missing = [f"{where}{name}" for name in known if name not in values and _required(known[name])]
    if missing:
        raise ValueError(f"missing keys {', '.join(missing)}: add them")
    hints = get_type_hints(kind)
    built = {}
    for key, value in values.items():
        if key in _PARTS and isinstance(value, Mapping):
            value = _built(_PARTS[key], value, f"{key}.")
        value = tuple(value) if isinstance(value, list) else value
        if not _fits(value, hints[key]):
            wanted = "settings" if key in _PARTS else known[key].type
            raise ValueError(f"`{where}{key}` must be {wanted}, got {value!r}")
        built[key] = value
    return kind(**built)


def _required(field: dataclasses.Field[Any]) -> bool:
    """Whether a setting has no default."""
    return field.default is field.default_factory is dataclasses.MISSING


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as settings use them."""
    parts = get_args(hint)
    if isinstance(value, bool):
        return hint is bool
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if get_origin(hint) is Literal:
        return value in parts
    if get_origin(hint) is tuple:
        counted = parts[-1] is ... or (isinstance(value, tuple) and len(value) == len(parts))
        return isinstance(value, tuple) and counted and all(_fits(v, parts[0]) for v in value)
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, get_origin(hint) or hint)
