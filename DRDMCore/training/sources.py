"""Where training images come from: found, named, and told whose they are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.imaging import (
    Volume,
    case_name,
    list_images,
    patient_number,
    patients_of,
    phantom,
    read_image,
)

_PHANTOM = "phantom:"
_LABELS = re.compile(r".*(^|[_.-])(gt|seg|segmentation|labels?|masks?|label-?map)", re.IGNORECASE)
_KINDS = re.compile(
    r"(images?|imgs?|labels?|masks?|segs?|gt)?_?(tr|ts|train|test|val)?", re.IGNORECASE
)
"""Folders of these names hold one kind of file of all patients, not all files of one patient."""
_SHOWN = 3


@dataclass(frozen=True)
class Source:
    """One image to train on, not yet read.

    Attributes:
        name: Name in the record of a run, the same wherever the data lie: the file's without
            endings, after its patient folder's where there is one.
        patient: Whose it is; images of one patient stay together.
        path: The file or DICOM folder; `None` for a phantom.
        phantom: Kind and seed of a phantom.
    """

    name: str
    patient: str
    path: Path | None = None
    phantom: tuple[str, int] | None = None

    def read(self) -> Volume:
        """The image.

        Raises:
            DRDMError: If it cannot be read or used; the message names the file.
        """
        if self.phantom is not None:
            return phantom(*self.phantom)[0]
        assert self.path is not None
        return read_image(self.path)


def find_sources(data: str, *, phantoms: int = 0) -> tuple[list[Source], list[str]]:
    """The images that `data` names, sorted by name, and notes on what was left out.

    Args:
        data: One of
            a folder of images (files, or folders of one DICOM series each);
            a folder of patient folders, each with such images;
            one image;
            a `.txt` list: an image a line, seen from the list's folder, and after a tab, if wanted,
            its patient; lines with `#` are comments;
            `phantom:KIND`, made by the program.
        phantoms: Number of phantoms.

    Returns:
        The images, and a sentence for each group of files that was left out.

        The patient is the number in the name of the patient folder, or that name; without such a
        folder the number before the first underscore of the file's name (`Case.patient`), or what
        `patients_of` finds in the names. Other files are patients of their own.

    Raises:
        MissingFileError: If `data`, or a file of the list, does not exist.
        InputError: If there are no images, two of one name, or folders that are no patients'.
    """
    if data.startswith(_PHANTOM):
        kind = data.removeprefix(_PHANTOM)
        names = [f"{kind}-{seed}" for seed in range(phantoms)]
        return [Source(n, n, phantom=(kind, seed)) for seed, n in enumerate(names)], []
    place = Path(data)
    notes: list[str] = []
    if place.suffix.lower() == ".txt" and place.is_file():
        found = _listed(place)
    elif _holds_images(place):
        found, notes = _flat(place)
    else:
        found, notes = _by_patient(place)
    _require_unique(found, data)
    return sorted(found, key=lambda each: each.name), notes


def _flat(place: Path) -> tuple[list[Source], list[str]]:
    """Images of one folder; or one image."""
    paths, notes = _without_labels(list_images(place), place)
    if place.is_dir() and paths != [place]:
        inner = [each.name for each in _folders(place) if each not in paths and _holds_images(each)]
        if inner:
            notes.append(f"left out the folders {_some(inner)} of {place}, beside its images")
    names = [case_name(path) for path in paths]
    told = patients_of(names)
    return [
        Source(name, _patient_of(path) or patient, path)
        for name, patient, path in zip(names, told, paths, strict=True)
    ], notes


def _by_patient(place: Path) -> tuple[list[Source], list[str]]:
    """Images of the folders in a folder."""
    folders = [each for each in _folders(place) if _holds_images(each)]
    if not folders:
        list_images(place)  # names what is wrong
    kinds = [each.name for each in folders if _KINDS.fullmatch(each.name)]
    if kinds:
        raise InputError(
            f"the folders in {place} must be patients, but {_some(kinds)} look like kinds of "
            f"files: give the folder of the images alone, such as {place / kinds[0]}."
        )
    found: list[Source] = []
    notes: list[str] = []
    for folder in folders:
        paths, left = _without_labels(list_images(folder), folder)
        notes += left
        patient = _patient_of(folder) or folder.name
        found += [Source(f"{folder.name}/{case_name(path)}", patient, path) for path in paths]
    return found, notes


def _listed(listing: Path) -> list[Source]:
    """Images of a list; named by what their paths do not share."""
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{listing} must be a list in UTF-8: {error}.") from error
    wanted: list[tuple[Path, str]] = []
    for number, line in enumerate(lines, start=1):
        text, _, patient = line.partition("\t")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        path = listing.parent / Path(text.strip()).expanduser()
        if not os.path.exists(path):
            raise MissingFileError(
                f"line {number} of {listing} must name an image, but {path} does not exist: "
                "correct or remove it."
            )
        wanted.append((Path(os.path.normpath(path)), patient.strip()))
    if not wanted:
        raise InputError(f"{listing} must list images, one a line, but lists none.")
    shared = os.path.commonpath([path.parent.absolute() for path, _ in wanted])
    told = patients_of([case_name(path) for path, _ in wanted])
    found = []
    for (path, patient), begin in zip(wanted, told, strict=True):
        folder = Path(os.path.relpath(path.parent.absolute(), shared))
        name = (folder / case_name(path)).as_posix()
        told_by_place = begin if folder == Path() else _patient_of(path.parent)
        known = patient or _patient_of(path) or told_by_place or name
        found.append(Source(name, known, path))
    return found


def _patient_of(path: Path) -> str | None:
    """The patient that a name tells by number."""
    # A folder's name may end with the number, a file's goes on after an underscore.
    number = patient_number(f"{path.name}_" if path.is_dir() else path.name)
    return None if number is None else f"{number:03d}"


def _holds_images(place: Path) -> bool:
    """Whether there are images directly in it, or it is one."""
    try:
        return bool(list_images(place))
    except MissingFileError:
        raise
    except InputError:
        return False


def _folders(place: Path) -> list[Path]:
    """Visible folders in a folder, sorted."""
    return sorted(e for e in place.iterdir() if e.is_dir() and not e.name.startswith("."))


def _without_labels(paths: Sequence[Path], place: Path) -> tuple[list[Path], list[str]]:
    """The paths without those that are labels by their names, and a note on these."""
    labels = [p.name for p in paths if _is_labels(p)]
    if not labels or len(labels) == len(paths):
        return list(paths), []
    note = f"left out {len(labels)} files of {place} that are labels by name: {_some(labels)}"
    return [path for path in paths if path.name not in labels], [note]


def _is_labels(path: Path) -> bool:
    """Whether a name ends as those of labels do."""
    return path.name.lower().endswith(".seg.nrrd") or bool(_LABELS.fullmatch(case_name(path)))


def _require_unique(found: Sequence[Source], data: str) -> None:
    """Refuse two images of one name."""
    double = [name for name, count in Counter(each.name for each in found).items() if count > 1]
    if double:
        raise InputError(
            f"{data} must hold each image once, but {_some(double)} are there in several files: "
            "keep one of each."
        )


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
