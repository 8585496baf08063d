"""Against numbers recorded from the published program (`shared/reference`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DRDMCore.fields import integrate, published_field, warp
from DRDMCore.fields.random_field import _canvas


@pytest.fixture(scope="module")
def cmr2d(shared_reference):
    return np.load(shared_reference / "cmr2d.npz")


@pytest.fixture(scope="module")
def net3d(shared_reference):
    return np.load(shared_reference / "net3d.npz")


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


@pytest.mark.parametrize("count", [1, 7, 80, 198])
def test_sequential_powers_on_the_control_grid(cmr2d, count):
    svf = tensor(cmr2d["dvf_ctl"]) * 64
    ddf = integrate(svf, [count], method="sequential")
    recorded = tensor(cmr2d[f"ddf_ctl_n{count}"]) * 64
    torch.testing.assert_close(ddf, recorded, rtol=0, atol=1e-3)


@pytest.mark.parametrize("count", [1, 7, 80, 198])
def test_sequential_powers_on_the_image_grid(cmr2d, count):
    settings = published_field(256)
    canvas = _canvas((256, 256), settings, None)
    svf = tensor(cmr2d["dvf_ctl"]) * 64
    ddf = integrate(svf, [count], method="sequential", box=canvas.box)
    recorded = tensor(cmr2d[f"ddf_img_n{count}"]) * 256
    ours = canvas.to_image(ddf, settings.gain)
    torch.testing.assert_close(ours, recorded, rtol=0, atol=0.004)


@pytest.mark.parametrize("count", [1, 10, 80])
def test_sequential_powers_in_3d(net3d, count):
    svf = tensor(net3d["power_base"]) * 32
    ddf = integrate(svf, [count], method="sequential")
    torch.testing.assert_close(ddf, tensor(net3d[f"power_n{count}"]) * 32, rtol=0, atol=2e-4)


def test_image_pulled_through_a_recorded_field(net3d):
    moved = warp(tensor(net3d["image"]), tensor(net3d["power_n80"]) * 32)
    torch.testing.assert_close(moved, tensor(net3d["warp_image"]), rtol=0, atol=2e-5)


def test_recorded_start_image(cmr2d):
    ddf = tensor(cmr2d["recover_init_ddf"]) * 256
    moved = warp(tensor(cmr2d["image"]), ddf, mode="bicubic", padding="zeros")
    torch.testing.assert_close(moved, tensor(cmr2d["recover_init_image"]), rtol=0, atol=2e-4)


def test_recorded_final_image(cmr2d):
    ddf = tensor(cmr2d["recover_final_ddf"]) * 256
    moved = warp(tensor(cmr2d["image"]), ddf, mode="bicubic", padding="zeros")
    torch.testing.assert_close(moved, tensor(cmr2d["recover_final_image"]), rtol=0, atol=2e-4)
