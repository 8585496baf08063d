"""Quality numbers against closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from DRDMCore.pipelines.quality import acceptable, measure

SPACING = (3.0, 2.0, 1.0)


def coordinates(shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij"))


def ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    centre = (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    return (((coordinates(shape) - centre) ** 2).sum(0) < radius**2).astype(np.uint8)


def test_translation_has_one_length_and_keeps_every_volume():
    ddf = np.zeros((3, 9, 10, 30))
    ddf += np.array([1.0, -2.0, 3.0]).reshape(3, 1, 1, 1)
    length = np.sqrt(9.0 + 16 + 9)
    quality = measure(ddf, SPACING)
    assert quality["displacement_mm"] == pytest.approx(
        {"mean": length, "p95": length, "max": length, "foreground_mean": None}
    )
    assert quality["jacobian"] == pytest.approx({"min": 1, "p1": 1, "p99": 1, "max": 1})
    assert quality["folding"] == {"voxels": 0, "percent": 0}
    assert quality["motion_separability_voxels"] == {"1": 0, "4": 0, "16": 0}
    assert quality["labels"] == [] and quality["image"] is None


@pytest.mark.parametrize("shape", [(40, 41, 42), (60, 61)])
def test_scaling_by_a_tenth_has_its_determinant_and_volume_change(shape):
    dimension = len(shape)
    centre = (np.array(shape).reshape(-1, *[1] * dimension) - 1) / 2
    ddf = 0.1 * (coordinates(shape) - centre)  # a pull field: anatomy shrinks by 1.1
    before, after = ball(shape, 15 * 1.1), ball(shape, 15)
    quality = measure(ddf, (2.0,) * dimension, before, after)
    expected = 1.1**dimension
    assert quality["jacobian"] == pytest.approx(
        dict.fromkeys(("min", "p1", "p99", "max"), expected)
    )
    row = quality["labels"][0]
    assert row["before"] / row["after"] == pytest.approx(expected, rel=0.02)
    assert row["change_percent"] == pytest.approx(100 * (1 / expected - 1), abs=1.5)
    unit = 0.008 if dimension == 3 else 4.0
    assert row["before"] == pytest.approx(before.sum() * unit)
    assert quality["volume_unit"] == ("ml" if dimension == 3 else "mm2")
    assert quality["motion_separability_voxels"]["4"] == pytest.approx(0.4, abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_reflection_is_folded_everywhere(axis):
    ddf = np.zeros((3, 6, 7, 8))
    ddf[axis] = -2 * coordinates((6, 7, 8))[axis]
    quality = measure(ddf, SPACING)
    assert quality["folding"] == {"voxels": 6 * 7 * 8, "percent": 100}
    assert quality["jacobian"]["max"] == pytest.approx(-1)


def test_an_axis_of_one_voxel_is_left_out():
    ddf = np.zeros((3, 1, 12, 12))
    ddf[1:] = 0.1 * coordinates((1, 12, 12))[1:]
    quality = measure(ddf, SPACING)
    assert quality["jacobian"]["min"] == pytest.approx(1.21)
    assert quality["folding"]["voxels"] == 0
    assert set(quality["motion_separability_voxels"]) == {"1", "4"}


def test_empty_and_lost_labels_are_told():
    before, after = np.zeros((2, 8, 8), int)
    before[:2], after[4:6] = 5, 2
    first, second = measure(np.zeros((2, 8, 8)), (1, 1), before, after, label_names={5: "lost"})[
        "labels"
    ]
    assert (first["value"], first["name"], first["before"]) == (2, "label 2", 0)
    assert first["change_percent"] is None
    assert (second["name"], second["after"], second["change_percent"]) == ("lost", 0, -100)


def test_foreground_mean_is_taken_where_the_deformed_labels_are():
    ddf = np.zeros((2, 8, 8))
    ddf[0, 4:] = 2
    before, after = np.zeros((2, 8, 8), int)
    before[0], after[6] = 1, 1
    displacement = measure(ddf, (1.5, 1), before, after)["displacement_mm"]
    assert displacement["foreground_mean"] == 3
    assert displacement["mean"] == 1.5


def test_likeness_of_images():
    image = np.random.default_rng(0).normal(100, 10, (16, 16))
    zero = np.zeros((2, 16, 16))
    same = measure(zero, (1, 1), image_before=image, image_after=image)["image"]
    assert same["ncc"] == pytest.approx(1) and same["intensity_change_percent"] == 0
    turned = measure(zero, (1, 1), image_before=image, image_after=-image)["image"]
    assert turned["ncc"] == pytest.approx(-1)
    flat = measure(zero, (1, 1), image_before=0 * image, image_after=image)["image"]
    assert flat == {"ncc": None, "intensity_change_percent": None}


def test_the_answer_is_json():
    labels = np.ones((4, 5, 6), np.int16)
    image = np.zeros((4, 5, 6), np.int16)
    ddf = np.zeros((3, 4, 5, 6), np.float32)
    quality = measure(ddf, SPACING, labels, labels, image, image, {1: "Größe"})
    assert json.loads(json.dumps(quality, allow_nan=False)) == quality


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"max_folding_percent": 1}, "folds"),
        ({"min_mean_mm": 3}, "at least 3 mm"),
        ({"max_mean_mm": 1}, "at most 1 mm"),
        ({"max_folding_percent": 2, "min_mean_mm": 2, "max_mean_mm": 2}, None),
        ({}, None),
    ],
)
def test_acceptable_names_the_first_broken_limit(limits, word):
    quality = {"folding": {"percent": 2}, "displacement_mm": {"mean": 2}}
    reason = acceptable(quality, **limits)
    assert reason is None if word is None else word in (reason or "")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((np.zeros((3, 8, 8)), (1, 1)), "one component per spatial axis"),
        ((np.zeros((2, 8, 8)), (1, 1, 1)), "spacing_zyx"),
        ((np.full((2, 8, 8), np.nan), (1, 1)), "NaN"),
        ((np.zeros((2, 8, 8)), (1, 1), np.zeros((8, 8), int)), "together"),
        ((np.zeros((2, 8, 8)), (1, 1), *np.zeros((2, 8, 9), int)), "shape of the field"),
    ],
)
def test_wrong_calls_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        measure(*arguments)
