"""The configuration files of the published program, unchanged, drive the augmentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from DRDMCore.errors import InputError, MissingFileError, ModelError
from DRDMCore.imaging import apply_field, read_field, read_image, read_labels, write_volume
from DRDMCore.imaging.phantoms import phantom
from DRDMCore.models import PublishedConfig, model_of, read_config, sha256_of, weights_of
from DRDMCore.models.published_config import KEYS
from DRDMCore.pipelines.augment import augment, published_job
from DRDMCore.pipelines.published_config import (
    LevelSchedule,
    describe_ignored,
    sampling_of,
    schedule_of,
)
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.recovery import PublishedNetwork

CONFIGURATIONS = Path(__file__).resolve().parents[3] / "Resources" / "Configurations"
NAMES = ("cmr", "lct")
LEVELS = 4
SMALL = {"img_size": 16, "timesteps": LEVELS, "start_noise_step": 1, "aug_coe": 2}


def config_of(name: str = "cmr", **overrides: Any) -> PublishedConfig:
    return read_config(CONFIGURATIONS / f"config_{name}.yaml", overrides)


def write_weights(root: Path, dimension: int, name: str, *, levels: int = LEVELS) -> Path:
    torch.manual_seed(0)
    network = PublishedNetwork(dimension, levels=levels)
    with torch.no_grad():
        network.conv_out.weight.mul_(0.01)
    path = root / "models" / f"{name}_recresacnet" / f"000000_{name}_recresacnet.pth"
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two stacks in the published layout, with 2D weights of few levels."""
    target = tmp_path / "Data" / "Tgt_data" / "cmr"
    for seed, name in enumerate(("patient001_frame01", "patient004_frame12")):
        image, labels = phantom("torso-3d", seed, shape=(8, 16, 20))
        write_volume(image, target / "Tr" / f"{name}.nii.gz")
        write_volume(labels, target / "Gt" / f"{name}_gt.nii.gz")
    write_weights(tmp_path, 2, "cmr")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_files_of_this_repository_have_the_published_values(name: str, shared_reference: Path):
    published = yaml.safe_load(
        (shared_reference / f"config_{name}.yaml").read_text(encoding="utf-8")
    )
    ours = yaml.safe_load((CONFIGURATIONS / f"config_{name}.yaml").read_text(encoding="utf-8"))
    assert ours == published
    assert config_of(name) == read_config(shared_reference / f"config_{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_accounted_for(name: str):
    values = yaml.safe_load((CONFIGURATIONS / f"config_{name}.yaml").read_text(encoding="utf-8"))
    assert set(values) == set(KEYS)
    config = config_of(name)
    kept = {each.name: getattr(config, each.name) for each in fields(config)}
    kept |= kept.pop("training")
    assert {**kept, "patients_list": list(kept["patients_list"])} == values
    notes = " ".join(describe_ignored(config))
    assert all(key in notes for key in ("epoch", "epoch_per_save", "lr", "noise_scale"))


def test_unknown_and_missing_keys_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"got start_noise_stpe"):
        config_of(start_noise_stpe=3)
    values = yaml.safe_load((CONFIGURATIONS / "config_cmr.yaml").read_text(encoding="utf-8"))
    del values["aug_coe"], values["img_size"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"lacks img_size, aug_coe"):
        read_config(path)
    path.write_text("- a list\n", encoding="utf-8")
    with pytest.raises(InputError, match="key: value"):
        read_config(path)
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match="not YAML"):
        read_config(path)
    with pytest.raises(MissingFileError):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net_name", "unet"),
        ("ndims", 4),
        ("num_input_chn", 3),
        ("img_size", 0),
        ("img_size", "256"),
        ("timesteps", 80.0),
        ("v_scale", "small"),
        ("v_scale", -1),
        ("v_scale", float("inf")),
        ("ddf_pad_mode", "reflect"),
        ("resample_mode", "linear"),
        ("batchsize", 0),
        ("aug_coe", True),
        ("model_id_str", 0),
        ("patients_list", 3),
        ("patients_list", ["a"]),
        ("start_noise_step", 80),
        ("noise_step", -1),
        ("data_name", ""),
        ("lr", "x"),
        ("epoch", 0),
        ("epoch_per_save", 0),
    ],
)
def test_unusable_values_are_refused_by_key(key: str, value: object):
    with pytest.raises(InputError, match=f"`{key}`"):
        config_of(**{key: value})


def test_text_that_yaml_does_not_take_for_a_number_is_one():
    assert config_of(v_scale="4e-5").v_scale == 4e-5


def test_bicubic_is_refused_in_3d():
    with pytest.raises(InputError, match=r"resample_mode.*3D"):
        config_of("lct", resample_mode="bicubic")


def test_levels_rise_on_every_second_repeat():
    """Level 48 and step 2: raised after repeats 0, 2, 4 ..; with an odd start after 1, 3, 5 .."""
    even, odd = LevelSchedule(48, 2, 79), LevelSchedule(47, 1, 79)
    assert [even.level(repeat) for repeat in range(6)] == [48, 50, 50, 52, 52, 54]
    assert [odd.level(repeat) for repeat in range(6)] == [47, 47, 48, 48, 49, 49]
    assert not even.is_limited(31) and even.is_limited(32)
    assert even.level(30) == 78 and even.level(31) == 79
    assert any("beyond the highest level" in note for note in describe_ignored(config_of()))
    lung = schedule_of(config_of("lct"))
    assert lung.level(31) == 79 and lung.is_limited(32)


def test_keys_reach_the_model_and_the_sampling(tmp_path: Path):
    write_weights(tmp_path, 2, "cmr")
    config = config_of(**SMALL, v_scale=8e-5, ddf_pad_mode="zeros", padding_mode="border")
    model = model_of(config, tmp_path)
    assert model.grid.side == 16 and model.step.side == 16
    assert model.field.velocity_sd == pytest.approx(8e-5 * 64)
    assert model.field.padding == "zeros" and model.recovery.field_padding == "border"
    assert model.recovery.image_mode == "bicubic" and model.recovery.image_padding == "zeros"
    assert model.recovery.start == "top"
    assert model.sha256 == sha256_of(weights_of(config, tmp_path))
    sampling = sampling_of(config)
    assert (sampling.interpolation, sampling.padding) == ("cubic", "zeros")
    assert sampling.border == "free"
    assert sampling_of(config, SamplingSettings(max_folding=1.0)).border == "fixed"
    nearest = sampling_of(replace(config, resample_mode="nearest", img_pad_mode="border"))
    assert (nearest.interpolation, nearest.padding) == ("nearest", "border")


@pytest.mark.parametrize(
    ("overrides", "key"),
    [({"timesteps": 80}, "timesteps"), ({"ndims": 3, "resample_mode": "bilinear"}, "ndims")],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, overrides: dict, key: str):
    write_weights(tmp_path, 2, "cmr")
    with pytest.raises(ModelError, match=f"`{key}`"):
        model_of(config_of(**{**SMALL, **overrides}), tmp_path)


def test_missing_weights_are_named(tmp_path: Path):
    with pytest.raises(ModelError, match="000007_cmr_recresacnet"):
        model_of(config_of(**SMALL, model_id_str="000007"), tmp_path)


def run(root: Path, config: PublishedConfig, **more: Any) -> dict[str, Any]:
    settings = SamplingSettings(border="free", max_folding=100.0)
    return augment(published_job(config, root, sampling=settings, **more))


@pytest.fixture
def names_in(root: Path) -> Callable[[str], set[str]]:
    def find(folder: str) -> set[str]:
        return {path.name for path in (root / "Data" / "Aug_data" / "cmr" / folder).iterdir()}

    return find


def test_published_names_exactly(root: Path, names_in: Callable[[str], set[str]]):
    summary = run(root, config_of(**SMALL), slices=(4, 9))
    assert summary["complete"] and summary["done"] == 6
    samples = {"0000_NoiseStep0001", "0001_NoiseStep0001"}
    stems = ("Patient0001_Slice000004", "Patient0004_Slice000009")
    warped = {f"{s}_{kind}Img{n}" for s in stems for kind in ("Aug", "Noise") for n in samples}
    originals = {f"{stem}_ORG_NA" for stem in stems}
    assert names_in("img") == {f"{name}.nii.gz" for name in warped | originals}
    assert names_in("msk") == {f"{name}_GT.nii.gz" for name in warped | originals}
    assert names_in("ddf") == {f"{name}.nrrd" for name in warped}
    assert names_in(".") == {"img", "msk", "ddf", "records", "manifest.json"}
    manifest = json.loads((root / "Data/Aug_data/cmr/manifest.json").read_text(encoding="utf-8"))
    assert manifest["job"]["model"]["sha256"] == sha256_of(weights_of(config_of(), root))


def test_original_mask_is_the_mask_and_fields_make_the_images(root: Path):
    run(root, config_of(**SMALL), slices=(4,))
    out = root / "Data" / "Aug_data" / "cmr"
    true = read_labels(root / "Data/Tgt_data/cmr/Gt/patient001_frame01_gt.nii.gz").array[4:5]
    stem = "Patient0001_Slice000004"
    image = read_image(out / "img" / f"{stem}_ORG_NA.nii.gz")
    mask = read_labels(out / "msk" / f"{stem}_ORG_NA_GT.nii.gz")
    np.testing.assert_array_equal(mask.array, true)
    for kind in ("AugImg", "NoiseImg"):
        name = f"{stem}_{kind}0001_NoiseStep0001"
        field = read_field(out / "ddf" / f"{name}.nrrd")
        moved = apply_field(image, field, interpolation="cubic", padding="zeros")
        written = read_image(out / "img" / f"{name}.nii.gz")
        np.testing.assert_allclose(moved.array, written.array, atol=1)
        labels = apply_field(mask, field, padding="zeros")
        np.testing.assert_array_equal(
            labels.array, read_labels(out / "msk" / f"{name}_GT.nii.gz").array
        )


def test_last_partial_batch(root: Path, names_in: Callable[[str], set[str]]):
    """The published program saves only the first sample of a batch; here all are saved."""
    config = config_of(**{**SMALL, "aug_coe": 3}, batchsize=2)
    summary = run(root, config, slices=(0,))
    assert len([name for name in names_in("img") if "AugImg" in name]) == 3
    assert any("batchsize 2" in note for note in summary["notes"])


def test_patients_list_and_savepaths(root: Path):
    config = config_of(**SMALL, patients_list=[4], aug_img_savepath="else/where/pictures")
    plan = augment(published_job(config, root, dry_run=True))
    assert plan["cases"] == ["patient004_frame12"]
    assert plan["units"][0]["name"] == "Patient0004_Slice000008_ORG_NA"
    assert plan["units"][0]["files"][0].startswith(str(root / "else" / "where" / "pictures"))
    assert plan["folder"] == str(root / "else" / "where")


def test_cuda_falls_back_to_the_cpu_with_a_note(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    job = published_job(config_of(**SMALL), root)
    assert job.device == "cpu" and any("going on with the CPU" in note for note in job.notes)
    assert published_job(config_of(**SMALL, device="cpu"), root).device == "cpu"


def test_a_volume_is_one_subject_for_3d_weights(tmp_path: Path):
    image, labels = phantom("torso-3d", 0, shape=(16, 16, 16))
    target = tmp_path / "Data" / "Tgt_data" / "lct"
    write_volume(image, target / "Tr" / "scan.nii.gz")
    write_volume(labels, target / "Gt" / "scan.nii.gz")
    write_weights(tmp_path, 3, "lct")
    summary = run(tmp_path, config_of("lct", **{**SMALL, "aug_coe": 1}))
    assert summary["complete"]
    name = "Patient0001_Slice000000_AugImg0000_NoiseStep0001"
    assert read_image(tmp_path / f"Data/Aug_data/lct/img/{name}.nii.gz").geometry.size == (16,) * 3
