"""The same numbers on a GPU as on the CPU; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DRDMCore import fields
from DRDMCore.imaging import phantom
from DRDMCore.models import load_model
from DRDMCore.pipelines.sampling import make_sample, see
from DRDMCore.pipelines.settings import SamplingSettings, resolved
from DRDMCore.recovery import PublishedNetwork, PublishedStep

pytestmark = pytest.mark.gpu
SHAPES = ((40, 33), (20, 17, 24))


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def made_up(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, labels and a smooth field."""
    image = torch.rand(2, 1, *shape, generator=seeded())
    labels = torch.randint(0, 4, image.shape, generator=seeded())
    settings = fields.RandomFieldSettings(control_spacing=3.0)
    ddf = fields.random_fields(shape, [60, 20], [seeded(), seeded()], settings).ddf
    return image, labels, ddf


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_warp(shape, padding, mode, gpu):
    image, _, ddf = made_up(shape)
    there = fields.warp(image.to(gpu), ddf.to(gpu), mode=mode, padding=padding)
    torch.testing.assert_close(
        there.cpu(), fields.warp(image, ddf, mode=mode, padding=padding), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_warp_labels(shape, mode, gpu):
    _, labels, ddf = made_up(shape)
    there = fields.warp_labels(labels.to(gpu), ddf.to(gpu), mode=mode).cpu()
    differ = (there != fields.warp_labels(labels, ddf, mode=mode)).double().mean()
    assert differ < 1e-3  # a coordinate half way between voxels may be rounded the other way


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ["sequential", "squaring", "exact"])
def test_integration(shape, method, gpu):
    svf = 0.05 * torch.randn(1, len(shape), *shape, generator=seeded())
    here = fields.integrate(svf, [37], method=method)
    there = fields.integrate(svf.to(gpu), [37], method=method)
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_measures_and_algebra(shape, gpu):
    _, _, ddf = made_up(shape)
    far = ddf.to(gpu)
    for function in (
        fields.jacobian_determinant,
        fields.folding_percent,
        lambda d: fields.motion_separability(d, 3),
        lambda d: fields.compose(d, 0.5 * d),
        lambda d: fields.resize_ddf(d, [side + 5 for side in shape]),
        lambda d: fields.invert(d).ddf,
    ):
        torch.testing.assert_close(function(far).cpu(), function(ddf), rtol=0, atol=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_gives_the_same_field(shape, gpu):
    settings = fields.published_field(max(shape))
    here, there = (
        fields.random_fields(shape, [80], [seeded()], settings, device=device).ddf.cpu()
        for device in ("cpu", gpu)
    )
    torch.testing.assert_close(there, here, rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0, 40, 79])
def test_recorded_outputs_of_the_network(level, gpu, shared_reference):
    recorded = np.load(shared_reference / "net3d.npz")
    weights = torch.load(shared_reference / "net3d_state.pth", weights_only=True)
    network = PublishedNetwork(3)
    network.load_state_dict(weights)
    step = PublishedStep(network, side=32).to(gpu).eval()
    image = torch.from_numpy(recorded["image"]).to(gpu)
    at = torch.tensor([float(level)], device=gpu)
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        ddf = step(image, at, at - 1).cpu()
    wanted = 32 * torch.from_numpy(recorded[f"net_t{level}_rec2"])
    assert float((ddf - wanted).norm() / wanted.norm()) < 1e-3


def test_a_sample_of_a_seed(gpu):
    image, labels = phantom("heart-2d", 900)
    samples = []
    for device in ("cpu", gpu):
        model = load_model("phantom-heart-2d", device=device)
        settings = resolved(SamplingSettings(), model)
        samples.append(make_sample(model, see(model, image, labels, settings), 7, settings))
    here, there = samples
    miss = np.abs(here.field.vectors_mm_lps - there.field.vectors_mm_lps)
    assert miss.max() < 0.05  # mm; this network is not chaotic
    assert (here.labels.array != there.labels.array).mean() < 1e-3
