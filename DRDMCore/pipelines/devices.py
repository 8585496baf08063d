"""Where samples can be computed, and what that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from DRDMCore.errors import InputError
from DRDMCore.imaging import Geometry, Volume, model_shape
from DRDMCore.machine import bytes_of_memory, processor
from DRDMCore.models import Model
from DRDMCore.pipelines.memory import bytes_needed, gigabytes, network_bytes
from DRDMCore.pipelines.model_fields import voxels_of_shape


def devices() -> list[dict[str, Any]]:
    """The processor and every CUDA device: `name`, `title` and `memory_bytes` (None: unknown)."""
    found = [{"name": "cpu", "title": processor(), "memory_bytes": bytes_of_memory()}]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        memory = int(facts.total_memory)
        found.append({"name": f"cuda:{index}", "title": facts.name, "memory_bytes": memory})
    return found


def automatic_device(name: str) -> str:
    """The device that a name means: `auto` is the first GPU, or the CPU without one."""
    if name != "auto":
        return name
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def image_of_size(size: Sequence[int], spacing_mm: Sequence[float]) -> Volume:
    """An image that takes no memory, to plan with.

    Raises:
        InputError: If these are no 2 or 3 voxel counts and sizes.
    """
    count = len(size)
    whole = all(isinstance(each, int) and each > 0 for each in size)
    lengths = all(isinstance(each, (int, float)) and 0 < each < 1e9 for each in spacing_mm)
    if count not in (2, 3) or len(spacing_mm) != count or not whole or not lengths:
        raise InputError(
            "`size` and `spacing_mm` must be 2 or 3 numbers of voxels and of mm above 0, got "
            f"{list(size)} and {list(spacing_mm)}."
        )
    direction = tuple(np.eye(count).ravel().tolist())
    spacing = tuple(float(each) for each in spacing_mm)
    geometry = Geometry(tuple(size), spacing, (0.0,) * count, direction)
    return Volume(np.broadcast_to(np.float32(0), geometry.shape), geometry)


def needs(image: Volume, model: Model, device: str) -> dict[str, Any]:
    """What a sample of an image takes, and whether the machine has it.

    Args:
        image: The image; only its grid matters.
        model: What is used on it.
        device: Where the network computes.

    Returns:
        `bytes` in all, `text` (one sentence), and `fits` (true also where nobody knows).

    Raises:
        InputError: If the model cannot take such an image.
    """
    shape = model_shape(image, model.grid)
    voxels = voxels_of_shape(shape, stacked=model.grid.dimension < image.dimension)
    total = bytes_needed(image, model, voxels)
    parts = [("of memory", total, "this machine", bytes_of_memory())]
    if torch.device(device).type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        parts.append(("of it on the GPU", network_bytes(model, voxels), "which", int(memory)))
    words = [
        f"{gigabytes(needed)} {where}" + (f" ({who} has {gigabytes(have)})" if have else "")
        for where, needed, who, have in parts
    ]
    fits = all(have is None or needed <= have for _, needed, _, have in parts)
    return {"bytes": total, "text": f"needs about {', '.join(words)}", "fits": fits}
