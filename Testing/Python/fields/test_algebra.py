"""Compose, invert, resize and crop against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from DRDMCore.fields import (
    compose,
    crop_ddf,
    exp_svf,
    identity_coordinates,
    invert,
    resize,
    resize_ddf,
    warp,
)
from DRDMCore.fields.grid import upsample


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(shape: tuple[int, ...], size: float, seed: int = 0) -> torch.Tensor:
    """A smooth random field that vanishes at the border."""
    x = identity_coordinates(shape, dtype=torch.float64)
    bump = torch.ones(shape, dtype=torch.float64)
    for axis, side in enumerate(shape):
        bump = bump * torch.sin(math.pi * x[axis] / (side - 1)) ** 2
    weights = torch.randn(len(shape), generator=seeded(seed), dtype=torch.float64)
    return (size * weights.reshape(-1, *[1] * len(shape)) * bump)[None]


def affine(shape: tuple[int, ...], matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """`u(x) = M (x - c) + b` about the centre of the field of view."""
    x = identity_coordinates(shape, dtype=torch.float64)
    centre = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    centred = x - centre.reshape(-1, *[1] * len(shape))
    moved = torch.einsum("ij,j...->i...", matrix, centred)
    return (moved + offset.reshape(-1, *[1] * len(shape)))[None]


def interior(field: torch.Tensor, rim: int) -> torch.Tensor:
    return field[(..., *[slice(rim, -rim)] * (field.ndim - 2))]


SHAPES = [(21, 18), (13, 16, 11)]


@pytest.mark.parametrize("shape", SHAPES)
def test_composing_with_zero_changes_nothing(shape):
    field = smooth(shape, 1.5)
    zero = torch.zeros_like(field)
    torch.testing.assert_close(compose(field, zero), field)
    torch.testing.assert_close(compose(zero, field), field)


@pytest.mark.parametrize("shape", SHAPES)
def test_compose_of_affine_fields_is_the_product(shape):
    d = len(shape)
    a = 0.05 * torch.randn(d, d, generator=seeded(1), dtype=torch.float64)
    b = 0.05 * torch.randn(d, d, generator=seeded(2), dtype=torch.float64)
    s, t = torch.full((d,), 0.4, dtype=torch.float64), torch.full((d,), -0.3, dtype=torch.float64)
    eye = torch.eye(d, dtype=torch.float64)
    expected = affine(shape, (eye + a) @ (eye + b) - eye, (eye + a) @ t + s)
    got = compose(affine(shape, a, s), affine(shape, b, t))
    torch.testing.assert_close(interior(got, 3), interior(expected, 3), rtol=0, atol=1e-10)


def test_compose_is_warping_twice():
    shape = (32, 28)
    first, second = smooth(shape, 1.0, 1), smooth(shape, 1.0, 2)
    x = identity_coordinates(shape, dtype=torch.float64)
    image = (0.3 * x[0] - 0.2 * x[1])[None, None]  # linear: interpolation is exact
    twice = warp(warp(image, first), second)
    once = warp(image, compose(first, second))
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-10)


def test_compose_padding():
    first = torch.ones(1, 2, 4, 4)
    out = torch.full((1, 2, 4, 4), 9.0)
    assert compose(first, out).unique().tolist() == [10]
    assert compose(first, out, padding="zeros").unique().tolist() == [9]


# --- invert


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_of_a_translation_is_its_opposite(shape):
    ddf = torch.full((1, len(shape), *shape), 1.3, dtype=torch.float64)
    inverse, residual = invert(ddf)
    torch.testing.assert_close(inverse, -ddf)
    assert float(residual) < 1e-12


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_inverse_of_a_scaling_and_a_rotation(factor):
    shape, angle = (25, 24), 0.15
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    matrix, eye = factor * turn, torch.eye(2, dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    inverse, _ = invert(affine(shape, matrix - eye, zero), tolerance=1e-9)
    expected = affine(shape, torch.linalg.inv(matrix) - eye, zero)
    torch.testing.assert_close(interior(inverse, 8), interior(expected, 8), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_composes_to_the_identity_both_ways(shape):
    ddf = smooth(shape, 0.6)
    inverse, residual = invert(ddf)
    assert float(residual) < 1e-3
    assert float(compose(ddf, inverse).abs().max()) < 1e-3
    assert float(compose(inverse, ddf).abs().max()) < 0.15  # linear interpolation of a curved field


def test_strong_field_without_folds_is_inverted():
    """Slopes up to 1.4: plain fixed-point iteration diverges there."""
    x = identity_coordinates((48, 4), dtype=torch.float64)
    u = 9.0 * torch.sin(2 * math.pi * x[0] / 47) * 47 / (2 * math.pi * 9) * 0.95
    ddf = torch.stack([u, torch.zeros_like(u)])[None]
    assert float(torch.gradient(u, dim=0)[0].abs().max()) > 0.9
    assert float(invert(ddf, iterations=200).residual) < 1e-3


def test_folded_field_shows_in_the_residual_of_its_sample_only():
    fold = 5 * torch.randn(1, 2, 12, 13, generator=seeded(), dtype=torch.float64)
    both = torch.cat([torch.full_like(fold, 0.5), fold])
    residual = invert(both).residual
    assert residual[0] < 1e-3 < residual[1]


def test_float32_stays_float32():
    ddf = smooth((9, 8), 0.5).float()
    assert {compose(ddf, ddf).dtype, invert(ddf).ddf.dtype, exp_svf(ddf).dtype} == {torch.float32}
    assert resize_ddf(ddf, (5, 6)).dtype == torch.float32


# --- resize, crop


@pytest.mark.parametrize(
    ("shape", "other"),
    [((9, 14), (18, 7)), ((5, 8, 7), (10, 5, 21)), ((7, 7), (7, 7)), ((3, 11, 6), (4, 4, 4))],
)
def test_affine_field_is_resized_exactly(shape, other):
    d = len(shape)
    matrix = 0.2 * torch.randn(d, d, generator=seeded(4), dtype=torch.float64)
    offset = torch.randn(d, generator=seeded(5), dtype=torch.float64)
    ratio = torch.tensor([n / o for n, o in zip(other, shape, strict=True)], dtype=torch.float64)
    # in the voxels of the other grid: R M R^-1 and R b
    expected = affine(other, ratio[:, None] * matrix / ratio[None], ratio * offset)
    got = resize_ddf(affine(shape, matrix, offset), other)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_resize_of_one_voxel_axes():
    ddf = torch.randn(1, 3, 1, 6, 5, generator=seeded(), dtype=torch.float64)
    bigger = resize_ddf(ddf, (4, 6, 5))
    torch.testing.assert_close(bigger[:, 0], 4 * ddf[:, 0].expand(1, 4, 6, 5))
    torch.testing.assert_close(resize_ddf(bigger, (1, 6, 5)), ddf)


@pytest.mark.parametrize("shape", [(8, 6), (3, 1, 4)])
def test_resize_and_upsample_are_edge_aligned_like_torch(shape):
    image = torch.rand(2, 3, *shape, generator=seeded())
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    expected = F.interpolate(image, scale_factor=3.0, mode=mode, align_corners=False)
    torch.testing.assert_close(upsample(image, 3), expected)
    inner = (..., *[slice(1, -1) if side > 1 else slice(None) for side in shape])
    thrice = resize(image, [3 * side for side in shape])  # torch is constant beyond the border
    torch.testing.assert_close(thrice[inner], expected[inner])


def test_resize_and_crop_name_what_is_wrong():
    ddf = torch.zeros(1, 2, 5, 6)
    with pytest.raises(ValueError, match="`shape` must have 2 sides"):
        resize_ddf(ddf, (4, 4, 4))
    with pytest.raises(ValueError, match="must lie in the grid"):
        crop_ddf(ddf, (2, 0), (4, 6))
    with pytest.raises(ValueError, match="must lie in the grid"):
        crop_ddf(ddf, (-1, 0), (2, 2))
    with pytest.raises(ValueError, match="must lie in the grid"):
        crop_ddf(ddf, (0, 0), (0, 2))


def test_crop_keeps_the_vectors():
    ddf = torch.randn(2, 3, 5, 6, 7, generator=seeded())
    assert torch.equal(crop_ddf(ddf, (1, 0, 3), (2, 6, 4)), ddf[..., 1:3, :, 3:7])


def test_gradient_of_compose():
    a = (0.3 * torch.rand(1, 2, 4, 3, generator=seeded(1), dtype=torch.float64)).requires_grad_()
    b = 0.1 + 0.3 * torch.rand(1, 2, 4, 3, generator=seeded(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(compose, (a, b.requires_grad_()))
