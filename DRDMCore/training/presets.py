"""Training settings that come with the program: those of the bundled models, by name."""

from __future__ import annotations

import os
from pathlib import Path

from DRDMCore.errors import InputError

_PREFIX = "train_"


def list_presets() -> dict[str, Path]:
    """Files of training settings by the name of their model; installed, else of the checkout."""
    package = Path(__file__).parents[1]
    folders = (package / "resources", package.parent / "Resources")
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / "Configurations").glob(f"{_PREFIX}*.yaml")):
            found.setdefault(path.stem.removeprefix(_PREFIX), path)
    return found


def find_config(name: str | Path) -> Path:
    """The file of a configuration given by path, or by the name of a bundled model.

    Raises:
        InputError: If it is neither; the message lists the names.
    """
    path = Path(name).expanduser()
    if os.path.isfile(path):  # unlike `Path.is_file`, also for impossible names
        return path
    known = list_presets()
    if str(name) in known:
        return known[str(name)]
    raise InputError(
        f"`config` must be a YAML file that is there or one of {', '.join(known)}, got "
        f"{str(name)!r}: correct it, or leave it out for settings made from the images."
    )
