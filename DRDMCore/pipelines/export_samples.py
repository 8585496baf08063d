"""Which samples a data set is made of: from another program, or from the folder of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DRDMCore.errors import InputError
from DRDMCore.models import sha256_of
from DRDMCore.pipelines.amplitude import check_amplitude
from DRDMCore.pipelines.manifest import read_replayable
from DRDMCore.pipelines.settings import SamplingSettings, settings_of
from DRDMCore.pipelines.worker_arguments import checked

_NAME = re.compile(
    r"[^\\/:*?\"<>|\x00-\x1f.\s](?:[^\\/:*?\"<>|\x00-\x1f]*[^\\/:*?\"<>|\x00-\x1f.\s])?"
)
"""What every system takes as a file name."""
_MODEL_KEYS = ("name", "path", "sha256")


@dataclass(frozen=True)
class ExportSample:
    """A sample to export.

    Attributes:
        field: File of its field at amplitude 1, on the grid of the image.
        name: Name of the case.
        seed: What made it.
        model: As in the manifest of the job that made it.
        settings: As there.
        amplitude: Factor of the field.
        repaired: Voxels of the field that were smoothed when it was made.
    """

    field: Path
    name: str
    seed: int
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    amplitude: float = 1.0
    repaired: int = 0

    @property
    def sampling(self) -> SamplingSettings:
        """The settings as a record."""
        return settings_of(self.settings)

    def identity(self) -> dict[str, Any]:
        """All that its files depend on, but for the input."""
        return {
            "name": self.name,
            "seed": self.seed,
            "amplitude": self.amplitude,
            "field_sha256": sha256_of(self.field),
            "model_sha256": self.model["sha256"],
            "settings": dict(self.settings),
        }


def sample_from(given: Any, number: int) -> ExportSample:
    """A sample as another program describes it.

    Raises:
        InputError: If a part is missing, unknown, or cannot be used.
    """
    title = f"sample {number} of export"
    if not isinstance(given, dict):
        raise InputError(f"{title} must be an object, got {given!r}.")
    wanted = {"field": "text", "name": "text", "seed": "whole number", "amplitude": "number"}
    wanted |= {"model": "object", "settings": "object", "quality?": "object"}
    values = checked(title, given, wanted)
    values["repaired"] = _repaired(values.pop("quality", {}))  # all else is measured anew
    values["amplitude"] = float(values["amplitude"])
    return ExportSample(**{**values, "field": Path(values["field"])})


def samples_of_folder(
    folder: Path, *, keep: Sequence[int] | None = None, amplitude: float = 1.0
) -> list[ExportSample]:
    """The samples in the folder of `drdm generate`.

    Args:
        folder: The folder, or its manifest.
        keep: Numbers of the samples wanted, from 1; all by default.
        amplitude: Factor of all fields.

    Raises:
        InputError: If it is no such folder, a number does not exist, or a field has been scaled.
    """
    manifest = read_replayable(folder)
    place = folder if folder.is_dir() else folder.parent
    entries = manifest["samples"]
    wanted = list(range(1, len(entries) + 1)) if keep is None else list(dict.fromkeys(keep))
    wrong = [number for number in wanted if not 1 <= number <= len(entries)]
    if wrong or not wanted:
        raise InputError(
            f"`keep` must name samples 1 .. {len(entries)} of {folder}, got {wrong or 'none'}."
        )
    return [_sample_of(entries[number - 1], manifest, place, amplitude) for number in wanted]


def check_samples(samples: Sequence[ExportSample], taken: Sequence[str]) -> None:
    """Refuse what cannot be exported, before anything is written.

    Args:
        samples: The samples.
        taken: Names of other cases.

    Raises:
        InputError: If there is none, a name cannot be that of a file or is there twice, or the
            model, settings, seed or amplitude cannot be used.
    """
    if not samples:
        raise InputError("`samples` must hold at least one sample, got none: keep some first.")
    names = [name.casefold() for name in [*taken, *(sample.name for sample in samples)]]
    for sample in samples:
        if not _NAME.fullmatch(sample.name):
            raise InputError(
                f"`name` of a sample must be usable as a file name, got {sample.name!r}: leave out "
                "slashes, colons and the like."
            )
        if names.count(sample.name.casefold()) > 1:
            raise InputError(f"`name` of a sample must be unique, got {sample.name!r} twice.")
        missing = [key for key in _MODEL_KEYS if not isinstance(sample.model.get(key), str)]
        if missing:
            raise InputError(f"`model` of {sample.name} must have {', '.join(missing)} as text.")
        if not 0 <= sample.seed < 2**63:
            raise InputError(f"`seed` of {sample.name} must lie in 0 .. 2**63 - 1.")
        check_amplitude(sample.amplitude)
        settings_of(sample.settings)


def _sample_of(
    entry: Mapping[str, Any], manifest: Mapping[str, Any], place: Path, amplitude: float
) -> ExportSample:
    """The sample of an entry of a manifest."""
    if entry.get("amplitude", 1) != 1:
        raise InputError(
            f"{entry['name']} in {place} has been scaled by {entry['amplitude']:g} already: export "
            "from the folder in which it was generated."
        )
    return ExportSample(
        field=place / entry["field"],
        name=entry["name"],
        seed=entry["seed"],
        model=entry.get("model", manifest["model"]),
        settings=entry.get("settings", manifest["settings"]),
        amplitude=amplitude,
        repaired=_repaired(entry["quality"]),
    )


def _repaired(quality: Mapping[str, Any]) -> int:
    """What a quality says of smoothed voxels."""
    count = quality.get("repaired_voxels", 0)
    return count if isinstance(count, int) else 0
