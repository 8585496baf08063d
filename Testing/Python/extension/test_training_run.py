"""Training from the panel's side: real runs of a tiny network, stopped, killed, gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Python.extension.children import MODULE_FOLDER, Family, application, turnUntil

REPOSITORY = MODULE_FOLDER.parent
TINY = {
    **{"shape": [16, 16], "widths": [4, 8], "subjects": 4, "batch": 2, "recoveries": 1},
    **{"grid.spacing_mm": 12.0, "validate_every": 2, "save_minutes": 0.0001},
}
ENDLESS = 100_000


class Watched:
    """A run and what it told."""

    def __init__(self, lib, monkeypatch):
        self.family = Family()
        for name, value in {**self.family.environment, "OMP_NUM_THREADS": "1"}.items():
            monkeypatch.setenv(name, value)
        self.progress, self.ends, self.log = [], [], []
        self.run = lib.training.TrainingRun(
            self.progress.append, lambda run: self.ends.append(run.state), self.log.append
        )

    def start(self, folder, **more):
        given = {"preset": "phantom-heart-2d", "device": "cpu", "settings": TINY, **more}
        self.run.start(folder, **given)

    def wait(self, seconds=90.0):
        return turnUntil(lambda: not self.run.running, seconds)

    def waitForStep(self, step):
        run = self.run
        turnUntil(lambda: not run.running or (run.progress and run.progress.step >= step), 90)
        assert run.running, run.message + run.details


@pytest.fixture
def lib():
    yield from application()


@pytest.fixture
def watched(lib, monkeypatch):
    watched = Watched(lib, monkeypatch)
    yield watched
    watched.run.close(seconds=0)
    # This process carries the mark, too.
    assert all(number == os.getpid() for number in watched.family.members())


def settingsOf(folder):
    import yaml

    return yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))


def test_a_run_tells_its_steps_and_ends_with_a_model(watched, lib, tmp_path, monkeypatch):
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "my run"
    watched.start(folder, steps=4)
    assert watched.run.state == "running" and watched.run.model is None
    with pytest.raises(RuntimeError, match="stop it first"):
        watched.start(tmp_path / "another")
    watched.wait()
    assert watched.ends == ["done"], watched.run.message + watched.run.details
    assert [p.step for p in watched.progress] == [1, 2, 3, 4]
    assert {p.of for p in watched.progress} == {4}
    assert [step for step, _ in watched.run.losses] == [1, 2, 3, 4]
    assert [step for step, _ in watched.run.validations] == [2, 4]
    assert watched.progress[0].secondsLeft is None and watched.progress[-1].secondsLeft == 0
    assert 0 < watched.progress[1].secondsLeft < 90
    assert watched.run.model == folder / "my run.safetensors"
    assert any("step 4 of 4: loss" in line for line in watched.log)
    entry = watched.run.addToModels()
    assert entry.usable and entry.path.parent == tmp_path / "models"
    assert entry.name in [each.name for each in lib.modellist.listModels()]


def test_a_run_is_stopped_and_goes_on_to_the_same_model(watched, lib, tmp_path):
    from DRDMCore.models import load_model

    whole, halved = tmp_path / "whole" / "run", tmp_path / "halved" / "run"
    watched.start(whole, steps=8)
    watched.wait()
    watched.start(halved, steps=8)
    watched.waitForStep(3)
    watched.run.stop()
    watched.run.stop()  # impatience changes nothing
    assert watched.run.state == "stopping"
    watched.wait()
    assert watched.run.state == "stopped" and "can go on" in watched.run.message
    assert lib.training.canResume(halved)
    assert load_model(watched.run.model)
    done = watched.run.progress.step
    watched.run.resume(halved, device="cpu")
    watched.wait()
    assert watched.ends == ["done", "stopped", "done"], watched.run.details
    assert watched.run.losses[0][0] == done + 1 <= 8
    first, second = (load_model(each / "run.safetensors") for each in (whole, halved))
    assert weights(first) == weights(second)


def weights(model):
    state = model.step.network.state_dict()
    return {name: value.tolist() for name, value in state.items()}


def test_a_run_stopped_before_its_first_step_says_so(watched, lib, tmp_path):
    watched.start(tmp_path / "run", steps=8)
    watched.run.stop()
    watched.wait()
    assert watched.run.state == "stopped" and "before its first checkpoint" in watched.run.message
    assert not lib.training.canResume(tmp_path / "run") and watched.run.model is None


def test_a_run_that_was_killed_goes_on(watched, lib, tmp_path):
    watched.start(tmp_path / "run", steps=ENDLESS)
    watched.waitForStep(12)
    watched.run.kill()
    assert watched.wait() < 3
    assert watched.run.state == "stopped" and lib.training.canResume(tmp_path / "run")
    watched.progress.clear()
    watched.run.resume(tmp_path / "run", device="cpu")
    watched.waitForStep(11)
    assert watched.progress[0].step > 10
    watched.run.close()
    assert not watched.run.running and watched.ends == ["stopped", "stopped"]


def test_own_scans_get_a_card_of_their_own(watched, tmp_path):
    from DRDMCore.imaging import phantom, write_volume

    scans = tmp_path / "my scans"
    scans.mkdir()
    for seed in range(4):
        write_volume(phantom("heart-2d", seed)[0], scans / f"p{seed}.nii.gz")
    settings = {key: value for key, value in TINY.items() if key != "subjects"}
    watched.start(tmp_path / "M\u00fcller \U0001f600", data=scans, steps=2, settings=settings)
    watched.wait()
    assert watched.run.state == "done", watched.run.message + watched.run.details
    found = settingsOf(watched.run.folder)
    assert found["data"] == str(scans) and found["name"] == "M\u00fcller \U0001f600"
    assert found["card"]["data"] == "the images in my scans"
    assert "Apache" not in json.dumps(found["card"]) and found["card"]["title"].startswith(
        "M\u00fc"
    )


def test_a_wrong_setting_is_told_in_the_words_of_the_core(watched, tmp_path):
    watched.start(tmp_path / "run", settings={"widths": "wide"})
    watched.wait()
    assert watched.ends == ["failed"] and "`widths`" in watched.run.message
    assert watched.run.model is None
    with pytest.raises(ValueError, match="left no model"):
        watched.run.addToModels()
    watched.start(tmp_path / "nothing", preset=None, data=tmp_path / "not there")
    watched.wait()
    assert watched.run.state == "failed" and "not there" in watched.run.message


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_crash_is_told(watched, tmp_path):
    watched.start(tmp_path / "run", steps=ENDLESS)
    watched.waitForStep(1)
    for number in watched.family.members():
        if number != os.getpid():
            os.kill(number, signal.SIGKILL)
    watched.wait()
    assert watched.run.state == "failed" and "memory was full" in watched.run.message


def test_training_stops_by_itself_when_slicer_has_died(tmp_path):
    """Its stdin is then closed; what was trained is saved."""
    values = [f"{key}={json.dumps(value)}" for key, value in TINY.items()]
    options = {
        **{"--config": "phantom-heart-2d", "--out": str(tmp_path / "run")},
        **{"--steps": str(ENDLESS), "--device": "cpu"},
    }
    given = [each for option in options.items() for each in option]
    command = [sys.executable, "-m", "DRDMCore", "train", "--json", "--stop-with-stdin", *given]
    process = subprocess.Popen(
        [*command, "--set", *values],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert any(json.loads(line)["kind"] == "step" for line in process.stdout)
        process.stdin.close()
        last = json.loads(process.stdout.readlines()[-1])
    assert process.returncode == 130 and last["status"] == 130
    assert (tmp_path / "run" / "last.ckpt").is_file()


def test_the_presets_are_those_of_the_core(lib):
    from DRDMCore.training.presets import list_presets

    presets = {each.name: each for each in lib.training.listPresets()}
    assert {name: each.path for name, each in presets.items()} == list_presets()
    assert presets["phantom-heart-2d"].dimension == 2
    assert presets["hippocampus-mr-3d"].title == "Hippocampus, T1-weighted MR crops, 1 mm"


def test_names_of_folders_become_names_of_models(lib):
    for name, wanted in {"a b": "a b", 'a:b*"': "a_b__"}.items():
        assert lib.training._modelName(Path("/tmp") / name) == wanted
