"""`drdm generate`: samples of one image in files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DRDMCore.atomic import remove_partials, require_writable
from DRDMCore.errors import Cancelled, InputError
from DRDMCore.imaging import (
    Volume,
    ddf_from_field,
    list_images,
    read_field,
    read_image,
    read_labels,
    require_same_geometry,
    resample_labels,
    write_field,
    write_volume,
)
from DRDMCore.imaging.datasets import case_name
from DRDMCore.models import RANDOM_FIELD, Model, load_model, random_field_model
from DRDMCore.pipelines.manifest import (
    NAME,
    describe_job,
    describe_sample,
    read_manifest,
    same_job,
    write_manifest,
)
from DRDMCore.pipelines.memory import bytes_needed, require_disk, require_memory
from DRDMCore.pipelines.model_fields import voxels_seen
from DRDMCore.pipelines.report import ReportSample, write_report
from DRDMCore.pipelines.sampling import (
    Rejection,
    Sample,
    Subject,
    draw_samples,
    make_sample,
    see,
)
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.progress import Callback, Event, pulse_of, tell
from DRDMCore.recovery import StepInfo

FIELD_FORMATS = (".nrrd", ".nii.gz", ".h5", ".mha")
IMAGE_FORMATS = (".nii.gz", ".nrrd", ".mha")


@dataclass(frozen=True)
class GenerateJob:
    """Samples of one image.

    Attributes:
        image: File, or folder of a DICOM series.
        out: Folder for the results.
        labels: Label file on the same grid, if any.
        model: Name, path, or the model itself; `none` for the random field alone.
        count: Samples wanted.
        seed: Seed of the first sample; a new one by default, recorded in the manifest.
        batch: Samples that go through the network together: faster, and the same but for rounding.
        sampling: How samples are made.
        device: `cpu`, `cuda`, `cuda:1`, ...
        field_format: One of `FIELD_FORMATS`.
        image_format: One of `IMAGE_FORMATS`.
        resample_labels_to_image: Bring labels of another grid to the image's.
        report: Write `report.html`.
        fields_only: Write fields, uncompressed, and no images, labels or report: for a program
            that reads them at once.
    """

    image: Path
    out: Path
    labels: Path | None = None
    model: str | Model = RANDOM_FIELD
    count: int = 4
    seed: int | None = None
    batch: int = 1
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    device: str = "cpu"
    field_format: str = ".nrrd"
    image_format: str = ".nii.gz"
    resample_labels_to_image: bool = False
    report: bool = True
    fields_only: bool = False


def generate(job: GenerateJob, progress: Callback | None = None) -> dict[str, Any]:
    """Make samples of one image: images, labels, fields, a manifest and a report.

    Run again with the same arguments it finishes what is missing.

    Args:
        job: What to make.
        progress: Told of passes and samples; answering `False` stops, keeping what is done.

    Returns:
        The manifest, as written to `out/manifest.json`.

    Raises:
        DRDMError: Bad input, a model that does not fit, no memory, no disk, or cancelled.
    """
    _check(job)
    require_writable(job.out)
    model, subject, settings = prepare(job)
    seed = job.seed if job.seed is not None else _known_seed(job.out)
    image_format = None if job.fields_only else job.image_format
    formats = {"image": image_format, "field": job.field_format}
    asked = {"count": job.count, "seed": seed, "formats": formats}
    manifest = describe_job("generate", model, subject, settings, **asked)
    manifest["versions"]["device"] = job.device
    manifest = _continued(job.out, manifest)
    remove_partials([job.out])
    _state_needs(job, model, subject, settings, manifest, progress)
    _restore(job, model, subject, settings, manifest, progress)
    done = [entry["seed"] for entry in [*manifest["samples"], *manifest["rejected"]]]
    missing = job.count - len(manifest["samples"])
    samples = draw_samples(
        model,
        subject,
        max(done, default=seed - 1) + 1,
        missing,
        settings,
        batch=job.batch,
        on_step=lambda seed, info: tell_step(progress, job.count, manifest, info),
        note=lambda text: tell(progress, Event("note", text)),
        pulse=pulse_of(progress),
    )
    for drawn in samples:
        if isinstance(drawn, Rejection):
            manifest["rejected"].append({"seed": drawn.seed, "reason": drawn.reason})
            tell(progress, Event("reject", f"seed {drawn.seed}: {drawn.reason}"))
        else:
            _keep(job, drawn, manifest)
        write_manifest(job.out / NAME, manifest)
        if isinstance(drawn, Sample):
            _tell_sample(progress, job, manifest)
    if len(manifest["samples"]) < job.count:
        raise Cancelled(
            f"stopped: {len(manifest['samples'])} of {job.count} samples are in {job.out}."
        )
    return _finished(job, subject, manifest, progress)


def prepare(job: GenerateJob) -> tuple[Model, Subject, SamplingSettings]:
    """Read the inputs and the model, and bring the image to the model's grid."""
    image = read_image(_one_image(job.image))
    labels = None if job.labels is None else _labels_on(image, job)
    model = open_model(job.model, image, job.sampling, job.device)
    settings = resolved(job.sampling, model)
    return model, see(model, image, labels, settings), settings


def _labels_on(image: Volume, job: GenerateJob) -> Volume:
    """The labels of a job on the grid of its image."""
    assert job.labels is not None
    labels = read_labels(job.labels)
    if job.resample_labels_to_image and labels.dimension == image.dimension:
        moved = resample_labels(labels, image.geometry)
        if labels.array.any() and not moved.array.any():
            raise InputError(
                f"{labels.title} must overlap {image.title}, but none of its labels lies inside "
                "the image: check that they belong together."
            )
        labels = moved
    require_same_geometry(image, labels)
    return labels


def open_model(model: str | Model, image: Volume, settings: SamplingSettings, device: str) -> Model:
    """The model of a name; the random field has as many axes as the image lets it move along."""
    check_device(device)
    if isinstance(model, Model):
        return model.to(device)
    if model == RANDOM_FIELD:
        flat = image.dimension == 2 or 1 in image.geometry.shape or settings.slice_axis is not None
        return random_field_model(2 if flat else 3, longest=max(image.geometry.shape))
    return load_model(model, device=device)


def check_device(name: str) -> str:
    """The device's name, if it is there.

    Raises:
        InputError: If it is unknown or not available.
    """
    import torch

    try:
        torch.empty(1, device=torch.device(name)).cpu()
    except (RuntimeError, AssertionError) as error:  # NotImplementedError is a RuntimeError
        raise InputError(
            f"`device` must be one that is there, such as 'cpu', got {name!r} "
            f"({str(error).splitlines()[0]})."
        ) from error
    return name


def write_sample(
    folder: Path, sample: Sample, files: Mapping[str, str | None], *, compress: bool = True
) -> None:
    """Write image, labels and field of a sample under the given names; `None` is not written."""
    for key, volume in (("image", sample.image), ("labels", sample.labels)):
        name = files.get(key)
        if volume is not None and name is not None:
            write_volume(volume, folder / name)
    if files.get("field") is not None:
        write_field(sample.field, folder / str(files["field"]), compress=compress)


def _check(job: GenerateJob) -> None:
    """Refuse numbers and names that make no sense."""
    if job.count < 1 or job.batch < 1:
        raise InputError(f"`count` and `batch` must be at least 1, got {job.count}, {job.batch}.")
    if job.seed is not None and not 0 <= job.seed < 2**63:
        raise InputError(f"`seed` must lie in 0 .. 2**63 - 1, got {job.seed}.")
    for name, value, choices in (
        ("field_format", job.field_format, FIELD_FORMATS),
        ("image_format", job.image_format, IMAGE_FORMATS),
    ):
        if value not in choices:
            raise InputError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")


def _one_image(path: Path) -> Path:
    """The image, if the path names exactly one."""
    found = list_images(path)
    if len(found) > 1:
        raise InputError(
            f"`image` must be one image or DICOM series, got the folder {path} with {len(found)}: "
            "choose one of them, or use `drdm augment` for a folder."
        )
    return found[0]


def _known_seed(out: Path) -> int:
    """The seed of the job that was begun in the folder, or a new one."""
    try:
        return int(read_manifest(out)["seed"])
    except (InputError, FileNotFoundError, KeyError, TypeError, ValueError):
        return secrets.randbelow(2**31)


def _continued(out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest begun in the folder, if it is of the same job; a new one in an empty folder."""
    if not (out / NAME).exists():
        return {**manifest, "complete": False}
    begun = read_manifest(out)
    if not same_job(begun, manifest):
        raise InputError(
            f"{out} holds the results of another job: choose another folder, or remove it first."
        )
    count = max(manifest["count"], len(begun["samples"]))
    return {**manifest, **begun, "count": count, "complete": False}


def _restore(
    job: GenerateJob,
    model: Model,
    subject: Subject,
    settings: SamplingSettings,
    manifest: Mapping[str, Any],
    progress: Callback | None,
) -> None:
    """Make samples of the manifest again whose files have been removed since."""
    for entry in manifest["samples"]:
        files = {key: entry[key] for key in ("image", "labels", "field")}
        if all((job.out / name).is_file() for name in files.values() if name is not None):
            continue
        sample = make_sample(
            model,
            subject,
            entry["seed"],
            settings,
            on_step=lambda info: tell_step(progress, job.count, manifest, info),
            pulse=pulse_of(progress),
        )
        if sample is None:
            raise Cancelled(f"stopped before {entry['name']} was made again in {job.out}.")
        write_sample(job.out, sample, files, compress=not job.fields_only)
        tell(progress, Event("note", f"{entry['name']} had lost files and was made again"))


def _state_needs(
    job: GenerateJob,
    model: Model,
    subject: Subject,
    settings: SamplingSettings,
    manifest: Mapping[str, Any],
    progress: Callback | None,
) -> None:
    """Say what memory is needed before starting; refuse if there is not enough."""
    voxels = min(job.batch, job.count) * voxels_seen(subject.view, settings)
    text = require_memory(
        bytes_needed(subject.image, model, voxels),
        f"{subject.image.title} of {'x'.join(map(str, subject.image.geometry.size))} voxels",
    )
    per_voxel = subject.image.array.itemsize + 4 * subject.image.dimension + 2
    missing = job.count - len(manifest["samples"])
    require_disk(job.out, missing * subject.image.array.size * per_voxel)
    tell(progress, Event("start", text, 0, job.count))
    if subject.view.note:
        tell(progress, Event("note", subject.view.note))


def _keep(job: GenerateJob, sample: Sample, manifest: dict[str, Any]) -> None:
    """Write the files of an accepted sample and enter it in the manifest."""
    name = f"{case_name(job.image)}_{len(manifest['samples']) + 1:04d}"
    no_labels = job.fields_only or sample.labels is None
    files = {
        "image": None if job.fields_only else f"{name}_image{job.image_format}",
        "labels": None if no_labels else f"{name}_labels{job.image_format}",
        "field": f"{name}_field{job.field_format}",
    }
    write_sample(job.out, sample, files, compress=not job.fields_only)
    manifest["samples"].append(describe_sample(sample, files, name))


def tell_step(
    progress: Callback | None, count: int, manifest: Mapping[str, Any], info: StepInfo
) -> bool:
    """Tell of one pass; `False` stops the recovery."""
    done = len(manifest["samples"])
    event = Event(
        "step",
        f"sample {done + 1} of {count}, pass {info.index} of {info.total}",
        done + info.index / info.total,
        count,
    )
    return progress is None or progress(event) is not False


def _tell_sample(progress: Callback | None, job: GenerateJob, manifest: Mapping[str, Any]) -> None:
    """Tell of a finished sample, with all that it takes to make it again."""
    entry = manifest["samples"][-1]
    mean = entry["quality"]["displacement_mm"]["mean"]
    text = f"{entry['name']}: seed {entry['seed']}, mean displacement {mean:.2f} mm"
    origin = {key: manifest[key] for key in ("model", "settings", "input", "versions")}
    data = {"sample": entry, "folder": str(job.out), **origin}
    tell(progress, Event("sample", text, len(manifest["samples"]), job.count, data))


def _finished(
    job: GenerateJob, subject: Subject, manifest: dict[str, Any], progress: Callback | None
) -> dict[str, Any]:
    """Write the report and the final manifest."""
    manifest = {**manifest, "complete": True}
    if job.report and not job.fields_only:
        write_report(
            job.out / "report.html",
            title=case_name(job.image),
            original=subject.image,
            labels=subject.labels,
            samples=_WrittenSamples(job.out, manifest["samples"]),
            manifest=manifest,
        )
    write_manifest(job.out / NAME, manifest)
    text = f"{len(manifest['samples'])} samples in {job.out}"
    tell(progress, Event("done", text, job.count, job.count))
    return manifest


class _WrittenSamples(Sequence[ReportSample]):
    """Samples read from their files one by one: hundreds would not fit the memory."""

    def __init__(self, folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
        """Take the entries of a manifest."""
        self._folder, self._entries = folder, entries

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        """One sample, or several for a slice."""
        if isinstance(index, slice):
            return [_report_sample(self._folder, entry) for entry in self._entries[index]]
        return _report_sample(self._folder, self._entries[index])


def _report_sample(folder: Path, entry: Mapping[str, Any]) -> ReportSample:
    """A sample as its files hold it."""
    labels = entry["labels"]
    return ReportSample(
        image=read_image(folder / entry["image"]),
        labels=None if labels is None else read_labels(folder / labels),
        ddf=ddf_from_field(read_field(folder / entry["field"])),
        quality=entry["quality"],
        seed=entry["seed"],
        name=entry["name"],
    )
