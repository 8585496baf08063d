"""Settings: read strictly, refused by name, overridden, written back in full."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.training.presets import find_config, list_presets
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.settings_file import (
    as_values,
    parse_overrides,
    read_settings,
    settings_from,
    write_settings,
)

GOOD = """\
name: x
data: phantom:heart-2d
grid: {dimension: 2, mode: fov, side: 32}
shape: [32, 32]
steps: 5
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a/b", "`name` must be a plain file name without ending, got 'a/b'"),
        ("name: ..", "`name` must be a plain file name"),
        ("unheard: 1", "unknown keys unheard; known are .*learning_rate"),
        ("field: {amplitud: 1}", r"unknown keys field\.amplitud"),
        ("augmentation: {rotation: 3}", r"unknown keys augmentation\.rotation"),
        ("augmentation: {crop: 0}", "`crop` must be above 0"),
        ("augmentation: {share: 1.5}", "`share` must be a number 0 .. 1, got 1.5"),
        ("card: {tittle: x}", r"unknown keys card\.tittle"),
        ("card: {metrics: {}}", r"unknown keys card\.metrics"),
        ("field: 3", "`field` must be settings, got 3"),
        ("field: {control_spacing: wide}", r"`field\.control_spacing` must be float, got 'wide'"),
        ("learning_rate: 1e-3", "`learning_rate` must be float, got '1e-3'"),  # YAML's own trap
        ("learning_rate: 0", "`learning_rate`.*got 0"),
        ("objective: diffusion", "'velocity' or 'distilled' or 'published', got 'diffusion'"),
        ("optimizer: sgd", "`optimizer` must be 'muon' or 'adamw', got 'sgd'"),
        ("decay: linear", "`decay` must be 'cosine' or 'constant'"),
        ("steps: 2.5", "`steps` must be int"),
        ("steps: true", "`steps` must be int"),
        ("steps: 0", "`steps` must be at least 1, got 0"),
        ("steps: null", "`steps` .or `epochs`. must be given"),
        ("epochs: 3", "`steps` and `epochs` must not both be given"),
        ("batch: -1", "`batch` must be at least 1"),
        ("widths: []", "`widths`"),
        ("widths: [a]", "`widths` must be .*int"),
        ("shape: [32, 30]", "`shape` must be 2.*multiples of 8"),
        ("shape: [32, 32, 32]", "`shape` must be 2"),
        ("grid: {dimension: 4}", "`dimension` must be 2 or 3, got 4"),
        ("grid: {side: 32}", r"missing keys grid\.dimension"),
        ("precision: fp8", "`precision` must be 'bf16' or 'fp32', got 'fp8'"),
        ("validation_share: 1", "`validation_share`"),
        ("test_share: 0.9", "`validation_share` and `test_share` must leave some"),
        ("seed: -1", "`seed` must be at least 0"),
        ("ema: 1.0", "`ema`"),
        ("patience: 0", "`patience` must be at least 1"),
    ],
)
def test_wrong_settings_are_named(text, words, tmp_path):
    path = tmp_path / "train.yaml"
    key = text.split(":")[0]
    kept = [line for line in GOOD.splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*kept, text]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
    assert re.search(words, str(caught.value)), caught.value


@pytest.mark.parametrize(
    "text", ["", "- a\n- b", "a: [", "name: x", "!!python/object/apply:os.system ['true']"]
)
def test_files_that_are_no_settings(text, tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.yaml"):
        read_settings(path)
    with pytest.raises(MissingFileError):
        read_settings(tmp_path / "missing.yaml")


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_overrides_by_key_path(good):
    texts = ["augmentation.noise=0.5", "shape=[16, 24]", "field.control_spacing=3.0", "data=a=b"]
    read = read_settings(good, parse_overrides(texts))
    assert (read.augmentation.noise, read.shape) == (0.5, (16, 24))
    assert (read.field.control_spacing, read.data) == (3.0, "a=b")
    assert (
        read.augmentation.gain
        == TrainingSettings.__dataclass_fields__["augmentation"].default_factory().gain
    )
    assert read_settings(good, {"steps": None, "epochs": 2}).epochs == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps", "`--set` must be KEY=VALUE, got 'steps'"),
        ("=3", "`--set` must be KEY=VALUE"),
        ("a=[", "`--set a` must be YAML"),
        ("augmentation.nois=1", r"unknown keys augmentation\.nois"),
        ("steps.more=1", "`steps` holds no settings"),
        ("batch=big", "`batch` must be int, got 'big'"),
    ],
)
def test_wrong_overrides_are_named(good, text, words):
    with pytest.raises(InputError, match=words):
        read_settings(good, parse_overrides([text]))


def test_overrides_leave_the_values_alone(good):
    values = as_values(read_settings(good))
    settings_from(values, {"augmentation.noise": 0.9}, source="x")
    assert values == as_values(read_settings(good))


def test_every_setting_is_written_and_read_back(good, tmp_path):
    read = read_settings(good, {"card": {"title": "Größe", "recommended": {"level": 40}}})
    path = tmp_path / "again.yaml"
    write_settings(read, path)
    assert read_settings(path) == read
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == set(
        TrainingSettings.__dataclass_fields__
    )


def test_presets_are_those_of_the_bundled_models():
    presets = list_presets()
    assert "hippocampus-mr-3d" in presets
    for name, path in presets.items():
        read = read_settings(path)
        assert read.name == name and read.card["licence"]
        assert find_config(name) == path


def test_a_config_is_a_file_or_a_preset(good):
    assert find_config(str(good)) == good
    with pytest.raises(InputError, match=r"one of .*hippocampus-mr-3d.*got 'hippocampus'"):
        find_config("hippocampus")
    with pytest.raises(InputError, match="got "):
        find_config("a\0b")
