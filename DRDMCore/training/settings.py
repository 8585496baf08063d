"""What a training run needs to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy


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
    if not path.is_file():
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


def _built(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """A settings object from nested mappings; lists become tuples."""
    known = {each.name for each in dataclasses.fields(kind)}
    unknown = [f"{where}{key}" for key in values if key not in known]
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    built = {}
    for key, value in values.items():
        if key in _PARTS:
            if not isinstance(value, Mapping):
                raise ValueError(f"`{where}{key}` must hold settings, got {value!r}")
            value = _built(_PARTS[key], value, f"{key}.")
        built[key] = tuple(value) if isinstance(value, list) else value
    return kind(**built)
