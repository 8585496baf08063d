"""Train a recovery network (docs/method.md): read `train` from top to bottom."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from DRDMCore import __version__
from DRDMCore.errors import Cancelled, InputError
from DRDMCore.models import Card, Model, load_model, save_model
from DRDMCore.progress import Callback, Event
from DRDMCore.training.distribution import Workers, workers
from DRDMCore.training.learner import Learner
from DRDMCore.training.objectives import as_model
from DRDMCore.training.run import (
    Progress,
    RunFolder,
    load_checkpoint,
    restore_random,
    save_checkpoint,
)
from DRDMCore.training.run_log import RunLog
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.settings_file import as_values
from DRDMCore.training.subjects import Split, read_split

_EARLY = 10
"""Steps until the first checkpoint: a disk that is full shows soon."""


def train(
    settings: TrainingSettings,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    progress: Callback | None = None,
    fresh: bool = False,
) -> Model:
    """Train a network, or go on with a run that was stopped.

    Args:
        settings: The run.
        folder: Folder of the run: model, checkpoints, settings, split, logs (`run.RunFolder`).
        device: Where to train.
        progress: Told each step in every process; answering `False` in one of them stops all, with
            everything saved.
        fresh: Remove a run that is there and begin anew, instead of going on with it.

    Returns:
        The model: the averaged weights with the lowest validation loss.

    Raises:
        InputError: If the data or settings cannot be used, or are not those of the run.
        OutputError: If a file cannot be written; the last checkpoint stays whole.
        Cancelled: If the caller stopped the run.
    """
    with workers(torch.device(device)) as team:
        run = _Run(settings, RunFolder(Path(folder), settings.name), team, fresh=fresh)
        with run.recorded():
            for step in range(run.progress.step + 1, run.steps + 1):
                values = run.learner.learn(run.split.training, step, run.steps)
                run.count(step)
                if step % settings.validate_every == 0 or step == run.steps:
                    values |= run.validate()
                run.log(values)
                run.save_now_and_then()
                if run.is_told_to_stop(progress, values):
                    raise Cancelled(f"stopped after step {step}; the same command goes on")
                if run.has_stopped_improving():
                    break
        return load_model(run.folder.model)


class _Run:
    """A run in one process: how far it is, and what it leaves on the disk."""

    def __init__(
        self, settings: TrainingSettings, folder: RunFolder, team: Workers, *, fresh: bool
    ) -> None:
        """Read the data and begin, or go on from the last checkpoint."""
        if team.first:
            folder.prepare(fresh=fresh)
        team.wait()
        self.settings, self.folder, self.team = settings, folder, team
        self.split: Split = read_split(settings)
        self.steps = steps_of(settings, self.split, team)
        self.learner, self.progress = Learner(settings, team), Progress()
        if folder.last.exists():
            state = load_checkpoint(folder.last, settings, self.split)
            self.learner.load_state(state)
            self.progress = Progress(**state["progress"])
            restore_random(state)
        if team.first:
            folder.record(settings, self.split)
        self._log: RunLog | None = None
        self._since = self._saved = time.monotonic()

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep the logs while training, and save at the end, however that comes."""
        if self.team.first:
            self._log = RunLog(self.folder.path, after=self.progress.step)
        try:
            yield
        finally:
            if self._log is not None:
                self._log.close()
            self.save()

    def count(self, step: int) -> None:
        """A step was done."""
        now = time.monotonic()
        self.progress.step = step
        self.progress.seconds += now - self._since
        self._since = now

    def validate(self) -> dict[str, float]:
        """Validate in the first process; keep the best."""
        values: dict[str, float] = {}
        if self.team.first:
            values = {f"val_{k}": v for k, v in self.learner.validate(self.split.validation).items()}
        loss = self.team.from_first(values.get("val_loss", 0.0))
        self.progress.stale += 1
        self.progress.history.append({"step": self.progress.step, **values})
        if loss < self.progress.best:
            self.progress.best, self.progress.best_step = loss, self.progress.step
            self.progress.stale = 0
            self._save_best()
        return values

    def log(self, values: dict[str, float]) -> None:
        """Write the numbers of a step."""
        if self._log is not None:
            self._log.write(self.progress.step, {**values, "seconds": self.progress.seconds})

    def is_told_to_stop(self, progress: Callback | None, values: dict[str, float]) -> bool:
        """Tell the caller of the step; whether it, in any process, wants the run to stop."""
        event = Event("step", _line(values), self.progress.step, self.steps, values)
        return self.team.any(progress is not None and progress(event) is False)

    def has_stopped_improving(self) -> bool:
        """Whether the patience of the settings has come to its end."""
        patience = self.settings.patience
        return patience is not None and self.progress.stale >= patience

    def save_now_and_then(self) -> None:
        """A checkpoint every few minutes, the first one soon."""
        minutes = (time.monotonic() - self._saved) / 60
        if self.progress.step == _EARLY or minutes >= self.settings.save_minutes:
            self.save()

    def save(self) -> None:
        """The newest checkpoint; and a model, where no validation has chosen one yet."""
        if not self.team.first or self.progress.step == 0:
            return
        save_checkpoint(self.folder.last, self._state(), self.progress)
        if self.progress.best_step == 0:
            self._save_model()
        self._saved = time.monotonic()

    def _save_best(self) -> None:
        """Checkpoint and model of the lowest validation loss."""
        if self.team.first:
            save_checkpoint(self.folder.best, self._state(), self.progress)
            self._save_model()

    def _save_model(self) -> None:
        """The averaged network as a model."""
        card = card_of(self.settings, self.progress, self.split, self.team)
        save_model(as_model(self.learner.average, card, self.settings), self.folder.model)

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            **self.learner.state(),
            "settings": as_values(self.settings),
            "split": self.split.names(),
        }


def steps_of(settings: TrainingSettings, split: Split, team: Workers) -> int:
    """Steps of the run; an epoch shows every training image once."""
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None
    images = sum(len(subject.images) for subject in split.training)
    return settings.epochs * -(-images // (settings.batch * team.share.world))


def card_of(settings: TrainingSettings, progress: Progress, split: Split, team: Workers) -> Card:
    """What a user should know of the model as it is now."""
    last = progress.history[-1] if progress.history else {}
    facts = {
        "objective": settings.objective,
        "steps": progress.step,
        "seconds": round(progress.seconds),
        "batch": settings.batch * team.share.world,
        "shape": list(settings.shape),
        "seed": settings.seed,
        "subjects": {part: len(names) for part, names in split.names().items()},
        "machine": machine(team),
        "torch": str(torch.__version__),
        "DRDMCore": __version__,
        "augmentation": asdict(settings.augmentation),
        "curve": [
            [entry["step"], round(entry["val_loss"], 4)]
            for entry in progress.history
            if "val_loss" in entry
        ],
    }
    metrics = {name: round(value, 4) for name, value in last.items()}
    card = {"recommended": {"level": 48, "steps": 8, "gain": settings.gain}, **settings.card}
    return Card(name=settings.name, metrics=metrics, training=facts, **card)


def machine(team: Workers) -> str:
    """What the run trains on, in words."""
    if team.device.type == "cuda":
        what = torch.cuda.get_device_name(team.device)
    else:
        what = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return f"{team.share.world} x {what}" if team.share.world > 1 else what


def _line(values: dict[str, float]) -> str:
    """One line for people."""
    shown = ("loss", "explained", "val_loss", "val_explained_48", "val_ncc", "val_residual")
    return ", ".join(f"{name} {values[name]:.3f}" for name in shown if name in values)
