"""Move images and labels with a field, once, by the resampler of ITK itself.

A reader who applies the written field with ITK gets the same numbers again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import SimpleITK as sitk

from DRDMCore.checks import require_choice
from DRDMCore.errors import InputError
from DRDMCore.imaging.fields_mm import DisplacementField, field_to_sitk, field_transform
from DRDMCore.imaging.files import array_to_sitk
from DRDMCore.imaging.geometry import Geometry, describe_difference, resampled_geometry
from DRDMCore.imaging.itk_files import resampler_onto
from DRDMCore.imaging.volume import Volume

ImageInterpolation = Literal["linear", "cubic", "nearest"]
LabelInterpolation = Literal["nearest", "linear"]
Padding = Literal["border", "zeros", "minimum"]

_IMAGE = {
    "linear": sitk.sitkLinear,
    "cubic": sitk.sitkBSpline,
    "nearest": sitk.sitkNearestNeighbor,
}
_LABELS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLabelLinear}
_PADDINGS = ("border", "zeros", "minimum")
_FINE_INTEGERS = 1000
"""Integer images with at least so many grey values stay integers."""


def apply_field(
    volume: Volume,
    field: DisplacementField,
    *,
    interpolation: ImageInterpolation = "linear",
    label_interpolation: LabelInterpolation = "nearest",
    padding: Padding = "border",
    transform: sitk.Transform | None = None,
) -> Volume:
    """Pull an image or labels through a field, on their own grid.

    Labels keep their type. Images keep theirs too, but for integer images that span fewer than
    1000 grey values: interpolated, these become float32, because rounding would show.

    Args:
        volume: Image or labels.
        field: On the same grid, or on another grid over the same field of view.
        interpolation: For images: `linear`, `cubic` (kept within the range of the image) or
            `nearest`.
        label_interpolation: For labels: `nearest`, or `linear` (the label of the largest weight).
            Neither makes a value that was not there.
        padding: What points outside show: `border` the nearest voxel, `zeros` 0, `minimum` the
            lowest value of an image; labels are 0 there for the last two.
        transform: `field_transform(field)`, to make it once for several volumes on its grid.

    Returns:
        The moved volume.

    Raises:
        InputError: If the field covers another field of view.
        ValueError: If a choice is none of those listed.
    """
    require_choice("interpolation", interpolation, tuple(_IMAGE))
    require_choice("label_interpolation", label_interpolation, tuple(_LABELS))
    require_choice("padding", padding, _PADDINGS)
    fitting = _on_grid_of(volume, field)
    if transform is None or fitting is not field:
        transform = field_transform(fitting)
    if volume.kind == "labels":
        method = _LABELS[label_interpolation]
        return volume.with_array(_resample(volume.array, volume, transform, method, padding, 0))
    return volume.with_array(_moved_image(volume, transform, interpolation, padding))


def field_on(field: DisplacementField, geometry: Geometry) -> DisplacementField:
    """The field on another grid, linear in between and constant beyond its border voxels.

    Raises:
        ValueError: If the grid has another number of axes.
    """
    if field.geometry.dimension != geometry.dimension:
        raise ValueError(
            f"`geometry` must have {field.geometry.dimension} axes, got {geometry.dimension}."
        )
    if field.geometry == geometry:
        return field
    resampler = resampler_onto(geometry, sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    vectors = sitk.GetArrayFromImage(resampler.Execute(field_to_sitk(field)))
    return DisplacementField(vectors, geometry)


def taper(
    ddf: np.ndarray,
    spacing: Geometry | Sequence[float],
    width_mm: float,
    *,
    axes: Sequence[int] | None = None,
) -> np.ndarray:
    """Let a displacement fade to zero towards the border of its grid.

    VTK continues a field beyond its grid and ITK does not; with zeros at the border they agree.

    Args:
        ddf: `(..., *S)` displacement, any unit.
        spacing: Its grid, or mm per array axis.
        width_mm: Distance from the outermost voxels (where it becomes 0) at which it is unchanged;
            0 changes nothing.
        axes: Array axes across whose borders it fades; all by default. Axes of one voxel are
            left alone.

    Returns:
        The displacement times a smooth (C1) window, of the same type.

    Raises:
        ValueError: If `width_mm` is negative.
    """
    if width_mm < 0:
        raise ValueError(f"`width_mm` must be >= 0, got {width_mm}.")
    steps = spacing.spacing_zyx if isinstance(spacing, Geometry) else tuple(spacing)
    shape = ddf.shape[-len(steps) :]
    result = ddf.copy()
    for axis in range(len(steps)) if axes is None else axes:
        if shape[axis] > 1 and width_mm > 0:
            window = _window(shape[axis], steps[axis], width_mm).astype(ddf.dtype)
            result *= window.reshape(-1, *(1,) * (len(steps) - 1 - axis))
    return result


def _window(count: int, step_mm: float, width_mm: float) -> np.ndarray:
    """0 at both ends, 1 from `width_mm` inwards, smooth in between."""
    index = np.arange(count)
    inwards = np.clip(np.minimum(index, count - 1 - index) * step_mm / width_mm, 0, 1)
    return inwards**2 * (3 - 2 * inwards)


def _on_grid_of(volume: Volume, field: DisplacementField) -> DisplacementField:
    """The field on the grid of the volume, if it covers the same field of view."""
    if volume.dimension == field.geometry.dimension:
        expected = resampled_geometry(field.geometry, volume.geometry.shape)
        difference = describe_difference(volume.geometry, expected)
    else:
        difference = f"{volume.dimension} and {field.geometry.dimension} axes"
    if difference:
        raise InputError(
            f"{volume.title} and the field must cover the same field of view, but at the same "
            f"number of voxels they have {difference}: use the field made for this image."
        )
    if volume.geometry.size == field.geometry.size:
        return field
    return field_on(field, volume.geometry)


def _moved_image(
    volume: Volume, transform: sitk.Transform, interpolation: str, padding: str
) -> np.ndarray:
    """The moved image; ITK cuts decimals off integers, so it works on floats and is rounded."""
    low, high = volume.array.min(), volume.array.max()
    value = float(low) if padding == "minimum" else 0.0
    source = volume.array.astype(_working_type(volume.array.dtype), copy=False)
    method = _IMAGE[interpolation]
    moved = _resample(source, volume, transform, method, padding, value)
    if interpolation == "nearest":
        return moved.astype(volume.array.dtype, copy=False)
    if interpolation == "cubic":  # splines overshoot
        outside = float(low) if padding == "border" else value
        moved = np.clip(moved, min(float(low), outside), max(float(high), outside))
    return _in_fitting_type(moved, volume.array.dtype, float(high) - float(low))


def _in_fitting_type(moved: np.ndarray, dtype: np.dtype, span: float) -> np.ndarray:
    """The values in the type of the image; float32 where whole numbers are too coarse for them.

    Interpolated values lie between the whole numbers. Rounding them loses up to half a unit, which
    shows in an image of few grey values.
    """
    if dtype.kind not in "iu":
        return moved.astype(dtype, copy=False)
    if span < _FINE_INTEGERS:
        return moved.astype(np.float32, copy=False)
    return np.rint(moved).astype(dtype)


def _working_type(dtype: np.dtype) -> type[np.floating]:
    """float32 where it holds all values exactly, else float64."""
    small = dtype.itemsize <= 2 or dtype == np.float32
    return np.float32 if small else np.float64


def _resample(
    array: np.ndarray,
    volume: Volume,
    transform: sitk.Transform,
    method: int,
    padding: str,
    outside: float,
) -> np.ndarray:
    """Pull an array on the grid of the volume through a transform."""
    resampler = resampler_onto(volume.geometry, method)
    resampler.SetTransform(transform)
    resampler.SetUseNearestNeighborExtrapolator(padding == "border")
    resampler.SetDefaultPixelValue(outside)
    moved: np.ndarray = sitk.GetArrayFromImage(
        resampler.Execute(array_to_sitk(array, volume.geometry))
    )
    return moved
