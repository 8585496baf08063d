"""Make models of checkpoints of the published program."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from DRDMCore.errors import ModelError
from DRDMCore.fields import published_field
from DRDMCore.imaging import GridPolicy
from DRDMCore.models.files import sha256_of
from DRDMCore.models.model import Card, Model
from DRDMCore.models.network import build_step, fill
from DRDMCore.recovery import RecoverySettings


def import_published(path: Path, *, name: str, side: int | None = None) -> Model:
    """Make a model of a published checkpoint (`.pth`), without running anything in it.

    Args:
        path: The published `EPOCH_NAME_recresacnet.pth`.
        name: Name of the new model.
        side: Side of the images that it was trained on; 256 in 2D and 128 in 3D by default.

    Returns:
        The model, on the CPU.

    Raises:
        ModelError: If the file is no such checkpoint.
    """
    weights = _read_checkpoint(path)
    dimension = int(weights["conv_out.weight"].ndim) - 2 if "conv_out.weight" in weights else 0
    if dimension not in (2, 3):
        raise ModelError(f"{path} has no `conv_out.weight` of a 2D or 3D recresacnet: wrong file.")
    side = {2: 256, 3: 128}[dimension] if side is None else side
    levels = len(weights["time_embed.weight"])
    architecture = {"kind": "published", "dimension": dimension, "side": side, "levels": levels}
    step = build_step({**architecture, "recursions": 2})
    fill(step.network, weights, path)
    return Model(
        card=Card(
            name=name,
            title=f"Published DRDM weights, {dimension}D, {side} voxels a side",
            data=f"imported from {path.name}, SHA-256 {sha256_of(path)}",
            licence="as the published weights (Apache-2.0 repository); check the data's terms",
            recommended={"level": {2: 48, 3: 64}[dimension]},
            notes="Full recovery takes 80 levels with two passes each, and folds about 1 % of the "
            "pixels in 2D; fields are repaired before export (docs/method.md).",
        ),
        grid=GridPolicy(
            dimension=dimension,
            mode="fov",
            side=side,
            spacing_mm=None,
            intensity="percentile",
            intensity_range=(0.0, 100.0),
        ),
        field=published_field(side),
        recovery=published_recovery(dimension),
        step=step,
        architecture={**architecture, "recursions": 2},
    )


def published_recovery(dimension: int) -> RecoverySettings:
    """How the published program recovers in 2D (`cmr`) and 3D (`lct`)."""
    return RecoverySettings(
        start="top",
        image_mode="bicubic" if dimension == 2 else "linear",
        image_padding="zeros",
        field_padding="zeros" if dimension == 2 else "border",
    )


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.pth` state dictionary; code in it is refused, never run."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist: give the published `.pth` file.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds on a hostile file
        raise ModelError(
            f"{path} is not a plain checkpoint of weights ({type(error).__name__}): it is damaged, "
            "or holds code, which is never run."
        ) from error
    tensors = isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())
    if not tensors or "time_embed.weight" not in state:
        raise ModelError(f"{path} is not the state dictionary of a recresacnet: wrong file.")
    return dict(state)
