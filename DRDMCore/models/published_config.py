"""The configuration files of the published program: keys known, checked, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from DRDMCore.errors import InputError, MissingFileError, ModelError
from DRDMCore.fields import published_field
from DRDMCore.models.files import sha256_of
from DRDMCore.models.model import Model
from DRDMCore.models.published import import_published

_CHOICES: dict[str, tuple[Any, ...]] = {
    "net_name": ("recresacnet",),
    "ndims": (2, 3),
    "num_input_chn": (1,),
    "ddf_pad_mode": ("border", "zeros"),
    "img_pad_mode": ("border", "zeros"),
    "padding_mode": ("border", "zeros"),
    "resample_mode": ("nearest", "bilinear", "bicubic"),
}
_LEAST = {
    "img_size": 8,
    "batchsize": 1,
    "timesteps": 1,
    "start_noise_step": 0,
    "noise_step": 0,
    "aug_coe": 1,
    "epoch": 1,
    "epoch_per_save": 1,
}
_IMAGE_MODES = {"nearest": "nearest", "bilinear": "linear", "bicubic": "bicubic"}
_TRAINING = ("epoch", "epoch_per_save", "lr", "noise_scale")


@dataclass(frozen=True)
class PublishedConfig:
    """A configuration of the published program; attributes are its keys.

    Attributes:
        data_name: Names the data set and, with `net_name`, the weights.
        net_name: `recresacnet`.
        ndims: Spatial axes of the network; must be those of the weights.
        num_input_chn: 1.
        img_size: Voxels of the longest side that the network sees, and its unit of displacement.
        timesteps: Number of levels; must be that of the weights.
        v_scale: Smallest standard deviation of the velocity, fraction of the side.
        ddf_pad_mode: Velocity outside the canvas.
        img_pad_mode: Image outside its grid, between passes and in the results.
        padding_mode: Composed field outside its grid.
        resample_mode: Interpolation of the image, between passes and in the results.
        device: `cpu`, `cuda`, ...
        batchsize: Has no effect: samples are made one by one.
        model_id_str: Epoch of the weights, six digits.
        start_noise_step: Level of the first repeat.
        noise_step: Rise of the level on every second repeat.
        aug_coe: Repeats per image.
        aug_img_savepath: Folder of images, seen from the root.
        aug_msk_savepath: Folder of labels.
        aug_ddf_savepath: Folder of fields.
        patients_list: Patients to augment; empty means all.
        training: Keys that only a training needs.
    """

    data_name: str
    net_name: str
    ndims: int
    num_input_chn: int
    img_size: int
    timesteps: int
    v_scale: float
    ddf_pad_mode: str
    img_pad_mode: str
    padding_mode: str
    resample_mode: str
    device: str
    batchsize: int
    model_id_str: str
    start_noise_step: int
    noise_step: int
    aug_coe: int
    aug_img_savepath: str
    aug_msk_savepath: str
    aug_ddf_savepath: str
    patients_list: tuple[int, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)


def read_config(path: Path | str, overrides: Mapping[str, Any] | None = None) -> PublishedConfig:
    """Read a configuration file of the published program.

    Args:
        path: The `.yaml` file.
        overrides: Values in place of those of the file, by key.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no YAML, a key is unknown or missing, or a value cannot be used.
    """
    path = Path(path)
    values = {**_loaded(path), **(overrides or {})}
    unknown = [str(key) for key in values if key not in KEYS]
    if unknown:
        raise InputError(
            f"{path}: the keys must be among {', '.join(KEYS)}, got {', '.join(unknown)}: "
            "correct or remove them."
        )
    required = [key for key in KEYS if key not in (*_TRAINING, "patients_list")]
    missing = [key for key in required if key not in values]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: add them.")
    checked = {key: _checked(key, value, path) for key, value in values.items()}
    training = {key: checked.pop(key) for key in _TRAINING if key in checked}
    config = PublishedConfig(**checked, training=training)
    if config.start_noise_step >= config.timesteps:
        raise _wrong(path, "start_noise_step", f"below timesteps ({config.timesteps})", values)
    if config.ndims == 3 and config.resample_mode == "bicubic":
        raise _wrong(path, "resample_mode", "nearest or bilinear in 3D", values)
    return config


def weights_of(config: PublishedConfig, root: Path | str) -> Path:
    """`models/NAME_NET/EPOCH_NAME_NET.pth` under the root."""
    name = f"{config.data_name}_{config.net_name}"
    return Path(root) / "models" / name / f"{config.model_id_str}_{name}.pth"


def model_of(config: PublishedConfig, root: Path | str) -> Model:
    """The published weights as a model that works as the configuration says, on the CPU.

    Raises:
        ModelError: If the weights are missing, no such checkpoint, or do not fit the configuration.
    """
    return configured_model(config, weights_of(config, root))


def configured_model(config: PublishedConfig, path: Path) -> Model:
    """Published weights of any name as a model that works as a configuration says, on the CPU.

    Raises:
        ModelError: If the weights are missing, no such checkpoint, or do not fit the configuration.
    """
    model = import_published(path, name=path.stem, side=config.img_size)
    for key, wanted, has in (
        ("ndims", config.ndims, model.grid.dimension),
        ("timesteps", config.timesteps, model.levels),
    ):
        if wanted != has:
            raise ModelError(f"`{key}` must be {has} for the weights {path}, got {wanted}.")
    drawn = published_field(config.img_size, v_scale=config.v_scale)
    recovery = replace(
        model.recovery,
        image_mode=_IMAGE_MODES[config.resample_mode],
        image_padding=config.img_pad_mode,
        field_padding=config.padding_mode,
    )
    return replace(
        model,
        sha256=sha256_of(path),
        path=path,
        field=replace(drawn, padding=config.ddf_pad_mode),
        recovery=recovery,
    )


def _loaded(path: Path) -> dict[str, Any]:
    """The keys and values of the file."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist: give a configuration file.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({error}): correct it.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold lines `key: value`, got {type(values).__name__}.")
    return values


def _checked(key: str, value: Any, path: Path) -> Any:
    """The value of a key in its type, or `InputError` naming the key."""
    wanted: Any = KEYS[key]
    if key == "patients_list":
        return tuple(_patients(value, path))
    if wanted is float:
        value = _number(key, value, path)
    if isinstance(value, bool) or not isinstance(value, wanted):
        hint = " in quotes" if wanted is str else ""
        raise _wrong(path, key, f"{_TYPES[wanted]}{hint}", {key: value})
    if key in _CHOICES and value not in _CHOICES[key]:
        raise _wrong(path, key, f"one of {', '.join(map(str, _CHOICES[key]))}", {key: value})
    if value == "" or (key in _LEAST and value < _LEAST[key]):
        raise _wrong(path, key, f"at least {_LEAST.get(key, 'one letter')}", {key: value})
    return value


def _number(key: str, value: Any, path: Path) -> float:
    """A number above zero; YAML takes `4e-5` for text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    least = 0.0 if key == "noise_scale" else 1e-300
    if isinstance(value, bool) or not least <= number < float("inf"):
        raise _wrong(path, key, "a number above 0", {key: value})
    return number


def _patients(value: Any, path: Path) -> Sequence[int]:
    """A list of patient numbers."""
    good = isinstance(value, (list, tuple)) and all(
        isinstance(each, int) and not isinstance(each, bool) for each in value
    )
    if not good:
        raise _wrong(path, "patients_list", "a list of numbers", {"patients_list": value})
    return list(value)


def _wrong(path: Path, key: str, wanted: str, values: Mapping[str, Any]) -> InputError:
    """The refusal of a value."""
    return InputError(f"{path}: `{key}` must be {wanted}, got {values[key]!r}: correct it.")


_TYPES = {str: "text", int: "a whole number", float: "a number"}
_KINDS = {"str": str, "int": int, "float": float, "tuple[int, ...]": tuple}
KEYS: dict[str, type] = {
    **{each.name: _KINDS[str(each.type)] for each in fields(PublishedConfig)[:-1]},
    **dict(zip(_TRAINING, (int, int, float, float), strict=True)),
}
"""Every key of the published files, with its type."""
