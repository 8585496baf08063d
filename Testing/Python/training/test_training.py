"""Training learns, stops with a usable model, and refuses wrong settings by name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from DRDMCore.errors import Cancelled, DRDMError, InputError, MissingFileError, OutputError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.models import load_model
from DRDMCore.progress import Event
from DRDMCore.training import trainer
from DRDMCore.training.settings import InputAugmentation, TrainingSettings, read_settings
from DRDMCore.training.trainer import train

CONFIGURATIONS = Path(__file__).resolve().parents[3] / "Resources" / "Configurations"


def settings(**changes) -> TrainingSettings:
    plain = TrainingSettings(
        name="tiny",
        data="phantom:heart-2d",
        grid=GridPolicy(dimension=2, mode="fov", side=64),
        shape=(64, 64),
        widths=(8, 16),
        subjects=10,
        steps=30,
        batch=8,
        learning_rate=4e-3,
        ema=0.8,
        precision="fp32",
        card={"recommended": {"level": 40}},
    )
    return replace(plain, **changes)


def small(**changes) -> TrainingSettings:
    grid = GridPolicy(dimension=2, mode="fov", side=16)
    return settings(grid=grid, shape=(16, 16), subjects=3, steps=4, batch=2, **changes)


def test_a_hundred_steps_beat_predicting_nothing(tmp_path):
    still = InputAugmentation(0, 0, 0, 0, 0, 0, 0)
    field = RandomFieldSettings(control_spacing=4.0)
    quick = settings(steps=100, widths=(12, 24, 48), field=field, augmentation=still, ema=0.9)
    events: list[Event] = []
    model = train(quick, tmp_path / "m.safetensors", progress=events.append)
    last = events[-1].data
    explained = [last[name] for name in ("r2_0.31", "r2_0.523", "r2_0.76")]
    assert min(explained) > 0.01 and max(explained) > 0.03  # of held-out subjects
    losses = [event.data["loss"] for event in events]
    assert sum(losses[-10:]) < 0.97 * sum(losses[:10])
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.card.metrics["r2_0.31"] == round(explained[0], 4)
    assert loaded.card.training["steps"] == 100 and loaded.card.recommended == {"level": 40}
    assert loaded.architecture == model.architecture


def test_same_seed_same_model(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(small(seed=seed), tmp_path / f"{name}.safetensors")
    a, b, c = (load_model(tmp_path / f"{n}.safetensors").step.state_dict() for n in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_stopped_training_keeps_a_usable_model(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(Cancelled):
        train(small(), path, progress=lambda event: event.done < 2)
    assert load_model(path).card.training["steps"] == 2
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_killed_training_keeps_the_model_of_the_last_validation(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    path = tmp_path / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(
            small(),
            path,
            validate_every=2,
            progress=lambda event: killed() if event.done == 3 else None,
        )
    assert load_model(path).card.training["steps"] == 3
    assert "r2_0.31" in load_model(path).card.metrics


def test_a_loss_that_is_no_number_is_named_and_spoils_nothing(tmp_path, monkeypatch):
    real, calls = trainer._loss, []

    def failing(*given):
        calls.append(given)
        return real(*given) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(trainer, "_loss", failing)
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match=r"no longer a number.*learning_rate"):
        train(small(), path)
    assert load_model(path).card.training["steps"] == 2  # which refuses NaN
    calls[:] = [None, None]
    with pytest.raises(InputError):
        train(small(), tmp_path / "never.safetensors")
    assert not (tmp_path / "never.safetensors").exists()


@pytest.mark.parametrize("name", ["m.pth", "m", "taken/m.safetensors", "folder.safetensors"])
def test_bad_model_file_is_refused_before_the_work(name, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "read_subjects", None)
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises((InputError, OutputError)):
        train(small(), tmp_path / name)


GOOD = """\
name: x
data: phantom:heart-2d
grid: {dimension: 2, mode: fov, side: 32}
shape: [32, 32]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unheard: 1", "unknown keys unheard; known are .*learning_rate"),
        ("field: {amplitud: 1}", r"unknown keys field\.amplitud"),
        ("augmentation: {rotation: 3}", r"unknown keys augmentation\.rotation"),
        ("card: {tittle: x}", r"unknown keys card\.tittle"),
        ("card: {metrics: {}}", r"unknown keys card\.metrics"),
        ("field: 3", "`field` must be settings, got 3"),
        ("field: {control_spacing: wide}", r"`field\.control_spacing` must be float, got 'wide'"),
        ("learning_rate: 1e-3", "`learning_rate` must be float, got '1e-3'"),  # YAML's own trap
        ("learning_rate: 0", "`learning_rate`.*got 0"),
        ("steps: 2.5", "`steps` must be int, got 2.5"),
        ("steps: true", "`steps` must be int, got True"),
        ("steps: 0", "`steps` must be at least 1, got 0"),
        ("batch: -1", "`batch` must be at least 1"),
        ("widths: []", "`widths`"),
        ("widths: [a]", "`widths` must be .*int"),
        ("shape: [32, 30]", "`shape` must be 2.*multiples of 8"),
        ("shape: [32, 32, 32]", "`shape` must be 2"),
        ("grid: {dimension: 4}", "`dimension` must be 2 or 3, got 4"),
        ("grid: {side: 32}", r"missing keys grid\.dimension"),
        ("precision: fp8", "`precision` must be 'bf16' or 'fp32', got 'fp8'"),
        ("validation_share: 1", "`validation_share`"),
        ("seed: -1", "`seed` must be at least 0"),
        ("ema: 1.0", "`ema`"),
    ],
)
def test_wrong_settings_are_named(text, words, tmp_path):
    path = tmp_path / "train.yaml"
    key = text.split(":")[0]
    kept = [line for line in GOOD.splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*kept, text]))
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
    assert re.search(words, str(caught.value)), caught.value


@pytest.mark.parametrize(
    "text", ["", "- a\n- b", "a: [", "name: x", "!!python/object/apply:os.system ['true']"]
)
def test_files_that_are_no_settings(text, tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"train\.yaml"):
        read_settings(path)
    with pytest.raises(MissingFileError):
        read_settings(tmp_path / "missing.yaml")


def test_too_little_data(tmp_path):
    with pytest.raises(InputError, match="at least 2"):
        train(small(data=str(_one_image(tmp_path))), tmp_path / "m.safetensors")
    with pytest.raises(DRDMError, match="does not exist"):
        train(small(data="nowhere"), tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def _one_image(folder: Path) -> Path:
    from DRDMCore.imaging import write_volume
    from DRDMCore.imaging.phantoms import phantom

    write_volume(phantom("heart-2d", 0, shape=(32, 32))[0], folder / "data" / "a.nrrd")
    return folder / "data"


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("train_*.yaml")), ids=lambda p: p.stem)
def test_settings_of_the_bundled_models_can_be_read(path):
    read = read_settings(path)
    assert path.stem == f"train_{read.name}" and read.card["licence"]
