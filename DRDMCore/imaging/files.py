"""Image and label files in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DRDMCore.errors import InputError
from DRDMCore.imaging.gate import require_image_values, require_usable_grid, whole_labels
from DRDMCore.imaging.geometry import Geometry, describe_difference, geometry_of, place
from DRDMCore.imaging.itk_files import read_itk, resampler_onto, write_itk
from DRDMCore.imaging.segments import describe_segments, merge_layers, segments_of
from DRDMCore.imaging.volume import Kind, Volume

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings that `write_volume` takes (`.seg.nrrd` among the `.nrrd`)."""


def read_image(path: Path | str) -> Volume:
    """Read an image: NIfTI, NRRD, MetaImage, or a folder with one DICOM series.

    Args:
        path: File or folder.

    Returns:
        The image with the pixel type and the geometry of the file.

    Raises:
        MissingFileError: If there is no such file or folder.
        InputError: If it is empty, damaged, no image, neither 2D nor 3D, has several numbers per
            voxel, NaN or infinite voxels, one value only, or a geometry that cannot be used.
    """
    path = Path(path)
    image = read_itk(path)
    _require_scalar(image, path)
    volume = from_sitk(image, source=path)
    require_usable_grid(volume.geometry, str(path))
    require_image_values(volume.array, str(path))
    return volume


def read_labels(path: Path | str) -> Volume:
    """Read a label map; from a `.seg.nrrd`, the names of the segments too.

    Floating-point labels are accepted if all are whole numbers.

    Args:
        path: File or folder.

    Returns:
        The labels as integers.

    Raises:
        MissingFileError: If there is no such file or folder.
        InputError: If it cannot be read (see `read_image`), holds numbers that are not whole, or
            overlapping segments.
    """
    path = Path(path)
    image = read_itk(path)
    segments = segments_of(image)
    if segments and image.GetNumberOfComponentsPerPixel() > 1:
        layers = sitk.GetArrayFromImage(image)
        array, names = merge_layers(layers, segments, str(path))
    else:
        _require_scalar(image, path)
        array = whole_labels(sitk.GetArrayFromImage(image), str(path))
        names = {segment.value: segment.name for segment in segments}
    geometry = geometry_of(image)
    require_usable_grid(geometry, str(path))
    return Volume(array, geometry, kind="labels", label_names=names, source=path)


def write_volume(volume: Volume, path: Path | str, *, compress: bool = True) -> None:
    """Write an image or labels, whole or not at all, with its pixel type and geometry.

    The name chooses the format: `.nii.gz`, `.nii`, `.nrrd`, `.mha`; labels also `.seg.nrrd`, with
    the names of the segments. `compress=False` leaves `.nrrd` plain, which is quicker.

    Raises:
        InputError: If the ending is none of these.
        OutputError: If the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(WRITABLE):
        raise InputError(
            f"The name of an image file must end with one of {', '.join(WRITABLE)}, got {path}: "
            "choose one of these formats."
        )
    image = to_sitk(volume)
    if volume.kind == "labels" and name.endswith(".seg.nrrd"):
        describe_segments(image, volume.label_names, volume.label_values)
    write_itk(image, path, compress=compress)


def to_sitk(volume: Volume) -> sitk.Image:
    """The volume as a SimpleITK image (a copy)."""
    return array_to_sitk(volume.array, volume.geometry)


def array_to_sitk(
    array: np.ndarray, geometry: Geometry, *, is_vector: bool | None = False
) -> sitk.Image:
    """An array on a grid as a SimpleITK image; `(*S, C)` with `is_vector`."""
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    image = sitk.GetImageFromArray(array, isVector=is_vector)
    return place(image, geometry)


def from_sitk(
    image: sitk.Image,
    kind: Kind = "image",
    *,
    label_names: dict[int, str] | None = None,
    source: Path | None = None,
) -> Volume:
    """A SimpleITK image as a volume (a copy), values and geometry unchanged.

    Raises:
        InputError: If it has several numbers per voxel, or labels that are not whole numbers.
    """
    _require_scalar(image, source)
    array: np.ndarray[Any, Any] = sitk.GetArrayFromImage(image)
    if kind == "labels":
        array = whole_labels(array, str(source or "the label image"))
    return Volume(array, geometry_of(image), kind, label_names or {}, source)


def require_same_geometry(image: Volume, labels: Volume) -> None:
    """Raise `InputError` with both names and values unless the two lie on the same grid."""
    if image.dimension != labels.dimension:
        difference: str | None = f"{image.dimension} and {labels.dimension} axes"
    else:
        difference = describe_difference(image.geometry, labels.geometry)
    if difference:
        raise InputError(
            f"{image.title} and {labels.title} must lie on the same grid, but have {difference}: "
            "check that they belong together, or resample the labels to the image."
        )


def resample_labels(labels: Volume, geometry: Geometry) -> Volume:
    """Bring labels to another grid by nearest neighbour; outside of theirs they are 0.

    Raises:
        ValueError: If `labels` are none, or the grid has another number of axes.
    """
    if labels.kind != "labels" or labels.dimension != geometry.dimension:
        raise ValueError(
            f"`labels` must be labels of {geometry.dimension} axes, got {labels.kind} of "
            f"{labels.dimension}."
        )
    resampler = resampler_onto(geometry, sitk.sitkNearestNeighbor)
    array = sitk.GetArrayFromImage(resampler.Execute(to_sitk(labels)))
    return Volume(array, geometry, "labels", labels.label_names, labels.source)


def _require_scalar(image: sitk.Image, path: Path | None) -> None:
    """Refuse colour, vector and complex images, and stacks over time."""
    kind = image.GetPixelIDTypeAsString()
    if image.GetNumberOfComponentsPerPixel() > 1 or "complex" in kind:
        raise InputError(
            f"{path or 'The image'} must have one real number per voxel, but holds {kind} "
            f"({image.GetNumberOfComponentsPerPixel()} each): choose one channel of it."
        )
    if image.GetDimension() not in (2, 3):
        raise InputError(
            f"{path or 'The image'} must be 2D or 3D, got {image.GetDimension()} axes: "
            "choose one time point of it."
        )
