"""Train a recovery network (docs/method.md): read `train` from top to bottom."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from DRDMCore import __version__
from DRDMCore.errors import Cancelled
from DRDMCore.machine import processor
from DRDMCore.models import Card, Model, load_model, save_model
from DRDMCore.progress import Callback, Event, tell
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

OnStep = Callable[[int, int, int, nn.Module], None]

_EARLY = 10
"""Steps until the first checkpoint: a disk that is full shows soon."""


def train(
    settings: TrainingSettings,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    progress: Callback | None = None,
    fresh: bool = False,
    on_step: OnStep | None = None,
) -> Model:
    """Train a network, or go on with a run that was stopped.

    Args:
        settings: The run.
        folder: Folder of the run: model, checkpoints, settings, split, logs (`run.RunFolder`).
        device: Where to train.
        progress: Told each step in every process; answering `False` in one of them stops all, with
            everything saved.
        fresh: Remove a run that is there and begin anew, instead of going on with it.
        on_step: Told in the first process, after each step and before its checkpoint, the step, the
            steps of an epoch and of the run, and the averaged network.

    Returns:
        The model: the averaged weights with the lowest validation loss.

    Raises:
        InputError: If the data or settings cannot be used, or are not those of the run.
        OutputError: If a file cannot be written; the last checkpoint stays whole.
        Cancelled: If the caller stopped the run.
    """
    with workers(device) as team:
        run = _Run(settings, RunFolder(Path(folder), settings.name), team, progress, fresh=fresh)
        with run.recorded():
            for step in range(run.progress.step + 1, run.steps + 1):
                if run.has_stopped_improving():
                    break
                values = run.learner.learn(run.split.training, step, run.steps)
                if step % settings.validate_every == 0 or step == run.steps:
                    values |= run.validate()
                run.count(step, values)
                run.log(values)
                if on_step is not None and team.first:
                    on_step(step, run.epoch_steps, run.steps, run.learner.average.network)
                run.save_now_and_then()
                if run.is_told_to_stop(progress, values):
                    raise Cancelled(f"stopped after step {step}; the same command goes on")
        team.wait()  # for the first to have written the model
        return load_model(run.folder.model)


class _Run:
    """A run in one process: how far it is, and what it leaves on the disk."""

    def __init__(
        self,
        settings: TrainingSettings,
        folder: RunFolder,
        team: Workers,
        progress: Callback | None,
        *,
        fresh: bool,
    ) -> None:
        """Read the data and begin, or go on from the last checkpoint."""
        if team.first:
            folder.prepare(fresh=fresh)
        team.wait()
        self.settings, self.folder, self.team = settings, folder, team
        self.split: Split = read_split(settings, folder.path / "cache", progress)
        self.epoch_steps = steps_of_an_epoch(settings, self.split, team)
        self.steps = settings.steps or (settings.epochs or 0) * self.epoch_steps
        self.learner, self.progress = Learner(settings, team), Progress()
        if folder.last.exists():
            state = load_checkpoint(folder.last, settings, self.split, team.share.world)
            self.progress = Progress(**state["progress"])
            self.learner.load_state(state, self.progress.step)
            restore_random(state)
            tell(progress, Event("note", f"going on after step {self.progress.step}"))
        elif settings.begin_from:
            self.progress.began_from = self.learner.begin_from(load_model(settings.begin_from))
        self.progress.teacher = getattr(self.learner.objective, "taught_by", "")
        if team.first:
            folder.record(settings, self.split)
        self._log: RunLog | None = None
        self._since = self._saved = time.monotonic()
        self._saved_step = self.progress.step

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

    def validate(self) -> dict[str, float]:
        """Validate in the first process; all of them get the loss."""
        values: dict[str, float] = {}
        if self.team.first:
            found = self.learner.validate(self.split.validation)
            values = {f"val_{name}": value for name, value in found.items()}
        return {**values, "val_loss": self.team.from_first(values.get("val_loss", 0.0))}

    def count(self, step: int, values: dict[str, float]) -> None:
        """A step was done, perhaps with a validation."""
        now, progress = time.monotonic(), self.progress
        progress.seconds += now - self._since
        self._since = now
        found = {name: value for name, value in values.items() if name.startswith("val_")}
        if found:
            progress.history.append({"step": step, **found})
            progress.stale += 1
            if found["val_loss"] < progress.best:
                progress.best, progress.best_step, progress.stale = found["val_loss"], step, 0
        progress.step = step

    def log(self, values: dict[str, float]) -> None:
        """Write the numbers of a step."""
        if self._log is not None:
            self._log.write(self.progress.step, {**values, "seconds": self.progress.seconds})

    def is_told_to_stop(self, progress: Callback | None, values: dict[str, float]) -> bool:
        """Tell the caller of the step; whether it, in any process, wants the run to stop."""
        if self._log is not None and progress is not None:
            for note in self._log.notes():
                progress(Event("note", note))
        event = Event("step", _line(values), self.progress.step, self.steps, values)
        return self.team.any(progress is not None and progress(event) is False)

    def has_stopped_improving(self) -> bool:
        """Whether the patience of the settings has come to its end."""
        patience = self.settings.patience
        return patience is not None and self.progress.stale >= patience

    def save_now_and_then(self) -> None:
        """A checkpoint at the best validation, every few minutes, and soon after the start."""
        minutes = (time.monotonic() - self._saved) / 60
        wanted = self.progress.step in (_EARLY, self.progress.best_step)
        if wanted or minutes >= self.settings.save_minutes:
            self.save()

    def save(self) -> None:
        """The newest checkpoint and, where it is the best so far, the best and the model.

        In the middle of a step, where only a second Ctrl-C or a fault leads, nothing is saved: the
        weights are of no step, and the checkpoint before is good.
        """
        step, best = self.progress.step, self.progress.best_step
        if not self.team.first or step == self._saved_step or self.learner.done != step:
            return
        if best in (0, step):  # before the first validation the newest model is the best
            self._save_model()
        if best == step:
            save_checkpoint(self.folder.best, self._state(), self.progress)
        save_checkpoint(self.folder.last, self._state(), self.progress)
        self._saved, self._saved_step = time.monotonic(), step

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
            "processes": self.team.share.world,
        }


def steps_of_an_epoch(settings: TrainingSettings, split: Split, team: Workers) -> int:
    """Steps that show as many images as there are to train on."""
    images = sum(len(subject.images) for subject in split.training)
    return -(-images // (settings.batch * team.share.world))


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
        "began_from": progress.began_from,
        "teacher": progress.teacher,
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
    passes = settings.passes[0] if settings.objective == "distilled" else 8
    recommended = {"level": 48, "steps": passes, "gain": settings.gain}
    card = {"recommended": recommended, **settings.card}
    return Card(name=settings.name, metrics=metrics, training=facts, **card)


def machine(team: Workers) -> str:
    """What the run trains on, in words."""
    if team.device.type == "cuda":
        what = torch.cuda.get_device_name(team.device)
    else:
        what = f"{processor()}, {torch.get_num_threads()} threads"
    return f"{team.share.world} x {what}" if team.share.world > 1 else what


def _line(values: dict[str, float]) -> str:
    """One line for people."""
    shown = ("loss", "explained", "val_loss", "val_explained_48", "val_ncc", "val_residual")
    return ", ".join(f"{name} {values[name]:.3f}" for name in shown if name in values)
