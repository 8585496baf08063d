"""Reading and writing through SimpleITK, made to fail by name and to leave no half files."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DRDMCore.atomic import written_whole
from DRDMCore.errors import InputError, MemoryLimitError, MissingFileError
from DRDMCore.imaging import nifti
from DRDMCore.imaging.geometry import Geometry
from DRDMCore.machine import bytes_of_memory

_POSITION = "0020|0032"
_MISPLACED_PART = 0.05
"""Slices may lie this part of a slice off the even grid: scanners round positions."""


@contextlib.contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's C++ warnings off stderr, for example about rounded NIfTI orientations."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def read_itk(path: Path) -> sitk.Image:
    """Read an image file or a folder with one DICOM series.

    Raises:
        MissingFileError: If it does not exist.
        InputError: If it is empty, damaged, unreadable, or has not 2 or 3 spatial axes.
    """
    _require_plain_name(path)
    if os.path.isdir(path):  # unlike `Path.is_dir`, also for impossible names
        return _read_series(path)
    require_readable(path)
    try:
        with quiet_itk():
            _require_two_or_three_axes(path)
            return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise unreadable(path, error) from error


def require_readable(path: Path) -> None:
    """Raise unless `path` is a file that is not empty and not cut short."""
    _require_plain_name(path)
    if not os.path.isfile(path):
        raise MissingFileError(f"{path} does not exist: check the name and the folder.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again.")
    damage = nifti.describe_damage(path) if nifti.is_nifti(path) else None
    if damage:
        raise InputError(f"{path} is incomplete, {damage}: copy or export it again.")


def _require_plain_name(path: Path) -> None:
    """Refuse a name of bytes that are no text: SimpleITK would end the whole program."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the name of {str(path)!a} must be text in UTF-8, but holds other bytes: "
            "rename the file or folder."
        ) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """The refusal of a file that ITK cannot read, with ITK's own reason."""
    reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
    reason = reason.removeprefix("sitk::ERROR: ")
    return InputError(
        f"{path} cannot be read as an image ({reason}): "
        "give NIfTI, NRRD, MetaImage or a folder with one DICOM series."
    )


def write_itk(
    image: sitk.Image,
    path: Path,
    finish: Callable[[Path], None] | None = None,
    *,
    compress: bool = True,
) -> None:
    """Write an image, whole or not at all.

    Args:
        image: What to write.
        path: Its name chooses the format.
        finish: Told the temporary file before it gets its name, to patch it.
        compress: Whether `.nrrd` is compressed, which takes most of the time; `.gz` always is.

    Raises:
        OutputError: If it cannot be written.
    """
    packed = path.name.lower().endswith((".gz", ".nrrd") if compress else ".gz")
    with written_whole(path) as temporary:
        try:
            with quiet_itk():
                sitk.WriteImage(image, str(temporary), useCompression=packed)
        except RuntimeError as error:
            raise OSError(str(error).strip().splitlines()[-1]) from error
        _require_whole(temporary)
        if finish is not None:
            finish(temporary)


def resampler_onto(geometry: Geometry, method: int) -> sitk.ResampleImageFilter:
    """A resampler onto this grid with an interpolator of SimpleITK."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(geometry.size)
    resampler.SetOutputSpacing(geometry.spacing_mm)
    resampler.SetOutputOrigin(geometry.origin_mm)
    resampler.SetOutputDirection(geometry.direction)
    resampler.SetInterpolator(method)
    return resampler


def _require_whole(path: Path) -> None:
    """Raise `OSError` if ITK lost a part of a NIfTI without saying so."""
    damage = nifti.describe_damage(path) if nifti.is_nifti(path) else None
    if damage:
        raise OSError(f"only a part was written, {damage}")


def _require_two_or_three_axes(path: Path) -> None:
    """Refuse other numbers of axes before the voxels are loaded."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    if len(size) < 2 or any(count > 1 for count in size[3:]):
        raise InputError(
            f"{path} must be a 2D or 3D image, but has {len(size)} axes of size {size}: "
            "give one slice, volume or time point."
        )
    _require_memory(path, math.prod(size) * reader.GetNumberOfComponents())


def _require_memory(path: Path, numbers: int) -> None:
    """Refuse what cannot even be loaded before it is tried."""
    need, have = 16 * numbers, bytes_of_memory()
    if have is not None and need > have:
        raise MemoryLimitError(
            f"{path} needs more than {need / 1e9:.1f} GB of memory to be read, this machine has "
            f"{have / 1e9:.1f} GB: crop or resample it first."
        )


def _read_series(folder: Path) -> sitk.Image:
    """Read the one DICOM series of a folder."""
    reader = sitk.ImageSeriesReader()
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        with quiet_itk():
            reader.SetFileNames(_series_files(folder))
            image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(folder, error) from error
    _require_even_slices(folder, reader, image)
    return image


def _series_files(folder: Path) -> tuple[str, ...]:
    """The sorted files of the only DICOM series in a folder."""
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        found = f"{len(series)} series: {', '.join(series)}" if series else "none"
        raise InputError(
            f"{folder} must hold exactly one DICOM series, got {found}: "
            "put each series into a folder of its own."
        )
    return tuple(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))


def _require_even_slices(folder: Path, reader: sitk.ImageSeriesReader, image: sitk.Image) -> None:
    """Refuse slices with gaps, without positions, or several at the same place."""
    count = len(reader.GetFileNames())
    if count == 1:
        return
    keyed = [i for i in range(count) if reader.HasMetaDataKey(i, _POSITION)]
    places = [reader.GetMetaData(i, _POSITION).strip() for i in keyed]
    if len(set(places)) != count:
        raise InputError(
            f"{folder} must hold one DICOM slice per position, got {count} slices at "
            f"{len(set(places))} known positions: put each time point into a folder of its own."
        )
    found = np.array([[float(part) for part in place.split("\\")] for place in places])
    grid = [image.TransformIndexToPhysicalPoint((0, 0, i)) for i in range(count)]
    error_mm = float(np.max(np.abs(found - np.array(grid))))
    if error_mm > _MISPLACED_PART * image.GetSpacing()[2]:
        raise InputError(
            f"The DICOM slices of {folder} must be evenly spaced along their normal, but lie up "
            f"to {error_mm:.3g} mm elsewhere: look for missing slices or a tilted gantry."
        )
