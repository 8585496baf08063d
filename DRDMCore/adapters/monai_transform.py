"""`RandDRDMd`: deformations as a dictionary transform of MONAI."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type, convert_to_tensor, ensure_tuple_rep
from monai.utils.enums import TraceKeys, TransformBackends
from torch import Tensor

from DRDMCore.adapters.grids import volume_of
from DRDMCore.adapters.pulling import PADDINGS, inverted, pull
from DRDMCore.adapters.source import FieldSource
from DRDMCore.errors import InputError
from DRDMCore.imaging import Volume
from DRDMCore.progress import Callback

_MODES = {"bilinear": "linear", "nearest": "nearest"}


class RandDRDMd(RandomizableTransform, MapTransform, InvertibleTransform):
    """Deform images and labels by one plausible field.

    Every channel of every key is pulled through the field once; shapes, affines and metadata stay.
    The field is in the record of the transform (`applied_operations`), so that `inverse` and
    `Invertd` undo it; each interpolates once more.

    Args:
        keys: Images `(C, X, Y)` or `(C, X, Y, Z)` of one grid.
        model: Name or path of a model; `none` for the random field alone.
        mode: `bilinear`, or `nearest` for labels; one, or one per key.
        padding_mode: What points outside show: `border` the nearest voxel, or `zeros`; one, or one
            per key.
        prob: Probability of a deformation.
        image_key: The image that the model looks at (its first channel); by default the first
            key of an item that is not `nearest`.
        allow_missing_keys: Pass over keys that are not there.
        **source: Settings of `FieldSource.of`: `folder` and `count` of stored fields, `device`,
            `amplitude`, `mirror`, `mix`, and those of sampling, such as `level`.

    Raises:
        InputError: If a setting is unknown or cannot be used.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(
        self,
        keys: KeysCollection,
        model: str = "none",
        *,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "border",
        prob: float = 0.1,
        image_key: Hashable | None = None,
        allow_missing_keys: bool = False,
        **source: Any,
    ) -> None:
        """Check the settings; the model is loaded when it is needed."""
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.padding_mode = ensure_tuple_rep(padding_mode, len(self.keys))
        _require_among("mode", self.mode, tuple(_MODES))
        _require_among("padding_mode", self.padding_mode, PADDINGS)
        self.image_key = image_key
        self.source = FieldSource.of(model=model, **source)
        self._seed = 0

    def randomize(self, data: Any = None) -> None:
        """Decide whether to deform, and by which seed."""
        super().randomize(None)
        if self._do_transform:
            self._seed = int(self.R.randint(2**31 - 1))

    def fill(self, data: Iterable[Mapping[Hashable, Any]], progress: Callback | None = None) -> int:
        """Draw the fields of all images into the folder, before the training.

        Args:
            data: Items as they come to this transform, such as a data set of the transforms before
                it.
            progress: Told of every image.

        Returns:
            Number of images.

        Raises:
            DRDMError: No folder, an image that does not fit, no disk, or stopped.
        """
        return self.source.fill((self._seen(item) for item in data), progress)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Deform the keys.

        Args:
            data: Arrays or tensors by key, and whatever else.

        Returns:
            The same with deformed tensors.

        Raises:
            KeyError: If a key is missing.
            InputError: If the images have different grids, or there are no fields for them.
        """
        d = dict(data)
        self.randomize()
        present = list(self.key_iterator(d, self.mode, self.padding_mode))
        ddf = torch.empty(0)
        if self._do_transform and present:
            self._require_one_place(d, [key for key, *_ in present])
            ddf = self.source.take(self._seen(d), self._seed)
        for key, mode, padding in present:
            d[key] = convert_to_tensor(d[key], track_meta=get_track_meta())
            if self._do_transform:
                d[key] = _pulled(d[key], ddf, key, mode, padding)
            # The names that `Invertd` looks for when it wants labels read as the nearest.
            info = {"ddf": ddf, "mode": str(mode), "padding_mode": str(padding)}
            self.push_transform(d[key], extra_info=info)
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the deformation by the inverse of its field.

        Args:
            data: What `__call__` returned, or predictions with its record.

        Returns:
            The same with tensors on the place of the originals.
        """
        d = dict(data)
        inverses: dict[int, Tensor] = {}
        for key in self.key_iterator(d):
            record = self.pop_transform(d[key])
            info = record[TraceKeys.EXTRA_INFO]
            if not record[TraceKeys.DO_TRANSFORM]:
                continue
            where = info["ddf"].data_ptr()
            if where not in inverses:
                inverses[where] = inverted(info["ddf"])
            d[key] = _pulled(d[key], inverses[where], key, info["mode"], info["padding_mode"])
        return d

    def _seen(self, data: Mapping[Hashable, Any]) -> Volume:
        """The image that the model looks at."""
        key = self._key_seen(data)
        if key not in data:
            raise InputError(
                f"`image_key` must name an image of the data, got {key!r} and the keys "
                f"{sorted(map(str, data))}: name the image that the model is to look at."
            )
        image = data[key]
        channels = convert_to_tensor(image, track_meta=False)
        if channels.ndim not in (3, 4):
            raise InputError(
                f"{key!r} must have shape (C, X, Y) or (C, X, Y, Z), got "
                f"{tuple(channels.shape)}: put the channels first, and give no batches."
            )
        return volume_of(_plain(channels)[0], _affine(image), repr(key))

    def _key_seen(self, data: Mapping[Hashable, Any]) -> Hashable:
        """The key of the image that the model looks at."""
        if self.image_key is not None:
            return self.image_key
        modes = dict(zip(self.keys, self.mode, strict=True))
        images = [key for key in self.keys if modes[key] != "nearest"] or list(self.keys)
        return next((key for key in images if key in data), images[0])

    def _require_one_place(self, data: Mapping[Hashable, Any], keys: Sequence[Hashable]) -> None:
        """Refuse images that lie elsewhere than the one that the model looks at."""
        seen = self._key_seen(data)
        wanted = _affine(data.get(seen))
        for key in keys:
            own = _affine(data[key])
            both = wanted is not None and own is not None and wanted.shape == own.shape
            if both and not torch.allclose(wanted, own, rtol=1e-4, atol=1e-3):
                raise InputError(
                    f"{key!r} must have the affine of {seen!r}, {wanted.tolist()}, got "
                    f"{own.tolist()}: resample one to the other first."
                )


def _require_among(name: str, given: Sequence[str], choices: Sequence[str]) -> None:
    """Refuse an unknown choice."""
    for each in given:
        if each not in choices:
            raise InputError(f"`{name}` must be one of {', '.join(choices)}, got {each!r}.")


def _affine(image: Any) -> Any:
    """The affine of an image, if it carries one; float64 on the CPU."""
    affine = getattr(image, "affine", None)
    return None if affine is None else torch.as_tensor(affine, dtype=torch.float64).cpu()


def _plain(image: Tensor) -> Tensor:
    """The tensor without its metadata, which every operation would carry along."""
    return image.as_subclass(Tensor)


def _pulled(image: Any, ddf: Tensor, key: Hashable, mode: str, padding: str) -> Any:
    """An image after a field, with its metadata."""
    moved = pull(_plain(image), ddf, mode=_MODES[mode], padding=padding, title=repr(key))
    return convert_to_dst_type(moved, dst=image, dtype=moved.dtype)[0]
