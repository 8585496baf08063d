"""Grids: signs, axis order and fields of view."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DRDMCore.imaging import (
    Geometry,
    describe_difference,
    geometry_of,
    resampled_geometry,
    slice_geometry,
    vectors_mm_lps_to_voxel,
    vectors_voxel_to_mm_lps,
)
from DRDMCore.imaging.geometry import describe_defect

NAMES = ("oblique", "anisotropic", "left_handed", "cropped")


def corners(geometry: Geometry) -> np.ndarray:
    image = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    low = [-0.5] * geometry.dimension
    high = [n - 0.5 for n in geometry.size]
    point = image.TransformContinuousIndexToPhysicalPoint
    return np.array([point(low), point(high)])


def test_affine_by_hand() -> None:
    geometry = Geometry((4, 5, 6), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    wanted = [[-2, 0, 0, -10], [0, -3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]]
    np.testing.assert_array_equal(geometry.affine, wanted)
    assert geometry.shape == (6, 5, 4)
    assert geometry.spacing_zyx == (4.0, 3.0, 2.0)


def test_voxel_vector_by_hand() -> None:
    # ITK axis x runs along P, y along -L, z along S.
    geometry = Geometry((4, 5, 6), (2.0, 3.0, 4.0), (0.0,) * 3, (0, -1, 0, 1, 0, 0, 0, 0, 1))
    ddf = np.zeros((3, 6, 5, 4), dtype=np.float32)
    ddf[0], ddf[1], ddf[2] = 1, 2, 3  # voxels along z, y, x
    vectors = vectors_voxel_to_mm_lps(ddf, geometry)
    np.testing.assert_allclose(vectors[2, 3, 1], [-6, 6, 4])
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_vectors_there_and_back(make_geometry, name, dimension) -> None:
    geometry = make_geometry(name, dimension)
    ddf = np.random.default_rng(0).normal(size=(dimension, *geometry.shape)).astype(np.float32)
    back = vectors_mm_lps_to_voxel(vectors_voxel_to_mm_lps(ddf, geometry), geometry)
    np.testing.assert_allclose(back, ddf, atol=1e-5)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_vector_points_from_voxel_to_voxel(make_geometry, name, dimension) -> None:
    geometry = make_geometry(name, dimension)
    image = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    step = np.arange(1, dimension + 1)
    ddf = np.broadcast_to(
        step[::-1].reshape(-1, *(1,) * dimension), (dimension, *geometry.shape)
    ).astype(np.float64)
    start = np.array(image.TransformIndexToPhysicalPoint([0] * dimension))
    end = np.array(image.TransformIndexToPhysicalPoint(step.tolist()))
    vectors = vectors_voxel_to_mm_lps(ddf, geometry)
    np.testing.assert_allclose(vectors.reshape(-1, dimension)[0], end - start, atol=1e-9)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_resampled_field_of_view_is_the_same(make_geometry, name, dimension) -> None:
    geometry = make_geometry(name, dimension)
    other = resampled_geometry(geometry, (13, 4, 5)[:dimension])
    np.testing.assert_allclose(corners(other), corners(geometry), atol=1e-9)
    back = resampled_geometry(other, geometry.shape)
    assert describe_difference(back, geometry) is None


def test_slice_lies_where_it_was(make_geometry) -> None:
    geometry = make_geometry("oblique")
    part = slice_geometry(geometry, 0, 2)
    assert part.shape == (1, *geometry.shape[1:])
    image = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    image.SetOrigin(geometry.origin_mm)
    image.SetSpacing(geometry.spacing_mm)
    image.SetDirection(geometry.direction)
    np.testing.assert_allclose(part.origin_mm, geometry_of(image[:, :, 2:3]).origin_mm)
    with pytest.raises(ValueError, match="index 6"):
        slice_geometry(geometry, 0, 6)


def test_differences_are_named(make_geometry) -> None:
    a = make_geometry("oblique")
    assert describe_difference(a, a) is None
    near = Geometry(a.size, a.spacing_mm, tuple(x + 1e-5 for x in a.origin_mm), a.direction)
    assert describe_difference(a, near) is None
    shifted = Geometry(a.size, a.spacing_mm, tuple(x + 1 for x in a.origin_mm), a.direction)
    assert "origin (3.5, -2.25, 10) and (4.5, -1.25, 11)" in str(describe_difference(a, shifted))
    assert "size" in str(describe_difference(a, make_geometry("oblique", size=(3, 4, 5))))
    assert "spacing" in str(describe_difference(a, make_geometry("cropped")))
    assert "direction" in str(
        describe_difference(
            a, Geometry(a.size, a.spacing_mm, a.origin_mm, tuple(np.eye(3).ravel()))
        )
    )


def test_defects_are_named() -> None:
    sheared = Geometry((4, 5), (1.0, 1.0), (0.0, 0.0), (1.0, 0.3, 0.0, 1.0))
    assert "right angles" in str(describe_defect(sheared))
    nan = Geometry((4, 5), (1.0, float("nan")), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    assert "finite" in str(describe_defect(nan))


def test_wrong_calls_are_refused(make_geometry) -> None:
    geometry = make_geometry("oblique")
    with pytest.raises(ValueError, match="`ddf` must have shape"):
        vectors_voxel_to_mm_lps(np.zeros((2, *geometry.shape)), geometry)
    with pytest.raises(ValueError, match="`shape`"):
        resampled_geometry(geometry, (4, 4))
    with pytest.raises(ValueError, match="`size`"):
        Geometry((4, 5), (1.0, 1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
