"""Determinants and folding against closed forms and brute force."""

from __future__ import annotations

import pytest
import torch

from DRDMCore.fields import (
    corner_determinants,
    folded,
    folding_percent,
    identity_coordinates,
    jacobian_determinant,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(shape: tuple[int, ...], matrix: torch.Tensor) -> torch.Tensor:
    x = identity_coordinates(shape, dtype=torch.float64)
    return torch.einsum("ij,j...->i...", matrix - torch.eye(len(shape)).double(), x)[None]


@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 6), (2, 2), (2, 3, 2)])
def test_affine_determinant_is_exact_everywhere(shape):
    d = len(shape)
    matrix = torch.eye(d).double() + 0.3 * torch.randn(
        d, d, generator=seeded(), dtype=torch.float64
    )
    expected = torch.linalg.det(matrix)
    ddf = linear(shape, matrix)
    central, corners = jacobian_determinant(ddf), corner_determinants(ddf)
    assert central.shape == (1, *shape)
    assert corners.shape == (1, 2**d, *[side - 1 for side in shape])
    torch.testing.assert_close(central, expected.expand_as(central))
    torch.testing.assert_close(corners, expected.expand_as(corners))


@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 6), (1, 6), (5, 1, 1), (1, 1)])
def test_identity_keeps_the_volume_and_does_not_fold(shape):
    ddf = torch.zeros(2, len(shape), *shape)
    assert (jacobian_determinant(ddf) == 1).all()
    assert (corner_determinants(ddf) == 1).all()
    assert folding_percent(ddf).tolist() == [0, 0]


def test_reflection_folds_everywhere():
    for d, shape in ((2, (6, 5)), (3, (4, 5, 6))):
        matrix = torch.eye(d).double()
        matrix[0, 0] = -1
        ddf = linear(shape, matrix)
        torch.testing.assert_close(jacobian_determinant(ddf), -torch.ones(1, *shape).double())
        assert folded(ddf).all() and folding_percent(ddf).tolist() == [100]


@pytest.mark.parametrize("shape", [(7, 7), (5, 5, 5)])
def test_one_voxel_fold_that_central_differences_miss(shape):
    ddf = torch.zeros(2, len(shape), *shape)
    centre = tuple(side // 2 for side in shape)
    ddf[(1, 0, *centre)] = 1.2  # past its neighbour
    assert (jacobian_determinant(ddf) > 0).all()
    assert (corner_determinants(ddf)[1] < 0).any()
    assert folding_percent(ddf)[0] == 0 < folding_percent(ddf)[1]
    assert folded(ddf)[(1, *centre)]


def test_one_voxel_axis_counts_as_undeformed():
    flat = 0.2 * torch.randn(1, 2, 5, 6, generator=seeded(), dtype=torch.float64)
    for axis in range(3):
        at = [a for a in range(3) if a != axis]
        ddf = torch.randn(1, 3, 5, 6, generator=seeded(1), dtype=torch.float64)
        ddf[:, at] = flat
        solid = ddf.unsqueeze(2 + axis)
        torch.testing.assert_close(
            jacobian_determinant(solid).squeeze(1 + axis), jacobian_determinant(flat)
        )
        assert torch.equal(folded(solid).squeeze(1 + axis), folded(flat))
    line = torch.zeros(1, 2, 1, 4)
    line[0, 1, 0] = torch.tensor([0.0, 0.5, 1.0, 1.5])
    torch.testing.assert_close(jacobian_determinant(line), torch.full((1, 1, 4), 1.5))


def test_determinant_is_differentiable():
    ddf = 0.1 * torch.randn(1, 2, 3, 4, generator=seeded(), dtype=torch.float64)
    assert torch.autograd.gradcheck(jacobian_determinant, (ddf.requires_grad_(),))
    assert torch.autograd.gradcheck(corner_determinants, (ddf,))
