"""The folder of a training run: what is in it, and the state that a run goes on from.

A checkpoint holds everything: weights, their average, the optimiser, the step (from which the
learning rate, the order of the data and every random draw follow), torch's own random states, the
settings and the versions. It is written whole or not at all, and read without running anything.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from DRDMCore import __version__
from DRDMCore.atomic import remove_partials, require_writable, write_text_whole, written_whole
from DRDMCore.errors import InputError, ModelError, OutputError
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.settings_file import as_values, write_settings
from DRDMCore.training.subjects import Split

_FORMAT = 1
_PARTS = {
    *("format", "progress", "random", "settings", "split", "processes"),
    *("network", "average", "optimizer"),
}
_FREE = (
    *("steps", "epochs", "patience", "save_minutes", "validate_every", "recoveries", "card"),
    *("learning_rate", "muon_rate", "clip", "precision", "data"),
)
"""Settings that may change when a run goes on: for longer, slower, more carefully, elsewhere."""


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Steps done.
        seconds: Seconds they took, over all sittings.
        best: Lowest validation loss so far.
        best_step: Its step.
        stale: Validations since then.
        history: What every validation found.
        began_from: Name and SHA-256 of the model whose weights the run began with.
        teacher: Name and SHA-256 of the model that a distilled one learns from.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")
    best_step: int = 0
    stale: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    began_from: str = ""
    teacher: str = ""


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run.

    Attributes:
        path: The folder.
        name: Name of the model.
    """

    path: Path
    name: str

    @property
    def model(self) -> Path:
        """The model: the averaged weights with the lowest validation loss."""
        return self.path / f"{self.name}.safetensors"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self.path / "best.ckpt"

    @property
    def settings(self) -> Path:
        """The settings of the run, every one of them."""
        return self.path / "settings.yaml"

    @property
    def split(self) -> Path:
        """Which subjects train, validate, or were put aside."""
        return self.path / "split.json"

    def prepare(self, *, fresh: bool) -> None:
        """Refuse, before hours of work, a folder that cannot be a run's; clear half files.

        Raises:
            OutputError: If it cannot be written to, or holds other things than a run.
        """
        if self.path.suffix == ".safetensors":
            raise OutputError(
                f"{self.path} must be a folder: the model becomes {self.name}.safetensors in it."
            )
        require_writable(self.path)
        if fresh and self.last.exists():
            # Only what a run would go on from: the folder may hold more than the run.
            for path in (self.last, self.best, self.model):
                path.unlink(missing_ok=True)
        remove_partials([self.path])
        if not self.last.exists() and self.model.exists():
            raise OutputError(
                f"{self.path} holds {self.model.name}, but no run to go on with: choose another "
                "folder."
            )

    def record(self, settings: TrainingSettings, split: Split) -> None:
        """Write the settings and the split."""
        write_settings(settings, self.settings)
        write_text_whole(self.split, json.dumps(split.names(), indent=1) + "\n")


def save_checkpoint(path: Path, parts: dict[str, Any], progress: Progress) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: The file.
        parts: What has a state: `state_dict`s and plain values by name.
        progress: How far the run is.

    Raises:
        OutputError: If it cannot be written.
    """
    state = {
        "format": _FORMAT,
        "versions": {"DRDMCore": __version__, "torch": str(torch.__version__)},
        "random": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
        "progress": vars(progress),
        **parts,
    }
    with written_whole(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch's writer tells a full disk so
            raise OSError(str(error).splitlines()[0]) from error


def load_checkpoint(
    path: Path, settings: TrainingSettings, split: Split, processes: int
) -> dict[str, Any]:
    """Read a checkpoint and make sure that this run can go on from it.

    Raises:
        ModelError: If it is damaged or of another format.
        InputError: If settings, data or number of processes are others than its own.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds on a damaged file
        raise ModelError(
            f"{path} is not a whole checkpoint ({type(error).__name__}): copy best.ckpt over it "
            "to go on from there, or begin anew with --fresh."
        ) from error
    whole = isinstance(state, dict) and _PARTS <= state.keys()
    if not whole or state["format"] != _FORMAT:
        raise ModelError(f"{path} must be a checkpoint of format {_FORMAT}: begin with --fresh.")
    _require_same_settings(path, state["settings"], as_values(settings))
    if state["split"] != split.names():
        raise InputError(
            f"{path.parent} was trained on other subjects than `data` holds now: give the same "
            "data, or another folder."
        )
    if state["processes"] != processes:
        raise InputError(
            f"{path.parent} was begun by {state['processes']} processes, which share a step, but "
            f"there are {processes} now: start as many, or begin anew with --fresh."
        )
    return state


def _defaults() -> dict[str, Any]:
    """Plain values of the settings that have a default."""
    plain = dataclasses.MISSING
    known = [each for each in dataclasses.fields(TrainingSettings) if each.default is not plain]
    return {
        each.name: list(each.default) if isinstance(each.default, tuple) else each.default
        for each in known
    }


def restore_random(state: dict[str, Any]) -> None:
    """Put torch's own random states back."""
    torch.set_rng_state(state["random"]["cpu"])
    for index, cuda in enumerate(state["random"]["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda, index)


def _require_same_settings(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse to go on with other settings; what an older version did not know has its default."""
    old = {**_defaults(), **old}
    changed = [
        f"{key} ({old.get(key)} -> {new.get(key)})"
        for key in sorted({*old, *new} - set(_FREE))
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise InputError(
            f"{path.parent} holds a run with other settings: {', '.join(changed)}. Give the same "
            "ones, another folder, or --fresh to begin anew."
        )
