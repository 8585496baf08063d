"""`drdm export`: samples as a data set, for a training of somebody else's.

Image and labels are resampled once, from the originals, onto their own grid, through the field as
it is written. The folder keeps the originals too, and a manifest from which `drdm replay` makes
every sample again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DRDMCore.atomic import remove_partials, require_writable, written_whole
from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    DisplacementField,
    Volume,
    case_name,
    read_field,
    read_image,
    read_labels,
    require_format_for_grid,
    require_same_geometry,
    resample_labels,
    write_field,
    write_volume,
)
from DRDMCore.pipelines.amplitude import on_grid_of, scaled
from DRDMCore.pipelines.export_layouts import (
    LAYOUTS,
    channel_of,
    files_of,
    label_mapping,
    renumbered,
    write_dataset_json,
)
from DRDMCore.pipelines.export_samples import ExportSample, check_samples
from DRDMCore.pipelines.generate import FIELD_FORMATS, IMAGE_FORMATS
from DRDMCore.pipelines.manifest import (
    FORMAT,
    NAME,
    describe_input,
    hash_of,
    read_manifest,
    versions,
    write_manifest,
)
from DRDMCore.pipelines.memory import require_disk
from DRDMCore.pipelines.moving import moved
from DRDMCore.progress import Callback, Event, pulse_of, tell

INPUT = "input"


@dataclass(frozen=True)
class ExportJob:
    """A data set to write.

    Attributes:
        image: The image that the samples are versions of: a file, or a DICOM folder.
        out: Folder for the data set.
        samples: What it is made of.
        labels: Labels of the image, if any.
        layout: One of `LAYOUTS`.
        image_format: One of `IMAGE_FORMATS`.
        field_format: One of `FIELD_FORMATS`.
        originals: The image itself is a case too, `CASE_original`.
        dataset_name: Name of the data set for nnU-Net; that of the folder by default.
        case: Name of the case; that of the image file by default.
        resample_labels_to_image: Bring labels of another grid to the image's.
    """

    image: Path
    out: Path
    samples: tuple[ExportSample, ...]
    labels: Path | None = None
    layout: str = "pairs"
    image_format: str = ".nii.gz"
    field_format: str = ".nrrd"
    originals: bool = False
    dataset_name: str | None = None
    case: str | None = None
    resample_labels_to_image: bool = False

    @property
    def case_name(self) -> str:
        """How the image is called."""
        return self.case or case_name(self.image)

    @property
    def original_name(self) -> str:
        """Name of the original among the cases."""
        return f"{self.case_name}_original"


@dataclass(frozen=True)
class _Subject:
    """The originals, and how their labels are renumbered."""

    image: Volume
    labels: Volume | None
    mapping: list[dict[str, Any]] | None


def export(job: ExportJob, progress: Callback | None = None) -> dict[str, Any]:
    """Write samples as a data set; run again after a stop it goes on.

    Args:
        job: What to write.
        progress: Told of samples; answering `False` stops, keeping what is done.

    Returns:
        The manifest, as written to `out/manifest.json`.

    Raises:
        DRDMError: Bad input, a folder with something else in it, no disk, or cancelled.
    """
    _check(job)
    require_writable(job.out)
    subject = _read(job)
    manifest = _continued(job.out, _described(job, subject))
    remove_partials([job.out, *(path for path in job.out.glob("*") if path.is_dir())])
    per_voxel = subject.image.array.itemsize + 4 * subject.image.dimension + 2
    require_disk(job.out, len(job.samples) * subject.image.array.size * per_voxel)
    total = len(job.samples)
    tell(progress, Event("start", f"{total} samples to export to {job.out}", 0, total))
    write_manifest(job.out / NAME, manifest)
    _write_input(job, manifest)
    _write_original(job, subject, manifest)
    made = {entry["name"]: entry for entry in manifest["samples"]}
    for number, sample in enumerate(job.samples):
        files = _files(job, subject, sample.name)
        if sample.name not in made or not _are_there(job.out, files):
            tell(progress, Event("step", f"{sample.name}, {number + 1} of {total}", number, total))
            made[sample.name] = _write_sample(job, subject, sample, files, pulse_of(progress))
            manifest["samples"] = [made[each.name] for each in job.samples if each.name in made]
            write_manifest(job.out / NAME, manifest)
        data = {"sample": made[sample.name], "folder": str(job.out)}
        tell(progress, Event("sample", f"{sample.name} is exported", number + 1, total, data))
    return _finished(job, manifest, progress)


def _check(job: ExportJob) -> None:
    """Refuse names that make no sense."""
    for name, value, choices in (
        ("layout", job.layout, tuple(LAYOUTS)),
        ("image_format", job.image_format, IMAGE_FORMATS),
        ("field_format", job.field_format, FIELD_FORMATS),
    ):
        if value not in choices:
            raise InputError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")
    check_samples(job.samples, [job.original_name] if job.originals else [])


def _read(job: ExportJob) -> _Subject:
    """The originals, on one grid, which the wanted formats can hold."""
    image = read_image(job.image)
    labels = None if job.labels is None else read_labels(job.labels)
    if labels is not None:
        if job.resample_labels_to_image and labels.dimension == image.dimension:
            labels = resample_labels(labels, image.geometry)
        require_same_geometry(image, labels)
    require_format_for_grid(job.field_format, image.geometry)
    return _Subject(image, labels, label_mapping(job.layout, labels))


def _described(job: ExportJob, subject: _Subject) -> dict[str, Any]:
    """The manifest without samples; that of the first sample stands for all where one is wanted."""
    first = job.samples[0]
    inputs: dict[str, Any] = {"image": describe_input(subject.image), "labels": None}
    inputs["image"]["path"] = f"{INPUT}/{job.image.name}"
    if subject.labels is not None and job.labels is not None:
        same = job.labels.name.casefold() == job.image.name.casefold()
        inputs["labels"] = describe_input(subject.labels)
        inputs["labels"]["path"] = f"{INPUT}/{'labels_' if same else ''}{job.labels.name}"
    return {
        "format": FORMAT,
        "command": "generate",
        "versions": versions(),
        "model": dict(first.model),
        "input": inputs,
        "settings": dict(first.settings),
        "export": {
            "layout": job.layout,
            "formats": {"image": job.image_format, "field": job.field_format},
            "originals": job.original_name if job.originals else None,
            "dataset_name": job.dataset_name,
            "samples": [sample.identity() for sample in job.samples],
        },
        "label_mapping": subject.mapping,
        "originals": [],
        "samples": [],
        "rejected": [],
        "complete": False,
    }


def _continued(out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest begun in the folder, if it is of the same export; a new one in an empty one."""
    if not (out / NAME).is_file():
        if out.is_dir() and any(".partial" not in path.name for path in out.iterdir()):
            raise InputError(f"{out} must be an empty folder, but holds files: choose another one.")
        return manifest
    begun = read_manifest(out)
    differ = [
        key for key in ("export", "input", "label_mapping") if begun.get(key) != manifest[key]
    ]
    if differ:
        raise InputError(
            f"{out} holds another export or other results (they differ in {', '.join(differ)}): "
            "choose another folder, or remove it first."
        )
    return {**begun, "complete": False}


def _write_input(job: ExportJob, manifest: Mapping[str, Any]) -> None:
    """Copy the originals as they were given."""
    for kind, source in (("image", job.image), ("labels", job.labels)):
        entry = manifest["input"][kind]
        if source is None or entry is None:
            continue
        target = job.out / entry["path"]
        if target.exists() and hash_of(target) == entry["sha256"]:
            continue
        if not source.is_dir():
            _copy(source, target)
            continue
        for file in sorted(each for each in source.iterdir() if each.is_file()):
            _copy(file, target / file.name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with written_whole(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_original(job: ExportJob, subject: _Subject, manifest: dict[str, Any]) -> None:
    """Write the original as one more case."""
    if not job.originals:
        return
    files = _files(job, subject, job.original_name, with_field=False)
    if not _are_there(job.out, files):
        _write(job, files, subject.image, renumbered(subject.labels, subject.mapping))
    manifest["originals"] = [{"name": job.original_name, **files}]


def _write_sample(
    job: ExportJob,
    subject: _Subject,
    sample: ExportSample,
    files: Mapping[str, str | None],
    pulse: Callable[[], object],
) -> dict[str, Any]:
    """Write one sample, and say what enters the manifest."""
    field = on_grid_of(subject.image, read_field(sample.field), str(sample.field))
    field, changed = scaled(field, sample.amplitude, pulse)
    repaired = sample.repaired if sample.amplitude == 1 else changed
    result = moved(
        subject.image,
        subject.labels,
        field,
        sample.sampling,
        repaired=repaired,
        pulse=pulse,
    )
    _write(job, files, result.image, renumbered(result.labels, subject.mapping), field)
    return {
        "name": sample.name,
        "seed": sample.seed,
        **files,
        "amplitude": sample.amplitude,
        "model": dict(sample.model),
        "settings": dict(sample.settings),
        "quality": result.quality,
    }


def _write(
    job: ExportJob,
    files: Mapping[str, str | None],
    image: Volume,
    labels: Volume | None,
    field: DisplacementField | None = None,
) -> None:
    """Write the files of a case."""
    for kind, volume in (("image", image), ("labels", labels)):
        name = files[kind]
        if volume is not None and name is not None:
            write_volume(volume, job.out / name)
    if field is not None:
        write_field(field, job.out / str(files["field"]))


def _files(
    job: ExportJob, subject: _Subject, name: str, *, with_field: bool = True
) -> dict[str, str | None]:
    """The files of a case."""
    return files_of(
        job.layout,
        name,
        image_format=job.image_format,
        field_format=job.field_format if with_field else None,
        with_labels=subject.labels is not None,
    )


def _are_there(out: Path, files: Mapping[str, str | None]) -> bool:
    """Whether all files of a case are there; they are written whole."""
    return all((out / name).is_file() for name in files.values() if name is not None)


def _finished(
    job: ExportJob, manifest: dict[str, Any], progress: Callback | None
) -> dict[str, Any]:
    """Write what comes last."""
    total = len(job.samples)
    if manifest["label_mapping"] is not None:
        write_dataset_json(
            job.out,
            name=job.dataset_name or job.out.absolute().name,
            mapping=manifest["label_mapping"],
            cases=total + len(manifest["originals"]),
            ending=job.image_format,
            channel=channel_of(manifest["model"]),
        )
    manifest["complete"] = True
    write_manifest(job.out / NAME, manifest)
    tell(progress, Event("done", f"{total} samples in {job.out}", total, total))
    return manifest
