"""The networks behind the step interface: shapes, strict loading, precision, recorded outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DRDMCore.fields import exp_svf, resize_ddf
from DRDMCore.recovery import (
    PublishedNetwork,
    PublishedStep,
    VelocityNetwork,
    VelocityStep,
    velocity_network,
)
from DRDMCore.recovery.blocks import channels_last, conv_class, pad_to_multiple


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(*values: float) -> torch.Tensor:
    return torch.tensor(values)


# --- the published network


def test_size_and_names_of_the_published_network(shared_reference):
    assert sum(p.numel() for p in PublishedNetwork(2).parameters()) == 443_435
    assert sum(p.numel() for p in PublishedNetwork(3).parameters()) == 1_313_646
    state = torch.load(shared_reference / "net3d_state.pth", weights_only=True)
    assert len(state) == 193
    network = PublishedNetwork(3)
    table = network.time_embed.weight.clone()
    network.load_state_dict(state, strict=True)
    torch.testing.assert_close(network.time_embed.weight, table, rtol=0, atol=2e-5)


def test_strict_loading_refuses_another_network():
    state = PublishedNetwork(2).state_dict()
    state.pop("conv_out.bias")
    with pytest.raises(RuntimeError, match=r"conv_out\.bias"):
        PublishedNetwork(2).load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match="size mismatch"):
        PublishedNetwork(3).load_state_dict(PublishedNetwork(2).state_dict(), strict=True)
    with pytest.raises(RuntimeError, match="time_embed"):
        PublishedNetwork(2, levels=40).load_state_dict(PublishedNetwork(2).state_dict())


def test_the_time_embedding_is_frozen():
    assert not PublishedNetwork(2).time_embed.weight.requires_grad


def recorded_outputs(step, arrays, level, side):
    """Relative errors of the first and second pass."""
    image, t = torch.from_numpy(arrays["image"]), torch.tensor([level])
    with torch.inference_mode():
        first = step._pass(image, t, False)
        both = step(image, t, t)
    one, two = (torch.from_numpy(arrays[f"net_t{level}_rec{k}"]) * side for k in (1, 2))
    return [float((a - b).norm() / b.norm()) for a, b in ((first, one), (both, two))]


@pytest.mark.parametrize("level", [0, 40, 79])
def test_recorded_outputs_in_3d(shared_reference, level):
    network = PublishedNetwork(3).eval()
    network.load_state_dict(torch.load(shared_reference / "net3d_state.pth", weights_only=True))
    arrays = np.load(shared_reference / "net3d.npz")
    errors = recorded_outputs(PublishedStep(network, side=32), arrays, level, 32)
    assert max(errors) < 1e-4, errors


@pytest.mark.parametrize("level", [0, 5, 40, 79])
def test_recorded_outputs_in_2d(shared_reference, shared_data, level):
    path = shared_data / "cmr_published" / "000000_cmr_recresacnet.pth"
    network = PublishedNetwork(2).eval()
    state = torch.load(path, weights_only=True, map_location="cpu")
    network.load_state_dict(state, strict=True)
    arrays = np.load(shared_reference / "cmr2d.npz")
    first, both = recorded_outputs(PublishedStep(network, side=256), arrays, level, 256)
    assert first < 1e-4
    # The second pass makes more of rounding: what was recorded is 9e-5 from float64, and float32
    # on another processor 2e-4.
    assert both < 5e-4


def test_more_recursions_refine_and_none_is_refused(published_step):
    image = torch.rand(1, 1, 16, 16, generator=seeded())
    once, twice = (published_step(2, recursions=n)(image, levels(9), levels(8)) for n in (1, 2))
    assert not torch.equal(once, twice)
    with pytest.raises(ValueError, match="`recursions` must be at least 1, got 0"):
        published_step(2, recursions=0)


def test_published_displacement_is_limited_to_the_side(published_step):
    step = published_step(2, recursions=1)
    with torch.no_grad():
        step.network.conv_out.bias.fill_(50.0)
    ddf = step(torch.rand(1, 1, 16, 16, generator=seeded()), levels(3), levels(2))
    torch.testing.assert_close(ddf, torch.full_like(ddf, 15.0))


# --- shapes


@pytest.mark.parametrize("shape", [(13, 18), (8, 31), (9, 10, 17), (16, 8, 11)])
def test_non_cubic_keeps_shape(published_step, velocity_step, shape):
    image = torch.rand(2, 1, *shape, generator=seeded())
    for build in (published_step, velocity_step):
        ddf = build(len(shape))(image, levels(40, 20), levels(30, 10))
        assert ddf.shape == (2, len(shape), *shape)
        assert torch.isfinite(ddf).all() and ddf.dtype == torch.float32


@pytest.mark.parametrize("shape", [(13, 18), (3, 8, 11)])
@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_padding_repeats_the_border_and_is_undone(shape, multiple):
    image = torch.rand(2, 1, *shape, generator=seeded())
    padded, box = pad_to_multiple(image, multiple)
    assert all(
        side == max(2 * multiple, -(-old // multiple) * multiple)
        for side, old in zip(padded.shape[2:], shape, strict=True)
    )
    assert torch.equal(padded[(..., *[slice(low, high) for low, high in box])], image)
    assert set(padded.flatten().tolist()) == set(image.flatten().tolist())


# --- the velocity network


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_new_velocity_network_predicts_nothing(dimension):
    network = VelocityNetwork(dimension, widths=(8, 8))
    assert network.multiple == 4
    with torch.no_grad():
        out = network(torch.rand(2, 1, *[8] * dimension, generator=seeded()), levels(0.1, 1.0))
    assert out.shape == (2, dimension, *[4] * dimension) and not out.any()


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_coarse_stem_predicts_at_half_resolution_too(dimension):
    torch.manual_seed(0)
    network = VelocityNetwork(dimension, widths=(8, 16), stem=4)
    assert network.multiple == 8
    torch.nn.init.normal_(network.head.weight)
    image = torch.rand(1, 1, *[16] * dimension, generator=seeded())
    with torch.no_grad():
        out = network(image, levels(0.5))
    assert out.shape == (1, dimension, *[8] * dimension)
    assert out.flatten().unique().numel() == out.numel()  # nothing is repeated


@pytest.mark.parametrize("shape", [(8, 12), (8, 12, 4)])
@pytest.mark.parametrize("n", [2, 4])
def test_channels_become_the_neighbours_that_they_were(shape, n):
    image = torch.rand(2, 1, *shape, generator=seeded())
    coarse = velocity_network._space_to_depth(image, n)
    assert coarse.shape == (2, n ** len(shape), *[side // n for side in shape])
    assert torch.equal(velocity_network._depth_to_space(coarse, n), image)


def test_velocity_step_flows_by_the_amount_between_the_levels(known_velocity):
    velocity = 0.6 * torch.sin(torch.linspace(0, 6, 2 * 8 * 8)).reshape(1, 2, 8, 8)
    step = VelocityStep(known_velocity(velocity), velocity_rms=2.0, gain=1.5)
    image = torch.rand(2, 1, 16, 16, generator=seeded())
    ddf = step(image, levels(79, 79), levels(79, 0))
    assert not ddf[0].any()
    expected = resize_ddf(exp_svf(-3.0 * velocity, steps=3), (16, 16))
    torch.testing.assert_close(ddf[1:], expected)


def test_velocity_plan_ends_at_zero_and_rests_samples_at_level_0(velocity_step):
    plan = velocity_step(2).plan(levels(60.0, 0, 20), start="level", steps=5)
    assert len(plan) == 5
    first, last = plan[0][0], plan[-1][1]
    torch.testing.assert_close(first, levels(60.0, 0, 20))
    assert not last.any()
    for before, after in plan:
        assert (before > after).tolist() == [True, False, True]
    top = velocity_step(2).plan(levels(60.0, 0), start="top", steps=None)
    torch.testing.assert_close(top[0][0], levels(79.0, 79))
    assert len(top) == 8


def test_velocity_plan_refuses_levels_as_steps(velocity_step):
    with pytest.raises(ValueError, match="`steps` must be a number of passes"):
        velocity_step(2).plan(levels(60), start="level", steps=(40, 20))
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        velocity_step(2).plan(levels(60), start="level", steps=0)
    with pytest.raises(ValueError, match=r"`level` must lie in 0 .. 79"):
        velocity_step(2).plan(levels(80), start="level", steps=None)


# --- one stack with one field, window, precision


def test_shared_stack_gets_one_field(published_step, velocity_step):
    image = torch.rand(3, 1, 16, 16, generator=seeded())
    t, below = levels(40, 40, 40), levels(30, 30, 30)
    for build in (published_step, velocity_step):
        step = build(2)
        alone = step(image, t, below)
        assert not torch.equal(alone[0], alone[1])
        shared = step(image, t, below, shared=True)
        assert torch.equal(shared[0], shared[1]) and torch.equal(shared[0], shared[2])


@pytest.mark.parametrize("shape", [(16, 16), (13, 18), (8, 11, 9)])
def test_window_keeps_the_border_fixed(published_step, velocity_step, shape):
    image = torch.rand(1, 1, *shape, generator=seeded())
    window = torch.zeros(1, 1, *shape)
    inner = (slice(None), slice(None), *[slice(3, -3)] * len(shape))
    window[inner] = 1.0
    border = window[0, 0] == 0
    for build in (published_step, velocity_step):
        ddf = build(len(shape))(image, levels(60), levels(20), window=window)
        assert ddf.any()
        assert not ddf[..., border].any()


@pytest.mark.parametrize("kind", ["published", "velocity"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_first_convolution_stays_in_full_precision(published_step, velocity_step, kind, dimension):
    step = (published_step if kind == "published" else velocity_step)(dimension)
    network = step.network
    first = network.b1[0] if kind == "published" else network.stem
    later = network.b1[2] if kind == "published" else network.encoder[0]
    seen = {}

    def note(name):
        return lambda module, inputs, output: seen.update({name: output.dtype})

    hooks = [first.register_forward_hook(note("first")), later.register_forward_hook(note("later"))]
    image = torch.rand(1, 1, *[16] * dimension, generator=seeded())
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        ddf = step(image, levels(40), levels(30))
    for hook in hooks:
        hook.remove()
    assert seen == {"first": torch.float32, "later": torch.bfloat16}
    assert ddf.dtype == torch.float32 and torch.isfinite(ddf).all()


@pytest.mark.parametrize("shape", [(8, 8), (8, 5, 3), (2, 40)])
def test_tiny_images_are_padded(shape):
    image = torch.rand(1, 1, *shape, generator=seeded())
    level = torch.tensor([5.0])
    steps = (
        PublishedStep(PublishedNetwork(len(shape)), side=64),
        VelocityStep(VelocityNetwork(len(shape)), velocity_rms=2.0),
    )
    for step in steps:
        with torch.no_grad():
            ddf = step.eval()(image, level, level - 1)
        assert ddf.shape == (1, len(shape), *shape)
        assert bool(torch.isfinite(ddf).all())


@pytest.mark.parametrize("stride, dilation", [(1, 1), (1, 3), (2, 1)])
@pytest.mark.parametrize("channels_in", [1, 6])
def test_small_convolution_is_the_convolution(stride, dilation, channels_in):
    sizes = {"stride": stride, "padding": dilation, "dilation": dilation}
    conv = conv_class(3)(channels_in, 5, 3, **sizes)
    image = channels_last(torch.rand(1, channels_in, 9, 8, 10, generator=seeded()))
    with torch.no_grad():
        plain = torch.nn.functional.conv3d(image, conv.weight, conv.bias, **sizes)
        torch.testing.assert_close(conv(image), plain, atol=1e-5, rtol=1e-5)
    conv(image).sum().backward()  # where a gradient is wanted it is torch's own
    assert conv.weight.grad is not None and conv.weight.grad.abs().sum() > 0


def test_small_convolution_follows_autocast():
    conv = conv_class(3)(4, 4, 3, padding=1)
    image = torch.rand(1, 4, 8, 8, 8, generator=seeded())
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(image).dtype == torch.bfloat16


def test_bf16_goes_on_after_the_stem(velocity_step):
    network = velocity_step(3).network
    seen = []
    hook = network.encoder[0].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    image = torch.rand(1, 1, 16, 16, 16, generator=seeded())
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        network(image, torch.tensor([0.5]))
    hook.remove()
    assert seen == [torch.bfloat16]
