"""How much memory and disk a job needs, said before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from DRDMCore.errors import MemoryLimitError, OutputError
from DRDMCore.imaging import Volume
from DRDMCore.machine import bytes_of_memory
from DRDMCore.models import Model
from DRDMCore.recovery import PublishedStep, VelocityStep

_BYTES_PER_NATIVE_VOXEL = 250
"""Image, labels, field in float32 and float64, Jacobian: 200 measured at 128 x 128 x 130."""

_BYTES_PER_MODEL_VOXEL = {PublishedStep: 700, VelocityStep: 500}
"""Features, fields and warps of a pass, fp32: 550 and 190 measured at 96^3, 650 and 550 at 64^3."""

_BYTES_OF_PROGRAM = 350_000_000
"""torch and SimpleITK themselves."""


def bytes_needed(volume: Volume, model: Model, model_voxels: int) -> int:
    """Estimate of the peak memory of one sample, bytes."""
    native = volume.array.size * _BYTES_PER_NATIVE_VOXEL
    return native + network_bytes(model, model_voxels) + _BYTES_OF_PROGRAM


def network_bytes(model: Model, model_voxels: int) -> int:
    """Estimate of the part of it that lies where the network computes, bytes."""
    return model_voxels * _BYTES_PER_MODEL_VOXEL.get(type(model.step), 200)


def require_memory(needed: int, what: str) -> str:
    """One sentence on the memory that a job needs.

    Raises:
        MemoryLimitError: If the machine has less.
    """
    have = bytes_of_memory()
    if have is not None and needed > have:
        raise MemoryLimitError(
            f"{what} needs about {gigabytes(needed)} of memory, this machine has "
            f"{gigabytes(have)}: resample or crop the volume first."
        )
    return f"{what} needs about {gigabytes(needed)} of memory"


def require_disk(folder: Path, needed: int) -> None:
    """Refuse to start what cannot be written.

    Raises:
        OutputError: If the disk of `folder` has less than `needed` bytes free.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"{folder} needs about {gigabytes(needed)} of free disk, there are "
            f"{gigabytes(free)}: free some space or choose another folder."
        )


def gigabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.1f} GB"
