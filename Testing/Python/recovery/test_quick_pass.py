"""A velocity network's pass without gradients: the numbers of the plain way, in less time."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from DRDMCore.recovery import VelocityNetwork, fused, velocity_network
from DRDMCore.recovery.blocks import channels_last, conv_class, neighbours_at_once

SHAPES = [(24, 32), (8, 12, 16)]
LEVELS = [(0.5,), (0.5, 0.5, 0.5), (0.1, 0.5, 0.9)]
KINDS = [torch.float32, torch.bfloat16]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rms(image: torch.Tensor) -> float:
    return float(image.square().mean().sqrt())


def network(dimension: int, *, strided: bool = False, stem: int = 2) -> VelocityNetwork:
    made = VelocityNetwork(dimension, widths=(8, 16), strided=strided, stem=stem).eval()
    generator = seeded(dimension)
    with torch.no_grad():
        for each in made.parameters():
            fan = each[0].numel() if each.ndim > 1 else 8
            each.copy_(torch.randn(each.shape, generator=generator) / fan**0.5)
    return made


def images(batch: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(batch, 1, *shape, generator=seeded())


def one_pass(ours, image, scale, kind=torch.float32, *, gradients: bool, **more) -> torch.Tensor:
    """The pass by the plain way where gradients are wanted, by the quick one where not."""
    reduced = kind != torch.float32
    with (
        torch.set_grad_enabled(gradients),
        torch.autocast("cpu", torch.bfloat16 if kind == torch.float32 else kind, enabled=reduced),
    ):
        return ours(image, torch.tensor(scale), **more)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", LEVELS)
@pytest.mark.parametrize("keeps", [False, True])
def test_quick_numbers_are_the_plain_ones(shape, scale, keeps):
    ours, image = network(len(shape)), images(len(scale), shape)
    plain = one_pass(ours, image, scale, gradients=True).detach()
    with fused.weights_kept() if keeps else contextlib.nullcontext():
        for _ in range(2):  # kept weights are made, then used
            quick = one_pass(ours, image, scale, gradients=False)
            assert quick.dtype == torch.float32 and rms(plain) > 0.1
            torch.testing.assert_close(quick, plain, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", LEVELS)
def test_quick_bf16_is_no_farther_from_float32_than_the_plain(shape, scale):
    ours, image = network(len(shape)), images(len(scale), shape)
    exact = one_pass(ours, image, scale, gradients=False)
    plain = one_pass(ours, image, scale, torch.bfloat16, gradients=True).detach()
    quick = one_pass(ours, image, scale, torch.bfloat16, gradients=False)
    assert quick.dtype == torch.float32
    assert 0 < rms(quick - exact) < min(1.25 * rms(plain - exact), 0.02 * rms(exact))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_reduced_precision_without_onednn(kind):
    ours, image = network(2), images(2, SHAPES[0])
    exact = one_pass(ours, image, (0.2, 0.5), gradients=False)
    torch._C._set_mkldnn_enabled(False)
    try:
        reduced = one_pass(ours, image, (0.2, 0.5), kind, gradients=False)
        full = one_pass(ours, image, (0.2, 0.5), gradients=False)
    finally:
        torch._C._set_mkldnn_enabled(True)
    assert 0 < rms(reduced - exact) < 0.02 * rms(exact)
    torch.testing.assert_close(full, exact, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dimension, stem", [(2, 4), (3, 4)])
def test_quick_numbers_of_a_strided_network_with_a_coarse_stem(dimension, stem):
    ours = network(dimension, strided=True, stem=stem)
    image, stride = images(2, (16,) * dimension), torch.tensor([0.2, 1.0])
    plain, quick = (
        one_pass(ours, image, (0.5, 0.5), gradients=each, stride=stride) for each in (True, False)
    )
    torch.testing.assert_close(quick, plain.detach(), atol=2e-5, rtol=1e-5)
    assert rms(quick[0] - quick[1]) > 1e-3  # the strides of samples are their own


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_does_not_depend_on_the_levels_of_the_others(shape):
    ours, image = network(len(shape)), images(3, shape)
    together = one_pass(ours, image, LEVELS[2], gradients=False)
    alone = [
        one_pass(ours, each, (scale,), gradients=False)
        for each, scale in zip(image.split(1), LEVELS[2], strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_the_quick_numbers_and_not_touched_by_them(shape):
    ours, image = network(len(shape)), images(2, shape)

    def gradients() -> list[torch.Tensor]:
        loss = one_pass(ours, image, (0.1, 0.6), gradients=True).square().mean()
        return list(torch.autograd.grad(loss, list(ours.parameters())))

    before = gradients()
    with fused.weights_kept():
        one_pass(ours, image, (0.1, 0.6), gradients=False)
        after = gradients()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    def moved(amount: float) -> float:
        """The loss a way down the gradient."""
        with torch.no_grad():
            for each, slope in zip(ours.parameters(), before, strict=True):
                each += amount * slope
        return float(one_pass(ours, image, (0.1, 0.6), gradients=False).square().mean())

    slope = sum(float(each.square().sum()) for each in before)
    step = 1e-3 / slope**0.5
    above = moved(step)
    below = moved(-2 * step)
    assert above - below == pytest.approx(2 * step * slope, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_in", [8, 16])
def test_images_are_left_alone(kind, shape, channels_in):
    ours, image = network(len(shape)), images(1, shape)
    block = ours.encoder[0] if channels_in == 8 else ours.decoder[0]
    assert isinstance(block.skip, nn.Identity) == (channels_in == 8)
    features = torch.randn(1, channels_in, *shape, generator=seeded(1)).to(kind)
    for each in (image, features, channels_last(features)):
        before = each.clone()
        with torch.no_grad(), torch.autocast("cpu", enabled=kind == torch.bfloat16):
            if each is image:
                ours(each, torch.tensor([0.5]))
            else:
                block(each, torch.zeros(1, 64))
        assert torch.equal(each, before)


def test_changed_weights_count_at_once():
    ours, image = network(2), images(1, SHAPES[0])
    before = one_pass(ours, image, (0.5,), gradients=False)
    block = ours.encoder[1]
    changed = (ours.head, ours.down[0], block.conv1, block.norm1, block.norm2, block.modulation)
    with torch.no_grad():
        for each in changed:
            each.weight.mul_(1.3)
    after = one_pass(ours, image, (0.5,), gradients=False)
    plain = one_pass(ours, image, (0.5,), gradients=True).detach()
    torch.testing.assert_close(after, plain, atol=2e-5, rtol=1e-5)
    assert rms(after - before) > 1e-2


@pytest.mark.parametrize("channels", [8, 16, 24])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 2])
def test_norm_of_bf16_is_right_to_its_last_digit(channels, shape, rows):
    norm = nn.GroupNorm(channels // 8, channels)
    weight, bias = torch.rand(2, rows, channels, generator=seeded()) + 0.5
    image = torch.randn(2, channels, *shape, generator=seeded(1)).bfloat16()
    axes = (rows, channels, *[1] * len(shape))
    normed = F.group_norm(image.double(), channels // 8)
    exact = normed * weight.reshape(axes) + bias.reshape(axes)
    found = velocity_network._normed(norm, channels_last(image), weight, bias)
    assert found.stride(1) == 1
    torch.testing.assert_close(found.bfloat16().double(), exact, rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 8), (6, 9), (5, 6, 12), (5, 6, 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_neighbours_at_once_are_the_convolution(shape, batch):
    for channels_in, channels in itertools.product((6, 24), (1, 2, 3, 5)):
        conv = conv_class(len(shape))(channels_in, channels, 3, padding=1)
        image = torch.randn(batch, channels_in, *shape, generator=seeded())
        expected = conv(image)
        for each in (image, channels_last(image)):
            with torch.no_grad():
                found = neighbours_at_once(conv, each)
            torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(neighbours_at_once(conv, image), expected)
        assert neighbours_at_once(conv, image).requires_grad
