"""`RandomDRDM` and `DRDM`: deformations as transforms of TorchIO."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torchio import Image, LabelMap, Subject, Transform
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.spatial_transform import SpatialTransform

from DRDMCore.adapters.grids import volume_of
from DRDMCore.adapters.pulling import inverted, pull
from DRDMCore.adapters.source import FieldSource
from DRDMCore.errors import InputError
from DRDMCore.imaging import Volume
from DRDMCore.progress import Callback

_MODES = {"linear": "linear", "nearest": "nearest", "bspline": "cubic"}


class RandomDRDM(RandomTransform, SpatialTransform):
    """Deform the images of a subject by one plausible field.

    Scalar images are interpolated, label maps keep their values; affines stay. The history of the
    subject gets a `DRDM` with the field.

    Args:
        model: Name or path of a model; `none` for the random field alone.
        image_name: The scalar image that the model looks at (its first channel); by default the
            first.
        image_interpolation: `linear`, `nearest` or `bspline`.
        label_interpolation: `nearest`.
        **kwargs: Those of `torchio.Transform`, such as `p`, `include` and `exclude`, and settings
            of `FieldSource.of`: `folder` and `count` of stored fields, `device`, `amplitude`,
            `mirror`, `mix`, and those of sampling, such as `level`.

    Raises:
        InputError: If a setting is unknown or cannot be used.
    """

    def __init__(
        self,
        model: str = "none",
        *,
        image_name: str | None = None,
        image_interpolation: str = "linear",
        label_interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        """Check the settings; the model is loaded when it is needed."""
        base = {name: kwargs.pop(name) for name in list(kwargs) if name in _BASE_ARGUMENTS}
        super().__init__(**base)
        self.image_name = image_name
        self.image_interpolation = _interpolation(image_interpolation)
        self.label_interpolation = _label_interpolation(label_interpolation)
        self.source = FieldSource.of(model=model, **kwargs)

    def fill(self, subjects: Iterable[Subject], progress: Callback | None = None) -> int:
        """Draw the fields of all subjects into the folder, before the training.

        Args:
            subjects: As they come to this transform, such as a data set of the transforms before
                it.
            progress: Told of every image.

        Returns:
            Number of subjects.

        Raises:
            DRDMError: No folder, an image that does not fit, no disk, or stopped.
        """
        return self.source.fill((self._seen(subject) for subject in subjects), progress)

    def apply_transform(self, subject: Subject) -> Subject:
        """Take a field and deform the subject by it.

        Args:
            subject: With at least one scalar image.

        Returns:
            The deformed subject.

        Raises:
            InputError: If it has no scalar image, or there are no fields for it.
        """
        seed = self._get_random_seed()
        with np.errstate(all="warn"):  # TorchIO raises where a number vanishes in rounding
            ddf = self.source.take(self._seen(subject), seed)
        transform = DRDM(
            displacement=ddf[0].numpy(),
            image_interpolation=self.image_interpolation,
            label_interpolation=self.label_interpolation,
            **self._get_base_args(),
        )
        transformed: Subject = transform(subject)
        return transformed

    def _seen(self, subject: Subject) -> Volume:
        """The image that the model looks at."""
        images = subject.get_images_dict(
            intensity_only=True, include=self.include, exclude=self.exclude
        )
        name = next(iter(images), None) if self.image_name is None else self.image_name
        if name not in images:
            raise InputError(
                f"`image_name` must name a scalar image of the subject, got {name!r} and the "
                f"images {', '.join(images) or 'none'}: name what the model is to look at."
            )
        image = images[name]
        return volume_of(image.data[0], image.affine, repr(name))

    def _get_named_arguments(self) -> dict[str, object]:
        """All settings by name, for the text and the configuration of the transform."""
        own = {"p": self.probability, "image_name": self.image_name}
        interpolation = {
            "image_interpolation": self.image_interpolation,
            "label_interpolation": self.label_interpolation,
        }
        return {**own, **interpolation, **self.source.arguments()}


class DRDM(SpatialTransform):
    """Deform the images of a subject by a given field.

    Args:
        displacement: `(3, W, H, D)` displacement in voxels, component `c` along axis `c` of the
            tensor; a point of the result shows the image at the point plus its displacement.
        image_interpolation: `linear`, `nearest` or `bspline`, for scalar images.
        label_interpolation: `nearest`.
        **kwargs: Those of `torchio.Transform`.

    Raises:
        InputError: If the field has another shape, or an interpolation is unknown.
    """

    def __init__(
        self,
        displacement: np.ndarray,
        image_interpolation: str = "linear",
        label_interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        """Take the field."""
        super().__init__(**kwargs)
        self.displacement = np.asarray(displacement, dtype=np.float32).view(_Shared)
        if self.displacement.ndim != 4 or len(self.displacement) != 3:
            raise InputError(
                f"`displacement` must have shape (3, W, H, D), got {self.displacement.shape}."
            )
        self.image_interpolation = _interpolation(image_interpolation)
        self.label_interpolation = _label_interpolation(label_interpolation)
        self.invert_transform = False
        self.args_names = ["displacement", "image_interpolation", "label_interpolation"]

    def __repr__(self) -> str:
        """The transform in a line, without the numbers of its field."""
        shape = "x".join(map(str, self.displacement.shape[1:]))
        invert = ", invert=True" if self.invert_transform else ""
        return f"{self.name}(displacement on {shape} voxels{invert})"

    def apply_transform(self, subject: Subject) -> Subject:
        """Deform the images, or bring deformed ones back if inverted.

        Args:
            subject: Images on the grid of the field.

        Returns:
            The subject with new data in its images.

        Raises:
            InputError: If an image lies on another grid.
        """
        ddf = torch.from_numpy(np.asarray(self.displacement))[None]
        if self.invert_transform:
            ddf = inverted(ddf)
        images = self.get_images(subject)
        for image in images:
            _require_same_place(image, images[0])
            is_label = isinstance(image, LabelMap)
            name = self.label_interpolation if is_label else self.image_interpolation
            mode = _MODES[_interpolation(name)]
            image.set_data(pull(image.data, ddf, mode=mode, padding="border", title=str(image)))
        return subject


class _Shared(np.ndarray):
    """The numbers of a field, which nobody changes.

    TorchIO copies the history of a subject with every subject and every patch, and a field is as
    large as three images: copies have the same numbers in memory. Read from a file, it brings this
    module with it, in which TorchIO then finds the transform of the history.
    """

    def __deepcopy__(self, memo: dict[int, Any] | None, /) -> _Shared:
        """The same numbers."""
        return self


_BASE_ARGUMENTS = tuple(inspect.signature(Transform.__init__).parameters)[1:]


def _interpolation(name: str) -> str:
    """An interpolation that can be had."""
    if name not in _MODES:
        raise InputError(f"`image_interpolation` must be one of {', '.join(_MODES)}, got {name!r}.")
    return name


def _label_interpolation(name: str) -> str:
    """The interpolation of labels."""
    if name != "nearest":
        raise InputError(f"`label_interpolation` must be nearest, got {name!r}: no other is there.")
    return name


def _require_same_place(image: Image, first: Image) -> None:
    """Refuse images of one subject that lie in different places."""
    if not np.allclose(image.affine, first.affine, rtol=1e-4, atol=1e-3):
        raise InputError(
            f"The images of a subject must have one affine, got {first.affine.tolist()} and "
            f"{image.affine.tolist()}: bring them to one grid first, by `torchio.Resample`."
        )
