"""Displacement fields in millimetres: to and from voxels, to and from files.

Always LPS and in the resampling direction, output point to input point (docs/conventions.md).
`applying.py` moves images and labels with them.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DRDMCore.atomic import written_whole
from DRDMCore.errors import InputError
from DRDMCore.imaging import nifti
from DRDMCore.imaging.files import array_to_sitk
from DRDMCore.imaging.gate import require_finite, require_usable_grid
from DRDMCore.imaging.geometry import (
    Geometry,
    geometry_of,
    vectors_mm_lps_to_voxel,
    vectors_voxel_to_mm_lps,
)
from DRDMCore.imaging.itk_files import quiet_itk, read_itk, require_readable, unreadable, write_itk

_TYPE_KEY = "displacement field type"
_NRRD_KEYS = {"intent_code": str(nifti.INTENT_DISPLACEMENT), _TYPE_KEY: "resampling"}
_TRANSFORM_ENDINGS = (".h5", ".hdf5", ".tfm", ".txt", ".mat")


@dataclass(frozen=True)
class DisplacementField:
    """A displacement in mm on a grid; it pulls: output point `p` takes the input at `p + v(p)`.

    Attributes:
        vectors_mm_lps: `(*S, D)` float32, mm along L, P, S.
        geometry: The grid of the field.
    """

    vectors_mm_lps: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        """Refuse vectors that do not fit the grid."""
        wanted = (*self.geometry.shape, self.geometry.dimension)
        if self.vectors_mm_lps.shape != wanted or self.vectors_mm_lps.dtype != np.float32:
            raise ValueError(
                f"`vectors_mm_lps` must be float32 of shape {wanted}, got "
                f"{self.vectors_mm_lps.dtype} of shape {self.vectors_mm_lps.shape}."
            )


def field_from_ddf(ddf: np.ndarray, geometry: Geometry) -> DisplacementField:
    """The field in mm of a `(D, *S)` displacement in voxels on this grid."""
    vectors = vectors_voxel_to_mm_lps(np.asarray(ddf, dtype=np.float32), geometry)
    return DisplacementField(vectors, geometry)


def ddf_from_field(field: DisplacementField) -> np.ndarray:
    """The `(D, *S)` displacement in voxels of a field in mm, float32; undoes `field_from_ddf`."""
    return vectors_mm_lps_to_voxel(field.vectors_mm_lps, field.geometry)


def field_to_sitk(field: DisplacementField) -> sitk.Image:
    """The field as a SimpleITK image of float32 vectors (a copy)."""
    return array_to_sitk(field.vectors_mm_lps, field.geometry, is_vector=True)


def field_transform(field: DisplacementField) -> sitk.DisplacementFieldTransform:
    """The field as an ITK transform, output point to input point."""
    return sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(field), sitk.sitkVectorFloat64))


def write_field(field: DisplacementField, path: Path | str, *, compress: bool = True) -> None:
    """Write a field, whole or not at all; its name chooses the format.

    `.nrrd` (as 3D Slicer writes it), `.mha`, `.h5` and `.tfm` (an ITK transform) hold LPS.
    `.nii` and `.nii.gz` hold RAS with intent 1006 in 3D, which ITK, ANTs and Slicer hand over as
    LPS; in 2D, where ITK misreads that, LPS with intent 1007. `compress=False` leaves `.nrrd`
    plain, which is quicker.

    Raises:
        InputError: If the ending is none of these, or cannot hold this grid.
        OutputError: If the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    require_format_for_grid(path.name, field.geometry)
    writers: dict[str, Callable[[DisplacementField, Path], None]]
    writers = {".nrrd": functools.partial(_write_nrrd, compress=compress), **_WRITERS}
    for ending, write in writers.items():
        if path.name.lower().endswith(ending):
            write(field, path)
            return
    raise InputError(
        f"The name of a field file must end with one of {', '.join(writers)}, got {path}: "
        "choose one of these formats."
    )


def require_format_for_grid(name: str, geometry: Geometry) -> None:
    """Refuse the field of a single slice in NIfTI: ITK drops its last axis on reading.

    Args:
        name: Name or ending of the file.
        geometry: The grid of the field.

    Raises:
        InputError: If the file could not be read back.
    """
    single = geometry.dimension == 3 and geometry.size[2] == 1
    if single and name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(
            f"The field of a single slice must be in .nrrd or .mha, got {name}, from which ITK "
            "cannot read it back: choose .nrrd."
        )


def read_field(path: Path | str) -> DisplacementField:
    """Read a displacement field in mm, LPS, resampling direction.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is no displacement field, points the other way (a ToParent field of
            Slicer), has not one number per axis, or NaN or infinite numbers.
    """
    path = Path(path)
    is_transform = path.name.lower().endswith(_TRANSFORM_ENDINGS)
    image = _read_transform(path) if is_transform else _read_vectors(path)
    geometry = geometry_of(image)
    require_usable_grid(geometry, str(path))
    vectors = sitk.GetArrayFromImage(image)
    require_finite(vectors, str(path))
    return DisplacementField(vectors.astype(np.float32), geometry)


def _write_nrrd(field: DisplacementField, path: Path, *, compress: bool) -> None:
    """NRRD with the keys by which Slicer knows a resampling field."""
    image = field_to_sitk(field)
    for key, text in _NRRD_KEYS.items():
        image.SetMetaData(key, text)
    write_itk(image, path, compress=compress)


def _write_mha(field: DisplacementField, path: Path) -> None:
    """MetaImage, plain vectors."""
    write_itk(field_to_sitk(field), path)


def _write_nifti(field: DisplacementField, path: Path) -> None:
    """NIfTI with intent 1006 and RAS on disk in 3D; SimpleITK itself writes 1007 and LPS."""
    if field.geometry.dimension == 2:
        write_itk(field_to_sitk(field), path)
        return
    vectors_mm_ras = field.vectors_mm_lps * np.array([-1, -1, 1], dtype=np.float32)
    image = array_to_sitk(vectors_mm_ras, field.geometry, is_vector=True)
    if not path.name.lower().endswith(".gz"):
        write_itk(image, path, nifti.mark_displacement)
        return
    with written_whole(path) as temporary:
        plain = temporary.with_name(f"{temporary.name}.nii")  # packed once, after it is marked
        try:
            write_itk(image, plain, nifti.mark_displacement)
            nifti.pack(plain, temporary)
        finally:
            plain.unlink(missing_ok=True)


def _write_transform(field: DisplacementField, path: Path) -> None:
    """An ITK displacement field transform."""
    transform = field_transform(field)
    with written_whole(path) as temporary:
        # HDF5 does not survive a full disk, so look before.
        if shutil.disk_usage(temporary.parent).free < 3 * field.vectors_mm_lps.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with quiet_itk():
                sitk.WriteTransform(transform, str(temporary))
        except RuntimeError as error:
            raise OSError(str(error).strip().splitlines()[-1]) from error
        if path.name.lower().endswith(".tfm"):
            _require_whole_text(field, temporary)


def _require_whole_text(field: DisplacementField, path: Path) -> None:
    """Raise `OSError` if ITK lost a part of a text file without saying so (a full disk)."""
    try:
        vectors = sitk.GetArrayFromImage(_read_transform(path))
    except InputError as error:
        raise OSError(f"only a part was written: {error}") from error
    if not np.array_equal(vectors, field.vectors_mm_lps):
        raise OSError("only a part was written")


_WRITERS: dict[str, Callable[[DisplacementField, Path], None]] = {
    ".h5": _write_transform,
    ".tfm": _write_transform,
    ".mha": _write_mha,
    ".nii.gz": _write_nifti,
    ".nii": _write_nifti,
}


def _read_vectors(path: Path) -> sitk.Image:
    """The vectors of an image file, LPS."""
    image = read_itk(path)
    count = image.GetNumberOfComponentsPerPixel()
    if count != image.GetDimension() or "complex" in image.GetPixelIDTypeAsString():
        raise InputError(
            f"{path} must be a displacement field with {image.GetDimension()} numbers per voxel, "
            f"got {count}: give a field, not an image."
        )
    _require_resampling(path, image)
    return image


def _require_resampling(path: Path, image: sitk.Image) -> None:
    """Refuse fields that point the other way, or whose frame ITK does not hand over as LPS."""

    def text(key: str) -> str:
        return image.GetMetaData(key).strip() if image.HasMetaDataKey(key) else ""

    if text(_TYPE_KEY) not in ("", "resampling"):
        raise InputError(
            f"{path} must hold a resampling (FromParent) field, got {text(_TYPE_KEY)!r}: "
            "invert the transform in Slicer and save it again."
        )
    space = _nrrd_space(path)
    if space not in ("", "left-posterior-superior", "LPS"):
        raise InputError(
            f"{path} must hold vectors in the space left-posterior-superior, got {space!r} (ITK "
            "turns the grid but not the vectors): convert it to left-posterior-superior."
        )
    marked = text("intent_code") == str(nifti.INTENT_DISPLACEMENT)
    if nifti.is_nifti(path) and image.GetDimension() == 2 and marked:
        raise InputError(
            f"{path} must have intent 1007 because ITK misreads 2D fields of intent 1006: "
            "write it as .nrrd or .mha instead."
        )


def _nrrd_space(path: Path) -> str:
    """The space that the header of an NRRD file names; ITK itself always reports LPS."""
    if path.suffix.lower() != ".nrrd":
        return ""
    with open(path, "rb") as file:
        header = file.read(1 << 16).split(b"\n\n")[0].decode("utf-8", "replace")
    match = re.search(r"^space: *(\S+)", header, re.MULTILINE)
    return match[1] if match else ""


def _read_transform(path: Path) -> sitk.Image:
    """The vectors of an ITK transform file."""
    require_readable(path)
    try:
        with quiet_itk():
            transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise unreadable(path, error) from error
    if transform.GetName() == "CompositeTransform":
        parts = sitk.CompositeTransform(transform)
        if parts.GetNumberOfTransforms() == 1:
            transform = parts.GetNthTransform(0)
    if transform.GetName() != "DisplacementFieldTransform":
        raise InputError(
            f"{path} must hold one displacement field, got a {transform.GetName()}: "
            "convert it to a grid transform first."
        )
    return sitk.DisplacementFieldTransform(transform).GetDisplacementField()
