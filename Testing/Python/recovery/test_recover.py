"""`deform` and `recover`: identities, batches, callbacks, windows, memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DRDMCore.errors import MemoryLimitError
from DRDMCore.fields import (
    RandomFieldSettings,
    compose,
    exp_svf,
    random_fields,
    random_flows,
    resize_ddf,
    warp,
)
from DRDMCore.recovery import (
    RecoverySettings,
    VelocityStep,
    deform,
    image_count,
    recover,
    recover_within_memory,
)
from DRDMCore.recovery.recover import _on_cpu

FIELD = RandomFieldSettings(control_spacing=4.0, scales=2, velocity_sd=2e-3)
FEW = RecoverySettings(steps=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(batch: int = 1, shape: tuple[int, ...] = (16, 12), seed: int = 0) -> torch.Tensor:
    small = torch.rand(batch, 1, *[5] * len(shape), generator=seeded(seed))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return torch.nn.functional.interpolate(small, size=shape, mode=mode, align_corners=True)


def start_field(batch: int = 1, shape: tuple[int, ...] = (16, 12)) -> torch.Tensor:
    generators = [seeded(i) for i in range(batch)]
    return random_fields(shape, [60] * batch, generators, FIELD).ddf


# --- deform


@pytest.mark.parametrize("shape", [(17, 12), (9, 8, 11)])
def test_deform_draws_the_field_of_the_level_and_pulls_the_image(shape):
    image = picture(2, shape)
    ddf, moved = deform(image, [40, 5], [seeded(1), seeded(2)], FIELD)
    counts = [image_count(40), image_count(5)]
    expected = random_fields(shape, counts, [seeded(1), seeded(2)], FIELD).ddf
    assert torch.equal(ddf, expected)
    assert torch.equal(moved, warp(image, ddf))
    one = deform(image[1:], 5, seeded(2), FIELD)
    assert torch.equal(one.ddf[0], ddf[1])
    again = deform(image, 40, seeded(1), FIELD)
    assert not torch.equal(again.ddf[0], again.ddf[1])  # one generator, drawn from in order


def test_deform_names_what_is_wrong():
    with pytest.raises(ValueError, match="one entry per sample"):
        deform(picture(2), [1], seeded(), FIELD)
    with pytest.raises(ValueError, match="one entry per sample"):
        deform(picture(2), 1, [seeded()], FIELD)
    with pytest.raises(ValueError, match=r"`level` must lie in 0 .. 79, got 80"):
        deform(picture(), 80, seeded(), FIELD)


# --- recover


@pytest.mark.parametrize("shape", [(13, 18), (9, 10, 8)])
def test_recover_without_labels(published_step, velocity_step, shape):
    """An image is all that is needed; odd, non-cubic shapes come back as they went in."""
    image, ddf = picture(1, shape), start_field(1, shape)
    for build in (published_step, velocity_step):
        result = recover(build(len(shape)), image, ddf, 40, FEW)
        assert result.finished and result.ddf.shape == ddf.shape
        assert torch.equal(result.image, warp(image, result.ddf))
        assert not torch.equal(result.ddf, ddf)


def test_given_start_field_is_composed_with_each_step(nudge):
    image, ddf = picture(), start_field()
    before = ddf.clone()
    result = recover(nudge(2), image, ddf, 40, FEW)
    step = torch.zeros_like(ddf)
    step[:, 0] = 0.5
    expected = ddf
    for _ in range(3):
        expected = compose(expected, step)
    assert torch.equal(result.ddf, expected)
    assert torch.equal(ddf, before)  # the caller's field is left alone
    assert torch.equal(result.image, warp(image, expected))  # the original, interpolated once


def test_paddings_and_modes_are_obeyed(nudge):
    image, ddf = picture(), start_field()
    far = nudge(2, amount=20.0)
    zeros = recover(far, image, ddf, 40, replace(FEW, field_padding="zeros", image_padding="zeros"))
    border = recover(far, image, ddf, 40, FEW)
    assert (zeros.ddf[:, 0] == 20).all() and not (border.ddf[:, 0] == 20).all()
    assert not zeros.image.any() and border.image.any()
    cubic = recover(nudge(2), image, ddf, 40, replace(FEW, image_mode="cubic"))
    assert torch.equal(cubic.image, warp(image, cubic.ddf, mode="cubic"))


def test_callback_is_told_and_stops(nudge):
    told = []

    def stop_at_second(info):
        told.append((info.index, info.total, info.ddf.clone(), info.image.shape))
        return info.index < 2

    result = recover(nudge(2), picture(), start_field(), 40, FEW, callback=stop_at_second)
    assert not result.finished
    assert [(index, total) for index, total, *_ in told] == [(1, 3), (2, 3)]
    assert torch.equal(result.ddf, told[-1][2])
    quiet = recover(nudge(2), picture(), start_field(), 40, FEW, callback=lambda info: None)
    assert quiet.finished


def test_mixed_levels_rest_until_their_turn(nudge, published_step):
    image, ddf = picture(2), start_field(2)
    step = nudge(2)
    moved = recover(step, image, ddf, [40, 10], RecoverySettings(steps=4)).ddf
    assert [len(level) for level, _ in step.calls] == [1, 1, 1, 2]
    alone = recover(nudge(2), image[1:], ddf[1:], 10, RecoverySettings(steps=1)).ddf
    torch.testing.assert_close(moved[1:], alone)
    plan = published_step(2).plan(torch.tensor([3.0, 1.0, 0.0]), start="level", steps=None)
    assert [(a > b).tolist() for a, b in plan] == [
        [True, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    top = published_step(2).plan(torch.tensor([3.0, 1.0]), start="top", steps=None)
    assert len(top) == 80 and all((a > b).all() for a, b in top)


@pytest.mark.parametrize("shape", [(16, 12), (8, 10, 9)])
def test_sample_of_a_batch_is_the_sample_alone(velocity_step, shape):
    """With a random velocity network, whose recovery is not chaotic; to 1e-5 voxel."""
    step, image, ddf = velocity_step(len(shape)), picture(3, shape), start_field(3, shape)
    together = recover(step, image, ddf, [60, 20, 0], FEW)
    assert torch.equal(together.ddf[2], ddf[2])  # level 0 is already recovered
    for i, level in enumerate((60, 20, 0)):
        alone = recover(step, image[i : i + 1], ddf[i : i + 1], level, FEW)
        torch.testing.assert_close(together.ddf[i : i + 1], alone.ddf, rtol=0, atol=1e-5)


def test_one_image_serves_many_fields_and_the_other_way_round(velocity_step):
    step, image, ddf = velocity_step(2), picture(2), start_field(2)
    fields = recover(step, image[:1], ddf, 40, FEW)
    images = recover(step, image, ddf[:1], 40, FEW)
    assert len(fields.ddf) == len(images.image) == 2
    torch.testing.assert_close(fields.ddf[0], images.ddf[0], rtol=0, atol=1e-5)


def test_shared_stack_has_one_field(velocity_step):
    ddf = start_field().expand(3, -1, -1, -1)
    result = recover(velocity_step(2), picture(3), ddf, 40, replace(FEW, shared=True))
    assert torch.equal(result.ddf[0], result.ddf[1]) and torch.equal(result.ddf[0], result.ddf[2])


def test_window_keeps_the_start_field_at_the_border(velocity_step, published_step):
    window = torch.zeros(1, 1, 16, 12)
    window[..., 4:-4, 4:-4] = 1
    border = window[0, 0] == 0
    for build in (velocity_step, published_step):
        ddf = start_field()
        result = recover(build(2), picture(), ddf, 40, FEW, window=window)
        torch.testing.assert_close(result.ddf[..., border], ddf[..., border], rtol=0, atol=1e-5)
        assert not torch.equal(result.ddf, ddf)


def test_low_precision_is_near_and_fields_stay_fp32(velocity_step):
    step, image, ddf = velocity_step(2), picture(), start_field()
    full = recover(step, image, ddf, 40, FEW)
    half = recover(step, image, ddf, 40, replace(FEW, precision="bf16"))
    assert half.ddf.dtype == half.image.dtype == torch.float32
    assert 0 < float((half.ddf - full.ddf).abs().max()) < 0.1


@pytest.mark.parametrize("shape", [(48, 40), (24, 20, 28)])
def test_a_perfect_velocity_network_undoes_the_deformation(known_velocity, shape):
    """exp(V) followed by all steps of exp(-ds V) is the identity."""
    settings = RandomFieldSettings(control_spacing=8.0, scales=2, velocity_sd=4e-3)
    half = tuple(side // 2 for side in shape)
    flows = random_flows(shape, [1.0], [seeded(3)], settings, full_count=30, svf_shape=half)
    start = resize_ddf(exp_svf(flows.svf, steps=8), shape)
    step = VelocityStep(known_velocity(flows.svf), velocity_rms=1.0)
    result = recover(step, picture(1, shape), start, 79)
    inner = (slice(None), slice(None), *[slice(4, -4)] * len(shape))
    before, after = (field[inner].square().mean().sqrt() for field in (start, result.ddf))
    assert float(before) > 0.5
    assert float(after) < 0.06 * float(before), (before, after)


def test_a_perfect_velocity_network_undoes_a_drawn_flow(known_velocity):
    """Nearly: the flow is computed on the control grid, where velocities have kinks."""
    flows = random_flows(
        (96, 80), [1.0], [seeded(3)], RandomFieldSettings(), full_count=80, svf_shape=(48, 40)
    )
    step = VelocityStep(known_velocity(flows.svf), velocity_rms=1.0)
    result = recover(step, picture(1, (96, 80)), flows.ddf, 79)
    before, after = (f[..., 8:-8, 8:-8].square().mean().sqrt() for f in (flows.ddf, result.ddf))
    assert float(after) < 0.1 * float(before), (before, after)


def test_wrong_calls_are_named(nudge):
    with pytest.raises(ValueError, match=r"`level` must have one entry per sample \(2\), got 1"):
        recover(nudge(2), picture(2), start_field(2), [40])
    with pytest.raises(ValueError, match="grid of `image`"):
        recover(nudge(2), picture(1, (9, 9)), start_field(), 40)
    for name in ("start", "image_mode", "image_padding", "field_padding", "precision"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of '"):
            RecoverySettings(**{name: "x"})


@pytest.mark.parametrize("steps", [0, -4, (-1,), (2.5,), "many"], ids=str)
def test_steps_must_be_passes_or_levels(steps):
    with pytest.raises(ValueError, match="`steps` must be a number of passes or whole levels"):
        RecoverySettings(steps=steps)


def test_a_level_off_the_schedule_is_refused(published_step, velocity_step):
    for build in (published_step, velocity_step):
        with pytest.raises(ValueError, match=r"`level` must lie in 0 .. 79"):
            recover(build(2), picture(), start_field(), 80)


# --- memory


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_too_large_a_batch_goes_on_in_halves(nudge, limit):
    image, ddf = picture(5), start_field(5)
    notes = []
    small = recover_within_memory(
        nudge(2, limit=limit), image, ddf, [40] * 5, FEW, note=notes.append
    )
    whole = recover(nudge(2), image, ddf, 40, FEW)
    assert torch.equal(small.ddf, whole.ddf) and torch.equal(small.image, whole.image)
    assert small.finished and notes and all("halves" in note for note in notes)


def test_halves_share_what_the_batch_shares(nudge):
    image, ddf = picture(4), start_field(4)
    for pair in ((image[:1], ddf), (image, ddf[:1])):
        small = recover_within_memory(nudge(2, limit=1), *pair, 40, FEW, note=lambda text: None)
        assert torch.equal(small.ddf, recover(nudge(2), *pair, 40, FEW).ddf)


def test_one_sample_too_large_for_the_cpu_is_said_so(nudge):
    with pytest.raises(MemoryLimitError, match="smaller grid"):
        recover_within_memory(nudge(2, limit=0), picture(), start_field(), 40, FEW)
    shared = replace(FEW, shared=True)
    with pytest.raises(MemoryLimitError, match="smaller grid"):
        recover_within_memory(nudge(2, limit=1), picture(2), start_field(2), 40, shared)


def test_the_cpu_allocator_has_an_error_of_its_own(nudge):
    class Greedy(nudge):
        def __call__(self, image, *rest, **options):
            if len(image) > 1:
                torch.empty(1 << 50)
            return super().__call__(image, *rest, **options)

    small = recover_within_memory(
        Greedy(2), picture(2), start_field(2), 40, FEW, note=lambda text: None
    )
    assert len(small.ddf) == 2


def test_other_errors_are_not_taken_for_want_of_memory(nudge):
    class Broken(nudge):
        def __call__(self, image, *rest, **options):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        recover_within_memory(Broken(2), picture(2), start_field(2), 40, FEW)


def test_on_the_cpu_gives_the_same_and_brings_the_network_back(velocity_step):
    step, image, ddf = velocity_step(2), picture(), start_field()
    result = _on_cpu(step, image, ddf, 40, FEW, None, None, lambda text: None)
    assert torch.equal(result.ddf, recover(step, image, ddf, 40, FEW).ddf)
    assert next(step.parameters()).device == image.device


def test_result_can_be_worked_on(velocity_step):
    """A recovered field may be changed in place and differentiated by the caller."""
    result = recover(velocity_step(2), picture(), start_field(), 40, FEW)
    field = result.ddf
    field += 1
    weight = torch.ones(1, requires_grad=True)
    (warp(picture(), exp_svf(resize_ddf(field, (16, 12))) * weight)).sum().backward()
    assert weight.grad is not None
