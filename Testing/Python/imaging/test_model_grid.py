"""From an image to the grid of a model and back: shapes, values, and exact millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    Geometry,
    GridPolicy,
    ModelView,
    Volume,
    field_from_ddf,
    resampled_geometry,
    to_model_grid,
)
from DRDMCore.imaging.resizing import resize_vectors


def affine_points_mm(geometry: Geometry) -> np.ndarray:
    """`(*S, D)` LPS mm of each voxel, relative to the centre of the field of view."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij")[::-1], -1)
    centre = (np.array(geometry.size) - 1) / 2
    return (index - centre) * geometry.spacing_mm @ geometry.matrix.T


def affine_ddf(geometry: Geometry) -> np.ndarray:
    """A displacement in voxels that is the same affine map in mm on every grid."""
    count = geometry.dimension
    matrix = np.random.default_rng(3).normal(0, 0.05, (count, count))
    wanted_mm = affine_points_mm(geometry) @ matrix.T + np.arange(1, count + 1)
    steps = geometry.matrix * np.array(geometry.spacing_mm)
    voxels = wanted_mm @ np.linalg.inv(steps).T
    return np.moveaxis(voxels[..., ::-1], -1, 0).copy()


def policy_of(dimension: int, side: int) -> GridPolicy:
    return GridPolicy(dimension=dimension, mode="fov", side=side)


@pytest.mark.parametrize("side", [8, 20, 41])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", ["oblique", "anisotropic", "left_handed", "cropped"])
def test_affine_field_keeps_its_millimetres(
    make_geometry, make_image, name, dimension, side
) -> None:
    geometry = make_geometry(name, dimension, size=(19, 13, 11)[:dimension])
    view = to_model_grid(make_image(geometry), policy_of(dimension, side))
    model_geometry = resampled_geometry(geometry, view.spatial_shape)
    ddf = torch.from_numpy(affine_ddf(model_geometry))
    result = view.ddf_to_source(ddf)
    assert result.dtype == np.float32 and result.shape == (dimension, *geometry.shape)
    mm = field_from_ddf(result, geometry).vectors_mm_lps
    wanted = field_from_ddf(affine_ddf(geometry), geometry).vectors_mm_lps
    np.testing.assert_allclose(mm, wanted, atol=2e-3)


def test_smooth_field_back_is_smooth(make_geometry, make_image) -> None:
    """A sine on a coarse grid comes back close to the sine itself, without kinks."""
    geometry = make_geometry("oblique", 2, size=(64, 64))
    view = to_model_grid(make_image(geometry), policy_of(2, 16))
    x = (torch.arange(16) + 0.5) / 16
    ddf = torch.zeros(2, 16, 16)
    ddf[1] = 0.5 * torch.sin(2 * torch.pi * x)
    fine = (np.arange(64) + 0.5) / 64
    result = view.ddf_to_source(ddf)[1, 30]
    np.testing.assert_allclose(result, 2 * np.sin(2 * np.pi * fine), atol=0.02)
    assert np.abs(np.diff(result, 2)).max() < 0.03


def test_resizing_goes_through_the_samples() -> None:
    """Three times as many voxels: every third centre is an old one."""
    ddf = np.random.default_rng(0).normal(size=(2, 7, 5)).astype(np.float32)
    fine = resize_vectors(ddf, (21, 15))
    np.testing.assert_allclose(fine[:, 1::3, 1::3], 3 * ddf, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("target", [1, 2, 3, 5, 16])
def test_resizing_keeps_lines(count, target) -> None:
    def line(n: int) -> np.ndarray:
        ramp = np.zeros((2, n, 4), dtype=np.float32)
        centre = (np.arange(n) + 0.5) / n if count > 1 else np.full(n, 0.5)
        ramp[0] = (n * (centre - 0.2))[:, None]
        return ramp

    np.testing.assert_allclose(resize_vectors(line(count), (target, 4)), line(target), atol=1e-5)


def test_equal_grids_return_the_field_itself(make_geometry, make_image) -> None:
    geometry = make_geometry("oblique", size=(9, 7, 6))
    view = to_model_grid(make_image(geometry), policy_of(3, 9))
    ddf = torch.randn(3, 6, 7, 9, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(view.ddf_to_source(ddf), ddf.numpy())
    np.testing.assert_array_equal(view.ddf_to_source(ddf[None]), ddf.numpy())


def test_non_cubic_keeps_shape(make_geometry, make_image) -> None:
    geometry = make_geometry("anisotropic", size=(40, 30, 10))  # 28 x 39 x 31 mm
    view = to_model_grid(make_image(geometry), policy_of(3, 26))
    assert view.image.shape == (1, 1, 21, 26, 19)
    np.testing.assert_allclose(view.spacing_mm, [31 / 21, 39 / 26, 28 / 19])
    spread = max(view.spacing_mm) / min(view.spacing_mm)
    assert spread < 1.05


def test_spacing_mode_coarsens_and_says_so(make_geometry, make_image) -> None:
    image = make_image(make_geometry("oblique", size=(40, 30, 20)))
    policy = GridPolicy(dimension=3, mode="spacing", spacing_mm=2.0)
    view = to_model_grid(image, policy)
    assert view.spatial_shape == (10, 15, 20) and view.note == ""
    view = to_model_grid(image, GridPolicy(3, "spacing", spacing_mm=0.5, max_side=40))
    assert view.spatial_shape == (20, 30, 40)
    assert "1 mm instead of 0.5 mm" in view.note


def test_stack_of_slices(make_geometry, make_image) -> None:
    image = make_image(make_geometry("cropped", size=(20, 16, 5)))
    view = to_model_grid(image, policy_of(2, 10))
    assert view.image.shape == (5, 1, 8, 10) and view.slice_axis == 0
    assert view.spacing_mm == (3.125, 3.125)
    one = torch.ones(2, 8, 10)
    result = view.ddf_to_source(one)
    np.testing.assert_array_equal(result[0], 0)
    np.testing.assert_allclose(result[1:], 2, rtol=1e-5)
    each = one * torch.arange(5.0).reshape(5, 1, 1, 1)
    result = view.ddf_to_source(each)
    np.testing.assert_allclose(
        result[1:, :, 3, 4], 2 * np.arange(5.0)[None].repeat(2, 0), rtol=1e-5
    )
    np.testing.assert_array_equal(view.ddf_to_source(each[3]), np.stack([result[:, 3]] * 5, 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stack_along_any_axis(make_geometry, make_image, axis) -> None:
    geometry = make_geometry("oblique", size=(12, 10, 8))
    image = make_image(geometry)
    view = to_model_grid(image, policy_of(2, 6), slice_axis=axis)
    assert view.image.shape[0] == geometry.shape[axis] and view.slice_axis == axis
    result = view.ddf_to_source(torch.ones(2, *view.spatial_shape))
    assert not result[axis].any()
    in_plane = [a for a in range(3) if a != axis]
    for number, along in enumerate(in_plane):
        ratio = geometry.shape[along] / view.spatial_shape[number]
        np.testing.assert_allclose(result[along], ratio, rtol=1e-5)


def test_slice_axis_by_default(make_geometry, make_image) -> None:
    def axis_of(spacing: tuple[float, ...], size: tuple[int, ...] = (8, 8, 8)) -> int | None:
        direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        geometry = Geometry(size, spacing, (0.0,) * 3, direction)
        return to_model_grid(make_image(geometry), policy_of(2, 8)).slice_axis

    assert axis_of((1.0, 1.0, 1.0)) == 0
    assert axis_of((8.0, 1.0, 1.0)) == 2
    assert axis_of((1.0, 1.4, 1.0)) == 0
    assert axis_of((1.0, 1.0, 1.0), (8, 1, 8)) == 1


def test_slice_equals_itself_alone(make_geometry, make_image) -> None:
    image = make_image(make_geometry("cropped", size=(20, 16, 5)))
    stack = to_model_grid(image, policy_of(2, 10)).image
    geometry = make_geometry("cropped", 2, size=(20, 16))
    alone = to_model_grid(Volume(image.array[3], geometry), policy_of(2, 10)).image
    torch.testing.assert_close(stack[3:4], alone, atol=1e-5, rtol=1e-5)


def test_values(make_geometry, make_image) -> None:
    geometry = make_geometry("oblique", size=(20, 16, 12))
    image = make_image(geometry)
    view = to_model_grid(image, policy_of(3, 20))
    assert view.image.dtype == torch.float32
    assert view.image.min() == 0 and view.image.max() == 1
    hounsfield = image.with_array(np.linspace(-1200, 900, image.array.size).reshape(geometry.shape))
    policy = GridPolicy(3, side=20, intensity="window", intensity_range=(-1000, 400))
    wanted = np.clip((hounsfield.array + 1000) / 1400, 0, 1)
    np.testing.assert_allclose(to_model_grid(hounsfield, policy).image[0, 0], wanted, atol=1e-5)


def test_constant_slice_is_zero_not_nan(make_geometry, make_image) -> None:
    image = make_image(make_geometry("cropped", size=(20, 16, 5)))
    array = image.array.copy()
    array[2] = 7
    view = to_model_grid(image.with_array(array), policy_of(2, 10))
    assert not view.image[2].any() and torch.isfinite(view.image).all()
    assert view.image[1].max() == 1


def test_image_is_smoothed_before_it_is_thinned(make_geometry) -> None:
    geometry = make_geometry("oblique", 2, size=(64, 64))
    noise = np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32)
    policy = GridPolicy(2, side=16, intensity="window", intensity_range=(-5, 5))
    view = to_model_grid(Volume(noise, geometry), policy)
    assert 10 * float(view.image.std()) < 0.3  # linear alone leaves 0.5


def test_misfits_are_refused(make_geometry, make_image, make_labels) -> None:
    flat = make_image(make_geometry("oblique", 2))
    with pytest.raises(InputError, match="choose a 2D model"):
        to_model_grid(flat, policy_of(3, 8))
    with pytest.raises(InputError, match="choose a 2D model"):
        to_model_grid(make_image(make_geometry("oblique", size=(8, 8, 1))), policy_of(3, 8))
    deep = make_image(make_geometry("oblique"))
    for axis in (3, -1):
        with pytest.raises(InputError, match="`slice_axis`"):
            to_model_grid(deep, policy_of(2, 8), slice_axis=axis)
    with pytest.raises(InputError, match="`slice_axis`"):
        to_model_grid(flat, policy_of(2, 8), slice_axis=0)
    with pytest.raises(ValueError, match="got labels"):
        to_model_grid(make_labels(make_geometry("oblique")), policy_of(3, 8))


def test_fields_that_do_not_fit_are_refused(make_geometry, make_image) -> None:
    view: ModelView = to_model_grid(make_image(make_geometry("oblique")), policy_of(3, 8))
    with pytest.raises(ValueError, match="`ddf` must have shape"):
        view.ddf_to_source(torch.zeros(3, 4, 4, 4))
    with pytest.raises(ValueError, match="one such field per"):
        view.ddf_to_source(torch.zeros(2, 3, *view.spatial_shape))


def test_policy_through_a_dictionary() -> None:
    policy = GridPolicy(3, "spacing", spacing_mm=1.5, intensity="window", intensity_range=(-9, 4))
    assert GridPolicy.from_dict(policy.to_dict()) == policy
    with pytest.raises(InputError, match="unknown keys \\['sides'\\]"):
        GridPolicy.from_dict({"dimension": 2, "sides": 4})
    with pytest.raises(InputError, match="no `dimension`"):
        GridPolicy.from_dict({"side": 4})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimension": 4}, "`dimension`"),
        ({"dimension": 2}, "`side`"),
        ({"dimension": 2, "mode": "spacing"}, "`spacing_mm`"),
        ({"dimension": 2, "mode": "cube"}, "`mode`"),
        ({"dimension": 2, "side": 8, "intensity": "z"}, "`intensity`"),
        ({"dimension": 2, "side": 8, "intensity_range": (5, 5)}, "rising"),
        ({"dimension": 2, "side": 8, "intensity_range": (-5, 50)}, "percentiles"),
        ({"dimension": 2, "side": 8, "max_side": 1}, "`max_side`"),
    ],
)
def test_contradictory_policies(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        GridPolicy(**settings)
