"""Validation measures what it says, the same each time."""

from __future__ import annotations

import pytest
import torch

from DRDMCore.training.objectives import new_objective
from DRDMCore.training.validation import correlation, validate

CPU = torch.device("cpu")


@pytest.mark.parametrize("objective", ["velocity", "published"])
def test_validation_is_the_same_each_time_and_changes_nothing(objective, tiny, subjects):
    settings = tiny(objective=objective)
    data = subjects((3, 16, 16), (2, 16, 16))
    learner = new_objective(settings)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    first, second = (validate(learner, data, settings, CPU) for _ in range(2))
    assert first == second
    assert all(torch.equal(before[key], value) for key, value in learner.state_dict().items())
    levels = [first[f"loss_{level}"] for level in (32, 48, 64)]
    assert first["loss"] == pytest.approx(sum(levels) / 3)


def test_a_network_that_predicts_nothing_explains_nothing(tiny, subjects):
    settings = tiny()
    learner = new_objective(settings)  # the last layer begins at zero
    found = validate(learner, subjects((3, 16, 16)), settings, CPU)
    assert found["explained_48"] == pytest.approx(0.0, abs=1e-6) and found["folding_48"] == 0.0
    assert found["velocity_48"] == pytest.approx(1.0, abs=0.5)  # unit variance
    assert found["residual"] == pytest.approx(1.0, abs=1e-4)  # all of the start field is left
    assert found["ncc"] == pytest.approx(found["ncc_start"], abs=1e-5) and found["ncc"] < 0.95


def test_validation_does_not_depend_on_the_batch(tiny, subjects):
    data = subjects((3, 16, 16), (2, 16, 16))
    learner = new_objective(tiny())
    with torch.no_grad():
        learner.network.head.weight.normal_(generator=torch.Generator().manual_seed(0), std=0.1)
    one, five = (validate(learner, data, tiny(batch=batch), CPU) for batch in (1, 5))
    for name in ("loss_48", "velocity_64", "slope_32", "residual", "ncc"):
        assert one[name] == pytest.approx(five[name], rel=1e-4), name


def test_levels_follow_a_network_of_fewer(tiny, subjects):
    settings = tiny(objective="published", levels=10, recoveries=1)
    found = validate(new_objective(settings), subjects((2, 16, 16)), settings, CPU)
    assert {"loss_4", "loss_6", "loss_8"} <= set(found)


def test_without_recoveries(tiny, subjects):
    settings = tiny(recoveries=0)
    found = validate(new_objective(settings), subjects((2, 16, 16)), settings, CPU)
    assert "loss" in found and "residual" not in found


def test_correlation():
    image = torch.rand(2, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    assert correlation(image, 3 * image + 5) == pytest.approx(1.0, abs=1e-5)
    assert correlation(image, -image) == pytest.approx(-1.0, abs=1e-5)
    assert correlation(image, torch.ones_like(image)) == pytest.approx(0.0, abs=1e-3)
