"""The configuration files of the published program, unchanged, drive the training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from DRDMCore.errors import InputError, OutputError
from DRDMCore.imaging import phantom, write_volume
from DRDMCore.models import PublishedConfig, load_model, model_of, read_config, weights_of
from DRDMCore.models.published_config import KEYS
from DRDMCore.pipelines.augment import augment, published_job
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.recovery import PublishedNetwork
from DRDMCore.training.published_settings import (
    PublishedWeights,
    describe_published,
    published_settings,
    run_folder,
)
from DRDMCore.training.trainer import train

CONFIGURATIONS = Path(__file__).resolve().parents[3] / "Resources" / "Configurations"


def config_of(name: str = "cmr", **overrides: Any) -> PublishedConfig:
    return read_config(CONFIGURATIONS / f"config_{name}.yaml", overrides)


def test_every_training_key_reaches_the_settings():
    config = config_of(
        **{"img_size": 64, "timesteps": 40, "v_scale": 8e-5, "batchsize": 3, "epoch": 7},
        **{"start_noise_step": 10, "lr": 2e-4, "noise_scale": 0.2, "ddf_pad_mode": "zeros"},
    )
    made = published_settings(config, Path("root"))
    assert made.data == str(Path("root/Data/Src_data/cmr")) and made.name == "cmr_recresacnet"
    assert (made.grid.dimension, made.grid.mode, made.grid.side) == (2, "fov", 64)
    assert made.shape == (64, 64) and made.objective == "published" and made.recursions == 2
    assert (made.levels, made.batch, made.epochs, made.steps) == (40, 3, 7, None)
    assert made.field.velocity_sd == pytest.approx(8e-5 * 64)
    assert (made.field.second_draw, made.field.padding) == (0.08, "zeros")
    assert (made.optimizer, made.learning_rate, made.decay) == ("adamw", 2e-4, "constant")
    assert (made.weight_decay, made.warmup, made.precision) == (0.0, 0.0, "bf16")
    varied = made.augmentation
    assert (varied.gain, varied.offset, varied.floor) == (0.2, 0.2, 0.4)
    assert (varied.share, varied.rotation_deg, varied.shift) == (0.8, 180.0, 0.125)
    assert (varied.flips, varied.autocontrast, varied.crop) == ((0,), 0.5, 1.0)
    assert (varied.scaling, varied.gamma, varied.noise) == (0.0, 0.0, 0.0)


def test_volumes():
    made = published_settings(config_of("lct"))
    assert made.shape == (128, 128, 128) and made.field.control_spacing == 4.0
    varied = made.augmentation
    assert (varied.crop, varied.shift, varied.flips, varied.autocontrast) == (0.6, 0.0, (), 0.0)


def test_every_key_is_used_or_said_to_be_ignored():
    """A change of a key changes the settings, the weights' names or the device, or it is named."""
    said = set(re.findall(r"\w+", describe_published(config_of())[0]))
    used = {"data_name", "net_name", "ndims", "num_input_chn", "img_size", "timesteps", "v_scale"}
    used |= {"ddf_pad_mode", "device", "batchsize", "epoch", "epoch_per_save", "lr", "noise_scale"}
    assert used | (said & set(KEYS)) == set(KEYS) and not used & said


def test_what_cannot_be_trained_is_named():
    config = config_of()
    with pytest.raises(InputError, match="lacks lr"):
        kept = {key: value for key, value in config.training.items() if key != "lr"}
        published_settings(replace(config, training=kept))
    with pytest.raises(InputError, match="`img_size` must be a multiple of 8 to train, got 100"):
        published_settings(config_of(img_size=100))
    with pytest.raises(InputError, match=r"`noise_scale` must be at most 0\.5, got 0\.7"):
        published_settings(config_of(noise_scale=0.7))


def test_weights_are_kept_at_the_published_epochs(tmp_path):
    writer = PublishedWeights(config_of(epoch_per_save=3), tmp_path)
    network = nn.Linear(1, 1)
    for step in range(1, 17):  # 8 epochs of 2 steps
        writer(step, 2, 16, network)
    kept = sorted(path.name for path in (tmp_path / "models" / "cmr_recresacnet").iterdir())
    assert kept == [f"{epoch:06d}_cmr_recresacnet.pth" for epoch in (0, 3, 6, 7)]


def test_weights_of_others_are_not_written_over(tmp_path):
    config = config_of()
    writer = PublishedWeights(config, tmp_path)
    writer.require_free(going_on=False)
    writer(1, 1, 1, nn.Linear(1, 1))
    writer.require_free(going_on=True)
    with pytest.raises(OutputError, match=r"must be free of weights.*000000_cmr_recresacnet\.pth"):
        writer.require_free(going_on=False)
    folder = tmp_path / "file"
    folder.write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        PublishedWeights(config, folder)(1, 1, 1, nn.Linear(1, 1))


TINY = {"img_size": 32, "epoch": 2, "batchsize": 4, "model_id_str": "000001", "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, PublishedConfig]:
    """A root in the published layout with a tiny run of two epochs."""
    root = tmp_path_factory.mktemp("published")
    for seed in range(3):
        image, labels = phantom("torso-3d", seed, shape=(8, 16, 20))
        name = f"patient{seed:03d}_frame01"
        write_volume(image, root / "Data" / "Src_data" / "cmr" / f"{name}.nii.gz")
        if seed == 0:
            target = root / "Data" / "Tgt_data" / "cmr"
            write_volume(image, target / "Tr" / f"{name}.nii.gz")
            write_volume(labels, target / "Gt" / f"{name}_gt.nii.gz")
    config = config_of(**TINY, timesteps=20, start_noise_step=5, aug_coe=1)
    settings = replace(published_settings(config, root), recoveries=1)
    train(settings, run_folder(config, root), on_step=PublishedWeights(config, root))
    return root, config


def test_a_run_leaves_published_weights_and_a_model(trained):
    root, config = trained
    folder = run_folder(config, root)
    weights = sorted(path.name for path in folder.glob("*.pth"))
    assert weights == ["000000_cmr_recresacnet.pth", "000001_cmr_recresacnet.pth"]
    states = [torch.load(folder / name, weights_only=True) for name in weights]
    PublishedNetwork(2, levels=20).load_state_dict(states[0], strict=True)
    assert not torch.equal(states[0]["conv_out.weight"], states[1]["conv_out.weight"])
    model = load_model(folder / "cmr_recresacnet.safetensors")
    facts = model.card.training
    assert facts["steps"] == 2 * 4 and facts["objective"] == "published"  # 2 x 8 slices in fours


def test_weights_are_the_averaged_ones(trained):
    root, config = trained
    last = torch.load(run_folder(config, root) / "last.ckpt", weights_only=True)
    state = torch.load(weights_of(config, root), weights_only=True)
    assert all(torch.equal(state[key], value) for key, value in last["average"].items())
    assert not torch.equal(state["conv_out.weight"], last["network"]["conv_out.weight"])


def test_the_augmentation_of_the_same_file_finds_the_weights(trained):
    root, config = trained
    model = model_of(config, root)
    assert model.levels == 20 and model.grid.side == 32
    settings = SamplingSettings(border="free", max_folding=100.0)
    summary = augment(published_job(config, root, sampling=settings, slices=(4,)))
    assert summary["complete"] and summary["done"] == 2
    name = "Patient0000_Slice000004_AugImg0000_NoiseStep0005.nii.gz"
    assert (root / "Data" / "Aug_data" / "cmr" / "img" / name).is_file()
