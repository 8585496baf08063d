"""Training in a process of its own: start, watch, stop, go on.

`drdm train` does the work. It stops, with everything saved, when its stdin is closed: also on
Windows, which has no signals for that, and also when Slicer has died.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from DRDMLib.corepath import coreFolder
from DRDMLib.trainscans import ScanWriting
from DRDMLib.workerprocess import ChildProcess, describeEnd

STOP_SECONDS = 60
"""Time that a run has to finish its step and save; the checkpoint before is good in any case."""
_STATUS_STOPPED = 130


@dataclass(frozen=True)
class Preset:
    """Settings of training that come with the program.

    Attributes:
        name: For `TrainingRun.start`.
        title: What they are for.
        dimension: 2 or 3, or `None` where the file does not say.
        path: The file.
    """

    name: str
    title: str
    dimension: int | None
    path: Path


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is.

    Attributes:
        step: Steps done.
        of: Steps in all.
        loss: Loss of the step, or `None`.
        validationLoss: Loss on the scans held out, at the steps where it is measured.
        secondsLeft: Estimate, `None` where there is none yet.
        message: The numbers in a line.
    """

    step: int
    of: int
    loss: float | None
    validationLoss: float | None
    secondsLeft: float | None
    message: str


class TrainingRun:
    """One training at a time.

    Attributes:
        state: `idle`, `running`, `stopping`, `done`, `stopped` (it can go on) or `failed`.
        message: Why it failed, or how it ended, one sentence.
        details: More on a failure, for the log.
        folder: Folder of the run.
        onScan: Told the name, number and count of each volume of the scene that is being written
            before the process starts, and an empty name when all are; the state is `running`.
        progress: The last `TrainingProgress`, or `None`.
        losses: Pairs of step and loss since the start.
        validations: Pairs of step and validation loss since the start.
    """

    def __init__(self, onProgress=None, onEnd=None, onLog=None):
        """Make a run that has not begun.

        Args:
            onProgress: Told each `TrainingProgress`.
            onEnd: Told this object, once per start.
            onLog: Told each line for the log.
        """
        self.onProgress, self.onEnd, self.onLog = onProgress, onEnd, onLog
        self.state, self.message, self.details = "idle", "", ""
        self.onScan = None
        self.folder = self._model = self.progress = None
        self.losses, self.validations = [], []
        self._process = self._scans = self._final = self._pace = None

    @property
    def running(self):
        """Whether it has not ended."""
        return self.state in ("running", "stopping")

    @property
    def model(self):
        """The model file as it is now, or `None`."""
        return self._model or (modelOf(self.folder) if self.folder else None)

    def start(
        self, folder, data=None, preset=None, *, name=None, steps=None, device="auto", settings=None
    ):
        """Begin, or go on with the same run in the same folder.

        Args:
            folder: Folder of the run.
            data: Folder of scans (see `drdm train --help`), or `None` for those of the preset;
                a `ScanWriting` is begun, and the process starts when it is done.
            preset: Name of a preset or path of a file of settings; `None`: made from the scans.
            name: Name of the model; that of the folder by default.
            steps: Optimisation steps, or `None` for those of the settings.
            device: `auto`, `cpu`, `cuda:0`, ...
            settings: Further settings by name, as `augmentation.noise`.

        Raises:
            RuntimeError: If a training is running.
        """
        folder = Path(folder).resolve()
        name = name or _modelName(folder)
        scans = data if isinstance(data, ScanWriting) else None
        data = data if scans is None else scans.folder
        arguments = ["--out", str(folder), "--device", device, "--name", name]
        arguments += ["--data", str(data)] if data is not None else []
        arguments += ["--config", str(preset)] if preset else []
        arguments += ["--steps", str(steps)] if steps else []
        values = {
            **(_cardOf(name, data) if data is not None and preset else {}),
            **(settings or {}),
        }
        if values:
            arguments += ["--set", *(f"{key}={_yaml(each)}" for key, each in values.items())]
        self._begin(folder, arguments, scans)

    def resume(self, folder, *, device="auto"):
        """Go on with a run that was stopped, as it was begun."""
        folder = Path(folder).resolve()
        self._begin(folder, ["--out", str(folder), "--device", device])

    def stop(self):
        """Let it finish its step, save, and end; `onEnd` is told when it has."""
        if self._scans is not None:
            self._stopWriting()
        elif self.state == "running":
            self.state = "stopping"
            self._process.closeInput()
            self._process.killAfter(STOP_SECONDS)

    def kill(self):
        """End it now; it can go on from its last checkpoint."""
        if self._scans is not None:
            self._stopWriting()
        elif self.running:
            self.state = "stopping"
            self._process.kill()

    def close(self, seconds=5):
        """Stop it and wait a little, then kill it: for the end of the application."""
        scans = self._scans
        self.stop()
        if scans is not None:
            scans.wait(seconds)
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            self._process.poll()
            time.sleep(0.01)
        if self.running:
            self._process.close()
            self._stopped()

    def addToModels(self):
        """Copy the model to the user's models; its entry.

        Raises:
            ModelProblem: If there is no model, or it cannot be copied.
        """
        from DRDMLib.modellist import ModelProblem, addModelFile

        if self.model is None:
            raise ModelProblem(_("The training has left no model yet: let it run for longer."))
        return addModelFile(self.model)

    def _begin(self, folder, arguments, scans=None):
        """Start the process, after the scans are written where there are such."""
        if self.running:
            raise RuntimeError(_("A training is running: stop it first."))
        self.state, self.message, self.details = "running", "", ""
        self.folder, self._model, self.progress = folder, None, None
        self.losses, self.validations = [], []
        self._final = self._pace = None
        command = ["-m", "DRDMCore", "train", "--json", "--stop-with-stdin", *arguments]
        self._scans = scans
        if scans is None:
            self._launch(command)
        else:
            scans.begin(self._scanBegun, lambda: self._scansWritten(command), self._notWritten)

    def _launch(self, command):
        """Start the process."""
        self._scans = None
        self._process = ChildProcess(command, self._heard, self._ended, self._log)

    def _scanBegun(self, name, number, count):
        """Tell which volume is being written."""
        if self.onScan is not None:
            self.onScan(name, number, count)

    def _scansWritten(self, command):
        """All volumes are written."""
        self._scanBegun("", 0, 0)
        self._launch(command)

    def _notWritten(self, problem):
        """The scans could not be written: there is nothing to learn from."""
        self._scans = None
        self._end("failed", str(problem), type(problem).__name__)

    def _stopWriting(self):
        """End it before the process has started."""
        scans, self._scans = self._scans, None
        scans.cancel()
        self._stopped()

    def _heard(self, line):
        """Take a line of the process."""
        try:
            event = json.loads(line)
            kind = event["kind"]
        except (ValueError, TypeError, KeyError):
            self._log(line)
            return
        if kind in ("result", "error"):
            self._final = event
        elif kind == "step":
            self._count(event)
        elif event.get("message"):
            self._log(str(event["message"]))

    def _count(self, event):
        """Take a step."""
        step, of = int(event["done"]), int(event["total"])
        loss, validation = event.get("loss"), event.get("val_loss")
        if loss is not None:
            self.losses.append((step, loss))
        if validation is not None:
            self.validations.append((step, validation))
            self._log(_("step {step} of {of}: ").format(step=step, of=of) + event["message"])
        left = self._secondsLeft(step, of)
        self.progress = TrainingProgress(step, of, loss, validation, left, event["message"])
        if self.onProgress is not None:
            self.onProgress(self.progress)

    def _secondsLeft(self, step, of):
        """An estimate from the steps since the start, validations included."""
        now = time.monotonic()
        if self._pace is None:
            self._pace = (now, step)
        since, first = self._pace
        return (now - since) / (step - first) * (of - step) if step > first else None

    def _log(self, text):
        """Tell a line for the log."""
        if self.onLog is not None:
            self.onLog(text)

    def _ended(self, process):
        """The process has ended; say how."""
        final = self._final or {}
        if final.get("kind") == "result":
            self._model = Path(final["model"])
            self._end("done", _("The training is done."))
        elif final.get("status") == _STATUS_STOPPED or (self.state == "stopping" and not final):
            self._stopped()
        elif final:
            self._end("failed", str(final["message"]), process.lastLines())
        else:
            self._end("failed", describeEnd(process), process.lastLines())

    def _stopped(self):
        """Come to the end before the last step."""
        if canResume(self.folder):
            self._end("stopped", _("The training was stopped; it can go on."))
        else:
            self._end("stopped", _("The training was stopped before its first checkpoint."))

    def _end(self, state, message, details=""):
        """Come to the end."""
        self.state, self.message, self.details = state, message, details
        self._process = None
        if self.onEnd is not None:
            self.onEnd(self)


def listPresets():
    """The presets by name; without torch or a YAML reader."""
    core = coreFolder()
    folders = [core / "DRDMCore" / "resources", core / "Resources"]
    found = {}
    for folder in folders:
        for path in sorted((folder / "Configurations").glob("train_*.yaml")):
            preset = _presetOf(path)
            found.setdefault(preset.name, preset)
    return [found[name] for name in sorted(found)]


def canResume(folder):
    """Whether there is a run in the folder that can go on."""
    folder = Path(folder)
    return all((folder / name).is_file() for name in ("settings.yaml", "last.ckpt"))


def modelOf(folder):
    """The newest model in the folder of a run, or `None`."""
    found = sorted(Path(folder).glob("[!.]*.safetensors"), key=lambda each: each.stat().st_mtime)
    return found[-1] if found else None


def _presetOf(path):
    """A preset with what can be read without a YAML reader: Slicer has none of its own."""
    text = path.read_text(encoding="utf-8", errors="replace")
    title = re.search(r"^  title: *(.+?) *$", text, re.MULTILINE)
    dimension = re.search(r"^  dimension: *([23])\b", text, re.MULTILINE)
    name = path.stem.removeprefix("train_")
    return Preset(
        name=name,
        title=title.group(1).strip("'\"") if title else name,
        dimension=int(dimension.group(1)) if dimension else None,
        path=path,
    )


def _modelName(folder):
    """A name for the model of a run that is a file name everywhere."""
    return re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", folder.name).strip(". ") or "model"


def _yaml(value):
    """A value as the command reads it: JSON is YAML too."""
    return json.dumps(value, ensure_ascii=False)


def _cardOf(name, data):
    """What the card says: a preset's own words are on the scans of the preset."""
    return {
        "card.title": _("{name}, trained in 3D Slicer").format(name=name),
        "card.anatomy": _("that of its own scans"),
        "card.data": _("the images in {folder}").format(folder=Path(data).name),
        "card.licence": _("that of its scans"),
        "card.notes": "",
    }
