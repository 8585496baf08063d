"""Folds are smoothed away, each by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from DRDMCore.fields import folded, unfold


def rough(shape, amplitude, seed):
    """A field `(1, D, *shape)` that folds in many places."""
    noise = torch.randn(
        1, len(shape), *[side // 4 for side in shape], generator=torch.Generator().manual_seed(seed)
    )
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return amplitude * F.interpolate(noise, size=shape, mode=mode, align_corners=True)


@pytest.mark.parametrize(
    ("shape", "axes"), [((64, 48), None), ((24, 28, 32), None), ((12, 32, 28), [1, 2])]
)
def test_no_fold_is_left_or_overlooked(shape, axes):
    ddf = rough(shape, 1.2, 0)
    assert folded(ddf).sum() > 10
    result = unfold(ddf, axes=axes)
    assert result.remaining == int(folded(result.ddf).sum()) == 0
    assert result.changed == int(((result.ddf - ddf).abs().amax(1) > 0.01).sum()) > 0
    assert torch.equal(ddf, rough(shape, 1.2, 0))


def test_folds_far_apart_are_smoothed_as_if_alone():
    first, second = torch.zeros(1, 2, 96, 160), torch.zeros(1, 2, 96, 160)
    first[..., 20:44, 20:44] = rough((24, 24), 1.5, 1)
    second[..., 40:64, 110:134] = rough((24, 24), 1.5, 2)
    both = unfold(first + second)
    alone = unfold(first).ddf + unfold(second).ddf
    assert both.remaining == 0 and both.changed > 100
    torch.testing.assert_close(both.ddf, alone, rtol=0, atol=1e-6)


def test_what_lies_far_from_folds_and_a_still_border_stay():
    ddf = torch.zeros(1, 3, 20, 20, 64)
    ddf[..., 1:-1, 1:-1, 1:12] = rough((20, 20, 12), 1.5, 3)[..., 1:-1, 1:-1, :11]
    result = unfold(ddf)
    assert result.remaining == 0 and result.changed > 0
    assert torch.equal(result.ddf[..., 48:], ddf[..., 48:])
    for axis in (2, 3, 4):
        assert not result.ddf.select(axis, 0).any()


def test_a_field_without_folds_is_returned_as_it_is():
    ddf = rough((32, 32), 0.1, 4)
    result = unfold(ddf)
    assert torch.equal(result.ddf, ddf) and (result.changed, result.remaining) == (0, 0)
