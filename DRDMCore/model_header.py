"""Where model files are, and what their headers say: without torch, numpy or safetensors.

Programs that only list models, such as the panel in 3D Slicer, need nothing but this module.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from DRDMCore.errors import ModelError

FORMAT = 1
_LONGEST = 10_000_000
"""Bytes of a header; ours have 10 thousand."""


def read_header(path: Path | str) -> dict[str, Any]:
    """Read what a model file says of itself, without its weights.

    Args:
        path: A `.safetensors` file.

    Returns:
        `format`, `card`, `architecture`, `grid`, `field` and `recovery`, as `save_model` wrote
        them; the five last are dictionaries.

    Raises:
        ModelError: If the file is missing, damaged, foreign, or of another format.
    """
    text = _metadata(Path(path)).get("drdm")
    if text is None:
        raise ModelError(
            f"{path} is a `.safetensors` file, but no DRDM model (its header has no card): give a "
            "model made by `drdm train` or `drdm import-weights`."
        )
    try:
        header = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} has an unreadable card: get the file again.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelError(f"{path} must have format {FORMAT}: it is damaged, or update DRDM.")
    for part in ("card", "architecture", "grid", "field", "recovery"):
        if not isinstance(header.get(part), dict):
            raise ModelError(f"{path} has an unusable header (no {part!r}): get the file again.")
    return header


def model_folders() -> list[Path]:
    """Where models are looked for by name: installed, source checkout, the user's own."""
    package = Path(__file__).parent
    folders = [package / "resources" / "Models", package.parent / "Resources" / "Models"]
    return [folder for folder in [*folders, user_model_folder()] if folder.is_dir()]


def user_model_folder() -> Path:
    """The user's own model folder: the environment variable DRDM_MODELS, or `~/.drdm/models`."""
    own = os.environ.get("DRDM_MODELS")
    return Path(own) if own else Path.home() / ".drdm" / "models"


def list_models() -> list[Path]:
    """Model files in the model folders, by name; the first of a name wins."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for path in sorted(folder.glob("*.safetensors")):
            found.setdefault(path.stem, path)
    return [found[name] for name in sorted(found)]


def _metadata(path: Path) -> dict[str, Any]:
    """The free texts in the header of a `.safetensors` file."""
    try:
        header = json.loads(_header_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a whole `.safetensors` file ({error}): get it again."
        ) from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) else {}


def _header_bytes(path: Path) -> bytes:
    """The JSON text that begins the file; its length comes first and may be a lie."""
    if not path.is_file():  # a pipe would wait for ever
        raise OSError("there is no such file")
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        there = os.fstat(file.fileno()).st_size - 8
        if not 2 <= length <= min(there, _LONGEST):
            raise ValueError(f"a header of {length} bytes cannot be in {max(there, 0)}")
        return file.read(length)
