"""`drdm train`: where settings come from, going on, stopping, several processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from DRDMCore.cli import main
from DRDMCore.imaging import phantom, write_volume
from DRDMCore.models import load_model, model_of, read_config
from DRDMCore.training.settings_file import read_settings

REPOSITORY = Path(__file__).resolve().parents[3]
PUBLISHED = REPOSITORY / "Resources" / "Configurations" / "config_cmr.yaml"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]),
    "OMP_NUM_THREADS": "1",
}
TINY = {
    "name": "tiny",
    "data": "phantom:heart-2d",
    "subjects": 4,
    "grid": {"dimension": 2, "mode": "fov", "side": 16},
    "shape": [16, 16],
    "field": {"control_spacing": 2.0},
    "widths": [4, 8],
    "steps": 3,
    "batch": 2,
    "recoveries": 1,
    "precision": "fp32",
}
QUICK = ["--set", "widths=[4, 8]", "batch=2", "recoveries=1", "precision=fp32"]


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture
def scans(tmp_path) -> Path:
    """Four small pictures."""
    for seed in range(4):
        image = phantom("heart-2d", seed, shape=(32, 32))[0]
        write_volume(image, tmp_path / "scans" / f"{seed}.nii.gz")
    return tmp_path / "scans"


def train(*arguments: object) -> int:
    return main(["train", "--device", "cpu", *map(str, arguments)])


def start(*arguments: object) -> subprocess.Popen[str]:
    """The program as a user starts it."""
    command = [sys.executable, "-W", "error", "-m", "DRDMCore", "train", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        encoding="utf-8",
    )


def steps_of(text: str) -> list[int]:
    events: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    return [event["done"] for event in events if event["kind"] == "step"]


def test_settings_of_a_file_and_of_the_options(config, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--set", "augmentation.noise=0.1", "--set", "batch=3", "ema=0.5"]
    assert train("--config", config, "--out", out, "--steps", 2, "--seed", 7, *options) == 0
    assert capsys.readouterr().out.strip() == str(out / "tiny.safetensors")
    used = read_settings(out / "settings.yaml")
    assert (used.steps, used.seed, used.batch, used.ema) == (2, 7, 3, 0.5)
    assert used.augmentation.noise == 0.1
    assert load_model(out / "tiny.safetensors").card.training["seed"] == 7


def test_settings_made_from_the_images(scans, tmp_path, capsys):
    out = tmp_path / "my hearts"
    assert train("--data", scans, "--out", out, "--steps", 2, *QUICK) == 0
    told = capsys.readouterr()
    assert "2D, 32 x 32 voxels of 6 mm" in told.err
    model = load_model(told.out.strip())
    assert model.card.name == "my hearts" and model.grid.dimension == 2
    assert model.card.data == "4 images"
    # Going on needs no more than the folder.
    assert train("--out", out, "--steps", 3) == 0
    told = capsys.readouterr()
    assert "going on after step 2" in told.err and "step 3 of 3" in told.err
    assert read_settings(out / "settings.yaml").steps == 3


def test_a_preset_by_name(tmp_path, capsys):
    options = ["--set", "shape=[16, 16]", "grid.side=16", "grid.mode=fov", "subjects=3"]
    tiny = ["--steps", 1, *QUICK, *options]
    assert train("--config", "phantom-heart-2d", "--out", tmp_path / "run", *tiny) == 0
    model = load_model(tmp_path / "run" / "phantom-heart-2d.safetensors")
    assert model.card.title == "Phantom heart, 2D short axis"
    other = ["--name", "other", "--seed", 1]
    assert train("--config", "phantom-heart-2d", "--out", tmp_path / "b", *tiny, *other) == 0
    assert load_model(tmp_path / "b" / "other.safetensors").card.name == "other"


def test_going_on_and_beginning_anew(config, tmp_path, capsys):
    arguments = ["--config", config, "--out", tmp_path / "run", "--json"]
    assert train(*arguments) == 0
    assert steps_of(capsys.readouterr().out) == [1, 2, 3]
    assert train(*arguments, "--steps", 5) == 0
    told = capsys.readouterr().out
    assert steps_of(told) == [4, 5] and "going on after step 3" in told
    assert train(*arguments, "--seed", 1) == 1
    error = capsys.readouterr().err
    assert "seed (0 -> 1)" in error and "--fresh" in error
    assert train(*arguments, "--seed", 1, "--fresh") == 0
    assert steps_of(capsys.readouterr().out) == [1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_started_again(config, tmp_path, number):
    out = tmp_path / "run"
    arguments = ["--config", config, "--out", out, "--device", "cpu", "--json"]
    process = start(*arguments, "--steps", 100_000)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["kind"] == "step" and json.loads(line)["done"] >= 3:
            break
    process.send_signal(number)
    told, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in error and "Traceback" not in error
    last = json.loads(told.splitlines()[-1])
    assert (last["kind"], last["status"]) == ("error", 130)
    done = load_model(out / "tiny.safetensors").card.training["steps"]
    assert done >= 3
    again = start(*arguments, "--steps", done + 2)
    told, error = again.communicate(timeout=60)
    assert again.returncode == 0, error
    assert steps_of(told) == [done + 1, done + 2]


def test_stopped_while_reading(config, scans, tmp_path, capsys, monkeypatch):
    from DRDMCore.training import subjects

    real = subjects.load_cached

    def interrupted(path):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(path)

    monkeypatch.setattr(subjects, "load_cached", interrupted)
    options = ["--set", f"grid.side={16}", "--data", scans]
    assert train("--config", config, "--out", tmp_path / "run", *options) == 130
    assert "while reading the images; the same command goes on" in capsys.readouterr().err


def test_a_published_configuration(scans, tmp_path, capsys):
    shutil.copytree(scans, tmp_path / "Data" / "Src_data" / "cmr")
    tiny = ["img_size=16", "epoch=2", "batchsize=2", "device=cpu", "recoveries=1"]
    arguments = ["train", "--config", PUBLISHED, "--root", tmp_path, "--set", *tiny]
    assert main(list(map(str, arguments))) == 0
    folder = tmp_path / "models" / "cmr_recresacnet"
    told = capsys.readouterr()
    assert told.out.strip() == str(folder / "cmr_recresacnet.safetensors")
    assert "not used by a training" in told.err
    config = read_config(PUBLISHED, {"img_size": 16, "model_id_str": "000001"})
    assert model_of(config, tmp_path).grid.side == 16
    (folder / "000000_cmr_recresacnet.pth").write_bytes(b"kept")
    assert main([*map(str, arguments), "epoch=3"]) == 0
    assert "going on after step 4" in capsys.readouterr().err
    assert (folder / "000000_cmr_recresacnet.pth").read_bytes() == b"kept"
    assert (folder / "000002_cmr_recresacnet.pth").is_file()
    other = ["--out", tmp_path / "elsewhere"]
    assert main([*map(str, arguments), *map(str, other)]) == 1
    assert "must be free of weights" in capsys.readouterr().err


def test_published_device_falls_back_with_a_note(scans, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    shutil.copytree(scans, tmp_path / "Data" / "Src_data" / "cmr")
    tiny = ["img_size=16", "epoch=1", "batchsize=4", "recoveries=0"]
    assert main(["train", "--config", str(PUBLISHED), "--root", str(tmp_path), "--set", *tiny]) == 0
    assert "going on with the CPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--out is needed"),
        (["--out", "run"], "--data is needed"),
        (["--config", "phantom-heart-2d"], "--out is needed"),
        (["--out", "run", "--data", "x", "--root", "."], "--root needs a published"),
    ],
)
def test_wrong_usage(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        train(*arguments)
    assert caught.value.code == 2 and words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "heart"], "one of hippocampus-mr-3d"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--config", "phantom-heart-2d", "--set", "steps"], "KEY=VALUE"),
        (["--config", "phantom-heart-2d", "--set", "stepps=1"], "unknown keys stepps"),
        (["--config", "phantom-heart-2d", "--name", ""], "`name`"),
        (["--config", "phantom-heart-2d", "--name", "a/b"], "`name`"),
    ],
)
def test_what_cannot_be_trained_is_named(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train("--out", "run", "--steps", 1, *arguments) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bad_images_stop_before_the_work(scans, config, tmp_path, capsys):
    for name in ("1", "2"):
        (scans / f"{name}.nii.gz").write_bytes(b"")
    out = tmp_path / "run"
    assert train("--config", config, "--data", scans, "--out", out) == 1
    error = capsys.readouterr().err
    assert "2 of 4 images cannot be used" in error and "1.nii.gz is empty" in error
    assert not (out / "last.ckpt").exists()


def test_help_teaches_by_example(capsys):
    with pytest.raises(SystemExit):
        train("--help")
    told = capsys.readouterr().out
    for words in ("drdm train --data scans/ --out run", "torchrun", "Src_data/cmr", ".txt list"):
        assert words in told


@pytest.mark.slow
def test_several_processes_share_a_cache_and_speak_with_one_voice(config, scans, tmp_path):
    out = tmp_path / "run"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "DRDMCore", "train", "--config", str(config), "--out", str(out), "--json"]
    done = subprocess.run(
        [sys.executable, *command, "--device", "cpu", "--data", str(scans)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=240,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert steps_of(done.stdout) == [1, 2, 3]
    assert load_model(out / "tiny.safetensors").card.training["batch"] == 4
    kept = [path.name.split("-")[0] for path in (out / "cache").iterdir()]
    assert sorted(kept) == ["0", "1", "2", "3"]
