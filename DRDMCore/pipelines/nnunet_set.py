"""`drdm export` of a folder of `drdm augment`: scans and their new versions, for nnU-Net.

Labels are numbered alike in all cases, identifiers begin with the name of the scan, and folds are
made by patient: https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md and
manual_data_splits.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DRDMCore.atomic import remove_partials, require_writable
from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    Case,
    list_cases,
    patients_of,
    read_image,
    read_labels,
    require_same_geometry,
    write_volume,
)
from DRDMCore.pipelines.export_layouts import (
    SetCase,
    channel_of,
    files_of,
    numbered_labels,
    patient_folds,
    renumbered,
    write_dataset_json,
    write_splits,
)
from DRDMCore.pipelines.manifest import (
    FORMAT,
    NAME,
    hash_of,
    read_manifest,
    versions,
    write_manifest,
)
from DRDMCore.progress import Callback, Event, tell

COMMAND = "nnunet"


@dataclass(frozen=True)
class NnunetJob:
    """A raw data set to write.

    Attributes:
        augmented: Folder of `drdm augment`, layout `pairs`.
        images: Folder of the images that it was made from.
        labels: Folder of their labels.
        out: Folder for the data set, called `DatasetNNN_NAME` for nnU-Net.
        dataset_name: Name in `dataset.json`; that of the folder by default.
        seed: Of the order in which patients are dealt out to folds.
    """

    augmented: Path
    images: Path
    labels: Path
    out: Path
    dataset_name: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Source:
    """A case, and the files that it is written from."""

    case: SetCase
    image: Path
    labels: Path


def is_augmented(folder: Path) -> bool:
    """Whether a folder, or a manifest, is of `drdm augment`."""
    return read_manifest(folder).get("command") == "augment"


def export_augmented(job: NnunetJob, progress: Callback | None = None) -> dict[str, Any]:
    """Write scans and their versions as a raw data set; run again after a stop it goes on.

    Args:
        job: What to write.
        progress: Told of cases; answering `False` stops, keeping what is done.

    Returns:
        The manifest, as written to `out/manifest.json`.

    Raises:
        DRDMError: Bad input, other images than those augmented, another set in the folder, or
            cancelled.
    """
    augmented = _augmented(job.augmented)
    sources = _sources(job, augmented)
    mapping = _mapping([source.labels for source in sources if source.case.original])
    ending = augmented["job"]["image_format"]
    require_writable(job.out)
    manifest = _continued(job, _described(job, augmented, sources, mapping))
    remove_partials([job.out, *(path for path in job.out.glob("*") if path.is_dir())])
    write_manifest(job.out / NAME, manifest)
    total = len(sources)
    patients = len({source.case.patient for source in sources})
    message = f"{total} cases of {patients} patients to write to {job.out}"
    tell(progress, Event("start", message, 0, total))
    for number, source in enumerate(sources, start=1):
        _write(job.out, source, mapping, ending)
        tell(progress, Event("case", source.case.name, number, total))
    name = job.dataset_name or job.out.absolute().name
    channel = channel_of(augmented["job"]["model"])
    write_dataset_json(
        job.out, name=name, mapping=mapping, cases=total, ending=ending, channel=channel
    )
    cases = [source.case for source in sources]
    if len({case.patient for case in cases}) > 1:
        write_splits(job.out, patient_folds(cases, job.seed))
    else:
        tell(progress, Event("note", "cases of one patient make no folds: train with fold `all`"))
    manifest["complete"] = True
    write_manifest(job.out / NAME, manifest)
    tell(progress, Event("done", f"{total} cases in {job.out}", total, total))
    return manifest


def _augmented(folder: Path) -> dict[str, Any]:
    """The manifest of a whole augmentation in the layout pairs."""
    manifest = read_manifest(folder)
    layout = manifest.get("job", {}).get("layout")
    if manifest.get("command") != "augment" or layout != "pairs":
        raise InputError(
            f"{folder} must be a folder of `drdm augment` with the layout pairs, got "
            f"{manifest.get('command')!r} with {layout!r}: run `drdm augment` first."
        )
    if not manifest["complete"]:
        raise InputError(
            f"{folder} must be complete, but cases are missing or have failed: see "
            f"{folder / 'failures.json'}, and run the same `drdm augment` again."
        )
    return manifest


def _sources(job: NnunetJob, augmented: Mapping[str, Any]) -> list[_Source]:
    """The originals, each followed by its versions."""
    place = job.augmented if job.augmented.is_dir() else job.augmented.parent
    known = {case.name: case for case in list_cases(job.images, job.labels)}
    patient_of = dict(zip(known, patients_of([*known]), strict=True))
    found: dict[str, list[_Source]] = {}
    for record in augmented["samples"]:
        case = _checked(known.get(record["case"]), record)
        patient = patient_of[case.name]
        if case.name not in found:
            assert case.labels is not None  # `_checked` has seen to it
            original = SetCase(case.name, patient, original=True)
            found[case.name] = [_Source(original, case.image, case.labels)]
        image, labels = (place / record["files"][kind]["path"] for kind in ("image", "labels"))
        version = SetCase(record["name"], patient, original=False)
        found[case.name].append(_Source(version, image, labels))
    sources = [source for name in sorted(found) for source in found[name]]
    _require_own_names(sources, job.augmented)
    return sources


def _require_own_names(sources: Sequence[_Source], augmented: Path) -> None:
    """Refuse two cases of one name, as in a folder of versions that was augmented again."""
    names = [source.case.name for source in sources]
    counted = Counter(map(str.casefold, names))
    double = sorted(name for name in names if counted[name.casefold()] > 1)
    if double:
        raise InputError(
            f"every case must have a name of its own, but scans and versions of {augmented} share "
            f"{double[0]}: rename the scans, and augment them again."
        )


def _checked(case: Case | None, record: Mapping[str, Any]) -> Case:
    """The case that a sample was made from."""
    if case is None:
        raise InputError(
            f"`images` must hold {record['case']}, of which {record['name']} is a version: give "
            "the folder that was augmented."
        )
    for kind, path in (("image", case.image), ("labels", case.labels)):
        entry = record["input"][kind]
        if path is None or entry is None:
            raise InputError(
                f"{record['name']} must have labels, but was made without: run `drdm augment` "
                "with `--labels`."
            )
        if hash_of(path) != entry["sha256"]:
            raise InputError(
                f"{path} must be the file that {record['name']} was made from, but has changed: "
                "put it back, or augment again into another folder."
            )
    return case


def _mapping(labels: Sequence[Path]) -> list[dict[str, Any]]:
    """One numbering for the labels of all scans."""
    values: set[int] = set()
    names: dict[int, str] = {}
    for path in labels:
        volume = read_labels(path)
        values |= set(volume.label_values) - {0}
        for value, name in volume.label_names.items():
            if names.setdefault(value, name) != name:
                raise InputError(
                    f"label {value} must mean the same in all cases, but is {names[value]!r} and, "
                    f"in {path}, {name!r}: give it one name."
                )
    return numbered_labels(sorted(values), names)


def _described(
    job: NnunetJob,
    augmented: Mapping[str, Any],
    sources: Sequence[_Source],
    mapping: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The manifest, not yet complete."""
    inputs = {record["name"]: record["input"] for record in augmented["samples"]}
    return {
        "format": FORMAT,
        "command": COMMAND,
        "versions": versions(),
        "job": {**augmented["job"], "dataset_name": job.dataset_name, "seed_of_folds": job.seed},
        "label_mapping": list(mapping),
        "cases": [
            {
                "name": source.case.name,
                "patient": source.case.patient,
                "original": source.case.original,
                **({} if source.case.original else {"input": inputs[source.case.name]}),
            }
            for source in sources
        ],
        "complete": False,
    }


def _continued(job: NnunetJob, manifest: dict[str, Any]) -> dict[str, Any]:
    """The same set begun in the folder, or a new one in an empty one."""
    if not (job.out / NAME).is_file():
        if job.out.is_dir() and any(".partial" not in path.name for path in job.out.iterdir()):
            raise InputError(f"{job.out} must be an empty folder, but holds files: choose another.")
        return manifest
    begun = read_manifest(job.out)
    parts = ("command", "job", "label_mapping", "cases")
    differ = [key for key in parts if begun.get(key) != manifest[key]]
    if differ:
        raise InputError(
            f"{job.out} holds another data set (it differs in {', '.join(differ)}): choose another "
            "folder, or remove it first."
        )
    return {**begun, "complete": False}


def _write(out: Path, source: _Source, mapping: Sequence[Mapping[str, Any]], ending: str) -> None:
    """Write the files of a case, unless they are there: what is there is whole."""
    names = files_of(
        COMMAND, source.case.name, image_format=ending, field_format=None, with_labels=True
    )
    targets = [out / str(names[kind]) for kind in ("image", "labels")]
    if all(target.is_file() for target in targets):
        return
    image, labels = read_image(source.image), read_labels(source.labels)
    require_same_geometry(image, labels)
    for volume, target in zip((image, renumbered(labels, mapping)), targets, strict=True):
        assert volume is not None
        write_volume(volume, target)
