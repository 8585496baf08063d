"""What was made from what: enough to make every sample again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import SimpleITK as sitk
import torch

from DRDMCore import __version__
from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.imaging import Volume
from DRDMCore.models import RANDOM_FIELD, Model, sha256_of
from DRDMCore.pipelines.sampling import Sample, Subject
from DRDMCore.pipelines.settings import SamplingSettings

FORMAT = 1
NAME = "manifest.json"


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "DRDMCore": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "SimpleITK": sitk.Version_VersionString(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def hash_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files (a DICOM series)."""
    if not path.is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(each for each in path.iterdir() if each.is_file()):
        digest.update(f"{file.name}\0{sha256_of(file)}\0".encode())
    return digest.hexdigest()


def describe_input(volume: Volume) -> dict[str, Any]:
    """Path, hash and grid of an input."""
    assert volume.source is not None
    geometry = volume.geometry
    return {
        "path": str(volume.source.absolute()),
        "sha256": hash_of(volume.source),
        "size": list(geometry.size),
        "spacing_mm": list(geometry.spacing_mm),
    }


def describe_model(model: Model) -> dict[str, Any]:
    """Name, hash and licence of a model."""
    return {
        "name": model.card.name,
        "path": str(model.path.absolute()) if model.path else RANDOM_FIELD,
        "sha256": model.sha256,
        "title": model.card.title,
        "licence": model.card.licence,
        "grid": model.grid.to_dict(),
        "field": asdict(model.field),
        "recovery": asdict(model.recovery),
    }


def describe_job(
    command: str,
    model: Model,
    subject: Subject,
    settings: SamplingSettings,
    **more: Any,
) -> dict[str, Any]:
    """A manifest without samples."""
    return {
        "format": FORMAT,
        "command": command,
        "versions": versions(),
        "model": describe_model(model),
        "input": {
            "image": describe_input(subject.image),
            "labels": None if subject.labels is None else describe_input(subject.labels),
        },
        "view": {
            "shape": list(subject.view.spatial_shape),
            "spacing_mm": list(subject.view.spacing_mm),
            "slice_axis": subject.view.slice_axis,
            "note": subject.view.note,
        },
        "settings": asdict(settings),
        **more,
        "samples": [],
        "rejected": [],
    }


def describe_sample(sample: Sample, files: Mapping[str, str | None], name: str) -> dict[str, Any]:
    """One entry of `samples`: relative file names, seed, quality."""
    return {"name": name, "seed": sample.seed, **files, "quality": sample.quality}


def same_job(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two manifests describe the same job, whatever samples they have or want so far."""
    changing = {"samples", "rejected", "complete", "versions", "notes", "count"}
    keep = [
        json.dumps({k: v for k, v in each.items() if k not in changing}, sort_keys=True)
        for each in (first, second)
    ]
    return keep[0] == keep[1]


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write it as JSON, whole or not at all."""
    write_text_whole(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest, or the one in a folder.

    Raises:
        MissingFileError: If there is none.
        InputError: If it is no manifest of this program.
    """
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist: give the manifest of a finished job.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): give an unchanged manifest.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not a DRDM manifest of format {FORMAT}: give another file.")
    return manifest


def read_replayable(path: Path) -> dict[str, Any]:
    """A manifest that says all that it takes to make its samples again.

    Raises:
        InputError: If it is that of another command, or not whole.
    """
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


def recorded_input(manifest: Mapping[str, Any], kind: str, folder: Path) -> Path | None:
    """The image or the labels that a manifest was made from; `None` for labels it had not.

    Args:
        manifest: The manifest.
        kind: `image` or `labels`.
        folder: Where the manifest lies; paths may be seen from there.

    Raises:
        InputError: If the file has gone or changed.
    """
    entry = manifest["input"][kind]
    if entry is None:
        return None
    path = folder / entry["path"]  # an absolute path stays as it is
    if not path.exists() or hash_of(path) != entry["sha256"]:
        raise InputError(
            f"{path} is not there or has changed since the manifest was written: put the "
            f"{kind} with SHA-256 {entry['sha256'][:12]}... back."
        )
    return path
