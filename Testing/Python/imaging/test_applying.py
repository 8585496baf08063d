"""Moving volumes: labels stay labels, types and ranges stay, borders are what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    Geometry,
    Volume,
    apply_field,
    ddf_from_field,
    field_from_ddf,
    field_on,
    field_transform,
    resampled_geometry,
    taper,
)


def random_field(geometry: Geometry, seed: int = 0, size: float = 1.5):
    ddf = np.random.default_rng(seed).normal(0, size, (geometry.dimension, *geometry.shape))
    return field_from_ddf(ddf, geometry)


def shifted(geometry: Geometry, axis: int, voxels: float):
    ddf = np.zeros((geometry.dimension, *geometry.shape), dtype=np.float32)
    ddf[axis] = voxels
    return field_from_ddf(ddf, geometry)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_labels_stay_in_label_set(make_geometry, make_labels, dimension, method, dtype) -> None:
    geometry = make_geometry("left_handed", dimension)
    labels = make_labels(geometry, dtype)
    labels = labels.with_array(np.where(labels.array == 0, dtype(5), labels.array))
    moved = apply_field(labels, random_field(geometry), label_interpolation=method)
    assert set(moved.label_values) <= {3, 5, 7}
    assert moved.array.dtype == dtype
    outside = apply_field(
        labels, random_field(geometry), label_interpolation=method, padding="zeros"
    )
    assert set(outside.label_values) <= {0, 3, 5, 7}


def test_negative_labels(make_geometry, make_labels) -> None:
    geometry = make_geometry("oblique")
    labels = make_labels(geometry, np.int16)
    labels = labels.with_array(-labels.array)
    for method in ("nearest", "linear"):
        moved = apply_field(labels, random_field(geometry), label_interpolation=method)
        assert set(moved.label_values) <= {-7, -3, 0}


@pytest.mark.parametrize("method", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_type_and_range_stay(make_geometry, make_image, method, dtype) -> None:
    image = make_image(make_geometry("oblique"), dtype)
    if np.dtype(dtype).itemsize > 1:
        image = image.with_array(image.array * dtype(10))  # more than 1000 grey values
    coarse = dtype == np.uint8 and method != "nearest"  # rounding would show
    for padding in ("border", "minimum"):
        field = random_field(image.geometry)
        moved = apply_field(image, field, interpolation=method, padding=padding).array
        assert moved.dtype == (np.float32 if coarse else dtype)
        assert moved.min() >= image.array.min() and moved.max() <= image.array.max()


def test_integers_are_rounded(make_geometry, make_image) -> None:
    geometry = make_geometry("oblique")
    image = make_image(geometry, np.int16)
    image = image.with_array(image.array * np.int16(10))
    exact = apply_field(image.with_array(image.array.astype(float)), random_field(geometry)).array
    rounded = apply_field(image, random_field(geometry)).array
    assert rounded.dtype == np.int16
    assert np.abs(rounded - exact).max() <= 0.5 + 1e-2


@pytest.mark.parametrize("method", ["linear", "cubic", "nearest"])
def test_zero_field_changes_nothing(make_geometry, make_image, make_labels, method) -> None:
    geometry = make_geometry("left_handed")
    image, labels = make_image(geometry), make_labels(geometry)
    still = shifted(geometry, 0, 0)
    moved = apply_field(image, still, interpolation=method, padding="zeros").array
    np.testing.assert_allclose(moved, image.array, rtol=1e-4)
    np.testing.assert_array_equal(apply_field(labels, still).array, labels.array)


@pytest.mark.parametrize("method", ["linear", "cubic", "nearest"])
def test_padding(make_geometry, make_image, make_labels, method) -> None:
    geometry = make_geometry("oblique")
    image, labels = make_image(geometry), make_labels(geometry)
    away = shifted(geometry, 2, 100)  # every point looks beyond the last x
    border = apply_field(image, away, interpolation=method).array
    edge = np.broadcast_to(image.array[..., -1:], border.shape)
    np.testing.assert_allclose(border, edge, rtol=1e-3)
    zeros = apply_field(image, away, interpolation=method, padding="zeros").array
    assert not zeros.any()
    lowest = apply_field(image, away, interpolation=method, padding="minimum").array
    np.testing.assert_array_equal(lowest, image.array.min())
    np.testing.assert_array_equal(
        apply_field(labels, away).array, np.broadcast_to(labels.array[..., -1:], border.shape)
    )
    assert not apply_field(labels, away, padding="zeros").array.any()
    assert not apply_field(labels, away, padding="minimum").array.any()


def test_image_and_labels_agree_about_outside(make_geometry, make_image) -> None:
    geometry = make_geometry("left_handed")
    field = random_field(geometry, size=4)
    image = make_image(geometry)
    solid = Volume(np.ones(geometry.shape, np.uint8), geometry, kind="labels")
    bright = image.with_array(np.full(geometry.shape, 9, np.float32))
    inside = apply_field(bright, field, padding="zeros").array > 0
    np.testing.assert_array_equal(apply_field(solid, field, padding="zeros").array == 1, inside)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_slice_of_one_voxel_moves_within_its_plane(make_geometry, make_image, method) -> None:
    geometry = make_geometry("oblique", size=(9, 8, 1))
    image = make_image(geometry)
    moved = apply_field(image, shifted(geometry, 2, 1), interpolation=method)
    np.testing.assert_allclose(moved.array[..., :-1], image.array[..., 1:], rtol=1e-3)


def test_field_on_keeps_millimetres(make_geometry) -> None:
    geometry = make_geometry("left_handed")
    coarse = resampled_geometry(geometry, (3, 4, 5))
    field = shifted(coarse, 1, 0.5)
    fine = field_on(field, geometry)
    np.testing.assert_allclose(
        fine.vectors_mm_lps.reshape(-1, 3),
        np.broadcast_to(field.vectors_mm_lps[0, 0, 0], (np.prod(geometry.shape), 3)),
        rtol=1e-5,
    )
    assert field_on(field, coarse) is field


def test_transform_made_before_gives_the_same(make_geometry, make_image) -> None:
    geometry = make_geometry("left_handed", 3)
    image = make_image(geometry, np.float32)
    coarse = resampled_geometry(geometry, tuple(n // 2 + 1 for n in geometry.shape))
    for field in (random_field(geometry), random_field(coarse)):
        alone = apply_field(image, field)
        given = apply_field(image, field, transform=field_transform(field))
        np.testing.assert_array_equal(given.array, alone.array)
        assert (alone.array != image.array).any()


def test_field_of_another_place_is_refused(make_geometry, make_image) -> None:
    field = random_field(make_geometry("oblique"))
    with pytest.raises(InputError, match="same field of view"):
        apply_field(make_image(make_geometry("cropped")), field)
    with pytest.raises(InputError, match="2 and 3 axes"):
        apply_field(make_image(make_geometry("oblique", 2)), field)


def test_unknown_name_lists_choices(make_geometry, make_image) -> None:
    geometry = make_geometry("oblique")
    image, field = make_image(geometry), random_field(geometry)
    with pytest.raises(ValueError, match="'linear', 'cubic', 'nearest'"):
        apply_field(image, field, interpolation="bicubic")
    with pytest.raises(ValueError, match="'nearest', 'linear'"):
        apply_field(image, field, label_interpolation="cubic")
    with pytest.raises(ValueError, match="'border', 'zeros', 'minimum'"):
        apply_field(image, field, padding="reflect")


def test_taper_ends_at_zero() -> None:
    ddf = np.ones((3, 21, 11, 1), dtype=np.float32)
    faded = taper(ddf, (1.0, 2.0, 5.0), 5.0)
    assert faded.dtype == np.float32
    for edge in (faded[:, 0], faded[:, -1], faded[:, :, 0], faded[:, :, -1]):
        assert not edge.any()
    np.testing.assert_array_equal(faded[:, 5:-5, 3:-3], 1)
    np.testing.assert_allclose(faded[0, 10, 1, 0], 0.4**2 * (3 - 2 * 0.4), rtol=1e-6)
    assert (np.diff(faded[0, :6, 5, 0]) > 0).all()
    assert ddf.all()


def test_taper_choices(make_geometry) -> None:
    geometry = make_geometry("anisotropic")
    ddf = np.ones((3, *geometry.shape), dtype=np.float32)
    np.testing.assert_array_equal(taper(ddf, geometry, 0), ddf)
    in_plane = taper(ddf, geometry, 2.0, axes=(1, 2))
    assert in_plane[:, :, 3, 4].all() and not in_plane[:, :, 0].any()
    with pytest.raises(ValueError, match="`width_mm`"):
        taper(ddf, geometry, -1)


def test_ddf_of_tapered_field_is_zero_at_the_border(make_geometry) -> None:
    geometry = make_geometry("oblique")
    ddf = np.random.default_rng(0).normal(size=(3, *geometry.shape)).astype(np.float32)
    back = ddf_from_field(field_from_ddf(taper(ddf, geometry, 2.0), geometry))
    assert not back[:, 0].any() and back[:, 3, 3, 3].any()
