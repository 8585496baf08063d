"""From an image to the grid of a model, and from the model's field back to the image.

Both grids cover the same field of view (edge-aligned), so that a field moves anatomy by the same
millimetres on either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from DRDMCore.errors import InputError
from DRDMCore.imaging.files import array_to_sitk
from DRDMCore.imaging.geometry import Geometry, resampled_geometry
from DRDMCore.imaging.itk_files import resampler_onto
from DRDMCore.imaging.orientation import Turn, is_orientation, turn_to
from DRDMCore.imaging.resizing import resize_vectors
from DRDMCore.imaging.volume import Volume

_ANTI_ALIAS = 0.4
"""Standard deviation of the smoothing before downsampling, in voxels of the new grid."""
_THICK = 1.5
"""Slices this much thicker than the pixels make an axis the slice axis."""


@dataclass(frozen=True)
class GridPolicy:
    """How a model wants its images.

    Attributes:
        dimension: 2 or 3 spatial axes.
        mode: `fov`: the longest side of the field of view gets `side` voxels; `spacing`: voxels of
            `spacing_mm`. Voxels are isotropic in both: nothing is squashed to a square or cube.
        side: Voxels of the longest side (`fov`).
        spacing_mm: Size of the voxels, mm (`spacing`).
        max_side: Most voxels of a side in `spacing` mode; larger images get coarser voxels.
        intensity: `percentile` or `window`: what `intensity_range` means.
        intensity_range: Percentiles of the image, or values, that become 0 and 1.
        orientation: Where the axes of the volumes that the model learned from run to, such as
            `LPS` (`orientation.orientation_of`); volumes with other axes are turned for the model
            by exchanging and reversing axes. Empty: volumes are taken as they are stored, which
            a 2D model always does.
    """

    dimension: int
    mode: Literal["fov", "spacing"] = "fov"
    side: int | None = None
    spacing_mm: float | None = None
    max_side: int = 192
    intensity: Literal["percentile", "window"] = "percentile"
    intensity_range: tuple[float, float] = (0.5, 99.5)
    orientation: str = ""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        for wrong, message in _policy_rules(self):
            if wrong:
                raise InputError(f"Grid policy: {message}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON; no orientation is no key."""
        values = {**asdict(self), "intensity_range": list(self.intensity_range)}
        if not self.orientation:
            del values["orientation"]
        return values

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> GridPolicy:
        """The policy of a dictionary.

        Raises:
            InputError: If a key is unknown, `dimension` is missing, or a value cannot be used.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown or "dimension" not in settings:
            problem = f"unknown keys {unknown}" if unknown else "no `dimension`"
            raise InputError(f"Grid policy: the keys must be among {known}, got {problem}.")
        values = dict(settings)
        if "intensity_range" in values:
            values["intensity_range"] = tuple(values["intensity_range"])
        return cls(**values)


@dataclass(frozen=True)
class ModelView:
    """An image as the model sees it, and the way back.

    Attributes:
        image: float32 in [0, 1], `(1, 1, *S)`, or `(Z, 1, *S)` for the slices of a stack.
        spacing_mm: mm per axis of `S`, array order.
        slice_axis: Array axis across the slices of a stack, else `None`.
        source_geometry: The grid of the image itself.
        note: What was coarsened or chosen, one sentence, or empty.
        turn: How the image was turned for the model, if it was.
    """

    image: Tensor
    spacing_mm: tuple[float, ...]
    slice_axis: int | None
    source_geometry: Geometry
    note: str = ""
    turn: Turn | None = None

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """The shape `S` of the model grid."""
        return tuple(self.image.shape[2:])

    def ddf_to_source(self, ddf: Tensor) -> np.ndarray:
        """Bring a displacement from the model grid to the grid of the image.

        Cubic where the model grid is coarser (so that the Jacobian has no kinks), else linear; a
        field of slices moves nothing across the slices.

        Args:
            ddf: `(D, *S)`, or `(N, D, *S)` with one field per sample of `image`; voxels of the
                model grid. One field for a stack serves all slices.

        Returns:
            `(D_volume, *shape)` float32, voxels of the grid of the image.

        Raises:
            ValueError: If `ddf` does not fit the model grid.
        """
        count = len(self.spatial_shape)
        samples = tuple(ddf.shape[: -1 - count])
        if tuple(ddf.shape[-1 - count :]) != (count, *self.spatial_shape) or samples not in (
            (),
            (self.image.shape[0],),
        ):
            raise ValueError(
                f"`ddf` must have shape {(count, *self.spatial_shape)} or one such field per "
                f"sample ({self.image.shape[0]}), got {tuple(ddf.shape)}."
            )
        values = ddf.detach().to("cpu", torch.float32).numpy().reshape(-1, *ddf.shape[-1 - count :])
        if self.slice_axis is not None:
            return self._stack_to_source(values)
        if self.turn is None:
            return resize_vectors(values[0], self.source_geometry.shape)
        turned = self.turn.geometry(self.source_geometry)
        return self.turn.ddf_back(resize_vectors(values[0], turned.shape))

    def _stack_to_source(self, ddf: np.ndarray) -> np.ndarray:
        """`(Z or 1, 2, *S)` fields of slices as one 3D field without motion across them."""
        axis = self.slice_axis
        assert axis is not None
        shape = self.source_geometry.shape
        in_plane = [a for a in range(3) if a != axis]
        result = np.zeros((3, *shape), dtype=np.float32)
        slices = np.moveaxis(result, axis + 1, 0)  # a view, (Z, 3, *in-plane)
        for index, one in enumerate(ddf):
            plane = resize_vectors(one, [shape[a] for a in in_plane])
            target = slices[index] if len(ddf) == shape[axis] else slices
            target[..., in_plane, :, :] = plane
        return result


def to_model_grid(
    volume: Volume, policy: GridPolicy, *, slice_axis: int | None = None
) -> ModelView:
    """Resample an image to the grid of a model and scale its values to [0, 1].

    Args:
        volume: An image.
        policy: What the model wants.
        slice_axis: For a 2D model and a 3D stack, the array axis across the slices; by default the
            axis of one voxel, else that of clearly thicker voxels, else 0.

    Returns:
        The view of the model. Percentiles are those of the slice for a 2D model, of the volume
        for a 3D model.

    Raises:
        InputError: If a 3D model meets a 2D image or a single slice, or there is no such axis.
        ValueError: If `volume` holds labels.
    """
    seen, turn = _turned(volume, policy)
    axis, shape, note = _planned(seen, policy, slice_axis)
    spatial = [a for a in range(volume.dimension) if a != axis]
    target = resampled_geometry(seen.geometry, shape)
    array = _resampled(seen, target)
    samples = array[None] if axis is None else np.moveaxis(array, axis, 0)
    scaled = np.stack([_scaled(sample, policy) for sample in samples])
    return ModelView(
        image=torch.from_numpy(scaled[:, None]),
        spacing_mm=tuple(target.spacing_zyx[a] for a in spatial),
        slice_axis=axis,
        source_geometry=volume.geometry,
        note=note,
        turn=turn,
    )


def model_shape(
    volume: Volume, policy: GridPolicy, *, slice_axis: int | None = None
) -> tuple[int, ...]:
    """Shape `(N, 1, *S)` of the image that `to_model_grid` would make, without making it.

    Args and errors: as `to_model_grid`.
    """
    axis, shape, _ = _planned(_turned(volume, policy)[0], policy, slice_axis)
    samples = 1 if axis is None else shape[axis]
    return (samples, 1, *(count for a, count in enumerate(shape) if a != axis))


def _turned(volume: Volume, policy: GridPolicy) -> tuple[Volume, Turn | None]:
    """The image with its axes as the model knows them, and how it was turned."""
    if not policy.orientation or volume.dimension == 2:
        return volume, None
    turn = turn_to(volume.geometry, policy.orientation)
    if turn is None:
        return volume, None
    geometry = turn.geometry(volume.geometry)
    return replace(volume, array=turn.array(volume.array), geometry=geometry), turn


def _planned(
    volume: Volume, policy: GridPolicy, slice_axis: int | None
) -> tuple[int | None, tuple[int, ...], str]:
    """Axis across the slices, voxels per array axis on the model grid, and what was coarsened."""
    if volume.kind != "image":
        raise ValueError("`volume` must be an image, got labels.")
    _require_fitting_axes(volume, policy, slice_axis)
    geometry = volume.geometry
    stacked = policy.dimension < geometry.dimension
    axis = _slice_axis(geometry, slice_axis) if stacked else None
    spatial = [a for a in range(geometry.dimension) if a != axis]
    return axis, *_model_shape(geometry, spatial, policy)


def _policy_rules(policy: GridPolicy) -> list[tuple[bool, str]]:
    """What makes a policy unusable, each with its message."""
    side, spacing_mm, span = policy.side, policy.spacing_mm, policy.intensity_range
    percentile = policy.intensity == "percentile"
    return [
        (policy.dimension not in (2, 3), f"`dimension` must be 2 or 3, got {policy.dimension}"),
        (policy.mode not in ("fov", "spacing"), f"`mode` must be fov or spacing: {policy.mode!r}"),
        (
            policy.intensity not in ("percentile", "window"),
            f"`intensity` must be percentile or window, got {policy.intensity!r}",
        ),
        (
            policy.mode == "fov" and (side is None or side < 4),
            f"`side` must be a number of voxels >= 4 for mode fov, got {side}",
        ),
        (
            policy.mode == "spacing" and (spacing_mm is None or not spacing_mm > 0),
            f"`spacing_mm` must be a size > 0 for mode spacing, got {spacing_mm}",
        ),
        (policy.max_side < 4, f"`max_side` must be >= 4, got {policy.max_side}"),
        (
            len(span) != 2 or not span[0] < span[1],
            f"`intensity_range` must be two rising numbers, got {span}",
        ),
        (
            policy.orientation != "" and not is_orientation(policy.orientation),
            "`orientation` must be three letters, one of each of R L, A P and I S, such as LPS, "
            f"got {policy.orientation!r}",
        ),
        (
            policy.orientation != "" and policy.dimension == 2,
            f"`orientation` must be empty for a 2D model, got {policy.orientation!r}",
        ),
        (
            percentile and (min(span) < 0 or max(span) > 100),
            f"`intensity_range` must be percentiles from 0 to 100, got {span}",
        ),
    ]


def _require_fitting_axes(volume: Volume, policy: GridPolicy, slice_axis: int | None) -> None:
    """Raise `InputError` unless the model and the image have fitting axes."""
    shape = volume.geometry.shape
    if policy.dimension == 3 and (volume.dimension == 2 or 1 in shape):
        raise InputError(
            f"A 3D model needs a volume of several slices, but {volume.title} has shape {shape}: "
            "choose a 2D model."
        )
    stacked = policy.dimension < volume.dimension
    if slice_axis is None:
        return
    thin = [a for a, count in enumerate(shape) if count == 1]
    if not stacked or not 0 <= slice_axis < 3 or thin not in ([], [slice_axis]):
        raise InputError(
            f"`slice_axis` must be an array axis (0 to 2) across the slices of a 3D stack, for a "
            f"2D model, got {slice_axis} for a {policy.dimension}D model and {volume.title} of "
            f"shape {shape}: leave it out or choose another axis."
        )


def _slice_axis(geometry: Geometry, wanted: int | None) -> int:
    """The array axis across the slices."""
    if wanted is not None:
        return wanted
    if 1 in geometry.shape:
        return geometry.shape.index(1)
    spacing = geometry.spacing_zyx
    thickest = int(np.argmax(spacing))
    others = max(mm for a, mm in enumerate(spacing) if a != thickest)
    return thickest if spacing[thickest] > _THICK * others else 0


def _model_shape(
    geometry: Geometry, spatial: Sequence[int], policy: GridPolicy
) -> tuple[tuple[int, ...], str]:
    """Voxels per array axis on the model grid (slices keep theirs), and what was coarsened."""
    extent_mm = {a: geometry.shape[a] * geometry.spacing_zyx[a] for a in spatial}
    longest_mm = max(extent_mm.values())
    if policy.mode == "fov":
        assert policy.side is not None
        size_mm, note = longest_mm / policy.side, ""
    else:
        assert policy.spacing_mm is not None
        size_mm, note = _limited(policy.spacing_mm, longest_mm, policy.max_side)
    shape = list(geometry.shape)
    for a in spatial:
        shape[a] = max(2, round(extent_mm[a] / size_mm))
    return tuple(shape), note


def _limited(size_mm: float, longest_mm: float, max_side: int) -> tuple[float, str]:
    """Voxels as wanted, or coarser ones if the longest side would get too many."""
    if round(longest_mm / size_mm) <= max_side:
        return size_mm, ""
    coarser_mm = longest_mm / max_side
    note = (
        f"The model works on voxels of {coarser_mm:.3g} mm instead of {size_mm:.3g} mm, because "
        f"the longest side ({longest_mm:.4g} mm) may have {max_side} of them."
    )
    return coarser_mm, note


def _resampled(volume: Volume, target: Geometry) -> np.ndarray:
    """The image on the model grid, float32, smoothed before where the grid gets coarser."""
    image = array_to_sitk(volume.array.astype(np.float32), volume.geometry)
    ratio = np.array(volume.geometry.size) / np.array(target.size)
    variance = np.where(ratio > 1, (_ANTI_ALIAS * ratio) ** 2, 0.0)
    if variance.any():
        image = sitk.DiscreteGaussian(image, variance.tolist(), 64, 0.01, False)
    if target != volume.geometry:
        resampler = resampler_onto(target, sitk.sitkLinear)
        resampler.SetUseNearestNeighborExtrapolator(True)
        image = resampler.Execute(image)
    array: np.ndarray = sitk.GetArrayFromImage(image)
    return array


def _scaled(sample: np.ndarray, policy: GridPolicy) -> np.ndarray:
    """Values scaled to [0, 1]; a constant sample becomes 0."""
    low, high = policy.intensity_range
    if policy.intensity == "percentile":
        low, high = (float(value) for value in np.percentile(sample, policy.intensity_range))
    if not high > low:
        return np.zeros_like(sample)
    return np.clip((sample - np.float32(low)) / np.float32(high - low), 0, 1)
