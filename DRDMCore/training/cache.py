"""Images as the network sees them, kept on the disk so that they are made once.

Each is one file, `NAME-HASH.safetensors`. The hash is of everything that it depends on, so an image
or setting that changed gets a new file. Files are written whole, so several processes may fill one
cache at the same time.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from DRDMCore import __version__
from DRDMCore.atomic import written_whole
from DRDMCore.imaging import GridPolicy
from DRDMCore.training.sources import Source

_FORMAT = 1
_LONGEST = 80
_HEADER_OF = {".mhd"}
"""Files that are only the header of another of the same name."""


@dataclass(frozen=True)
class Cached:
    """What the cache keeps of an image.

    Attributes:
        images: `(Z, 1, *S)` float32 in [0, 1].
        empty: Slices that were left out because they show nothing.
    """

    images: Tensor
    empty: int = 0


def cache_file(folder: Path, source: Source, grid: GridPolicy) -> Path:
    """Where an image on a grid is kept; the name changes with file, size, time and grid."""
    facts: dict[str, Any] = {
        "format": _FORMAT,
        "version": __version__,
        "grid": grid.to_dict(),
        "phantom": source.phantom,
        "files": [] if source.path is None else _facts_of(source.path),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    plain = re.sub(r"[^\w.-]+", "_", source.name)[-_LONGEST:]
    return folder / f"{plain}-{digest}.safetensors"


def load_cached(path: Path) -> Cached | None:
    """What a file of the cache holds; `None` where there is none, or a damaged one."""
    try:
        with safe_open(str(path), framework="pt") as file:
            facts: Mapping[str, str] = file.metadata() or {}
            # `clone`: the images must not depend on the file staying as it is.
            images = file.get_tensor("images").clone()
    except (SafetensorError, OSError, ValueError):
        return None
    if facts.get("checksum") != _checksum(images):
        return None
    return Cached(images, int(facts.get("empty", 0)))


def save_cached(path: Path, cached: Cached) -> None:
    """Keep an image.

    Raises:
        OutputError: If it cannot be written.
    """
    images = cached.images.contiguous()
    facts = {"checksum": _checksum(images), "empty": str(cached.empty)}
    data = to_bytes({"images": images}, metadata=facts)
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def _checksum(images: Tensor) -> str:
    """Of all numbers; a disk that turns bits must not change a training."""
    return f"{zlib.crc32(images.numpy().tobytes()):08x}"


def _facts_of(path: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change of every file of an image."""
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.is_file())
    elif path.suffix.lower() in _HEADER_OF:
        files = sorted(each for each in path.parent.iterdir() if each.stem == path.stem)
    else:
        files = [path]
    states = [(each, each.stat()) for each in files]
    return [(str(each.absolute()), state.st_size, state.st_mtime_ns) for each, state in states]
