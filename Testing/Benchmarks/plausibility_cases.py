"""Who is compared with whom: real subjects of a split, or phantoms."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    Volume,
    list_cases,
    phantom,
    read_image,
    read_labels,
    require_same_geometry,
)

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Population:
    """Real subjects by what they are for; read when they are asked for.

    Attributes:
        title: What they are, one line.
        training: Names of those that the model was trained on.
        evaluated: Names of those that samples are made of.
        others: Names of further real ones: neither trained on nor evaluated, to know how real
            shapes vary.
        read: Image and labels by name.
    """

    title: str
    training: list[str]
    evaluated: list[str]
    others: list[str]
    read: Callable[[str], tuple[Volume, Volume]]


def from_files(
    images: Path, labels: Path, split: Path, part: str, limit: int | None = None
) -> Population:
    """Subjects of one part of a training run's split.

    Args:
        images: Folder of images.
        labels: Folder of labels.
        split: `split.json` of the run: names of cases by part.
        part: One of `PARTS`.
        limit: Take only the first of them.

    Raises:
        InputError: If the split cannot be used or names a case that is not there.
    """
    parts = _read_split(split)
    source, record = ("/".join(path.absolute().parts[-2:]) for path in (images, split))
    known = from_parts(images, labels, parts, part, limit)
    return replace(known, title=f"{part} part of {record}, {known.title} in {source}")


def from_parts(
    images: Path,
    labels: Path,
    parts: Mapping[str, list[str]],
    part: str,
    limit: int | None = None,
) -> Population:
    """The same from the names of each part.

    Raises:
        InputError: If the part is unknown or a name is not there.
    """
    if part not in PARTS:
        raise InputError(
            f"`subjects` must be one of {', '.join(PARTS)}, got {part!r}: choose one of them."
        )
    cases = {case.name: case for case in list_cases(images, labels)}
    missing = [name for names in parts.values() for name in names if name not in cases]
    if missing:
        raise InputError(
            f"`split` must name cases of {images}, but {missing[0]!r} is not there: give the "
            "folder that the model was trained on."
        )

    def read(name: str) -> tuple[Volume, Volume]:
        label_path = cases[name].labels
        assert label_path is not None
        image, map_ = read_image(cases[name].image), read_labels(label_path)
        require_same_geometry(image, map_)
        return image, map_

    others = [] if part == "validation" else parts["validation"]
    title = f"{len(parts[part])} of {len(cases)}"
    return Population(title, parts["training"], _first(parts[part], limit), others, read)


def from_phantoms(kind: str, training: str, subjects: str, limit: int | None = None) -> Population:
    """Phantoms by ranges of seeds such as `0-95`.

    Raises:
        InputError: If a range cannot be read.
    """

    def names(text: str) -> list[str]:
        return [f"{kind}-{seed}" for seed in _seeds(text)]

    def read(name: str) -> tuple[Volume, Volume]:
        return phantom(kind, int(name.rpartition("-")[2]))

    title = f"phantoms {kind} of seeds {subjects}; training shapes: seeds {training}"
    return Population(title, names(training), _first(names(subjects), limit), [], read)


def _read_split(path: Path) -> dict[str, list[str]]:
    """The names of each part; parts that are not there are empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {part: [str(name) for name in content.get(part, [])] for part in PARTS}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"`split` must be the split.json of a training run, got {path} ({error}): choose "
            "another file."
        ) from error
    if not parts["training"]:
        raise InputError(f"`split` must name training cases, but {path} names none.")
    return parts


def _first(names: Sequence[str], limit: int | None) -> list[str]:
    """The first names; there must be one."""
    chosen = list(names[:limit])
    if not chosen:
        raise InputError("`subjects` must name at least one subject, got none: choose others.")
    return chosen


def _seeds(text: str) -> range:
    """The seeds of `first-last`."""
    first, _, last = text.partition("-")
    try:
        return range(int(first), int(last) + 1)
    except ValueError:
        raise InputError(
            f"`subjects` and `training` of phantoms must be ranges of seeds, got {text!r}: give "
            "the first and the last, such as 0-95."
        ) from None
