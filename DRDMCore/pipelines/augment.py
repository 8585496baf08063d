"""`drdm augment`: deformed versions of every image of a folder (Algorithm 3)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DRDMCore.errors import Cancelled
from DRDMCore.imaging import (
    Case,
    DisplacementField,
    Volume,
    read_image,
    read_labels,
    require_format_for_grid,
    require_same_geometry,
    slice_geometry,
    write_field,
    write_volume,
)
from DRDMCore.models import Model, PublishedConfig, model_of
from DRDMCore.pipelines.augment_plan import (
    ORIGINAL,
    AugmentJob,
    Slice,
    checked,
    identity_of,
    model_for,
    planned,
    shared_model,
)
from DRDMCore.pipelines.folder_job import FolderJob, Make, OnStep, Open, plan, run_folder_job
from DRDMCore.pipelines.memory import bytes_needed, require_memory
from DRDMCore.pipelines.mirroring import drawn_axes, mirrored
from DRDMCore.pipelines.model_fields import voxels_seen
from DRDMCore.pipelines.moving import pulled
from DRDMCore.pipelines.published_config import describe_ignored, sampling_of, schedule_of
from DRDMCore.pipelines.records import Unit
from DRDMCore.pipelines.sampling import Sample, Subject, draw_samples, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.progress import Callback
from DRDMCore.sharding import local_device, share_of

__all__ = ["AugmentJob", "augment", "published_job"]


def augment(job: AugmentJob, progress: Callback | None = None) -> dict[str, Any]:
    """Make deformed versions of every image of a folder, with labels and fields.

    Run again it finishes what is missing and tries again what failed; killed at any moment and run
    again it leaves the same bytes as in one go. Under `torchrun` the processes share the work.

    Args:
        job: What to make.
        progress: Told of passes, samples, skips and failures, each with how much is done of how
            much; answering `False` stops, keeping what is done.

    Returns:
        What was done (`folder_job.run_folder_job`), or for a dry run what would be
        (`folder_job.plan`).

    Raises:
        DRDMError: Bad arguments, no usable model, a folder with the results of another job, a
            full disk, or cancelled. A case that fails by itself is listed, and the rest goes on.
    """
    checked(job)
    device = local_device(job.device)
    model = shared_model(job.model, device)
    units, failed = planned(job, model)
    folder_job = FolderJob(
        "augment", job.out, identity_of(job, model), units, failed, job.notes, share_of()
    )
    if job.dry_run:
        return plan(folder_job)
    return run_folder_job(folder_job, _opener(job, model, device), progress)


def published_job(
    config: PublishedConfig,
    root: Path | str = ".",
    *,
    sampling: SamplingSettings | None = None,
    **more: Any,
) -> AugmentJob:
    """The augmentation that a configuration of the published program describes.

    Images and labels come from `Data/Tgt_data/NAME/{Tr,Gt}`, weights from `models/`, and results go
    to the three savepaths; records, manifest and failures to the folder above `aug_img_savepath`.

    Args:
        config: See `models.published_config.read_config`.
        root: The folder above `Data` and `models`.
        sampling: How samples are made, but for interpolation and padding; by default as
            `published_config.sampling_of`.
        more: Further attributes of the job, such as `seed`, `slices` or `dry_run`.

    Raises:
        ModelError: If the weights are missing or do not fit the configuration.
    """
    root = Path(root)
    target = root / "Data" / "Tgt_data" / config.data_name
    images, masks, fields = (
        root / path
        for path in (config.aug_img_savepath, config.aug_msk_savepath, config.aug_ddf_savepath)
    )
    device, notes = _device_there(config.device)
    return AugmentJob(
        **{
            "images": target / "Tr",
            "labels": target / "Gt" if (target / "Gt").is_dir() else None,
            "out": images.parent,
            "folders": (images, masks, fields),
            "model": model_of(config, root),
            "count": config.aug_coe,
            "level": schedule_of(config),
            "patients": config.patients_list,
            "sampling": sampling_of(config, sampling),
            "device": device,
            "layout": "published",
            "notes": (*describe_ignored(config), *notes),
            **more,
        }
    )


def one_sample(
    model: Model, subject: Subject, seed: int, settings: SamplingSettings, on_step: OnStep
) -> tuple[Sample, list[dict[str, Any]]]:
    """The first acceptable sample from `seed` on, and the seeds that were rejected before it."""
    rejected: list[dict[str, Any]] = []
    drawn = draw_samples(model, subject, seed, 1, settings, on_step=lambda _, info: on_step(info))
    for each in drawn:
        if isinstance(each, Sample):
            return each, rejected
        rejected.append({"seed": each.seed, "reason": each.reason})
    raise Cancelled("stopped before the sample was made.")


def read_case(case: Case) -> tuple[Volume, Volume | None]:
    """Image and labels of a case, on the same grid."""
    image = read_image(case.image)
    labels = None if case.labels is None else read_labels(case.labels)
    if labels is not None:
        require_same_geometry(image, labels)
    return image, labels


def _device_there(name: str) -> tuple[str, list[str]]:
    """The configured device; the CPU, with a note, where there is no CUDA."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        return "cpu", [f"device {name}: there is none here, going on with the CPU."]
    return name, []


def _opener(job: AugmentJob, model: Model | None, device: str) -> Open:
    """Reads the cases of a job."""

    def open_case(case: Case) -> Make:
        image, labels = read_case(case)
        suited = model_for(image, model, job.sampling, device)

        @functools.lru_cache(maxsize=1)  # the repeats of a slice follow one another
        def subject_of(one: Slice) -> Subject:
            parts = [None if each is None else _slice(each, one) for each in (image, labels)]
            assert parts[0] is not None
            subject = see(suited, parts[0], parts[1], job.sampling)
            require_format_for_grid(job.field_format, subject.image.geometry)
            voxels = voxels_seen(subject.view, job.sampling)
            require_memory(bytes_needed(parts[0], suited, voxels), image.title)
            return subject

        def make(unit: Unit, on_step: OnStep) -> Mapping[str, Any]:
            one = unit.facts["slice"]
            subject = subject_of(None if one is None else tuple(one))
            if unit.facts["kind"] == ORIGINAL:
                _write(unit, {"image": subject.image, "labels": subject.labels})
                return {}
            return _make_sample(job, suited, subject, unit, on_step)

        return make

    return open_case


def _slice(volume: Volume, one: Slice) -> Volume:
    """One slice as a volume one voxel thick, in its place; or the whole."""
    if one is None:
        return volume
    axis, index = one
    array = np.ascontiguousarray(volume.array.take([index], axis=axis))
    return replace(volume, array=array, geometry=slice_geometry(volume.geometry, axis, index))


def _make_sample(
    job: AugmentJob, model: Model, subject: Subject, unit: Unit, on_step: OnStep
) -> dict[str, Any]:
    """Draw a sample, mirror it if wanted, write it, and say what enters its record."""
    settings = resolved(replace(job.sampling, level=unit.facts["level"]), model)
    sample, rejected = one_sample(model, subject, unit.facts["first_seed"], settings, on_step)
    shape = subject.image.geometry.shape
    axes = drawn_axes(shape, sample.seed) if job.random_flips else []
    results = {
        "": (sample.field, sample.image, sample.labels),
        "noise_": (sample.start_field, None, None),
    }
    written: dict[str, Volume | DisplacementField | None] = {}
    for prefix, (drawn, image, labels) in results.items():
        if f"{prefix}field" not in unit.files:
            continue
        moving = mirrored(drawn, axes)
        if axes or image is None:
            image = pulled(subject.image, moving, settings)
            labels = None if subject.labels is None else pulled(subject.labels, moving, settings)
        written |= {f"{prefix}image": image, f"{prefix}labels": labels, f"{prefix}field": moving}
    _write(unit, written)
    return {
        "seed": sample.seed,
        "flips": axes,
        "rejected": rejected,
        "quality": sample.quality,
    }


def _write(unit: Unit, results: Mapping[str, Volume | DisplacementField | None]) -> None:
    """Write the files of a unit."""
    for kind, path in unit.files.items():
        result = results[kind]
        assert result is not None
        if isinstance(result, Volume):
            write_volume(result, path)
        else:
            write_field(result, path)
