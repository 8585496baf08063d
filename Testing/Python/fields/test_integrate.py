"""Flows and n-fold compositions against closed forms and each other."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from DRDMCore.fields import compose, exp_svf, identity_coordinates, integrate, jacobian_determinant
from DRDMCore.fields.integrate import METHODS, _gather_by_sparse_product


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(shape: tuple[int, ...], matrix: torch.Tensor) -> torch.Tensor:
    """`v(x) = A (x - c)` about the centre."""
    x = identity_coordinates(shape, dtype=torch.float64)
    centre = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    centred = x - centre.reshape(-1, *[1] * len(shape))
    return torch.einsum("ij,j...->i...", matrix, centred)[None]


def interior(field: torch.Tensor, rim: int) -> torch.Tensor:
    return field[(..., *[slice(rim, -rim)] * (field.ndim - 2))]


def smooth_svf(shape: tuple[int, ...], size: float, batch: int = 1) -> torch.Tensor:
    """A band-limited random velocity."""
    coarse = torch.randn(
        batch, len(shape), *[4] * len(shape), generator=seeded(), dtype=torch.float64
    )
    mode = "bicubic" if len(shape) == 2 else "trilinear"
    return size * torch.nn.functional.interpolate(coarse, size=shape, mode=mode, align_corners=True)


SHAPES = [(25, 21), (15, 13, 14)]
TURN = torch.tensor([[0.0, -0.2], [0.2, 0.0]], dtype=torch.float64)
SCALE = torch.tensor([[0.15, 0.0], [0.0, 0.15]], dtype=torch.float64)
SHEAR = torch.tensor([[0.1, 0.15], [-0.05, -0.1]], dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_zero_velocity_is_the_identity(shape):
    svf = torch.zeros(2, len(shape), *shape)
    assert not exp_svf(svf).any()
    for method in METHODS:
        assert not integrate(svf, [5, 0], method=method).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_constant_velocity_is_a_translation(shape):
    svf = torch.full((1, len(shape), *shape), 0.25, dtype=torch.float64)
    torch.testing.assert_close(exp_svf(svf), svf)
    for method in METHODS:
        torch.testing.assert_close(integrate(svf, [13], method=method), 13 * svf)


@pytest.mark.parametrize("matrix", [TURN, SCALE, SHEAR], ids=["rotation", "scaling", "shear"])
def test_flow_of_a_linear_velocity_is_the_matrix_exponential(matrix):
    shape, eye = (25, 23), torch.eye(2, dtype=torch.float64)
    expected = linear(shape, torch.linalg.matrix_exp(matrix) - eye)
    errors = []
    for steps in (2, 3, 4):
        got = exp_svf(linear(shape, matrix), steps=steps)
        errors.append(float(interior(got - expected, 6).abs().max()))
    assert errors[-1] < 0.01
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(1.9 < order < 2.1 for order in orders), orders  # second order in the step
    determinant = jacobian_determinant(exp_svf(linear(shape, matrix), steps=12))
    exact = torch.linalg.det(torch.linalg.matrix_exp(matrix))
    torch.testing.assert_close(determinant[0, 7:-7, 7:-7], exact.expand(11, 9), rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_powers_of_a_linear_map_are_matrix_powers(method):
    shape, eye = (31, 29), torch.eye(2, dtype=torch.float64)
    for count in (1, 2, 3, 7):
        power = torch.linalg.matrix_power(eye + SHEAR / 8, count)
        got = integrate(linear(shape, SHEAR / 8), [count], method=method)
        expected = linear(shape, power - eye)
        torch.testing.assert_close(interior(got, 9), interior(expected, 9), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_flow_of_the_opposite_velocity_is_the_inverse(shape):
    svf = smooth_svf(shape, 0.2)
    assert float(interior(compose(exp_svf(svf), exp_svf(-svf)), 3).abs().max()) < 0.06


@pytest.mark.parametrize("shape", SHAPES)
def test_the_three_integrations_agree(shape):
    """For a velocity that linear interpolation reads well; their gap shrinks with the step."""
    gaps = []
    for count in (4, 12):
        svf = smooth_svf(shape, 0.5) / 12
        fields = [integrate(svf, [count], method=m) for m in METHODS]
        gaps.append(max(float((f - fields[0]).abs().max()) for f in fields))
    assert gaps[0] < 0.02 and gaps[1] < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_one_step_is_the_velocity_and_two_are_a_composition(method, padding):
    svf = smooth_svf((9, 8), 0.8)
    torch.testing.assert_close(integrate(svf, [1], method=method, padding=padding), svf)
    two = integrate(svf, [2], method=method, padding=padding)
    torch.testing.assert_close(two, compose(svf, svf, padding=padding))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", [(9, 11), (7, 6, 8), (1, 9), (1, 5, 6)])
def test_box_is_a_crop_of_the_whole(method, padding, shape):
    svf = torch.randn(2, len(shape), *shape, generator=seeded(), dtype=torch.float64) * 0.2
    box = tuple((side // 3, side - side // 4) for side in shape)
    cut = tuple(slice(low, high) for low, high in box)
    for counts in ([11, 4], [0, 195], [1, 64]):
        whole = integrate(svf, counts, method=method, padding=padding)
        boxed = integrate(svf, counts, method=method, padding=padding, box=box)
        torch.testing.assert_close(boxed, whole[(..., *cut)], rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_each_sample_has_its_own_count_and_keeps_no_company(method):
    svf = smooth_svf((10, 9), 0.1, batch=3).float()
    together = integrate(svf, torch.tensor([3, 0, 17]), method=method)
    for i, count in enumerate((3, 0, 17)):
        assert torch.equal(together[i], integrate(svf[i : i + 1], [count], method=method)[0])
    assert not together[1].any()


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", [(8, 9), (5, 6, 7), (1, 7), (4, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_product_equals_sampling(shape, padding, dtype):
    svf = torch.randn(1, len(shape), *shape, generator=seeded(), dtype=dtype) * 0.8
    sparse = _gather_by_sparse_product(svf, padding)(svf, 8)
    sampled = integrate(svf.requires_grad_(), [9], method="sequential", padding=padding)
    assert sparse.dtype == dtype and sampled.requires_grad and not sparse.requires_grad
    atol = 2e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(sparse, sampled.detach(), rtol=0, atol=atol)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_of_integrate(method):
    svf = 0.1 + 0.2 * torch.rand(1, 2, 4, 3, generator=seeded(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda v: integrate(v, [5], method=method), (svf.requires_grad_(),)
    )


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 3)])
def test_gradient_of_exp(shape):
    svf = 0.1 + 0.2 * torch.rand(1, len(shape), *shape, generator=seeded(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: exp_svf(v, steps=3), (svf.requires_grad_(),))


def test_wrong_calls_are_named():
    svf = torch.zeros(2, 2, 4, 4)
    with pytest.raises(
        ValueError, match=r"`method` must be one of 'sequential', 'squaring', 'exact'"
    ):
        integrate(svf, [1, 1], method="euler")
    with pytest.raises(ValueError, match=r"`padding` must be one of 'border', 'zeros'"):
        integrate(svf, [1, 1], padding="reflection")
    for counts in ([1], [1, -2]):
        with pytest.raises(ValueError, match="`counts` must be 2 whole numbers >= 0"):
            integrate(svf, counts)
    with pytest.raises(ValueError, match="one component per spatial axis"):
        exp_svf(torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", [(40, 50), (30, 24, 27)])
@pytest.mark.parametrize("drift", [0.0, 0.06])
def test_squaring_only_computes_what_a_small_box_reads(shape, padding, drift):
    svf = 0.05 * torch.randn(1, len(shape), *shape, generator=seeded(), dtype=torch.float64)
    svf[:, 0] += drift  # a common drift carries the box far away, here over the border
    box = tuple((side // 2 - 2, side // 2 + 3) for side in shape)
    cut = tuple(slice(low, high) for low, high in box)
    for count in (2, 37, 128, 195):
        whole = integrate(svf, [count], padding=padding)
        boxed = integrate(svf, [count], padding=padding, box=box)
        torch.testing.assert_close(boxed, whole[(..., *cut)], rtol=0, atol=1e-9)
