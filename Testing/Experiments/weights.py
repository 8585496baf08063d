"""By which hash an experiment knows a model."""

from __future__ import annotations

from pathlib import Path

from DRDMCore.model_header import read_header
from DRDMCore.models import sha256_of


def weights_sha256(path: Path) -> str:
    """SHA-256 of the model file in which these weights were first measured.

    Of this file, unless its card names an earlier one (`same_weights_as`): then only the header has
    changed since, and results with the earlier file stand.

    Raises:
        ModelError: If it is no model file.
    """
    earlier = read_header(path)["card"].get("training", {}).get("same_weights_as")
    return str(earlier) if earlier else sha256_of(path)
