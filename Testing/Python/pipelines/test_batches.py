"""Samples that are made together."""

from __future__ import annotations

import numpy as np
import pytest

from DRDMCore.imaging import phantom
from DRDMCore.models import load_model
from DRDMCore.pipelines.sampling import Rejection, draw_samples, make_sample, make_samples, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved

SHAPES = {"phantom-heart-2d": (44, 36), "phantom-torso-3d": (20, 26, 24)}


@pytest.fixture(params=SHAPES)
def prepared(request):
    """A model, a small subject and settings of two passes."""
    model = load_model(request.param)
    kind = request.param.removeprefix("phantom-")
    image, labels = phantom(kind, 7, shape=SHAPES[request.param])
    settings = resolved(SamplingSettings(steps=2), model)
    return model, see(model, image, labels, settings), settings


def test_sample_does_not_depend_on_its_company(prepared):
    alone = make_sample(*prepared[:2], 11, prepared[2])
    together = make_samples(*prepared[:2], [4, 11, 9], prepared[2])
    assert [sample.seed for sample in together] == [4, 11, 9]
    ours, other = together[1], together[0]
    size = np.abs(alone.field.vectors_mm_lps).max()
    gap = np.abs(ours.field.vectors_mm_lps - alone.field.vectors_mm_lps).max()
    assert gap <= 1e-3 * size
    assert np.abs(other.field.vectors_mm_lps - alone.field.vectors_mm_lps).max() > 0.1 * size
    np.testing.assert_array_equal(ours.start_field.vectors_mm_lps, alone.start_field.vectors_mm_lps)


def test_one_by_one_is_the_same_to_the_bit(prepared):
    model, subject, settings = prepared
    drawn = list(draw_samples(model, subject, 3, 2, settings))
    for sample in drawn:
        alone = make_sample(model, subject, sample.seed, settings)
        np.testing.assert_array_equal(sample.field.vectors_mm_lps, alone.field.vectors_mm_lps)


def test_batches_give_as_many_as_asked_for_in_order_of_seeds(prepared):
    model, subject, settings = prepared
    told = []
    drawn = list(
        draw_samples(
            model, subject, 5, 5, settings, batch=2, on_step=lambda seed, _: told.append(seed)
        )
    )
    assert not any(isinstance(each, Rejection) for each in drawn)
    assert [each.seed for each in drawn] == [5, 6, 7, 8, 9]
    assert sorted(set(told)) == [5, 7, 9] and len(told) == 3 * settings.steps


def test_stopping_ends_a_batch(prepared):
    model, subject, settings = prepared
    stop = draw_samples(model, subject, 0, 4, settings, batch=4, on_step=lambda *_: False)
    assert list(stop) == []


def test_slices_of_a_stack_are_not_mixed_with_other_seeds():
    model = load_model("phantom-heart-2d")
    image, _ = phantom("torso-3d", 3, shape=(8, 32, 28))
    settings = resolved(SamplingSettings(steps=1, slice_axis=0), model)
    subject = see(model, image, None, settings)
    together = make_samples(model, subject, [1, 2], settings)
    for sample in together:
        alone = make_sample(model, subject, sample.seed, settings)
        np.testing.assert_array_equal(sample.field.vectors_mm_lps, alone.field.vectors_mm_lps)
