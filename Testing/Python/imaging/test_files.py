"""Files: geometry, pixel types and values survive; what cannot be used is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from DRDMCore.errors import InputError, MissingFileError, OutputError
from DRDMCore.imaging import (
    Geometry,
    Volume,
    from_sitk,
    read_image,
    read_labels,
    require_same_geometry,
    resample_labels,
    to_sitk,
    write_volume,
)

NAMES = ("oblique", "anisotropic", "left_handed", "cropped")
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", NAMES)
def test_geometry_survives(tmp_path, make_geometry, make_image, name, ending, dimension) -> None:
    volume = make_image(make_geometry(name, dimension))
    write_volume(volume, tmp_path / f"image{ending}")
    back = read_image(tmp_path / f"image{ending}")
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.geometry.size == volume.geometry.size
    for part in ("spacing_mm", "origin_mm", "direction"):
        wanted = np.array(getattr(volume.geometry, part))
        scale = max(1.0, np.abs(wanted).max())
        tolerance = 1e-6 * scale if "nii" in ending else 1e-13 * scale
        np.testing.assert_allclose(getattr(back.geometry, part), wanted, atol=tolerance)
    require_same_geometry(back, volume.with_array(volume.array))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", TYPES)
def test_pixel_type_survives(tmp_path, make_geometry, make_image, ending, dtype) -> None:
    volume = make_image(make_geometry("oblique"), np.float64)
    volume = volume.with_array((volume.array / 2).astype(dtype))
    write_volume(volume, tmp_path / f"image{ending}")
    back = read_image(tmp_path / f"image{ending}").array
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, volume.array)


def test_affine_is_that_of_nibabel(tmp_path, make_geometry, make_image) -> None:
    volume = make_image(make_geometry("left_handed"))
    write_volume(volume, tmp_path / "image.nii.gz")
    other = nibabel.load(tmp_path / "image.nii.gz")
    np.testing.assert_allclose(other.affine, volume.geometry.affine, atol=1e-5)
    np.testing.assert_array_equal(other.get_fdata().T, volume.array)


def test_unicode_and_spaces_in_names(tmp_path, make_geometry, make_labels) -> None:
    path = tmp_path / "Ordner mit Leerzeichen" / "Prüfung 肺 1.5.nii.gz"
    labels = make_labels(make_geometry("oblique"))
    write_volume(labels, path)
    assert read_labels(path).label_values == (0, 3, 7)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_volume_through_sitk(make_geometry, make_image) -> None:
    volume = make_image(make_geometry("oblique"))
    assert from_sitk(to_sitk(volume)).geometry == volume.geometry
    mask = sitk.GetImageFromArray(np.ones((3, 4), dtype=np.float32))
    assert from_sitk(mask, "labels").array.dtype == np.uint8


def test_mhd_is_read(tmp_path, make_geometry, make_image) -> None:
    volume = make_image(make_geometry("oblique"))
    sitk.WriteImage(to_sitk(volume), str(tmp_path / "image.mhd"))
    np.testing.assert_array_equal(read_image(tmp_path / "image.mhd").array, volume.array)
    with pytest.raises(InputError, match=r"\.mha"):
        write_volume(volume, tmp_path / "other.mhd")


def test_itk_warnings_stay_away(shared_data: Path, capfd) -> None:
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    read_image(shared_data / "cmr_published" / "patient001_frame01.nii.gz")
    assert capfd.readouterr().err == ""
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == before


@pytest.mark.parametrize("folder", ["hippocampus", "acdc", "lung_ct"])
def test_real_pairs(shared_data: Path, folder) -> None:
    image_path = sorted((shared_data / folder / "images").iterdir())[0]
    image = read_image(image_path)
    labels = read_labels(shared_data / folder / "labels" / image_path.name)
    require_same_geometry(image, labels)
    assert labels.label_values[0] == 0 and len(labels.label_values) >= 2


# What cannot be used


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_image(path)
    assert path.name in str(caught.value)


def saved(tmp_path: Path, array: np.ndarray, *, vector: bool = False, end: str = ".nrrd") -> Path:
    path = tmp_path / f"given{end}"
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(path))
    return path


def test_missing_file(tmp_path) -> None:
    with pytest.raises(MissingFileError, match=r"nothing\.nii\.gz"):
        read_image(tmp_path / "nothing.nii.gz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_empty_and_foreign_file(tmp_path, ending) -> None:
    path = tmp_path / f"image{ending}"
    path.write_bytes(b"")
    refused(path, "empty")
    path.write_bytes(b"this is no image" * 50)
    refused(path, "cannot be read as an image")


@pytest.mark.parametrize("ending", [*ENDINGS])
def test_truncated_file(tmp_path, make_geometry, make_image, ending) -> None:
    path = tmp_path / f"image{ending}"
    write_volume(make_image(make_geometry("oblique", size=(20, 20, 20))), path)
    path.write_bytes(path.read_bytes()[:-500])
    refused(path, "incomplete|cannot be read")


def test_wrong_dimensions(tmp_path) -> None:
    noise = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(noise, isVector=False), str(tmp_path / "time.nii.gz"))
    refused(tmp_path / "time.nii.gz", "4 axes")
    nibabel.save(nibabel.Nifti1Image(noise[0, 0, 0], np.eye(4)), tmp_path / "line.nii")
    refused(tmp_path / "line.nii", "1 axes")
    refused(saved(tmp_path, noise, vector=True), "one real number per voxel")
    refused(saved(tmp_path, noise[..., :3], vector=True), "one real number per voxel")


def test_single_time_point_is_an_image(tmp_path) -> None:
    noise = np.random.default_rng(0).random((4, 5, 6, 1)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), tmp_path / "one.nii")
    assert read_image(tmp_path / "one.nii").geometry.size == (4, 5, 6)


def test_values_that_are_not_finite(tmp_path) -> None:
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    array[1, 2, 3], array[2, 0, 0] = np.nan, np.inf
    refused(saved(tmp_path, array), r"2 of 60 are NaN or infinite, .* \(1, 2, 3\)")


def test_constant_image(tmp_path) -> None:
    refused(saved(tmp_path, np.full((3, 4, 5), 7, dtype=np.int16)), "every voxel is 7")


def test_thin_images(tmp_path) -> None:
    noise = np.random.default_rng(0).random((1, 4, 5)).astype(np.float32)
    path = saved(tmp_path, noise)
    assert read_image(path).geometry.size == (5, 4, 1)
    refused(saved(tmp_path, noise[:, :1]), "two axes of more than one voxel")
    refused(saved(tmp_path, noise[0, :1]), "two axes of more than one voxel")


def test_sheared_and_singular_geometry(tmp_path) -> None:
    noise = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    image = sitk.GetImageFromArray(noise)
    image.SetDirection([1, 0.3, 0, 0, 1, 0, 0, 0, 1])
    sitk.WriteImage(image, str(tmp_path / "sheared.mha"))
    refused(tmp_path / "sheared.mha", "right angles")
    shear = np.eye(4)
    shear[0, 1] = 0.3
    nibabel.save(nibabel.Nifti1Image(noise, shear), tmp_path / "sheared.nii")
    refused(tmp_path / "sheared.nii", "orthonormal")
    text = (tmp_path / "sheared.mha").read_bytes()
    singular = text.replace(b" 0.29999999999999999 1 0 ", b" 1 0 0 ")
    assert singular != text
    (tmp_path / "singular.mha").write_bytes(singular)
    refused(tmp_path / "singular.mha", "cannot be read|right angles")


# Labels


def test_float_labels(tmp_path) -> None:
    whole = np.array([[0, 1], [2, -3]], dtype=np.float64)
    labels = read_labels(saved(tmp_path, whole))
    assert labels.array.dtype == np.int8
    assert labels.label_values == (-3, 0, 1, 2)
    with pytest.raises(InputError, match=r"1 voxels of .* \(such as 1\.5\)"):
        read_labels(saved(tmp_path, whole + np.array([[0, 0.5], [0, 0]])))


def test_large_float_labels(tmp_path) -> None:
    labels = read_labels(saved(tmp_path, np.array([[0, 300], [70000, 1]], dtype=np.float32)))
    assert labels.label_values == (0, 1, 300, 70000)


def test_geometries_must_agree(make_geometry, make_image, make_labels) -> None:
    image = make_image(make_geometry("oblique"))
    with pytest.raises(InputError, match=r"spacing .* resample"):
        require_same_geometry(image, make_labels(make_geometry("cropped")))
    with pytest.raises(InputError, match="3 and 2 axes"):
        require_same_geometry(image, make_labels(make_geometry("oblique", 2)))


def test_resampled_labels_keep_their_set(make_geometry, make_labels) -> None:
    labels = make_labels(make_geometry("oblique"), np.int16)
    geometry = make_geometry("oblique", size=(4, 5, 3))
    result = resample_labels(labels, geometry)
    assert result.geometry == geometry and result.array.dtype == np.int16
    np.testing.assert_array_equal(result.array, labels.array[:3, :5, :4])


def test_seg_nrrd_there_and_back(tmp_path, make_geometry, make_labels) -> None:
    labels = make_labels(make_geometry("oblique"))
    named = Volume(labels.array, labels.geometry, "labels", {3: "linke Lunge", 7: "Tumor"})
    write_volume(named, tmp_path / "all.seg.nrrd")
    back = read_labels(tmp_path / "all.seg.nrrd")
    assert back.label_names == {3: "linke Lunge", 7: "Tumor"}
    np.testing.assert_array_equal(back.array, labels.array)


def layered(path: Path, layers: np.ndarray, values: tuple[int, int] = (1, 1)) -> Path:
    """Two segments in two layers, `(layer, z, y, x)`, as Slicer writes them."""
    image = sitk.GetImageFromArray(np.moveaxis(layers, 0, -1), isVector=True)
    for number, (name, value) in enumerate(zip(("lung", "tumour"), values, strict=True)):
        for key, text in {"ID": f"S{number}", "Name": name, "LabelValue": str(value)}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
        image.SetMetaData(f"Segment{number}_Layer", str(number))
    sitk.WriteImage(image, str(path))
    return path


def test_layers_are_merged(tmp_path) -> None:
    layers = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    layers[0, 0], layers[1, 2] = 1, 1
    labels = read_labels(layered(tmp_path / "two.seg.nrrd", layers))
    assert labels.label_names == {1: "lung", 2: "tumour"}
    np.testing.assert_array_equal(labels.array[:, 0, 0], [1, 0, 2])
    layers[1, 2] = 9
    kept = read_labels(layered(tmp_path / "kept.seg.nrrd", layers, (1, 9)))
    assert kept.label_names == {1: "lung", 9: "tumour"}


def test_overlapping_segments_are_refused(tmp_path) -> None:
    layers = np.ones((2, 3, 4, 5), dtype=np.uint8)
    with pytest.raises(InputError, match="'tumour' and 'lung' share 60 voxels"):
        read_labels(layered(tmp_path / "both.seg.nrrd", layers))


# DICOM


def write_series(folder: Path, uid: str, places: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, place in enumerate(places):
        z, y = place if isinstance(place, tuple) else (place, 7)
        array = np.random.default_rng(number).integers(0, 900, (6, 8)).astype(np.int16)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.5, 1.5))
        tags = {
            "0008|0060": "CT",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{number}",
            "0020|0032": f"-5\\{y}\\{z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(number),
        }
        for key, text in tags.items():
            image.SetMetaData(key, text)
        writer.SetFileName(str(folder / f"{uid}_{number}.dcm"))
        writer.Execute(image)


def test_dicom_series(tmp_path, capfd) -> None:
    write_series(tmp_path / "ct 1", "1.2.3.4", [0, 3, 6, 9])
    volume = read_image(tmp_path / "ct 1")
    assert volume.geometry.size == (8, 6, 4)
    assert volume.geometry.spacing_mm == (1.5, 1.5, 3.0)
    assert volume.geometry.origin_mm == (-5.0, 7.0, 0.0)
    assert capfd.readouterr().err == ""


def test_dicom_refusals(tmp_path) -> None:
    write_series(tmp_path / "two", "1.2.3.4", [0, 3])
    write_series(tmp_path / "two", "1.2.3.5", [0, 3])
    refused(tmp_path / "two", r"2 series: .*1\.2\.3\.4.*1\.2\.3\.5")
    write_series(tmp_path / "gap", "1.2.3.6", [0, 3, 9, 12])
    refused(tmp_path / "gap", "evenly spaced")
    write_series(tmp_path / "time", "1.2.3.7", [0, 0, 0])
    write_series(tmp_path / "tilt", "1.2.3.8", [(3 * i, i) for i in range(4)])
    refused(tmp_path / "tilt", "tilted gantry")
    refused(tmp_path / "time", "one DICOM slice per position")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "got none")


# Whole or not at all


def test_unwritable_place(tmp_path, make_geometry, make_image) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="another folder"):
        write_volume(make_image(make_geometry("oblique")), tmp_path / "file" / "image.nii.gz")


FULL_DISK = """
import resource, signal, sys
import numpy as np
from DRDMCore.errors import OutputError
from DRDMCore.imaging import Geometry, Volume, field_from_ddf, write_field, write_volume
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
array = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
geometry = Geometry((20,) * 3, (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel().tolist()))
for ending in ("nii.gz", "nii", "nrrd", "mha"):
    try:
        write_volume(Volume(array, geometry), f"{sys.argv[1]}/image.{ending}")
    except OutputError:
        continue
    sys.exit(f"{ending} was cut without a word")
field = field_from_ddf(np.random.default_rng(0).random((3, 20, 20, 20)), geometry)
for ending in ("nii.gz", "nii", "nrrd", "mha", "tfm"):
    try:
        write_field(field, f"{sys.argv[1]}/field.{ending}")
    except OutputError:
        continue
    sys.exit(f"a field {ending} was cut without a word")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit on Windows")
def test_full_disk_leaves_nothing(tmp_path) -> None:
    root = Path(__file__).resolve().parents[3]
    subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert list(tmp_path.iterdir()) == []


def test_volume_refuses_what_does_not_fit(make_geometry) -> None:
    geometry: Geometry = make_geometry("oblique")
    with pytest.raises(ValueError, match="shape of its geometry"):
        Volume(np.zeros((2, 2, 2)), geometry)
    with pytest.raises(TypeError, match="integers"):
        Volume(np.zeros(geometry.shape), geometry, kind="labels")
    with pytest.raises(ValueError, match="'image', 'labels'"):
        Volume(np.zeros(geometry.shape), geometry, kind="mask")
