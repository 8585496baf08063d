"""Find, load and save model files.

A model file is `.safetensors`: numbers and text, nothing that runs when it is opened. Its header
holds the card and everything needed to rebuild the network.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from DRDMCore.atomic import written_whole
from DRDMCore.errors import ModelError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.model_header import FORMAT, list_models, read_header
from DRDMCore.models.model import RANDOM_FIELD, Card, Model
from DRDMCore.models.network import build_step, fill
from DRDMCore.recovery import RecoverySettings


def find_model(name: str | Path) -> Path:
    """The file of a model given by name or path.

    Raises:
        ModelError: If there is none; the message lists the names that there are.
    """
    path = Path(name)
    if os.path.isfile(path):  # unlike `Path.is_file`, also for impossible names
        return path
    known = {each.stem: each for each in list_models()}
    if str(name) in known:
        return known[str(name)]
    raise ModelError(
        f"`model` must be a file or one of {', '.join([RANDOM_FIELD, *known])}, got {str(name)!r}: "
        "put the file in the folder that DRDM_MODELS names, or give its path."
    )


def load_model(name: str | Path, *, device: torch.device | str = "cpu") -> Model:
    """Load a model by name or path.

    Args:
        name: Name in a model folder, or path of a `.safetensors` file.
        device: Where the network goes.

    Returns:
        The model, ready for inference.

    Raises:
        ModelError: If the file is missing, corrupt, foreign, or not a DRDM model.
    """
    path = find_model(name)
    if path.suffix in (".pth", ".pt"):
        raise ModelError(
            f"{path} is a published checkpoint: turn it into a model with "
            f"`drdm import-weights {path.name}` first."
        )
    header, weights = _read(path)
    try:
        model = _rebuilt(header, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} has an unusable header ({error}): get the file again.") from error
    assert model.step is not None
    fill(model.step.network, weights, path)
    return replace(model, sha256=sha256_of(path), path=path).to(device)


def save_model(model: Model, path: Path) -> Path:
    """Write a model file, whole or not at all.

    Returns:
        `path`.

    Raises:
        OutputError: If it cannot be written.
    """
    if model.step is None:
        raise ValueError("`model` must have a network to be saved, got the random field alone.")
    header = {
        "format": FORMAT,
        "card": asdict(model.card),
        "architecture": dict(model.architecture),
        "grid": model.grid.to_dict(),
        "field": asdict(model.field),
        "recovery": asdict(model.recovery),
    }
    state = {k: v.detach().cpu().contiguous() for k, v in model.step.network.state_dict().items()}
    data = to_bytes(state, metadata={"drdm": json.dumps(header, sort_keys=True)})
    with written_whole(path) as temporary:
        temporary.write_bytes(data)
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a model file."""
    header = read_header(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            # `clone`: the tensors must not depend on the file staying as it is.
            weights = {key: file.get_tensor(key).clone() for key in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not a whole `.safetensors` file ({error}): get it again."
        ) from error
    return header, weights


def _rebuilt(header: dict[str, Any], path: Path) -> Model:
    """The model of a header, its network not yet filled."""
    recovery = dict(header["recovery"])
    if isinstance(recovery.get("steps"), list):
        recovery["steps"] = tuple(recovery["steps"])
    known = {each.name for each in fields(Card)}
    card = Card(**{k: v for k, v in header["card"].items() if k in known})
    int(card.recommended.get("level", 0))  # refuses what is no number
    if header["grid"]["dimension"] != header["architecture"]["dimension"]:
        raise ValueError("its grid and its network differ in dimension")
    with torch.random.fork_rng(devices=[]):  # torch draws first weights, which are filled later
        step = build_step(header["architecture"])
    return Model(
        card=card,
        grid=GridPolicy.from_dict(header["grid"]),
        field=RandomFieldSettings(**header["field"]),
        recovery=RecoverySettings(**recovery),
        step=step,
        architecture=header["architecture"],
        path=path,
    )
