"""Motion Separability against all pairs, one by one."""

from __future__ import annotations

import itertools

import pytest
import torch

from DRDMCore.fields import motion_separability, resize, separability


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def separability_by_all_pairs(ddf: torch.Tensor, distance: int) -> float:
    shape, worst = ddf.shape[1:], 0.0
    voxels = list(itertools.product(*[range(side) for side in shape]))
    for a, b in itertools.combinations(voxels, 2):
        if max(abs(i - j) for i, j in zip(a, b, strict=True)) == distance:
            gap = ddf[(slice(None), *a)] - ddf[(slice(None), *b)]
            worst = max(worst, float(gap.abs().max()))
    return worst


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 3), (1, 5), (4, 1, 2)])
def test_motion_separability_is_the_largest_over_all_pairs(shape):
    ddf = torch.randn(2, len(shape), *shape, generator=seeded(), dtype=torch.float64)
    for distance in range(1, max(shape)):
        expected = [separability_by_all_pairs(one, distance) for one in ddf]
        assert motion_separability(ddf, distance).tolist() == pytest.approx(expected, abs=1e-12)


def test_motion_separability_refuses_a_distance_off_the_grid():
    ddf = torch.zeros(1, 2, 4, 6)
    for distance in (0, 6):
        with pytest.raises(ValueError, match=r"`distance` must be 1 .. 5 voxels"):
            motion_separability(ddf, distance)


@pytest.mark.parametrize("voxels", [1, 10**6])
@pytest.mark.parametrize("shape", [(9, 12), (7, 8, 9)])
def test_separability_does_not_depend_on_the_slabs(monkeypatch, shape, voxels):
    ddf = torch.randn(2, len(shape), *shape, generator=seeded(5))
    monkeypatch.setattr(separability, "_SLAB_VOXELS", 100)
    some = {distance: motion_separability(ddf, distance) for distance in (1, 3)}
    monkeypatch.setattr(separability, "_SLAB_VOXELS", voxels)
    for distance, found in some.items():
        assert torch.equal(motion_separability(ddf, distance), found)


@pytest.mark.parametrize("shape", [(40, 57), (33, 20, 26), (1, 60), (30, 1, 9)])
@pytest.mark.parametrize("control", [1, 3, 40])
def test_looking_only_where_a_pair_can_be_large_changes_no_bit(monkeypatch, shape, control):
    coarse = [max(side // control, 2) if side > 1 else 1 for side in shape]
    ddf = resize(torch.randn(2, len(shape), *coarse, generator=seeded(1)), shape)
    for distance in (2, 4, 8, 11, 25):
        if distance < max(shape):
            monkeypatch.setattr(separability, "_LARGE", 10**9)
            everywhere = motion_separability(ddf, distance)
            monkeypatch.setattr(separability, "_LARGE", 1)
            assert torch.equal(motion_separability(ddf, distance), everywhere)


def test_blocks_that_cannot_hold_the_largest_pair_are_left_out(monkeypatch):
    looked_at = []
    in_boxes = separability._in_boxes

    def counted(field, corners, *rest):
        looked_at.append(len(corners))
        return in_boxes(field, corners, *rest)

    monkeypatch.setattr(separability, "_LARGE", 1)
    monkeypatch.setattr(separability, "_in_boxes", counted)
    ddf = resize(torch.randn(1, 3, 4, 4, 4, generator=seeded(2)), (64, 64, 64))
    motion_separability(ddf, 4)
    assert 0 < sum(looked_at) < 3 * 8**3 // 10
