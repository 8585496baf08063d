"""The random field: replay, batches, isotropy in mm, amplitude, mean, folding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DRDMCore.fields import (
    RandomFieldSettings,
    exp_svf,
    folding_percent,
    published_field,
    random_field_of_mean,
    random_fields,
    random_flows,
    random_svf,
    resize,
    resize_ddf,
)

SMALL = RandomFieldSettings(control_spacing=3.0, scales=3, velocity_sd=4e-3)
SHAPES = [(24, 17), (13, 10, 15)]


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [SMALL, replace(SMALL, second_draw=0.3)])
def test_same_generator_gives_the_same_bits(shape, settings):
    first, again, other = (
        random_fields(shape, [9], seeded(s), settings, target_counts=[3]) for s in (1, 1, 2)
    )
    assert torch.equal(first.ddf, again.ddf) and torch.equal(first.target, again.target)
    assert not torch.equal(first.ddf, other.ddf)
    assert first.ddf.shape == (1, len(shape), *shape) and first.ddf.dtype == torch.float32


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ["squaring", "sequential", "exact"])
def test_sample_of_a_batch_is_the_sample_alone(shape, method):
    settings = replace(SMALL, second_draw=0.3, integration=method)
    counts, targets = [5, 0, 40], [2, 0, 7]
    together = random_fields(shape, counts, seeded(3, 4, 5), settings, target_counts=targets)
    for i, seed in enumerate((3, 4, 5)):
        alone = random_fields(
            shape, counts[i : i + 1], seeded(seed), settings, target_counts=targets[i : i + 1]
        )
        assert torch.equal(together.ddf[i], alone.ddf[0])
        assert torch.equal(together.target[i], alone.target[0])
    assert not together.ddf[1].any() and not together.target[1].any()
    assert float(together.ddf[2].norm()) > 3 * float(together.ddf[0].norm())


def test_one_generator_is_drawn_from_in_order():
    generator = seeded(7)[0]
    both = random_svf((12, 12), [generator, generator], SMALL)
    assert not torch.equal(both[0], both[1])
    assert torch.equal(both[:1], random_svf((12, 12), seeded(7), SMALL))


def test_the_target_comes_from_the_clean_velocity():
    plain = random_fields((16, 16), [6], seeded(1), SMALL, target_counts=[6])
    assert torch.equal(plain.ddf, plain.target)
    noisy = random_fields(
        (16, 16), [6], seeded(1), replace(SMALL, second_draw=0.2), target_counts=[6]
    )
    assert torch.equal(noisy.target, plain.target)
    assert not torch.equal(noisy.ddf, plain.ddf)
    assert random_fields((16, 16), [6], seeded(1), SMALL).target is None


@pytest.mark.parametrize("shape", SHAPES)
def test_the_three_integrations_agree(shape):
    fields = [
        random_fields(shape, [12], seeded(2), replace(SMALL, integration=m)).ddf
        for m in ("sequential", "squaring", "exact")
    ]
    size = float(fields[0].abs().max())
    assert size > 0.5
    for field in fields[1:]:
        assert float((field - fields[0]).abs().max()) < 0.05 * size


# --- isotropy in mm


def statistics_mm(shape, spacing, settings, seeds):
    """Per axis: rms displacement in mm, and correlation at a lag of 8 mm along the axis."""
    fields = random_fields(shape, [1] * len(seeds), seeded(*seeds), settings, spacing=spacing).ddf
    mm = torch.tensor(spacing)
    mm_fields = fields * mm.reshape(1, -1, *[1] * len(shape))
    amplitude = mm_fields.square().mean(dim=[0, *range(2, fields.ndim)]).sqrt()
    variance = mm_fields.square().mean()
    correlation = []
    for axis, step in enumerate(spacing):
        lag = round(8 / step)
        side = shape[axis]
        here = mm_fields.narrow(2 + axis, 0, side - lag)
        there = mm_fields.narrow(2 + axis, lag, side - lag)
        correlation.append(float((here * there).mean() / variance))
    return amplitude, correlation


@pytest.mark.parametrize(
    ("shape", "spacing"), [((48, 24), (1.0, 2.0)), ((12, 40, 20), (4.0, 1.0, 2.0))]
)
def test_field_is_isotropic_in_millimetres(shape, spacing):
    settings = RandomFieldSettings(control_spacing=8.0, scales=2, velocity_sd=1e-3)
    count = 300 if len(shape) == 2 else 40
    amplitude, correlation = statistics_mm(shape, spacing, settings, range(count))
    assert float(amplitude.max() / amplitude.min()) < 1.1, amplitude
    assert max(correlation) - min(correlation) < 0.08, correlation
    assert 0.3 < min(correlation) < 0.95


def test_field_depends_on_the_spacing_only_through_ratios():
    a = random_fields((12, 9), [8], seeded(1), SMALL, spacing=(3.0, 1.5)).ddf
    b = random_fields((12, 9), [8], seeded(1), SMALL, spacing=(2.0, 1.0)).ddf
    torch.testing.assert_close(a, b)


# --- amplitude


@pytest.mark.parametrize("shape", [(20, 14), (10, 12, 8)])
@pytest.mark.parametrize("method", ["squaring", "sequential"])
def test_amplitude_independent_of_control_grid(shape, method):
    """The same draw on a grid of twice the resolution is the same field in mm."""
    coarse = replace(SMALL, integration=method)
    fine = replace(coarse, control_spacing=2 * SMALL.control_spacing)
    twice = tuple(2 * side for side in shape)
    small = random_fields(shape, [20], seeded(3), coarse, spacing=[2.0] * len(shape)).ddf
    large = random_fields(twice, [20], seeded(3), fine, spacing=[1.0] * len(shape)).ddf
    size = float(small.abs().max())
    assert size > 0.5
    assert float((resize_ddf(large, shape) - small).norm()) < 0.03 * float(small.norm())
    ratio = large.square().mean().sqrt() / 2 / small.square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_published_amplitude_is_half_the_side_in_control_points_too_much(side):
    settings = published_field(side)
    assert settings.gain == side / 64 / 2
    assert settings.canvas * side / settings.control_spacing == 64
    published = random_fields((side, side), [5], seeded(1), settings).ddf
    geometric = random_fields(
        (side, side), [5], seeded(1), replace(settings, amplitude="geometric")
    ).ddf
    torch.testing.assert_close(published, geometric * side / 128)


def test_published_settings_are_those_of_the_published_program():
    settings = published_field(256)
    assert settings.scales == 4 and settings.second_draw == 0.08
    assert settings.velocity_sd == pytest.approx(4e-5 * 64)
    assert settings.integration == "sequential" and settings.padding == "border"
    svf = random_svf((256, 256), seeded(*range(20)), settings)
    assert svf.shape == (20, 2, 64, 64)
    # variances of the scales add up; between its points, each is smoothed by the upsampling
    octaves = sum(4.0**k for k in range(4)) ** 0.5
    assert 0.5 < float(svf.std()) / (settings.velocity_sd * octaves) < 1.0


# --- flows and fields of a given mean


@pytest.mark.parametrize("shape", [(16, 24), (8, 12, 16)])
def test_flow_and_velocity_belong_together(shape):
    half = tuple(side // 2 for side in shape)
    settings = replace(SMALL, control_spacing=4.0)
    flows = random_flows(
        shape, [0.0, 0.5, 1.0], seeded(1, 1, 1), settings, full_count=40, svf_shape=half
    )
    assert flows.ddf.shape == (3, len(shape), *shape)
    assert flows.svf.shape == (3, len(shape), *half)
    assert not flows.ddf[0].any() and torch.equal(flows.svf[0], flows.svf[2])
    for i, scale in enumerate((0.0, 0.5, 1.0)):
        again = exp_svf(resize_ddf(flows.svf[i : i + 1] * scale, shape), steps=8)
        inner = (slice(None), slice(None), *[slice(2, -2)] * len(shape))
        error = (again - flows.ddf[i : i + 1])[inner].norm()
        assert float(error) <= 0.12 * float(flows.ddf[i].norm())


@pytest.mark.parametrize(("shape", "spacing"), [((40, 30), None), ((12, 20, 16), (3.0, 1.0, 1.5))])
@pytest.mark.parametrize("mean", [0.3, 2.0])
def test_field_of_a_given_mean_hits_it_and_does_not_fold(shape, spacing, mean):
    settings = RandomFieldSettings(control_spacing=6.0, scales=3)
    field = random_field_of_mean(shape, mean, seeded(4)[0], settings, spacing=spacing)
    unit = torch.tensor(spacing or [1.0] * len(shape)).reshape(1, -1, *[1] * len(shape))
    assert float((field * unit).norm(dim=1).mean()) == pytest.approx(mean, rel=0.006)
    assert folding_percent(field).tolist() == [0]


def test_window_keeps_the_border():
    window = torch.zeros(1, 1, 24, 24)
    window[..., 1:-1, 1:-1] = resize(torch.ones(1, 1, 2, 2), (22, 22))
    field = random_field_of_mean((24, 24), 0.4, seeded(4)[0], SMALL, window=window)
    border = torch.ones(24, 24, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert not field[..., border].any()
    assert float(field.norm(dim=1).mean()) == pytest.approx(0.4, rel=0.006)


@pytest.mark.parametrize("mean", [0.0, -1.0, float("nan"), float("inf")])
def test_mean_must_be_a_positive_number(mean):
    with pytest.raises(ValueError, match="`mean` must be a number > 0"):
        random_field_of_mean((8, 8), mean, seeded(0)[0], SMALL)


def test_mean_out_of_reach_is_named():
    window = torch.zeros(1, 1, 8, 8)
    window[..., 2:-2, 2:-2] = 1
    with pytest.raises(ValueError, match="`mean` of 50 cannot be reached"):
        random_field_of_mean((8, 8), 50.0, seeded(0)[0], SMALL, window=window)


# --- wrong settings


def test_unknown_name_lists_choices():
    for name, choices in {
        "amplitude": "'geometric', 'published'",
        "integration": "'sequential', 'squaring', 'exact'",
        "padding": "'border', 'zeros'",
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` must be one of {choices}, got 'x'"):
            RandomFieldSettings(**{name: "x"})


@pytest.mark.parametrize("name", ["control_spacing", "velocity_sd", "canvas"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_settings_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a number > 0"):
        RandomFieldSettings(**{name: value})


def test_other_wrong_settings_are_named():
    for scales in (0, 1000, 2.5):
        with pytest.raises(ValueError, match="`scales` must be a whole number"):
            RandomFieldSettings(scales=scales)
    with pytest.raises(ValueError, match="`canvas` must be at most 8"):
        RandomFieldSettings(canvas=1e6)
    with pytest.raises(ValueError, match="`second_draw`"):
        RandomFieldSettings(second_draw=float("nan"))
    with pytest.raises(ValueError, match="`spacing` must be 2 numbers > 0"):
        random_svf((8, 8), seeded(0), SMALL, spacing=(1.0, 0.0))
    with pytest.raises(ValueError, match="one entry per sample"):
        random_fields((8, 8), [1, 2], seeded(0), SMALL)
    with pytest.raises(ValueError, match="one entry per sample"):
        random_fields((8, 8), [1], seeded(0), SMALL, target_counts=[1, 2])
