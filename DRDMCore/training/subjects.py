"""Training subjects: brought to the network's grid once, split by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from DRDMCore.atomic import remove_partials
from DRDMCore.errors import Cancelled, DRDMError, InputError
from DRDMCore.imaging import GridPolicy, Volume, to_model_grid
from DRDMCore.progress import Callback, Event, tell
from DRDMCore.sharding import share_of
from DRDMCore.training.cache import Cached, cache_file, load_cached, save_cached
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.sources import Source, find_sources

_SPREAD = (0.5, 99.5)
_FAINT = 0.02
"""A slice whose grey values spread less than this part of the stack's shows nothing."""
_ABANDONED_SECONDS = 3600.0
_SHOWN = 5


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


def read_split(
    settings: TrainingSettings, cache: Path | None = None, progress: Callback | None = None
) -> Split:
    """Training and validation subjects on the network's grid.

    Args:
        settings: The run; `data` is as `sources.find_sources` describes.
        cache: Folder where images are kept as the network sees them, so that reading and
            resampling is done once; `None` keeps nothing.
        progress: Told of each image (`read`), and what was left out (`note`).

    Returns:
        The split, which depends on the seed and the sorted names alone.

    Raises:
        MissingFileError: If `data` does not exist.
        InputError: If there are fewer than two patients, or images that cannot be used: all of
            them are tried, and named together.
        OutputError: If the cache cannot be written.
        Cancelled: If the caller stopped it.
    """
    sources, notes = find_sources(settings.data, phantoms=settings.subjects)
    for note in notes:
        tell(progress, Event("note", f"{note}."))
    parts = _split_by_patient(sources, settings)
    training, validation, test = parts
    read = _read([*training, *validation], settings.grid, cache, progress)
    return Split(read[: len(training)], read[len(training) :], [each.name for each in test])


def _split_by_patient(
    sources: Sequence[Source], settings: TrainingSettings
) -> tuple[list[Source], list[Source], list[Source]]:
    """Training, validation and test images; one patient at least is in each of the first two."""
    patients: dict[str, list[Source]] = {}
    for each in sources:
        patients.setdefault(each.patient, []).append(each)
    count = len(patients)
    if count < 2:
        images = "1 image" if len(sources) == 1 else f"{len(sources)} images"
        raise InputError(
            f"`data` must hold images of at least 2 patients, got {images} of {count} in "
            f"{settings.data!r}: add more, or name the patients (`drdm train --help`)."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(settings.seed))
    held = min(max(1, round(settings.validation_share * count)), count - 1)
    apart = min(round(settings.test_share * count), count - 1 - held)
    groups = list(patients.values())
    shuffled = [groups[i] for i in order.tolist()]
    cuts = (shuffled[held + apart :], shuffled[:held], shuffled[held : held + apart])
    training, validation, test = ([e for group in cut for e in group] for cut in cuts)
    return training, validation, test


def _read(
    sources: Sequence[Source], grid: GridPolicy, cache: Path | None, progress: Callback | None
) -> list[Subject]:
    """The subjects of some images, or all that is wrong with these."""
    if cache is not None:
        remove_partials([cache], older_than=_ABANDONED_SECONDS)
    # The processes of a run begin at different images, so that each finds most in the cache.
    share, count = share_of(), len(sources)
    first = count * share.rank // share.world
    done: dict[str, Cached] = {}
    wrong: list[DRDMError] = []
    for number, source in enumerate([*sources[first:], *sources[:first]], start=1):
        try:
            done[source.name] = _on_grid(source, grid, cache)
        except (InputError, FileNotFoundError) as error:
            wrong.append(error if isinstance(error, DRDMError) else InputError(str(error)))
        event = Event("read", f"reading {number} of {count}", number, count)
        if progress is not None and progress(event) is False:
            raise Cancelled("stopped while reading the images; the same command goes on")
    _refuse(wrong, count)
    empty = [each.empty for each in done.values() if each.empty]
    if empty:
        what = f"{sum(empty)} slices of {len(empty)} images"
        tell(progress, Event("note", f"left out {what}, because they show nothing."))
    return [Subject(source.name, done[source.name].images) for source in sources]


def _on_grid(source: Source, grid: GridPolicy, cache: Path | None) -> Cached:
    """An image as the network sees it, from the cache or made now."""
    # Phantoms are not kept: they belong to the program, which may change.
    path = None if cache is None or source.path is None else cache_file(cache, source, grid)
    kept = None if path is None else load_cached(path)
    if kept is not None:
        return kept
    made = _seen(source.read(), source.name, grid)
    if path is not None:
        save_cached(path, made)
    return made


def _seen(volume: Volume, name: str, grid: GridPolicy) -> Cached:
    """An image on the grid of the network, without slices that show nothing."""
    view = to_model_grid(volume, grid)
    keep = view.image.flatten(1).std(dim=1) > 0
    if view.slice_axis is not None:
        slices = np.moveaxis(volume.array, view.slice_axis, 0)
        spread = torch.tensor([float(np.ptp(np.percentile(each, _SPREAD))) for each in slices])
        keep &= spread >= _FAINT * spread.max()
    if not bool(keep.any()):
        where = volume.source or name
        raise InputError(
            f"{where} must show something between `grid.intensity_range` {grid.intensity_range} "
            f"({grid.intensity}), but is one grey there: set another range, or leave it out."
        )
    return Cached(view.image[keep], int((~keep).sum()))


def _refuse(wrong: Sequence[DRDMError], count: int) -> None:
    """Raise what is wrong with the images, the first few of them by name."""
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        named = "; ".join(str(each).rstrip(".") for each in wrong[:_SHOWN])
        raise InputError(
            f"{len(wrong)} of {count} images cannot be used: mend them or take them away: "
            f"{named}{more}."
        )
