"""`drdm replay`: a sample of a manifest once more, compared with its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.errors import Cancelled, InputError, ModelError
from DRDMCore.imaging import read_field, read_image, read_labels
from DRDMCore.models import Model
from DRDMCore.pipelines.amplitude import scaled_sample
from DRDMCore.pipelines.export_layouts import renumbered
from DRDMCore.pipelines.generate import GenerateJob, prepare, tell_step, write_sample
from DRDMCore.pipelines.manifest import read_replayable, recorded_input
from DRDMCore.pipelines.sampling import Sample, Subject, make_sample
from DRDMCore.pipelines.settings import SamplingSettings, settings_of
from DRDMCore.progress import Callback, pulse_of


def replay(
    manifest_path: Path,
    number: int,
    out: Path | None = None,
    *,
    device: str = "cpu",
    progress: Callback | None = None,
) -> dict[str, Any]:
    """Make one sample of a manifest again and compare it with the files.

    Args:
        manifest_path: The manifest or its folder.
        number: Number of the sample, from 1.
        out: Where to write it; by default nothing is written.
        device: Where to compute.
        progress: Told of passes.

    Returns:
        `identical`, `field_max_difference_mm`, `image_max_difference`, `labels_different_voxels`.

    Raises:
        InputError: If the sample does not exist or an input is not the recorded one.
        ModelError: If the model is not the recorded one.
    """
    manifest = read_replayable(manifest_path)
    folder = manifest_path if manifest_path.is_dir() else manifest_path.parent
    if not 1 <= number <= len(manifest["samples"]):
        raise InputError(
            f"`sample` must be 1 .. {len(manifest['samples'])} for this manifest, got {number}."
        )
    entry = manifest["samples"][number - 1]
    model, subject, settings = _recorded(manifest, entry, folder, device)
    sample = make_sample(
        model,
        subject,
        entry["seed"],
        settings,
        on_step=lambda info: tell_step(progress, 1, {"samples": []}, info),
        pulse=pulse_of(progress),
    )
    if sample is None:
        raise Cancelled("stopped before the sample was made.")
    sample = scaled_sample(sample, subject, entry.get("amplitude", 1), settings)
    labels = renumbered(sample.labels, manifest.get("label_mapping"))
    sample = replace(sample, labels=labels)
    result = _compared(sample, entry, folder)
    if out is not None:
        write_sample(out, sample, {key: entry[key] for key in ("image", "labels", "field")})
    return result


def _recorded(
    manifest: Mapping[str, Any], entry: Mapping[str, Any], folder: Path, device: str
) -> tuple[Model, Subject, SamplingSettings]:
    """Model, subject and settings of a sample; refuses files that have changed.

    An entry may have a model and settings of its own, as an export of many models has.
    """
    named = entry.get("model", manifest["model"])
    image = recorded_input(manifest, "image", folder)
    assert image is not None
    job = GenerateJob(
        image=image,
        out=Path(),
        labels=recorded_input(manifest, "labels", folder),
        model=named["path"] if Path(named["path"]).is_file() else named["name"],
        sampling=settings_of(entry.get("settings", manifest["settings"])),
        device=device,
        resample_labels_to_image=True,
    )
    model, subject, settings = prepare(job)
    if model.sha256 != named["sha256"]:
        raise ModelError(
            f"the model {named['name']!r} has changed since the manifest was written: use the one "
            f"with SHA-256 {named['sha256'][:12]}..."
        )
    return model, subject, settings


def _compared(sample: Sample, entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """How far the sample is from the files of its first making."""
    field = read_field(folder / entry["field"])
    miss = np.abs(sample.field.vectors_mm_lps - field.vectors_mm_lps).max()
    difference, different = 0.0, 0
    if entry["image"] is not None:
        image = read_image(folder / entry["image"])
        difference = np.abs(sample.image.array.astype(float) - image.array.astype(float)).max()
    if sample.labels is not None and entry["labels"] is not None:
        stored = read_labels(folder / entry["labels"])
        different = int((sample.labels.array != stored.array).sum())
    return {
        "name": entry["name"],
        "seed": entry["seed"],
        "identical": bool(miss == 0 and difference == 0 and different == 0),
        "field_max_difference_mm": float(miss),
        "image_max_difference": float(difference),
        "labels_different_voxels": different,
    }
