"""Training subjects: found, brought to the network's grid, split by patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.imaging import list_cases, phantom, read_image, to_model_grid
from DRDMCore.training.settings import TrainingSettings


@dataclass(frozen=True)
class Subject:
    """One training image.

    Attributes:
        name: Its file's or phantom's name.
        images: `(Z, 1, *S)` in [0, 1]: slices for a 2D network, one volume for a 3D one.
    """

    name: str
    images: Tensor


@dataclass(frozen=True)
class Split:
    """Subjects by what they are for; no patient is in two parts.

    Attributes:
        training: To learn from.
        validation: Held out, to watch and to choose settings by.
        test: Names of those put aside: not even read.
    """

    training: list[Subject]
    validation: list[Subject]
    test: list[str]

    def names(self) -> dict[str, list[str]]:
        """The names of each part, for the record."""
        return {
            "training": [each.name for each in self.training],
            "validation": [each.name for each in self.validation],
            "test": list(self.test),
        }


def read_split(settings: TrainingSettings) -> Split:
    """Training and validation subjects, split by patient with the seed.

    Raises:
        InputError: If there are fewer than two subjects.
    """
    if settings.data.startswith("phantom:"):
        kind = settings.data.removeprefix("phantom:")
        subjects = [
            Subject(f"{kind}-{seed}", to_model_grid(phantom(kind, seed)[0], settings.grid).image)
            for seed in range(settings.subjects)
        ]
    else:
        subjects = [
            Subject(case.name, to_model_grid(read_image(case.image), settings.grid).image)
            for case in list_cases(Path(settings.data), None)
        ]
    if len(subjects) < 2:
        raise InputError(
            f"`data` must hold at least 2 subjects, got {len(subjects)} in {settings.data!r}."
        )
    order = torch.randperm(len(subjects), generator=torch.Generator().manual_seed(settings.seed))
    held = max(1, round(settings.validation_share * len(subjects)))
    apart = round(settings.test_share * len(subjects))
    chosen = [subjects[i] for i in order.tolist()]
    return Split(
        chosen[held + apart :],
        chosen[:held],
        [each.name for each in chosen[held : held + apart]],
    )
