"""Fields in millimetres: signs, files, and what ITK makes of them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.imaging import (
    DisplacementField,
    Geometry,
    Volume,
    apply_field,
    ddf_from_field,
    describe_difference,
    field_from_ddf,
    read_field,
    read_image,
    read_labels,
    resampled_geometry,
    to_sitk,
    write_field,
    write_volume,
)

NAMES = ("oblique", "anisotropic", "left_handed", "cropped")
ENDINGS = (".nrrd", ".h5", ".nii.gz", ".nii", ".mha", ".tfm")


def random_ddf(geometry: Geometry, seed: int = 0, size: float = 1.5) -> np.ndarray:
    generator = np.random.default_rng(seed)
    ddf = generator.normal(0, size, (geometry.dimension, *geometry.shape))
    return ddf.astype(np.float32)


def transform_of(path: Path) -> sitk.Transform:
    """The field as a reader with ITK alone would load it."""
    if path.suffix in (".h5", ".tfm"):
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def reapplied(path: Path, image: sitk.Image, method: int) -> np.ndarray:
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(image)
    resampler.SetTransform(transform_of(path))
    resampler.SetInterpolator(method)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(resampler.Execute(image))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", NAMES)
def test_field_file_reproduces_warped_files(
    tmp_path, make_geometry, make_image, make_labels, name, ending, dimension
) -> None:
    geometry = make_geometry(name, dimension)
    field = field_from_ddf(random_ddf(geometry), geometry)
    image, labels = make_image(geometry), make_labels(geometry)
    write_volume(apply_field(image, field), tmp_path / "image.nii.gz")
    write_volume(apply_field(labels, field), tmp_path / "labels.nii.gz")
    path = tmp_path / f"field{ending}"
    write_field(field, path)

    again = reapplied(path, to_sitk(image), sitk.sitkLinear)
    written = read_image(tmp_path / "image.nii.gz").array
    assert np.abs(again - written).max() < 1e-3 * np.ptp(image.array)
    again = reapplied(path, to_sitk(labels), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(again, read_labels(tmp_path / "labels.nii.gz").array)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", NAMES)
def test_field_files_there_and_back(tmp_path, make_geometry, name, ending, dimension) -> None:
    geometry = make_geometry(name, dimension)
    field = field_from_ddf(random_ddf(geometry), geometry)
    write_field(field, tmp_path / f"Feld über{ending}")
    back = read_field(tmp_path / f"Feld über{ending}")
    np.testing.assert_array_equal(back.vectors_mm_lps, field.vectors_mm_lps)
    assert describe_difference(back.geometry, geometry) is None
    np.testing.assert_allclose(ddf_from_field(back), random_ddf(geometry), atol=1e-4)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_field_is_ras_on_disk(tmp_path, make_geometry, ending) -> None:
    geometry = make_geometry("oblique")
    vectors = np.broadcast_to(np.float32([1, 2, 3]), (*geometry.shape, 3)).copy()
    path = tmp_path / f"field{ending}"
    write_field(DisplacementField(vectors, geometry), path)
    raw = nibabel.load(path)
    assert int(raw.header["intent_code"]) == 1006
    assert raw.shape == (*geometry.size, 1, 3)
    np.testing.assert_array_equal(np.asarray(raw.dataobj)[2, 3, 4, 0], [-1, -2, 3])
    np.testing.assert_allclose(raw.affine, geometry.affine, atol=1e-5)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[4, 3, 2], [1, 2, 3]
    )


def test_nrrd_field_has_the_keys_of_slicer(tmp_path, make_geometry) -> None:
    geometry = make_geometry("oblique")
    write_field(field_from_ddf(random_ddf(geometry), geometry), tmp_path / "field.nrrd")
    header = (tmp_path / "field.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert "space: left-posterior-superior" in header
    assert "kinds: vector domain domain domain" in header
    assert "intent_code:=1006" in header
    assert "displacement field type:=resampling" in header


# Signs by hand


def test_blob_moves_to_the_voxel_computed_by_hand(make_geometry) -> None:
    """A pull by v takes the blob from p to p - v, in LPS mm, on an oblique grid."""
    geometry = make_geometry("oblique", size=(12, 11, 10))
    array = np.zeros(geometry.shape, dtype=np.uint8)
    array[5, 6, 7] = 200  # ITK index (7, 6, 5)
    volume = Volume(array, geometry)
    grid = to_sitk(volume)
    start = np.array(grid.TransformIndexToPhysicalPoint((7, 6, 5)))
    end = np.array(grid.TransformIndexToPhysicalPoint((5, 7, 2)))
    vectors = np.broadcast_to(np.float32(start - end), (*geometry.shape, 3)).copy()
    moved = apply_field(volume, DisplacementField(vectors, geometry), interpolation="nearest")
    assert [tuple(int(i) for i in index) for index in np.argwhere(moved.array)] == [(2, 7, 5)]


def test_pull_by_ten_mm_left_moves_anatomy_ten_mm_right() -> None:
    geometry = Geometry((9, 3, 3), (5.0,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    array = np.zeros(geometry.shape, dtype=np.float32)
    array[1, 1, 6] = 1  # 30 mm along L
    vectors = np.zeros((*geometry.shape, 3), dtype=np.float32)
    vectors[..., 0] = 10  # output point p shows the input at p + 10 mm L
    moved = apply_field(Volume(array, geometry), DisplacementField(vectors, geometry))
    assert np.argwhere(moved.array > 0.5).tolist() == [[1, 1, 4]]  # 20 mm along L


@pytest.mark.parametrize("dimension", [2, 3])
def test_voxel_field_pulls_along_array_axes(make_geometry, make_image, dimension) -> None:
    geometry = make_geometry("left_handed", dimension)
    ddf = np.zeros((dimension, *geometry.shape), dtype=np.float32)
    ddf[0] = 2
    image = make_image(geometry)
    moved = apply_field(image, field_from_ddf(ddf, geometry))
    np.testing.assert_allclose(moved.array[:-2], image.array[2:], rtol=1e-4)


# What cannot be used


def test_files_that_are_no_resampling_field(tmp_path, make_geometry, make_image) -> None:
    geometry = make_geometry("oblique")
    vectors = sitk.GetImageFromArray(np.ones((3, 4, 5, 3), dtype=np.float32), isVector=True)
    vectors.SetMetaData("displacement field type", "modeling")
    sitk.WriteImage(vectors, str(tmp_path / "to_parent.nrrd"))
    with pytest.raises(InputError, match=r"to_parent\.nrrd.*'modeling'"):
        read_field(tmp_path / "to_parent.nrrd")
    write_volume(make_image(geometry), tmp_path / "image.nrrd")
    with pytest.raises(InputError, match=r"3 numbers per voxel, got 1"):
        read_field(tmp_path / "image.nrrd")
    sitk.WriteTransform(sitk.Euler3DTransform(), str(tmp_path / "rigid.h5"))
    with pytest.raises(InputError, match="Euler3DTransform"):
        read_field(tmp_path / "rigid.h5")
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_field(tmp_path / "broken.h5")
    with pytest.raises(MissingFileError):
        read_field(tmp_path / "missing.h5")


def test_wrong_components_and_nan(tmp_path) -> None:
    two = sitk.GetImageFromArray(np.ones((3, 4, 5, 2), dtype=np.float32), isVector=True)
    sitk.WriteImage(two, str(tmp_path / "two.nrrd"))
    with pytest.raises(InputError, match="3 numbers per voxel, got 2"):
        read_field(tmp_path / "two.nrrd")
    values = np.ones((3, 4, 5, 3), dtype=np.float32)
    values[1, 2, 3, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(tmp_path / "nan.nrrd"))
    with pytest.raises(InputError, match="1 of 180 are NaN"):
        read_field(tmp_path / "nan.nrrd")


def test_frames_that_itk_does_not_turn(tmp_path) -> None:
    values = np.ones((4, 5, 2), dtype=np.float32)
    path = tmp_path / "flat.nii"
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(path))
    data = bytearray(path.read_bytes())
    data[68:70] = (1006).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="intent 1007"):
        read_field(path)
    ras = tmp_path / "ras.nrrd"
    sitk.WriteImage(
        sitk.GetImageFromArray(np.ones((3, 4, 5, 3), dtype=np.float32), isVector=True), str(ras)
    )
    text = ras.read_bytes().replace(b"left-posterior-superior", b"right-anterior-superior")
    ras.write_bytes(text)
    with pytest.raises(InputError, match="right-anterior-superior"):
        read_field(ras)


def test_unknown_ending_lists_choices(tmp_path, make_geometry) -> None:
    geometry = make_geometry("oblique")
    with pytest.raises(InputError, match=r"\.nrrd, \.h5, \.tfm, \.mha"):
        write_field(field_from_ddf(random_ddf(geometry), geometry), tmp_path / "field.vtk")


def test_transform_of_one_part_is_read(tmp_path, make_geometry) -> None:
    geometry = make_geometry("oblique")
    field = field_from_ddf(random_ddf(geometry), geometry)
    write_field(field, tmp_path / "field.h5")
    parts = sitk.CompositeTransform([sitk.ReadTransform(str(tmp_path / "field.h5"))])
    sitk.WriteTransform(parts, str(tmp_path / "parts.h5"))
    back = read_field(tmp_path / "parts.h5")
    np.testing.assert_array_equal(back.vectors_mm_lps, field.vectors_mm_lps)


def test_coarser_field_is_read_back_and_applied(tmp_path, make_geometry, make_image) -> None:
    geometry = make_geometry("left_handed")
    coarse = resampled_geometry(geometry, (3, 4, 5))
    field = field_from_ddf(random_ddf(coarse), coarse)
    write_field(field, tmp_path / "coarse.nii.gz")
    image = make_image(geometry)
    a = apply_field(image, field).array
    b = apply_field(image, read_field(tmp_path / "coarse.nii.gz")).array
    assert np.abs(a - b).max() < 1e-3 * np.ptp(image.array)
