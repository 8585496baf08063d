"""Grids and fields between MRML (RAS) and ITK (LPS): nothing moves, nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.extension import scenes

ALL = pytest.mark.parametrize("geometry", scenes.GEOMETRIES)


@ALL
def test_a_written_volume_lies_where_the_node_lies(lib, tmp_path, geometry):
    from DRDMCore.imaging import read_image

    array = scenes.imageArray()
    node = scenes.volume(array, geometry)
    read = read_image(lib.inputs.writeInputs(node, None, tmp_path).image)
    assert read.array.dtype == array.dtype
    np.testing.assert_allclose(read.geometry.affine, scenes.fileMatrixOf(geometry), atol=1e-8)
    toIndex = np.linalg.inv(read.geometry.affine)
    for k, j, i in np.random.default_rng(4).integers(0, scenes.SHAPE, (20, 3)):
        index = np.rint(toIndex @ scenes.matrixOf(geometry) @ (i, j, k, 1)).astype(int)
        assert read.array[index[2], index[1], index[0]] == array[k, j, i]


@ALL
def test_files_are_as_slicer_reads_them(lib, tmp_path, geometry):
    """Slicer reverses the slices of left-handed volumes; a scene saved and opened has the same."""
    node = scenes.volume(geometry=geometry)
    first = lib.inputs.writeInputs(node, None, tmp_path / "first")
    scenes.openScene(scenes.saveScene(tmp_path / "scene", "nrrd"))
    second = lib.inputs.writeInputs(scenes.node("CT"), None, tmp_path / "second")
    assert first.sha256 == second.sha256
    direction = sitk.ReadImage(str(first.image)).GetDirection()
    assert np.linalg.det(np.reshape(direction, (3, 3))) > 0


@ALL
def test_field_to_node_to_field_is_bit_equal(lib, tmp_path, geometry):
    case = scenes.Case(lib, tmp_path, scenes.volume(geometry=geometry))
    node = case.sample()
    lib.samples.fieldOf(node).write(tmp_path / "again.nrrd")
    first, second = (sitk.ReadImage(str(p)) for p in (case.field(), tmp_path / "again.nrrd"))
    assert sitk.GetArrayFromImage(second).tobytes() == sitk.GetArrayFromImage(first).tobytes()
    assert second.GetPixelID() == first.GetPixelID()
    assert second.GetSize() == first.GetSize()
    for read in ("GetSpacing", "GetOrigin", "GetDirection"):  # NRRD multiplies the two
        np.testing.assert_allclose(getattr(second, read)(), getattr(first, read)(), atol=1e-14)
    for key in ("displacement field type", "intent_code"):
        assert second.GetMetaData(key) == first.GetMetaData(key)


@ALL
def test_a_point_takes_the_input_at_the_point_plus_its_vector(lib, tmp_path, geometry):
    case = scenes.Case(lib, tmp_path, scenes.volume(geometry=geometry))
    node = case.sample(seed=1)
    image = sitk.ReadImage(str(case.field(seed=1)))
    vectors = sitk.GetArrayFromImage(image)
    rng = np.random.default_rng(5)
    for k, j, i in rng.integers(0, scenes.SHAPE, (20, 3)):
        point = (scenes.fileMatrixOf(geometry) @ (i, j, k, 1))[:3]
        expected = point + vectors[k, j, i] * (-1, -1, 1)
        moved = node.GetTransformFromParent().TransformPoint(point)
        np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_between_voxels_the_field_is_linear_and_float(lib, tmp_path):
    import vtk

    case = scenes.Case(lib, tmp_path, scenes.volume(geometry="oblique"))
    node = case.sample()
    grid = lib.samples.gridTransformOf(node)
    assert grid.GetInterpolationModeAsString() == "Linear"
    assert grid.GetDisplacementGrid().GetScalarType() == vtk.VTK_FLOAT
    vectors = sitk.GetArrayFromImage(sitk.ReadImage(str(case.field())))
    middle = (vectors[5, 9, 7] + vectors[5, 9, 8]) / 2 * (-1, -1, 1)
    point = (scenes.matrixOf("oblique") @ (7.5, 9, 5, 1))[:3]
    moved = node.GetTransformFromParent().TransformPoint(point)
    np.testing.assert_allclose(np.array(moved) - point, middle, atol=1e-5)


def test_a_transform_with_a_grid_that_was_turned_is_not_the_same(lib):
    grids = [lib.nodegeometry.gridOfVolume(scenes.volume(geometry=g)) for g in scenes.GEOMETRIES]
    for i, first in enumerate(grids):
        for j, second in enumerate(grids):
            assert first.isSame(second) == (i == j)


def test_grids_that_differ_by_rounding_are_the_same(lib):
    first, second = scenes.volume(geometry="oblique"), scenes.volume(geometry="oblique")
    second.SetOrigin([part + 1e-6 for part in second.GetOrigin()])
    grid = lib.nodegeometry.gridOfVolume
    assert grid(first).isSame(grid(second))
    second.SetOrigin([part + 1e-3 for part in second.GetOrigin()])
    assert not grid(first).isSame(grid(second))


@ALL
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_keeps_its_place_and_its_field(lib, tmp_path, geometry, axis):
    shape = list(scenes.SHAPE)
    shape[axis] = 1
    array = scenes.imageArray().take([5], axis=axis)
    assert array.shape == tuple(shape)
    case = scenes.Case(lib, tmp_path, scenes.volume(array, geometry))
    node = case.sample()
    lib.samples.fieldOf(node).write(tmp_path / "again.nrrd")
    read = [sitk.ReadImage(str(p)) for p in (case.field(), tmp_path / "again.nrrd")]
    np.testing.assert_array_equal(*[sitk.GetArrayFromImage(each) for each in read])
    np.testing.assert_allclose(read[0].GetDirection(), read[1].GetDirection(), atol=1e-14)
    assert read[0].GetSize() == read[1].GetSize()
