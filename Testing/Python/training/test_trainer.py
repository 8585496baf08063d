"""Training learns, is the same again, and refuses what cannot be trained."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from DRDMCore.errors import Cancelled, InputError, OutputError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy, phantom, write_volume
from DRDMCore.models import load_model
from DRDMCore.progress import Event
from DRDMCore.training.objectives.velocity import VelocityObjective
from DRDMCore.training.settings import InputAugmentation
from DRDMCore.training.trainer import train


def steps_only(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind == "step"]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_hundred_steps_beat_predicting_nothing(optimizer, tiny, tmp_path):
    if optimizer == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("torch without Muon")
    settings = tiny(
        grid=GridPolicy(dimension=2, mode="fov", side=64),
        shape=(64, 64),
        widths=(12, 24, 48),
        subjects=10,
        steps=100,
        batch=8,
        optimizer=optimizer,
        learning_rate=4e-3,
        ema=0.9,
        field=RandomFieldSettings(control_spacing=4.0),
        augmentation=InputAugmentation(share=0, intensity_share=0),
        validate_every=50,
        card={"recommended": {"level": 40}},
    )
    events: list[Event] = []
    model = train(settings, tmp_path, progress=events.append)
    events = steps_only(events)
    last = events[-1].data
    assert last is not None
    explained = [last[f"val_explained_{level}"] for level in (32, 48, 64)]
    assert min(explained) > 0.01 and max(explained) > 0.03  # of held-out subjects
    losses = [event.data["loss"] for event in events]
    assert sum(losses[-10:]) < 0.97 * sum(losses[:10])
    loaded = load_model(tmp_path / "tiny.safetensors")
    assert loaded.architecture == model.architecture
    assert loaded.card.metrics["val_explained_48"] == round(explained[1], 4)
    assert loaded.card.training["steps"] == 100 and loaded.card.recommended == {"level": 40}


def test_same_seed_same_model(tiny, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tiny(seed=seed), tmp_path / name)
    a, b, c = (load_model(tmp_path / n / "tiny.safetensors").step.state_dict() for n in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_what_a_run_leaves(tiny, tmp_path):
    state = torch.get_rng_state()
    train(tiny(test_share=0.25), tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tiny.safetensors", "last.ckpt", "best.ckpt", "settings.yaml", "split.json"} <= names
    split = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))
    assert {part: len(each) for part, each in split.items()} == {
        "training": 2,
        "validation": 1,
        "test": 1,
    }
    with open(tmp_path / "training.csv", newline="", encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, 7))
    with open(tmp_path / "validation.csv", newline="", encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [3, 6]


def test_the_model_is_the_best_of_the_validations(tiny, tmp_path):
    settings = tiny(optimizer="adamw", ema=0.0, warmup=0.0)
    train(settings, tmp_path)
    best = torch.load(tmp_path / "last.ckpt", weights_only=True)["progress"]["best_step"]
    events: list[Event] = []
    ruinous = replace(settings, learning_rate=0.9, steps=12)
    train(ruinous, tmp_path, progress=events.append)
    losses = [e.data["val_loss"] for e in events if e.data and "val_loss" in e.data]
    assert len(losses) == 2 and best in (3, 6)
    assert load_model(tmp_path / "tiny.safetensors").card.training["steps"] == best
    checkpoint = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert checkpoint["progress"]["step"] == best
    assert checkpoint["progress"]["best"] < min(losses)


def test_a_run_begins_with_the_weights_of_a_model(tiny, tmp_path):
    first = train(tiny(), tmp_path / "first")
    settings = tiny(begin_from=str(first.path), steps=1, learning_rate=1e-12, muon_rate=1e-12)
    model = train(settings, tmp_path / "second")
    new = model.step.network.state_dict()
    for name, weight in first.step.network.state_dict().items():
        torch.testing.assert_close(new[name], weight, rtol=1e-5, atol=1e-7)
    assert model.card.training["began_from"] == f"tiny {first.sha256}"
    again = train(settings, tmp_path / "second")  # recorded, so also when the run goes on
    assert again.card.training["began_from"] == f"tiny {first.sha256}"


def test_a_run_does_not_begin_with_another_network(tiny, tmp_path):
    first = train(tiny(steps=1), tmp_path / "first")
    with pytest.raises(InputError, match=r"`begin_from` must name.*'widths': \[8, 24\].*\[8, 16\]"):
        train(tiny(begin_from=str(first.path), widths=(8, 24)), tmp_path / "second")


def test_patience_ends_a_run_once_and_for_all(tiny, tmp_path):
    settings = tiny(steps=40, learning_rate=0.3, optimizer="adamw", ema=0.0, warmup=0.0, patience=2)
    for _ in range(2):  # the same command again does nothing
        events: list[Event] = []
        train(settings, tmp_path, progress=events.append)
        done = torch.load(tmp_path / "last.ckpt", weights_only=True)["progress"]
        assert done["stale"] == 2 and done["step"] == done["best_step"] + 6 < 40
    assert steps_only(events) == []


def test_a_loss_that_is_no_number_is_named_and_spoils_nothing(tiny, tmp_path, monkeypatch):
    real, calls = VelocityObjective.forward, []

    def failing(self, example):
        parts = real(self, example)
        calls.extend([1] * self.training)
        return {**parts, "loss": parts["loss"] * (float("nan") if len(calls) == 4 else 1.0)}

    monkeypatch.setattr(VelocityObjective, "forward", failing)
    with pytest.raises(InputError, match=r"no longer a number.*`learning_rate`.*`precision`"):
        train(tiny(), tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["progress"]["step"] == 3
    assert load_model(tmp_path / "tiny.safetensors").card.training["steps"] == 3  # refuses NaN


def test_too_little_data(tiny, tmp_path):
    write_volume(phantom("heart-2d", 0, shape=(32, 32))[0], tmp_path / "data" / "a.nrrd")
    with pytest.raises(InputError, match="at least 2"):
        train(tiny(data=str(tmp_path / "data")), tmp_path / "run")
    assert not (tmp_path / "run" / "tiny.safetensors").exists()


@pytest.mark.parametrize("name", ["run.safetensors", "taken/run", "other"])
def test_bad_folders_are_refused_before_the_work(name, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("DRDMCore.training.trainer.read_split", None)
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tiny.safetensors").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError):
        train(tiny(), tmp_path / name)
    assert (tmp_path / "other" / "tiny.safetensors").read_text(encoding="utf-8") == "mine"


def test_fresh_removes_the_run_and_nothing_else(tiny, tmp_path):
    train(tiny(steps=4), tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    events: list[Event] = []
    train(tiny(seed=5), tmp_path, fresh=True, progress=events.append)
    assert [event.done for event in steps_only(events)] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_stop_before_the_first_validation_leaves_a_usable_model(tiny, tmp_path):
    with pytest.raises(Cancelled):
        train(tiny(), tmp_path, progress=lambda e: not (e.kind == "step" and e.done == 2))
    assert load_model(tmp_path / "tiny.safetensors").card.training["steps"] == 2


def test_epochs(tiny, tmp_path):
    events: list[Event] = []
    train(tiny(steps=None, epochs=3), tmp_path, progress=events.append)
    assert len(steps_only(events)) == 3 * 2  # three images to train on, two a step


def test_files_of_a_run_have_its_name(tiny, tmp_path):
    train(tiny(name="mine", steps=1), tmp_path)
    assert Path(tmp_path / "mine.safetensors").is_file()
