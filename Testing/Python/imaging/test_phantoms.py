"""Phantoms: reproducible, whole, plausible, and different from one another."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import SimpleITK as sitk

from DRDMCore.errors import InputError
from DRDMCore.imaging.phantoms import PHANTOMS, phantom

SHAPES = {"heart-2d": (128, 128), "torso-3d": (32, 40, 40)}  # half size in 3D: quick


@functools.cache
def label_maps(kind: str) -> np.ndarray:
    return np.stack([phantom(kind, s, shape=SHAPES[kind])[1].array for s in range(50)])


def volumes(kind: str) -> np.ndarray:
    """Voxels per subject and label."""
    maps = label_maps(kind)
    axes = tuple(range(1, maps.ndim))
    return np.stack([(maps == v).sum(axes) for v in PHANTOMS[kind].label_names], axis=1)


def parts(mask: np.ndarray) -> int:
    found = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    return int(sitk.GetArrayViewFromImage(found).max())


@pytest.mark.parametrize("kind", PHANTOMS)
def test_same_seed_gives_same_bits_and_another_seed_another_subject(kind):
    (image, labels), (again, labels_again) = phantom(kind, 3), phantom(kind, 3)
    assert image.array.tobytes() == again.array.tobytes()
    assert labels.array.tobytes() == labels_again.array.tobytes()
    assert not np.array_equal(labels.array, phantom(kind, 4)[1].array)


@pytest.mark.parametrize("kind", PHANTOMS)
def test_every_label_is_there_and_in_one_piece(kind):
    values = set(PHANTOMS[kind].label_names)
    for labels in label_maps(kind):
        assert set(np.unique(labels)) == {0, *values}
        assert all(parts(labels == value) == 1 for value in values)


@pytest.mark.parametrize("kind", PHANTOMS)
def test_volumes_vary_moderately(kind):
    counts = volumes(kind)
    assert counts.min() > 100
    variation = counts.std(0) / counts.mean(0)
    assert np.all((variation > 0.05) & (variation < 0.35)), variation


def test_heart_has_an_even_wall_around_the_left_ventricle_and_the_right_leans_on_it():
    for labels in label_maps("heart-2d")[:20]:
        pool, ring = labels == 3, labels == 2
        grown = sitk.GetArrayFromImage(
            sitk.BinaryDilate(sitk.GetImageFromArray(pool.astype(np.uint8)), (3, 3))
        )
        assert set(np.unique(labels[grown.astype(bool)])) == {2, 3}
        wide = sitk.GetArrayFromImage(
            sitk.BinaryDilate(sitk.GetImageFromArray(ring.astype(np.uint8)), (1, 1))
        )
        assert (labels[wide.astype(bool)] == 1).sum() > 15


def test_left_and_right_follow_the_lps_frame():
    _, torso = phantom("torso-3d", 0)
    x = np.arange(torso.array.shape[2])
    centre = {v: float(x[np.argwhere(torso.array == v)[:, 2]].mean()) for v in (1, 2, 4)}
    assert centre[1] > 40 > centre[2]  # x grows towards the patient's left
    assert centre[4] < 40
    z = {v: np.argwhere(torso.array == v)[:, 0].mean() for v in (2, 4)}
    assert z[2] > z[4]  # z grows towards the head


@pytest.mark.parametrize(
    ("kind", "size", "spacing"), [("heart-2d", (128,) * 2, 1.5), ("torso-3d", (80, 80, 64), 4.0)]
)
def test_geometry_is_as_stated(kind, size, spacing):
    image, labels = phantom(kind, 0)
    assert image.geometry == labels.geometry
    assert image.geometry.size == size
    assert image.geometry.spacing_mm == (spacing,) * len(size)
    corner = np.array(image.geometry.origin_mm) + np.array(size) * spacing / 2 - spacing / 2
    assert np.allclose(corner, 0)
    assert image.array.dtype == np.int16 and labels.array.dtype == np.uint8
    assert dict(labels.label_names) == PHANTOMS[kind].label_names


def test_another_shape_keeps_the_field_of_view():
    image, labels = phantom("torso-3d", 1, shape=(16, 20, 40))
    assert image.array.shape == (16, 20, 40)
    assert image.geometry.spacing_mm == (8.0, 16.0, 16.0)
    share = [(m == 1).mean() for m in (labels.array, label_maps("torso-3d")[1])]
    assert share[0] == pytest.approx(share[1], rel=0.25)


def test_intensities_are_in_their_usual_range():
    heart, _ = phantom("heart-2d", 0)
    torso, labels = phantom("torso-3d", 0)
    assert 0 <= heart.array.min() and 600 < heart.array.max() < 1600
    assert -1024 <= torso.array.min() < -950 and 500 < torso.array.max() < 1500
    assert torso.array[labels.array == 1].mean() < -600
    assert 0 < torso.array[labels.array == 3].mean() < 250


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("brain-4d", 0), "heart-2d, torso-3d"),
        (("heart-2d", -1), "seed"),
    ],
)
def test_wrong_kind_or_seed_is_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        phantom(*arguments)


@pytest.mark.parametrize("shape", [(64, 64, 64), (4, 64)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(InputError, match="shape"):
        phantom("heart-2d", 0, shape=shape)
