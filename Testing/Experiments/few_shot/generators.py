"""The generators of a study: bundled, trained for it, or made of published checkpoints."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from DRDMCore.atomic import write_text_whole, written_whole
from DRDMCore.errors import InputError
from DRDMCore.models import find_model, import_published, save_model
from DRDMCore.progress import Event
from DRDMCore.training.trainer import train
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.slices import patient_of
from Testing.Experiments.few_shot.study import Study
from Testing.Experiments.few_shot.subjects import Subjects, training_settings
from Testing.Experiments.weights import weights_sha256

_PAUSE = 20.0  # seconds until another process may have trained it
_TOLD = 60.0  # seconds between two lines of progress
_ABSENT = "not there yet"

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Generators:
    """Where the generators of a study are.

    Attributes:
        study: The study.
        records: Its results; generators that are not bundled are in the working folder.
        data: Folder of the shared data.
        given: Name or file that takes the place of the study's own generator, if any.
    """

    study: Study
    records: Records
    data: Path
    given: str | None = None

    @property
    def own(self) -> Path:
        """The file of the study's own generator, which may not be there yet."""
        if self.given is not None or self.study.trained is None:
            return find_model(self.given or self.study.model)
        return self._folder / f"{self.study.model}.safetensors"

    @property
    def others(self) -> dict[str, str]:
        """Files of the others by the name that settings know them by."""
        return {name: str(self._folder / f"{name}.safetensors") for name in self.study.checkpoints}

    def identified(self) -> Study:
        """The study with names and hashes of its generators.

        Checkpoints that are not there are the ones of the runs in the tables, so that the page can
        be written without them.
        """
        files = {name: Path(file) for name, file in self.others.items()}
        known = self._known()
        names = {
            name: _named(path) if path.is_file() else known.get(name, f"{path.stem} {_ABSENT}")
            for name, path in files.items()
        }
        trained = self.study.trained if self.given is None else None
        own = (
            _named(self.own)
            if trained is None
            else f"{self.study.model}, settings {_recipe(trained)}"
        )
        return replace(self.study, generator=own, others=names)

    def make(self, device: str, tell: Tell) -> None:
        """Train and import what is not there; a training that was stopped goes on.

        Raises:
            DRDMError: If the data cannot be used, or the training is stopped.
        """
        for name, file in self.others.items():
            if not Path(file).is_file():
                checkpoint = self.data / self.study.checkpoints[name]
                save_model(import_published(checkpoint, name=name), Path(file))
        while not self.own.is_file():
            with self.records.claimed("generator") as ours:
                if ours:
                    self._train(device, tell)
                    continue
            time.sleep(_PAUSE)
        if self.others:
            text = json.dumps(dict(self.identified().others), indent=1)
            write_text_whole(self.records.generators, f"{text}\n")

    @property
    def _folder(self) -> Path:
        """Where generators that are not bundled are kept."""
        return self.records.folder / "generators"

    def _train(self, device: str, tell: Tell) -> None:
        """Train the generator, and put it where it is looked for when the training is over."""
        settings = training_settings(self.study, self.data)
        run = self._folder / "training"
        tell(f"training the generator {settings.name}, {settings.steps} steps, in {run}")
        train(settings, run, device=device, progress=_told(tell))
        with written_whole(self.own) as temporary:
            shutil.copyfile(run / f"{settings.name}.safetensors", temporary)

    def _known(self) -> dict[str, str]:
        """The checkpoints of the runs in the tables."""
        place = self.records.generators
        found: dict[str, str] = {}
        if place.is_file():
            found = json.loads(place.read_text(encoding="utf-8"))
        return found


def require_trained_here(study: Study) -> None:
    """Refuse to train the generator of a study that has a bundled one."""
    if study.trained is None:
        raise InputError(
            f"`train` is for a study whose generator is not bundled, got {study.name}: leave it "
            "out, or give another --study."
        )


def require_unseen(model: Path, subjects: Subjects) -> None:
    """Refuse a generator that was trained on subjects on which networks are judged.

    Args:
        model: Its file; `drdm train` leaves the split beside it.
        subjects: The subjects of the study.

    Raises:
        InputError: If one of them has been seen.
    """
    place = model.with_name("split.json")
    if not place.is_file():
        return
    split = json.loads(place.read_text(encoding="utf-8"))
    seen = {patient_of(subjects.study, name) for name in split["training"]}
    parts = {part: seen & {*names} for part, names in subjects.parts.items()}
    judged = [name for part in parts if part != "training" for name in sorted(parts[part])]
    if judged:
        raise InputError(
            f"{model} must not have been trained on subjects that networks are judged on, but its "
            f"split.json has {judged[0]}: train it with the settings of the study."
        )


def _named(path: Path) -> str:
    """Name and hash of a model's file."""
    return f"{path.stem} {weights_sha256(path)[:12]}"


def _recipe(settings: Path) -> str:
    """Hash of what a generator is trained with.

    Trained again on another processor it has other weights, by rounding, and is none the worse
    for it: so the recipe, not the weights, says which runs there are.
    """
    recipe = yaml.safe_load(settings.read_text(encoding="utf-8"))
    text = json.dumps({key: recipe[key] for key in sorted(recipe) if key != "card"})
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _told(tell: Tell) -> Callable[[Event], bool]:
    """Progress of a training, a line now and then."""
    last = -_TOLD

    def shown(event: Event) -> bool:
        nonlocal last
        if time.monotonic() - last >= _TOLD or event.kind == "note":
            last = time.monotonic()
            tell(f"  {event.message}")
        return True

    return shown
