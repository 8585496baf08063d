"""How the files of a data set are named and numbered: pairs of folders, nnU-Net, or flat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError, ModelError
from DRDMCore.imaging import Volume
from DRDMCore.model_header import read_header

LAYOUTS = {
    "pairs": {"image": "img/{}", "labels": "msk/{}", "field": "ddf/{}"},
    "nnunet": {"image": "imagesTr/{}_0000", "labels": "labelsTr/{}", "field": "ddf/{}"},
    "flat": {"image": "{}_image", "labels": "{}_labels", "field": "{}_field"},
}
"""Name of each file of a case, seen from the folder of the data set, without its ending."""

DATASET = "dataset.json"
_CHANNELS = {"CT": "CT", "MR": "MRI"}
"""How nnU-Net calls a modality; it treats CT, and nothing else, by its own rule."""

Renumbering = Sequence[Mapping[str, Any]]


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
    if labels is None or not values:
        raise InputError(
            "the layout nnunet needs labels with at least one value above 0, got none: add labels, "
            "or choose the layout pairs or flat."
        )
    names = [labels.label_names.get(value) or f"label_{value}" for value in values]
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


def channel_of(model: Mapping[str, Any]) -> str:
    """nnU-Net's name of the channel, from the card of the model that made the samples."""
    try:
        modality = str(read_header(model["path"])["card"].get("modality"))
    except ModelError:  # the random field, or a file that has gone
        modality = ""
    return _CHANNELS.get(modality, "image")
