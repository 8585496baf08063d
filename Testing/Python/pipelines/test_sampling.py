"""A sample does not depend on how its volume is stored."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DRDMCore.imaging import Volume, from_sitk, orientation_of, phantom, to_sitk
from DRDMCore.models import load_model
from DRDMCore.pipelines.sampling import make_sample, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved


def sampled(image: Volume, labels: Volume):
    """The sample of seed 3, cheap."""
    model = load_model("phantom-torso-3d")
    settings = resolved(SamplingSettings(level=40, steps=2, repair=False), model)
    return make_sample(model, see(model, image, labels, settings), 3, settings)


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "PIR"])
def test_turned_volume_gives_the_same_anatomy(orientation):
    image, labels = phantom("torso-3d", 3)
    assert orientation_of(image.geometry) == load_model("phantom-torso-3d").grid.orientation
    wanted = sampled(image, labels)
    turned = [
        from_sitk(sitk.DICOMOrient(to_sitk(volume), orientation), kind=volume.kind)
        for volume in (image, labels)
    ]
    sample = sampled(*turned)
    assert orientation_of(sample.image.geometry) == orientation
    back = [
        sitk.GetArrayFromImage(sitk.DICOMOrient(to_sitk(volume), "LPS"))
        for volume in (sample.image, sample.labels)
    ]
    spread = np.ptp(wanted.image.array)
    np.testing.assert_allclose(back[0], wanted.image.array, atol=0.01 * spread)
    assert (back[1] != wanted.labels.array).mean() < 1e-4
    mean, own = (each.quality["displacement_mm"]["mean"] for each in (wanted, sample))
    assert mean > 3 and own == pytest.approx(mean, rel=1e-3)
