"""Find the images and labels of a data set on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DRDMCore.errors import InputError, MissingFileError

_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
_PATIENT = re.compile(r"[^_]*?(\d{3})_")
_DIGIT = re.compile(r"\d")
_NUMBERED = re.compile(r"\d{3}$")
_SHOWN = 5


@dataclass(frozen=True)
class Case:
    """One image to work on.

    Attributes:
        name: File name without its endings.
        image: The file, or the folder of a DICOM series.
        labels: The label file that belongs to it, if any.
        patient: The three digits before the first underscore of the name of the labels (of the
            image where there are none), as in `patient001_frame01_gt.nii.gz`; else `None`.
    """

    name: str
    image: Path
    labels: Path | None
    patient: int | None


def list_cases(images: Path | str, labels: Path | str | None = None) -> list[Case]:
    """The cases of a folder, sorted by name.

    Labels belong to the image of the same name; where no name agrees, the sorted lists are paired
    if they are equally long (the rule of the published program).

    Args:
        images: A folder of images, one image file, or the folder of one DICOM series.
        labels: A folder of labels or one label file, or `None`.

    Raises:
        MissingFileError: If a folder or file does not exist.
        InputError: If there are no images, or images and labels cannot be paired.
    """
    image_paths = list_images(images)
    if labels is None:
        return [_case(path, None) for path in image_paths]
    label_paths = list_images(labels)
    return [_case(*pair) for pair in _paired(image_paths, label_paths)]


def list_images(place: Path | str) -> list[Path]:
    """The image files and DICOM folders in a folder, sorted by name; or the one file named.

    Hidden and other files are left out.

    Raises:
        MissingFileError: If `place` does not exist.
        InputError: If there is no image in it.
    """
    place = Path(place)
    if not os.path.exists(place):  # unlike `Path.exists`, also for impossible names
        raise MissingFileError(f"{place} does not exist: check the name and the folder.")
    if place.is_file() or _is_dicom_folder(place):
        return [place]
    if not place.is_dir():
        raise InputError(f"{place} must be a file or a folder, but is neither: give another one.")
    found = [path for path in place.iterdir() if not path.name.startswith(".") and _is_image(path)]
    if not found:
        raise InputError(
            f"{place} must hold images ({', '.join(_ENDINGS)} or folders of DICOM files), but "
            "holds none: choose the folder that holds them."
        )
    return sorted(found, key=lambda path: (case_name(path), path.name))


def case_name(path: Path | str) -> str:
    """The name of a file without the endings of image files."""
    name = Path(path).name
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def patient_number(name: str) -> int | None:
    """The three digits before the first underscore of a name, as in `patient001_frame01`."""
    match = _PATIENT.match(name)
    return int(match[1]) if match else None


def patients_of(names: Sequence[str]) -> list[str]:
    """Who each of several images is of, told by their names alone.

    A patient is the text before the first underscore where it has a digit (`sub-01_ses-2`,
    `patient001_frame12`). A text that all names begin with tells nobody apart (`T1_anna`,
    `T1_bert`), unless it ends in three digits, as the published program wants it. A name without
    such a text is a patient of its own.
    """
    begins = [name.partition("_") for name in names]
    told = [begin if rest and _DIGIT.search(begin) else "" for begin, rest, _ in begins]
    alike = len(names) > 1 and len(set(told)) == 1 and not _NUMBERED.search(told[0])
    return [name if alike else begin or name for begin, name in zip(told, names, strict=True)]


def _case(image: Path, labels: Path | None) -> Case:
    """A case with its patient number."""
    return Case(case_name(image), image, labels, patient_number((labels or image).name))


def _paired(images: Sequence[Path], labels: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each image with its labels, by name, else in sorted order."""
    named = {case_name(path): path for path in labels}
    unmatched = [path.name for path in images if case_name(path) not in named]
    _require_unique([*images], "image")
    _require_unique([*labels], "label")
    if not unmatched:
        return [(path, named[case_name(path)]) for path in images]
    if len(unmatched) == len(images) == len(labels):
        return list(zip(images, labels, strict=True))
    raise InputError(
        f"Every image must have labels of the same name, or the two lists the same length with no "
        f"name in common, but of {len(images)} images and {len(labels)} labels these have no "
        f"partner: {_some(unmatched)}. Rename or remove them."
    )


def _require_unique(paths: Sequence[Path], kind: str) -> None:
    """Refuse two files of the same case."""
    names = [case_name(path) for path in paths]
    double = [path.name for path in paths if names.count(case_name(path)) > 1]
    if double:
        raise InputError(
            f"There must be one {kind} file per case, got {_some(double)}: keep one of each."
        )


def _some(names: Sequence[str]) -> str:
    """The first few names of a list."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _is_image(path: Path) -> bool:
    """Whether it looks like an image file or the folder of a DICOM series."""
    if path.is_dir():
        return _is_dicom_folder(path)
    return path.name.lower().endswith(_ENDINGS)


def _is_dicom_folder(folder: Path) -> bool:
    """Whether the first visible file of a folder is DICOM."""
    if not folder.is_dir():
        return False
    files = (path for path in sorted(folder.iterdir()) if path.is_file())
    first = next((path for path in files if not path.name.startswith(".")), None)
    return first is not None and _is_dicom(first)


def _is_dicom(path: Path) -> bool:
    """Whether a file is named or marked as DICOM."""
    if path.suffix.lower() == ".dcm":
        return True
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
