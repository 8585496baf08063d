"""Convolutions that are done in one go with what follows: the same numbers as one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from DRDMCore.models import import_published
from DRDMCore.recovery import PublishedNetwork, fused
from DRDMCore.recovery.blocks import channels_last

SHAPES = [(9, 14), (6, 7, 10)]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, kind: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return channels_last(torch.randn(*shape, generator=seeded(seed)).to(kind))


def skip_without(kind: torch.dtype, dimension: int) -> None:
    if not fused._is_fused(kind, dimension):
        pytest.skip(f"this torch and this processor do not fuse {kind} in {dimension}D")


def convolution(dimension: int, dilation: int = 1) -> nn.Conv2d | nn.Conv3d:
    make = {2: nn.Conv2d, 3: nn.Conv3d}[dimension]
    torch.manual_seed(0)
    return make(6, 6, 3, padding=dilation, dilation=dilation)


@pytest.mark.parametrize("kind", CLOSE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dilation", [1, 3])
def test_the_fused_numbers_are_the_plain_ones(kind, shape, dilation):
    skip_without(kind, len(shape))
    conv = convolution(len(shape), dilation)
    image, other = noise(2, 6, *shape, kind=kind), noise(2, 6, *shape, kind=kind, seed=1)
    one = conv.to(torch.float32)(image.float())  # with gradients: torch's own
    expected = F.leaky_relu(one, fused.SLOPE), F.leaky_relu(one + other.float(), fused.SLOPE)
    with torch.no_grad(), fused.weights_kept():
        for _ in range(2):  # made, then kept
            found = fused.activated(conv, image), fused.activated_sum(conv, image, other.clone())
            for ours, theirs in zip(
                (fused.convolved(conv, image), *found), (one, *expected), strict=True
            ):
                assert ours.dtype == kind
                torch.testing.assert_close(ours.float(), theirs, atol=CLOSE[kind], rtol=CLOSE[kind])


@pytest.mark.parametrize("kind", CLOSE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [1, 2])
def test_joined_is_the_shifted_concatenation(kind, shape, batch):
    skip_without(kind, len(shape))
    make = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[len(shape)]
    conv = make(6, 4, 4, stride=2, padding=1)
    image = noise(batch, 6, *shape, kind=kind)
    skip = noise(batch, 3, *[2 * side for side in shape], kind=kind, seed=1)
    shift = torch.randn(batch, 7, generator=seeded(2))
    up = torch.cat([skip.float(), conv(image.float())], dim=1)
    expected = up + shift.reshape(batch, 7, *[1] * len(shape))
    for context in (fused.weights_kept(), torch.no_grad()):
        with torch.no_grad(), context, torch.autocast("cpu", kind, enabled=kind != torch.float32):
            found = fused.joined(skip.clone(), conv, image, shift)
        torch.testing.assert_close(found.float(), expected, atol=CLOSE[kind], rtol=CLOSE[kind])


@pytest.mark.parametrize("kind", CLOSE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [1, 2])
def test_norm_is_the_instance_norm_of_each_sample(kind, shape, batch):
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[len(shape)](6, affine=True)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(6, generator=seeded()))
        norm.bias.copy_(torch.rand(6, generator=seeded(1)))
    image = noise(batch, 6, *shape, kind=kind) * 0.01 + 5  # a mean that would cancel the squares
    expected = norm(image.float())
    with torch.no_grad():
        found = fused.normed(norm, image.clone())
    assert found.dtype == kind and found.stride(1) == 1
    torch.testing.assert_close(found.float(), expected, atol=10 * CLOSE[kind], rtol=CLOSE[kind])


def network(dimension: int = 2) -> PublishedNetwork:
    torch.manual_seed(0)
    return PublishedNetwork(dimension).eval()


@pytest.mark.parametrize("shape", [(32, 24), (16, 16, 24)])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_pass_is_the_same_with_and_without_gradients(shape, batch):
    image, level = torch.rand(batch, 1, *shape, generator=seeded()), torch.tensor([40] * batch)
    ours = network(len(shape))
    with_gradients = ours(image, level)
    with torch.no_grad(), fused.weights_kept():
        without = ours(image, level)
    torch.testing.assert_close(without, with_gradients.detach(), atol=1e-5, rtol=1e-4)
    with_gradients.square().sum().backward()
    gradients = [each.grad for each in ours.parameters() if each.requires_grad]
    assert all(each is not None and bool(torch.isfinite(each).all()) for each in gradients)


def test_an_image_is_left_alone():
    image = torch.rand(1, 1, 16, 16, generator=seeded())
    before = image.clone()
    with torch.no_grad():
        network()(image, torch.tensor([3]))
    assert torch.equal(image, before)


@pytest.fixture
def without_onednn():
    torch._C._set_mkldnn_enabled(False)
    yield
    torch._C._set_mkldnn_enabled(True)


def test_without_onednn_it_is_done_one_by_one(without_onednn):
    image, level, ours = torch.rand(1, 1, 32, 32, generator=seeded()), torch.tensor([40]), network()
    with torch.no_grad():
        assert fused._fused_type(image) is None
        one_by_one = ours(image, level)
        torch._C._set_mkldnn_enabled(True)
        at_once = ours(image, level)
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=1e-4)


def test_kept_weights_end_with_their_time():
    image, level, ours = torch.rand(1, 1, 16, 16, generator=seeded()), torch.tensor([40]), network()
    with torch.no_grad():
        with fused.weights_kept():
            before = ours(image, level)
        ours.conv_out.weight.mul_(2)
        with fused.weights_kept():
            after = ours(image, level)
        torch.testing.assert_close(after, ours(image, level))
    assert float((after - before).abs().max()) > 1e-3


@pytest.mark.parametrize("level", [0, 20, 48, 79])
def test_bf16_of_the_published_weights_is_within_a_thousandth(shared_data, shared_reference, level):
    skip_without(torch.bfloat16, 2)
    path = shared_data / "cmr_published" / "000000_cmr_recresacnet.pth"
    published = import_published(path, name="cmr").step.network
    image = torch.from_numpy(np.load(shared_reference / "cmr2d.npz")["image"])
    with torch.no_grad():
        full = published(image, torch.tensor([level]))
        with torch.autocast("cpu", torch.bfloat16):
            reduced = published(image, torch.tensor([level])).float()
    assert 0 < float((full - reduced).abs().max()) < 1e-3
