"""How much memory and disk a job needs, said before it starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from DRDMCore.errors import MemoryLimitError, OutputError
from DRDMCore.imaging import Volume
from DRDMCore.models import Model
from DRDMCore.recovery import PublishedStep, VelocityStep

_BYTES_PER_NATIVE_VOXEL = 120
"""Image, labels, field in float32 and float64, Jacobian parts, resampler: measured, rounded up."""

_BYTES_PER_MODEL_VOXEL = {PublishedStep: 900, VelocityStep: 500}
"""Features of one pass, fields and warps, 3D fp32: measured, rounded up."""


def bytes_needed(volume: Volume, model: Model, model_voxels: int) -> int:
    """Estimate of the peak memory of one sample, bytes."""
    network = _BYTES_PER_MODEL_VOXEL.get(type(model.step), 200)
    return volume.array.size * _BYTES_PER_NATIVE_VOXEL + model_voxels * network + 300_000_000


def bytes_of_memory() -> int | None:
    """Memory of the machine, bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def require_memory(needed: int, what: str) -> str:
    """One sentence on the memory that a job needs.

    Raises:
        MemoryLimitError: If the machine has less.
    """
    have = bytes_of_memory()
    if have is not None and needed > have:
        raise MemoryLimitError(
            f"{what} needs about {_gigabytes(needed)} of memory, this machine has "
            f"{_gigabytes(have)}: resample or crop the volume first."
        )
    return f"{what} needs about {_gigabytes(needed)} of memory"


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
            f"{folder} needs about {_gigabytes(needed)} of free disk, there are "
            f"{_gigabytes(free)}: free some space or choose another folder."
        )


def _gigabytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB"
