"""`drdm replay`: a sample of a manifest once more, compared with its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.errors import Cancelled, InputError, ModelError
from DRDMCore.imaging import read_field, read_image, read_labels
from DRDMCore.models import Model
from DRDMCore.pipelines.generate import GenerateJob, prepare, tell_step, write_sample
from DRDMCore.pipelines.manifest import hash_of, read_manifest
from DRDMCore.pipelines.sampling import Sample, Subject, make_sample
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.progress import Callback


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
    manifest = _read_replayable(manifest_path)
    folder = manifest_path if manifest_path.is_dir() else manifest_path.parent
    if not 1 <= number <= len(manifest["samples"]):
        raise InputError(
            f"`sample` must be 1 .. {len(manifest['samples'])} for this manifest, got {number}."
        )
    entry = manifest["samples"][number - 1]
    model, subject, settings = _recorded(manifest, device)
    sample = make_sample(
        model,
        subject,
        entry["seed"],
        settings,
        on_step=lambda info: tell_step(progress, 1, {"samples": []}, info),
    )
    if sample is None:
        raise Cancelled("stopped before the sample was made.")
    result = _compared(sample, entry, folder)
    if out is not None:
        write_sample(out, sample, {key: entry[key] for key in ("image", "labels", "field")})
    return result


def _read_replayable(path: Path) -> dict[str, Any]:
    """A manifest that says all that a replay needs."""
    manifest = read_manifest(path)
    parts = {"model", "input", "settings", "samples"}
    if manifest.get("command") != "generate" or not parts <= manifest.keys():
        raise InputError(
            f"{path} must be a whole manifest of `drdm generate`, got one of "
            f"{manifest.get('command')!r} with {', '.join(sorted(parts & manifest.keys()))}: "
            "give another manifest (a sample of `drdm augment` or `synthesize` is made again by "
            "removing its files and running the same job)."
        )
    return manifest


def _recorded(manifest: Mapping[str, Any], device: str) -> tuple[Model, Subject, SamplingSettings]:
    """Model, subject and settings of a manifest; refuses files that have changed."""
    inputs, named = manifest["input"], manifest["model"]
    for kind in ("image", "labels"):
        entry = inputs[kind]
        if entry is not None:
            path = Path(entry["path"])
            if not path.exists() or hash_of(path) != entry["sha256"]:
                raise InputError(
                    f"{path} is not there or has changed since the manifest was written: put the "
                    f"{kind} with SHA-256 {entry['sha256'][:12]}... back."
                )
    try:
        sampling = SamplingSettings(**manifest["settings"])
    except TypeError as error:
        raise InputError(f"the manifest has settings of another version ({error}).") from error
    labels = inputs["labels"]
    job = GenerateJob(
        image=Path(inputs["image"]["path"]),
        out=Path(),
        labels=None if labels is None else Path(labels["path"]),
        model=named["path"] if Path(named["path"]).is_file() else named["name"],
        sampling=sampling,
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
    image = read_image(folder / entry["image"])
    miss = np.abs(sample.field.vectors_mm_lps - field.vectors_mm_lps).max()
    difference = np.abs(sample.image.array.astype(float) - image.array.astype(float)).max()
    different = 0
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
