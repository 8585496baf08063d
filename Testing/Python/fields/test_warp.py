"""Warping images and labels: identity, closed forms, label sets, padding, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from DRDMCore.fields import displaced_coordinates, sample_cubic, warp, warp_labels
from DRDMCore.fields.grid import identity_coordinates, sample

SHAPES = [(7, 5), (6, 5, 7), (1, 6), (5, 1, 4), (2, 2)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def random_field(shape: tuple[int, ...], size: float, seed: int = 1, batch: int = 1):
    return size * noise(batch, len(shape), *shape, seed=seed)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_field_is_the_identity(shape, mode, dtype):
    image = noise(2, 3, *shape, dtype=dtype)
    moved = warp(image, torch.zeros(1, len(shape), *shape, dtype=dtype), mode=mode)
    assert moved.dtype == dtype
    torch.testing.assert_close(moved, image, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("shape", [(9, 8), (7, 8, 6)])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_whole_voxel_translation_moves_voxels(shape, mode):
    image = noise(1, 1, *shape)
    for axis in range(len(shape)):
        ddf = torch.zeros(1, len(shape), *shape, dtype=torch.float64)
        ddf[:, axis] = 2.0
        inner = image.narrow(2 + axis, 2, shape[axis] - 2)
        moved = warp(image, ddf, mode=mode).narrow(2 + axis, 0, shape[axis] - 2)
        torch.testing.assert_close(moved, inner, rtol=0, atol=1e-10)


def test_linear_reads_an_affine_image_exactly_and_pulls():
    shape = (6, 7, 5)
    x = identity_coordinates(shape, dtype=torch.float64)
    slope = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64).reshape(3, 1, 1, 1)
    ddf = random_field(shape, 0.3)
    inside = (x + ddf[0]).clamp(min=torch.zeros(3, 1, 1, 1).double())
    inside = torch.minimum(inside, torch.tensor(shape).double().reshape(3, 1, 1, 1) - 1)
    expected = (slope * inside).sum(0) + 4
    image = ((slope * x).sum(0) + 4)[None, None]
    torch.testing.assert_close(warp(image, ddf)[0, 0], expected, rtol=0, atol=1e-10)


def test_padding():
    image = torch.arange(1.0, 6.0).reshape(1, 1, 1, 5).expand(1, 1, 2, 5)
    ddf = torch.zeros(1, 2, 2, 5)
    ddf[:, 1] = 3.0
    assert warp(image, ddf)[0, 0, 0].tolist() == [4, 5, 5, 5, 5]
    for mode in ("linear", "nearest"):
        zeros = warp(image, ddf, mode=mode, padding="zeros")
        assert zeros[0, 0, 0].tolist() == [4, 5, 0, 0, 0]
    torch.testing.assert_close(
        warp(image, ddf, mode="cubic", padding="zeros")[0, 0, 0],
        torch.tensor([4.0, 5, 0, 0, 0]),
        rtol=0,
        atol=1e-5,
    )
    assert warp(image, ddf, padding="reflection")[0, 0, 0].tolist() == [4, 5, 4, 3, 2]


def test_bicubic_is_for_two_axes():
    image, ddf = torch.rand(1, 1, 5, 6, generator=seeded()), torch.zeros(1, 2, 5, 6)
    torch.testing.assert_close(warp(image, ddf, mode="bicubic"), image)
    with pytest.raises(ValueError, match="2D only"):
        sample(torch.rand(1, 1, 4, 4, 4), torch.zeros(1, 3, 4, 4, 4), mode="bicubic")


def test_unknown_name_lists_choices():
    image, ddf = torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4)
    with pytest.raises(ValueError, match=r"`mode` must be one of 'linear', 'nearest', 'cubic'"):
        warp(image, ddf, mode="bilinear")
    with pytest.raises(ValueError, match=r"`padding` must be one of 'border', 'zeros'"):
        warp(image, ddf, padding="wrap")
    with pytest.raises(ValueError, match=r"`padding` must be one of 'border', 'zeros', got"):
        warp(image, ddf, mode="cubic", padding="reflection")
    with pytest.raises(ValueError, match=r"`mode` must be one of 'nearest', 'linear'"):
        warp_labels(image.long(), ddf, mode="cubic")


def test_misfits_are_named():
    with pytest.raises(ValueError, match="grid of `image`"):
        warp(torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 5, 4))
    with pytest.raises(ValueError, match="grid of `image`"):
        warp(torch.zeros(2, 1, 4, 5), torch.zeros(3, 2, 4, 5))
    with pytest.raises(ValueError, match="one component per spatial axis"):
        warp(torch.zeros(1, 1, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(TypeError, match="floating-point"):
        warp(torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 4, 5, dtype=torch.long))
    with pytest.raises(TypeError, match="integers"):
        warp_labels(torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 4, 5))


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_sample_of_a_batch_is_the_sample_alone(mode):
    image, ddf = noise(3, 1, 6, 7, 5).float(), random_field((6, 7, 5), 0.7, batch=3).float()
    together = warp(image, ddf, mode=mode)
    for i in range(3):
        alone = warp(image[i : i + 1], ddf[i : i + 1], mode=mode)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        warp(image[:1], ddf, mode=mode)[1], warp(image[:1], ddf[1:2], mode=mode)[0]
    )


# --- B-spline


@pytest.mark.parametrize("shape", [(8, 9), (7, 8, 9)])
def test_cubic_spline_reproduces_cubic_polynomials_inside(shape):
    """The mirrored border disturbs a polynomial, but dies off by 0.27 a voxel."""
    side = [s + 60 if len(shape) == 2 else s + 30 for s in shape]
    x = identity_coordinates(side, dtype=torch.float64)

    def cubic(p):
        centred = [(p[a] - s / 2) / 4 for a, s in enumerate(side)]
        return (
            sum((a + 1) * c**3 - c**2 + c for a, c in enumerate(centred)) + centred[0] * centred[1]
        )

    at = torch.tensor(side).double().reshape(-1, *[1] * len(side)) / 2
    at = at + torch.rand(len(side), *[4] * len(side), generator=seeded(), dtype=torch.float64) * 2
    read = sample_cubic(cubic(x)[None, None], at[None])[0, 0]
    tolerance = 1e-10 if len(shape) == 2 else 1e-5
    torch.testing.assert_close(read, cubic(at), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(9, 11), (8, 9, 7)])
def test_cubic_spline_agrees_with_itk_inside(shape):
    image = noise(1, 1, *shape)
    ddf = random_field(shape, 0.3)
    grid = sitk.GetImageFromArray(image[0, 0].numpy())
    vectors = np.ascontiguousarray(np.moveaxis(ddf[0].numpy()[::-1], 0, -1))
    transform = sitk.DisplacementFieldTransform(sitk.GetImageFromArray(vectors, isVector=True))
    itk = sitk.Resample(grid, grid, transform, sitk.sitkBSpline, -1e9)
    itk = torch.from_numpy(sitk.GetArrayFromImage(itk))
    inner = tuple(slice(1, -1) for _ in shape)
    ours = warp(image, ddf, mode="cubic")[0, 0]
    inside = itk[inner] > -1e8
    assert inside.float().mean() > 0.9
    torch.testing.assert_close(ours[inner][inside], itk[inner][inside], rtol=0, atol=1e-6)


# --- labels

LABEL_TYPES = {
    torch.uint8: (0, 255),
    torch.int16: (-(2**15), 2**15 - 1),
    torch.int64: (-(2**62), 2**62),
}


@st.composite
def label_maps(draw):
    dtype = draw(st.sampled_from(sorted(LABEL_TYPES, key=str)))
    shape = draw(st.sampled_from([(4, 5), (3, 4, 3), (1, 6), (5, 1, 2)]))
    low, high = LABEL_TYPES[dtype]
    near = st.integers(2**24, 2**24 + 3) if dtype == torch.int64 else st.integers(0, 3)
    values = draw(st.lists(st.integers(low, high) | near, min_size=1, max_size=4, unique=True))
    generator = seeded(draw(st.integers(0, 2**31)))
    table = torch.tensor(values, dtype=dtype)
    labels = table[torch.randint(len(values), (1, 1, *shape), generator=generator)]
    ddf = draw(st.sampled_from([0.4, 2.0, 30.0])) * torch.randn(
        1, len(shape), *shape, generator=generator
    )
    return labels, ddf


@settings(max_examples=60, deadline=None)
@given(label_maps(), st.sampled_from(["nearest", "linear"]), st.sampled_from(["border", "zeros"]))
def test_labels_never_gain_a_value(case, mode, padding):
    labels, ddf = case
    moved = warp_labels(labels, ddf, mode=mode, padding=padding)
    assert moved.dtype == labels.dtype and moved.shape == labels.shape
    allowed = set(labels.flatten().tolist()) | ({0} if padding == "zeros" else set())
    assert set(moved.flatten().tolist()) <= allowed
    still = warp_labels(labels, torch.zeros_like(ddf), mode=mode, padding=padding)
    assert torch.equal(still, labels)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("values", [[0, 3, 5], [-7, 2, 9], [4, 6, 8]])
def test_linear_labels_are_the_largest_share(values, padding):
    """Against an indicator image per label, read linearly by hand."""
    table = torch.tensor(values)
    labels = table[torch.randint(3, (2, 1, 5, 4, 6), generator=seeded())]
    ddf = random_field((5, 4, 6), 1.5, batch=2)
    moved = warp_labels(labels, ddf, mode="linear", padding=padding)
    shares = {v: warp((labels == v).double(), ddf, padding=padding) for v in {*values, 0}}
    if padding == "zeros":
        shares[0] = shares[0] + 1 - sum(shares.values())
    largest = torch.stack(list(shares.values())).amax(0)
    own = torch.zeros_like(largest)
    for value, share in shares.items():
        own = torch.where(moved == value, share, own)
    torch.testing.assert_close(own, largest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_zero_padding_is_label_zero_even_without_background(mode):
    labels = torch.full((1, 1, 4, 5), 7)
    ddf = torch.full((1, 2, 4, 5), 10.0)
    assert warp_labels(labels, ddf, mode=mode, padding="zeros").unique().tolist() == [0]


def test_linear_label_tie_takes_the_smaller_value():
    labels = torch.tensor([[9, 2]]).reshape(1, 1, 1, 2)
    ddf = torch.zeros(1, 2, 1, 2)
    ddf[0, 1, 0, 0] = 0.5
    assert warp_labels(labels, ddf, mode="linear")[0, 0, 0].tolist() == [2, 2]


# --- gradients


def differentiable(*tensors):
    return [t.clone().requires_grad_() for t in tensors]


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 3)])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_gradient_of_warp(shape, mode):
    image, ddf = differentiable(
        noise(1, 1, *shape),
        0.3 * torch.rand(1, len(shape), *shape, generator=seeded(3), dtype=torch.float64) + 0.05,
    )
    assert torch.autograd.gradcheck(lambda i, d: warp(i, d, mode=mode), (image, ddf))


def test_gradient_of_sample_cubic():
    at = 0.1 + 2.7 * torch.rand(1, 2, 3, 2, generator=seeded(5), dtype=torch.float64)
    image, at = differentiable(noise(1, 2, 4, 4), at)
    assert torch.autograd.gradcheck(sample_cubic, (image, at))


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(24, 20, 22), (21, 25, 27), (90, 95)])
@pytest.mark.parametrize("channels", [1, 3])
def test_number_of_threads_changes_no_bit(threads, shape, channels):
    image, ddf = noise(1, channels, *shape).float(), random_field(shape, 4.0).float()
    made = []
    for count in (1, 2, 3):
        threads(count)
        made.append(warp(image, ddf, padding="zeros"))
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])


def test_image_read_in_parts_is_every_voxel_once(threads):
    threads(2)
    shape = (22, 21, 20)
    image = torch.arange(22 * 21 * 20, dtype=torch.float32).reshape(1, 1, *shape)
    made = warp(image, torch.zeros(1, 3, *shape))
    torch.testing.assert_close(made, image, rtol=0, atol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_displaced_reading_is_reading_at_the_coordinates(shape, padding):
    image, ddf = noise(2, 3, *shape).float(), random_field(shape, 3.0, batch=2).float()
    at = displaced_coordinates(ddf)
    assert torch.equal(warp(image, ddf, padding=padding), sample(image, at, padding=padding))
