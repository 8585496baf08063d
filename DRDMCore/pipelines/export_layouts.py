"""How the files of a data set are named and numbered: pairs of folders, nnU-Net, or flat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError, ModelError
from DRDMCore.imaging import Volume
from DRDMCore.model_header import list_models, read_header

LAYOUTS = {
    "pairs": {"image": "img/{}", "labels": "msk/{}", "field": "ddf/{}"},
    "nnunet": {"image": "imagesTr/{}_0000", "labels": "labelsTr/{}", "field": "ddf/{}"},
    "flat": {"image": "{}_image", "labels": "{}_labels", "field": "{}_field"},
}
"""Name of each file of a case, seen from the folder of the data set, without its ending."""

DATASET = "dataset.json"
SPLITS = "splits_final.json"
FOLDS = 5
"""How many folds nnU-Net asks for."""
_CHANNELS = {"CT": "CT", "MR": "MRI"}
"""How nnU-Net calls a modality; it treats CT, and nothing else, by its own rule."""

Renumbering = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class SetCase:
    """A case of a data set, as far as folds go.

    Attributes:
        name: Its identifier.
        patient: Whose it is; versions of an image belong to the patient of the image.
        original: Whether it is a scan as it was taken.
    """

    name: str
    patient: str
    original: bool


def files_of(
    layout: str, name: str, *, image_format: str, field_format: str | None, with_labels: bool
) -> dict[str, str | None]:
    """The files of a case: `image`, `labels`, `field`; `None` where there is none."""
    names = LAYOUTS[layout]
    field = None if field_format is None else names["field"].format(name) + field_format
    return {
        "image": names["image"].format(name) + image_format,
        "labels": names["labels"].format(name) + image_format if with_labels else None,
        "field": field,
    }


def label_mapping(layout: str, labels: Volume | None) -> list[dict[str, Any]] | None:
    """How label values are renumbered: nnU-Net wants 1, 2, 3, ..., the others what there is.

    Returns:
        `original`, `written` and `name` (unique) of every label but 0, or `None` for no change.

    Raises:
        InputError: If there are no labels for nnU-Net.
    """
    if layout != "nnunet":
        return None
    values = [] if labels is None else [value for value in labels.label_values if value != 0]
    return numbered_labels(values, labels.label_names if labels is not None else {})


def numbered_labels(values: Sequence[int], known: Mapping[int, str]) -> list[dict[str, Any]]:
    """Label values, but for 0, numbered 1, 2, 3, ..., each with a name of its own.

    Args:
        values: The values, ascending.
        known: Names of some of them.

    Returns:
        `original`, `written` and `name` of every value.

    Raises:
        InputError: If there is no value.
    """
    if not values:
        raise InputError(
            "the layout nnunet needs labels with at least one value above 0, got none: add labels, "
            "or choose the layout pairs or flat."
        )
    names = [known.get(value) or f"label_{value}" for value in values]
    taken = {"background", *(name for name in names if names.count(name) > 1)}
    return [
        {
            "original": value,
            "written": number,
            "name": f"{name} ({value})" if name in taken else name,
        }
        for number, (value, name) in enumerate(zip(values, names, strict=True), start=1)
    ]


def renumbered(labels: Volume | None, mapping: Renumbering | None) -> Volume | None:
    """Labels with the values of a mapping; unchanged without one."""
    if labels is None or mapping is None:
        return labels
    largest = max(each["written"] for each in mapping)
    array = np.zeros(labels.array.shape, dtype=np.min_scalar_type(largest))
    for each in mapping:
        array[labels.array == each["original"]] = each["written"]
    names = {each["written"]: each["name"] for each in mapping}
    return replace(labels, array=array, label_names=names)


def write_dataset_json(
    out: Path, *, name: str, mapping: Renumbering, cases: int, ending: str, channel: str
) -> None:
    """Write what nnU-Net wants to know of a data set."""
    facts = {
        "name": name,
        "channel_names": {"0": channel},
        "labels": {"background": 0, **{each["name"]: each["written"] for each in mapping}},
        "numTraining": cases,
        "file_ending": ending,
    }
    write_text_whole(out / DATASET, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def patient_folds(cases: Sequence[SetCase], seed: int) -> list[dict[str, list[str]]]:
    """Folds of a cross-validation in which no patient is on both sides.

    A fold trains on every case of its patients, originals and their versions. It validates on the
    originals of the others, since what a network is worth is measured on scans, and leaves their
    versions out; of a patient without originals it validates on the versions.

    Args:
        cases: All cases.
        seed: Of the order in which patients are dealt out.

    Returns:
        `FOLDS` folds, or as many as there are patients: `train` and `val`, lists of names.

    Raises:
        InputError: If there are fewer than two patients.
    """
    patients = sorted({case.patient for case in cases})
    if len(patients) < 2:
        raise InputError(
            f"folds need cases of at least 2 patients, got {len(patients)}: add patients, or train "
            "on all of them (nnU-Net's fold `all`)."
        )
    count = min(FOLDS, len(patients))
    order = np.random.default_rng(seed).permutation(len(patients))
    fold_of = {patients[index]: place % count for place, index in enumerate(order.tolist())}
    scanned = {case.patient for case in cases if case.original}
    return [
        {
            "train": sorted(case.name for case in cases if fold_of[case.patient] != fold),
            "val": sorted(
                case.name
                for case in cases
                if fold_of[case.patient] == fold and (case.original or case.patient not in scanned)
            ),
        }
        for fold in range(count)
    ]


def write_splits(out: Path, folds: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """Write the folds as nnU-Net reads them, once they lie in its folder of preprocessed data."""
    write_text_whole(out / SPLITS, json.dumps(folds, indent=2, ensure_ascii=False) + "\n")


def channel_of(model: Mapping[str, Any]) -> str:
    """nnU-Net's name of the channel, from the card of the model that made the samples."""
    named = [path for path in list_models() if path.stem == model.get("name")]
    modality = ""
    for path in [model["path"]] if "path" in model else named:
        try:
            modality = str(read_header(path)["card"].get("modality"))
        except ModelError:  # the random field, or a file that has gone
            continue
    return _CHANNELS.get(modality, "image")
