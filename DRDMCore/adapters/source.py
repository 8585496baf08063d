"""Where a training transform gets its fields: drawn at each call, or drawn before and stored."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from DRDMCore.adapters.grids import ddf_for_tensor
from DRDMCore.adapters.likeness import alike, likeness
from DRDMCore.adapters.stored_fields import StoredFields
from DRDMCore.adapters.variation import Variation, taken
from DRDMCore.atomic import require_writable
from DRDMCore.errors import InputError
from DRDMCore.imaging import Volume
from DRDMCore.imaging.gate import require_image_values
from DRDMCore.models import RANDOM_FIELD, Model, find_model, load_model, sha256_of
from DRDMCore.pipelines.augment_plan import derived_seed
from DRDMCore.pipelines.generate import check_device, open_model
from DRDMCore.pipelines.memory import require_disk
from DRDMCore.pipelines.sampling import Sample, draw_samples, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved, settings_of
from DRDMCore.progress import Callback, Event, pulse_of, tell

_VARIED = ("amplitude", "mirror", "mix")
_OTHERWISE = {
    "padding": "`padding_mode` (MONAI)",
    "interpolation": "`mode` (MONAI) or `image_interpolation` (TorchIO)",
    "label_interpolation": "`mode` (MONAI); labels are read as the nearest",
}
"""Settings of sampling that are about files; a transform has its own."""
_RECOGNISED: dict[Path, Path] = {}
"""Files that were found for images of other bits, so that each is looked for once per process."""


@dataclass(frozen=True)
class FieldSource:
    """Fields for images, the same for the same image and seed.

    Attributes:
        model: Name or path of a model; `none` for the random field alone.
        sampling: How fields are made, as in `drdm generate`.
        device: Where the network works.
        folder: Where fields lie that were drawn before (`fill`); `None` draws one at each call.
        count: Fields per image in the folder.
        seed: First seed of those.
        variation: How a field is varied when it is taken.
    """

    model: str = RANDOM_FIELD
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    device: str = "cpu"
    folder: str | None = None
    count: int = 16
    seed: int = 0
    variation: Variation = field(default_factory=Variation)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.model != RANDOM_FIELD:
            find_model(self.model)
        if type(self.count) is not int or self.count < 1:
            raise InputError(f"`count` must be a whole number of at least 1, got {self.count!r}.")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"`seed` must be a whole number of at least 0, got {self.seed!r}.")
        if self.variation.mix and self.folder is None:
            raise InputError("`mix` needs a `folder` of fields to mix, got none: give one.")

    @classmethod
    def of(cls, **named: Any) -> FieldSource:
        """A source of flat settings: its own, those of `Variation` and of `SamplingSettings`.

        `slice_axis` and `mirror` count the axes of the library's tensor, 0 to 2.

        Raises:
            InputError: If a name is unknown or a value cannot be used.
        """
        for name in sorted(set(named) & set(_OTHERWISE)):
            raise InputError(
                f"`{name}` must be left out, got {named[name]!r}: use {_OTHERWISE[name]}."
            )
        named = _slice_axis_turned(named)
        own = {each.name for each in fields(cls)} - {"sampling", "variation"}
        given = {name: named.pop(name) for name in list(named) if name in own}
        varied = {name: named.pop(name) for name in _VARIED if name in named}
        if isinstance(varied.get("amplitude"), int | float):
            varied["amplitude"] = (varied["amplitude"],) * 2
        if isinstance(varied.get("mirror"), int):
            varied["mirror"] = (varied["mirror"],)
        for name in set(varied) - {"mix"}:
            varied[name] = tuple(varied[name])
        for name in ("model", "folder"):
            if given.get(name) is not None:
                given[name] = str(given[name])
        return cls(**given, sampling=settings_of(named), variation=Variation(**varied))

    def arguments(self) -> dict[str, Any]:
        """The flat settings that differ from the defaults; `of` takes them."""
        return {
            **{
                name: value
                for name, value in _changed(self).items()
                if name not in ("sampling", "variation")
            },
            **_changed(self.variation),
            **_slice_axis_turned(_changed(self.sampling)),
        }

    def take(self, image: Volume, seed: int) -> Tensor:
        """One field for an image.

        Args:
            image: The image, as `grids.volume_of` makes it.
            seed: Decides which field, and how it is varied.

        Returns:
            `(1, D, *S)` displacement on the CPU, voxels along the axes of the library's tensor.

        Raises:
            InputError: If the image does not fit the model, or the folder has no fields for it.
        """
        generator = torch.Generator().manual_seed(seed)
        if self.folder is not None:
            stored = self._stored(image)
            return taken(stored.read, self._require_filled(stored), self.variation, generator)
        first_seed = int(torch.randint(2**31, (1,), generator=generator))
        sample = next(self._samples(image, first_seed, 1, None))
        return taken(lambda _: ddf_for_tensor(sample.field), 1, self.variation, generator)

    def fill(self, images: Iterable[Volume], progress: Callback | None = None) -> int:
        """Draw the fields of images into the folder; those that are there are kept.

        Args:
            images: As the transform will see them.
            progress: Told of every image; answering `False` stops, keeping what is done.

        Returns:
            Number of images with fields now.

        Raises:
            InputError: If there is no folder, or an image does not fit the model.
            OutputError: If the folder cannot be written to.
            Cancelled: If `progress` stopped it.
        """
        if self.folder is None:
            raise InputError("`folder` must name where the fields go, got none: give one.")
        require_writable(self.folder)
        number = 0
        for number, image in enumerate(images, start=1):
            stored = self._stored(image)
            missing = self.count - len(stored.seeds())
            if missing > 0:
                self._extend(stored, image, missing, progress)
            text = f"image {number}: {max(missing, 0)} fields drawn, {self.count} there"
            tell(progress, Event("case", text, number))
        return number

    def _extend(
        self, stored: StoredFields, image: Volume, missing: int, progress: Callback | None
    ) -> None:
        """Draw more fields for an image and write its file anew."""
        require_disk(stored.path.parent, 4 * self.count * image.dimension * image.array.size)
        seeds = stored.seeds()
        ddfs = [stored.read(number) for number in range(len(seeds))]
        first = seeds[-1] + 1 if seeds else derived_seed(self.seed, stored.path.stem) % 2**31
        for sample in self._samples(image, first, missing, progress):
            seeds.append(sample.seed)
            ddfs.append(ddf_for_tensor(sample.field))
        stored.write(ddfs, seeds, {**self._identity(), "likeness": likeness(image.array)})

    def _samples(
        self, image: Volume, first_seed: int, count: int, progress: Callback | None
    ) -> Iterator[Sample]:
        """The acceptable samples that `drdm generate` makes of an image."""
        require_image_values(image.array, image.title)
        check_device(self.device)
        named = self.model
        loaded = named if named == RANDOM_FIELD else _loaded(*_version(named), self.device)
        model = open_model(loaded, image, self.sampling, self.device)
        settings = resolved(self.sampling, model)
        subject = see(model, image, None, settings)
        pulse = pulse_of(progress)
        for drawn in draw_samples(model, subject, first_seed, count, settings, pulse=pulse):
            if isinstance(drawn, Sample):
                yield drawn

    def _identity(self) -> dict[str, Any]:
        """What fields depend on besides the image."""
        named = self.model
        digest = "" if named == RANDOM_FIELD else _digest(*_version(named))
        return {"model": digest, "sampling": asdict(self.sampling), "seed": self.seed}

    def _stored(self, image: Volume) -> StoredFields:
        """The file of an image: found by its bits, else of one that is the same but for rounding.

        Files of one model, settings and grid begin alike.
        """
        assert self.folder is not None
        told = json.dumps([self._identity(), asdict(image.geometry)], sort_keys=True)
        begin = hashlib.sha256(told.encode()).hexdigest()[:12]
        bits = hashlib.sha256(np.ascontiguousarray(image.array.T).data).hexdigest()[:20]
        place = Path(self.folder)
        exact = place / f"{begin}-{bits}.safetensors"
        for known in (exact, _RECOGNISED.get(exact)):
            if known is not None and known.is_file():
                return StoredFields(known)
        own = likeness(image.array)
        for path in sorted(place.glob(f"{begin}-*.safetensors")):
            if alike(own, _likeness_of(path, path.stat().st_mtime_ns)):
                _RECOGNISED[exact] = path
                return StoredFields(path)
        return StoredFields(exact)

    def _require_filled(self, stored: StoredFields) -> int:
        """The number of fields to choose from, if they are there."""
        there = len(stored.seeds())
        if there < self.count:
            raise InputError(
                f"{self.folder} must hold {self.count} fields of every image, but holds {there} of "
                "this one, by this model with these settings: call `fill` with the images before "
                "the training, and put this transform before all that changes them at random."
            )
        return self.count


def _slice_axis_turned(named: Mapping[str, Any]) -> dict[str, Any]:
    """The slice axis counted along the library's tensor instead of our arrays, or back."""
    axis = named.get("slice_axis")
    if axis is None:
        return dict(named)
    if axis not in (0, 1, 2):
        raise InputError(f"`slice_axis` must be an axis of the tensor, 0 to 2, got {axis!r}.")
    return {**named, "slice_axis": 2 - axis}


def _changed(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    changed = {}
    for each in fields(settings):
        factory = each.default_factory
        default = each.default if factory is MISSING else factory()
        if getattr(settings, each.name) != default:
            changed[each.name] = getattr(settings, each.name)
    return changed


def _version(name: str) -> tuple[Path, int]:
    """The file of a model, and when it was written."""
    path = find_model(name)
    return path, path.stat().st_mtime_ns


@functools.lru_cache(maxsize=2)
def _loaded(path: Path, written_ns: int, device: str) -> Model:
    """A model that is loaded once per process."""
    return load_model(path, device=device)


@functools.lru_cache(maxsize=100_000)
def _likeness_of(path: Path, written_ns: int) -> tuple[float, ...]:
    """What the image of a file of fields is recognised by, read once per process."""
    return tuple(map(float, StoredFields(path).facts().get("likeness", ())))


@functools.lru_cache(maxsize=8)
def _digest(path: Path, written_ns: int) -> str:
    """The hash of a model file."""
    return sha256_of(path)
