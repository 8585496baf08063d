"""A model: a recovery network with its grid policy, random field and card, in one file.

A model file is `.safetensors`: numbers and text, nothing that runs when it is opened. Its header
holds the card and everything needed to rebuild the network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from DRDMCore.atomic import written_whole
from DRDMCore.errors import ModelError
from DRDMCore.fields import RandomFieldSettings, published_field
from DRDMCore.imaging import GridPolicy
from DRDMCore.recovery import (
    LEVELS,
    PublishedNetwork,
    PublishedStep,
    RecoverySettings,
    VelocityNetwork,
    VelocityStep,
)

FORMAT = 1
RANDOM_FIELD = "none"
"""The name of the model without a network: the random field alone, for any anatomy."""

_WIDEST, _DEEPEST = 1024, 6


@dataclass(frozen=True)
class Card:
    """What a user should know of a model.

    Attributes:
        name: Short name, the file's stem.
        title: One line.
        modality: `MR`, `CT`, `phantom` or `any`.
        anatomy: What it knows.
        data: What it was trained on, with source and number of subjects.
        licence: Licence of the weights, with conditions.
        recommended: Settings to start from: `level`, `steps`, ...
        metrics: Measured quality, with the number of subjects and seeds.
        training: Seconds, hardware, steps, seed, versions.
        cost: Time and memory on named hardware.
        notes: Limits, warnings.
    """

    name: str
    title: str = ""
    modality: str = "any"
    anatomy: str = "any"
    data: str = ""
    licence: str = ""
    recommended: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cost: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True)
class Model:
    """A network with all it takes to use it on an image.

    Attributes:
        card: What a user should know.
        grid: How an image comes to the network's grid.
        field: How random fields are drawn for it.
        recovery: How a recovery runs by default.
        step: The network behind the step interface; `None` for the random field alone.
        architecture: Numbers that rebuild the network.
        sha256: Hash of the model file; empty for the random field.
        path: The file it came from.
    """

    card: Card
    grid: GridPolicy
    field: RandomFieldSettings
    recovery: RecoverySettings
    step: PublishedStep | VelocityStep | None = None
    architecture: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sha256: str = ""
    path: Path | None = None

    @property
    def levels(self) -> int:
        """Number of levels T."""
        return int(self.architecture.get("levels", LEVELS))

    def to(self, device: torch.device | str) -> Model:
        """The model with its network on a device, ready for inference."""
        if self.step is not None:
            self.step.to(device).eval()
        return self


def random_field_model(dimension: int) -> Model:
    """The random field without recovery, on a grid of at most 96 (3D) or 256 (2D) voxels a side."""
    side = {2: 256, 3: 96}[dimension]
    return Model(
        card=Card(
            name=RANDOM_FIELD,
            title="Random field, no model: smooth and free of folds, but it knows no anatomy",
            recommended={"level": 30},
        ),
        grid=GridPolicy(
            dimension=dimension,
            mode="fov",
            side=side,
            spacing_mm=None,
            intensity="percentile",
            intensity_range=(0.5, 99.5),
        ),
        field=RandomFieldSettings(control_spacing=2.0 * side / 64),
        recovery=RecoverySettings(),
    )


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
    _fill(model.step.network, weights, path)
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
    step = _build_step({**architecture, "recursions": 2})
    _fill(step.network, weights, path)
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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a model file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get("drdm")
            # `clone`: the tensors must not depend on the file staying as it is.
            weights = {key: file.get_tensor(key).clone() for key in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not a whole `.safetensors` file ({error}): get it again."
        ) from error
    if text is None:
        raise ModelError(
            f"{path} is a `.safetensors` file, but no DRDM model (its header has no card): give a "
            "model made by `drdm train` or `drdm import-weights`."
        )
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path} has an unreadable card: get the file again.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelError(f"{path} must have format {FORMAT}: it is damaged, or update DRDM.")
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
    return Model(
        card=card,
        grid=GridPolicy.from_dict(header["grid"]),
        field=RandomFieldSettings(**header["field"]),
        recovery=RecoverySettings(**recovery),
        step=_build_step(header["architecture"]),
        architecture=header["architecture"],
        path=path,
    )


def _build_step(architecture: Mapping[str, Any]) -> PublishedStep | VelocityStep:
    """An empty network behind the step interface; refuses sizes that no real model has."""
    kind, dimension = architecture["kind"], architecture["dimension"]
    if dimension not in (2, 3):
        raise ValueError(f"`dimension` must be 2 or 3, got {dimension!r}")
    if kind == "published":
        if not 1 <= architecture["levels"] <= 10_000:
            raise ValueError(f"`levels` must be 1 .. 10000, got {architecture['levels']!r}")
        network = PublishedNetwork(dimension, levels=architecture["levels"])
        return PublishedStep(
            network, side=int(architecture["side"]), recursions=int(architecture["recursions"])
        )
    if kind != "velocity":
        raise ValueError(f"`kind` must be 'published' or 'velocity', got {kind!r}")
    widths = [int(width) for width in architecture["widths"]]
    if not 1 <= len(widths) <= _DEEPEST or not all(1 <= width <= _WIDEST for width in widths):
        raise ValueError(f"`widths` must be at most {_DEEPEST} numbers up to {_WIDEST}")
    rms, gain = float(architecture["velocity_rms"]), float(architecture["gain"])
    if not (0 < rms < math.inf and 0 <= gain < math.inf):
        raise ValueError(f"`velocity_rms` and `gain` must be positive numbers, got {rms}, {gain}")
    return VelocityStep(VelocityNetwork(dimension, widths=widths), velocity_rms=rms, gain=gain)


def _fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights by strict names and shapes; refuse numbers that are not finite."""
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path} has NaN or infinite numbers in {name!r}: get it again.")
    try:
        network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"{path} does not hold the weights it should ({first}).") from error
    _channels_last(network.eval())


def _channels_last(network: nn.Module) -> None:
    """Lay convolution weights out channels-last, as the inputs will be."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


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
