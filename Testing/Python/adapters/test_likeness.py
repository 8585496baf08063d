"""Images are recognised whatever the last digits, and not taken for others."""

from __future__ import annotations

import numpy as np
import pytest

from DRDMCore.adapters.likeness import alike, likeness


@pytest.fixture
def image():
    return 300 + 50 * np.random.default_rng(0).normal(size=(17, 12, 9)).astype(np.float32)


def test_rounding_makes_no_other_image(image):
    for kind in (np.float32, np.float64):
        close = (image.astype(kind) * (1 + 1e-7)).astype(np.float32)
        assert alike(likeness(image), likeness(close))


def test_every_kind_of_change_is_seen(image):
    block, noisy = image.copy(), image + np.random.default_rng(1).normal(size=image.shape)
    block[:4, :3, :2] += 2
    for changed in (image * 1.001, image + 1, image[::-1], block, noisy, image[:-1]):
        assert not alike(likeness(image), likeness(changed))


def test_constant_and_thin_images(image):
    flat = np.full((1, 5, 3), 7.0)
    assert alike(likeness(flat), likeness(flat)) and not alike(likeness(flat), likeness(flat + 1))
    assert np.isfinite(likeness(flat)).all()
    assert not alike(likeness(image), ())
