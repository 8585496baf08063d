"""Volumes in every order and direction of axes: names, turns, and the same view for a model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DRDMCore.errors import InputError
from DRDMCore.imaging import (
    Geometry,
    GridPolicy,
    Volume,
    field_from_ddf,
    from_sitk,
    model_shape,
    most_common,
    orientation_of,
    to_model_grid,
    to_sitk,
    turn_to,
)
from DRDMCore.imaging.orientation import is_orientation

ALL = [
    "".join(letters)
    for pairs in itertools.permutations(["RL", "AP", "IS"])
    for letters in itertools.product(*pairs)
]
POLICY = GridPolicy(3, "spacing", spacing_mm=1.5, orientation="RAS")


def oriented(volume: Volume, orientation: str) -> Volume:
    """The volume in another order of axes, by SimpleITK's own filter."""
    return from_sitk(sitk.DICOMOrient(to_sitk(volume), orientation))


def test_all_orientations_are_named_as_simpleitk_names_them(make_geometry, make_image):
    oblique = make_image(make_geometry("oblique", size=(9, 7, 5)))
    for name in ALL:
        image = to_sitk(oriented(oblique, name))
        named = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
        assert orientation_of(oriented(oblique, name).geometry) == named == name
    assert len({*ALL}) == 48 and all(is_orientation(name) for name in ALL)


def test_axes_at_45_degrees_are_each_used_once():
    turned = sitk.VersorTransform((0.3, 0.5, 0.8), 0.8).GetMatrix()
    geometry = Geometry((4, 5, 6), (1.0,) * 3, (0.0,) * 3, tuple(turned))
    assert is_orientation(orientation_of(geometry))


@pytest.mark.parametrize("wanted", ["RAS", "PIR", "SLA"])
def test_turned_volume_is_that_of_simpleitk(make_geometry, make_image, wanted):
    volume = make_image(make_geometry("oblique", size=(9, 7, 5)))
    turn = turn_to(volume.geometry, wanted)
    theirs = oriented(volume, wanted)
    np.testing.assert_array_equal(turn.array(volume.array), theirs.array)
    ours = turn.geometry(volume.geometry)
    assert ours.size == theirs.geometry.size
    for name in ("spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs.geometry, name), atol=1e-9, err_msg=name
        )


def test_model_sees_the_same_however_the_volume_is_stored(make_geometry, make_image):
    volume = oriented(make_image(make_geometry("anisotropic", size=(19, 13, 11))), "RAS")
    view = to_model_grid(volume, POLICY)
    assert view.turn is None
    ddf = torch.randn((3, *view.spatial_shape), generator=torch.Generator().manual_seed(0))
    wanted = field_from_ddf(view.ddf_to_source(ddf), volume.geometry)
    for name in ALL:
        stored = oriented(volume, name)
        own = to_model_grid(stored, POLICY)
        np.testing.assert_allclose(own.image, view.image, atol=1e-5)
        assert own.spacing_mm == pytest.approx(view.spacing_mm)
        assert model_shape(stored, POLICY) == tuple(view.image.shape)
        field = field_from_ddf(own.ddf_to_source(ddf), stored.geometry)
        back = turn_to(stored.geometry, "RAS")
        vectors = [field.vectors_mm_lps[..., c] for c in range(3)]
        turned = np.stack([v if back is None else back.array(v) for v in vectors], -1)
        np.testing.assert_allclose(turned, wanted.vectors_mm_lps, atol=1e-4, err_msg=name)


def test_without_orientation_a_volume_is_taken_as_it_is(make_geometry, make_image):
    volume = oriented(make_image(make_geometry("anisotropic", size=(19, 13, 11))), "SLA")
    policy = GridPolicy(3, "spacing", spacing_mm=1.5)
    assert to_model_grid(volume, policy).turn is None
    assert "orientation" not in policy.to_dict()
    assert GridPolicy.from_dict(POLICY.to_dict()) == POLICY


@pytest.mark.parametrize("text", ["LP", "LPI ", "lps", "LRS", "XYZ", 3])
def test_a_policy_refuses_what_is_no_orientation(text):
    with pytest.raises(InputError, match="orientation"):
        GridPolicy(3, "spacing", spacing_mm=1.5, orientation=text)


def test_a_2d_policy_has_no_orientation(make_geometry):
    with pytest.raises(InputError, match="2D model"):
        GridPolicy(2, "fov", 64, orientation="LPS")
    with pytest.raises(ValueError, match="3D"):
        orientation_of(make_geometry("oblique", 2))
    with pytest.raises(ValueError, match="letters"):
        turn_to(make_geometry("oblique"), "up")


def test_most_common_is_the_first_of_equals():
    assert most_common(["RAS", "LPS", "RAS"]) == "RAS"
    assert most_common(["RAS", "LPS"]) == most_common(["LPS", "RAS"]) == "LPS"
