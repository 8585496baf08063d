"""Deformations where people train: transforms for MONAI and TorchIO over one source of fields.

Each transform needs its library, which is imported when the transform is asked for and not before.
"""

from __future__ import annotations

import importlib
from typing import Any

from DRDMCore.adapters.source import FieldSource

_TRANSFORMS = {
    "RandDRDMd": ("monai", "monai_transform"),
    "RandomDRDM": ("torchio", "torchio_transform"),
    "DRDM": ("torchio", "torchio_transform"),
}

__all__ = ["DRDM", "FieldSource", "RandDRDMd", "RandomDRDM"]


def __getattr__(name: str) -> Any:
    """A transform, with its library.

    Raises:
        ImportError: If the library is not installed.
        AttributeError: If there is no such transform.
    """
    if name not in _TRANSFORMS:
        raise AttributeError(f"{__name__!r} has no {name!r}: it has {', '.join(__all__)}.")
    library, module = _TRANSFORMS[name]
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(
            f"{name} needs {library}, which is not installed: pip install 'DRDMCore[{library}]'."
        ) from error
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
