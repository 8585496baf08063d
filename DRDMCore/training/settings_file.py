"""Settings of a run as a YAML file: strict, typed, written back in full."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.training.settings import InputAugmentation, TrainingSettings

_PARTS = {
    "grid": GridPolicy,
    "field": RandomFieldSettings,
    "augmentation": InputAugmentation,
}


def read_settings(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainingSettings:
    """Read the settings of a run from a YAML file.

    Args:
        path: The file.
        overrides: Values in place of the file's, by key path (`augmentation.noise`).

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no YAML, a key is unknown or missing, or a value cannot be used.
    """
    return settings_from(read_yaml(path), overrides, source=str(path))


def settings_from(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, *, source: str
) -> TrainingSettings:
    """Settings from plain values, as `as_values` gives them.

    Args:
        values: Every setting that has no default, and any others.
        overrides: Values in place of these, by key path.
        source: Where they come from, for messages.

    Raises:
        InputError: If a key is unknown or missing, or a value cannot be used.
    """
    changed = copy.deepcopy(dict(values))
    for key, value in (overrides or {}).items():
        _put(changed, key, value)
    try:
        return _built(TrainingSettings, changed, "")
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: {error}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no YAML, or holds no `key: value` lines.
    """
    if not os.path.isfile(path):
        raise MissingFileError(f"{path} does not exist: give a YAML file of training settings.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({error}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold `key: value` lines, got {type(values).__name__}.")
    return values


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """`["steps=20", "augmentation.noise=0.1"]` as keys and values, in YAML's notation.

    Raises:
        InputError: If one is not `KEY=VALUE`.
    """
    result = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise InputError(f"`--set` must be KEY=VALUE, got {text!r}.")
        try:
            result[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"`--set {key}` must be YAML, got {value!r} ({error}).") from error
    return result


def as_values(settings: TrainingSettings) -> dict[str, Any]:
    """Every setting as plain values: what `read_settings` reads."""
    return {key: _plain(value) for key, value in dataclasses.asdict(settings).items()}


def write_settings(settings: TrainingSettings, path: Path) -> None:
    """Write every setting of a run.

    Raises:
        OutputError: If it cannot be written.
    """
    text = yaml.safe_dump(as_values(settings), sort_keys=False, allow_unicode=True)
    write_text_whole(path, text)


def _plain(value: Any) -> Any:
    """Tuples become lists, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a value by its key path."""
    *parts, last = key.split(".")
    for part in parts:
        below = values.setdefault(part, {})
        if not isinstance(below, dict):
            raise InputError(f"`--set {key}`: `{part}` holds no settings, got {below!r}.")
        values = below
    values[last] = value


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
