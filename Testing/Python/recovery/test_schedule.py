"""The level schedule: counts, scales, visited levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from DRDMCore.recovery import (
    LEVELS,
    check_level,
    image_count,
    level_scale,
    scale_level,
    target_count,
    visited_levels,
)


def test_counts_of_the_paper():
    assert [image_count(t) for t in (0, 1, 10, 40, 48, 79)] == [1, 1, 13, 80, 102, 195]
    assert [target_count(t) for t in (0, 1, 10, 40, 79)] == [0, 1, 3, 9, 13]
    assert image_count(200) == 200
    counts = [image_count(t) for t in range(LEVELS)]
    assert counts == sorted(counts)


def test_counts_equal_the_recorded_schedule(shared_reference):
    recorded = np.load(shared_reference / "cmr2d.npz")["schedule"]
    assert len(recorded) == LEVELS
    ours = [(t, image_count(t), target_count(t)) for t in range(LEVELS)]
    assert ours == [tuple(row) for row in recorded.tolist()]


def test_scale_and_level_undo_each_other():
    levels = torch.linspace(0, LEVELS - 1, 50, dtype=torch.float64)
    scales = level_scale(levels)
    assert scales[0] == 0 and scales[-1] == 1 and bool((scales.diff() > 0).all())
    torch.testing.assert_close(scale_level(scales), levels)
    assert level_scale(torch.tensor(-1.0)) == 0 == scale_level(torch.tensor(-1.0))


def test_all_levels_are_visited_by_default():
    assert visited_levels(5, start="level", steps=None) == [5, 4, 3, 2, 1, 0]
    assert visited_levels(5, start="top", steps=None) == list(range(79, -1, -1))
    assert visited_levels(5, start="top", steps=None, levels=10) == list(range(9, -1, -1))
    assert visited_levels(0, start="level", steps=None) == [0]


@given(st.integers(0, 79), st.integers(1, 100), st.sampled_from(["level", "top"]))
def test_a_number_of_steps_is_spread_evenly(level, steps, start):
    visited = visited_levels(level, start=start, steps=steps)
    top = 79 if start == "top" else level
    assert visited[0] == top and visited[-1] >= 0
    assert len(visited) == len(set(visited)) == min(steps, top + 1)
    gaps = [a - b for a, b in zip(visited, [*visited[1:], -1], strict=True)]
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1 + (max(gaps) > 1)


def test_given_levels_are_visited_from_high_to_low():
    assert visited_levels(3, start="level", steps=(1, 40, 7, 40)) == [40, 7, 1]


def test_wrong_levels_are_named():
    for level in (-1, 80, float("nan")):
        with pytest.raises(ValueError, match=r"`level` must lie in 0 .. 79"):
            check_level(level)
    with pytest.raises(ValueError, match=r"`level` must lie in 0 .. 79, got 80"):
        visited_levels(3, start="top", steps=(80,))
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        visited_levels(3, start="top", steps=0)
