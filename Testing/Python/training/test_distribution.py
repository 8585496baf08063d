"""Several processes train the same model as one; only the first writes files."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from DRDMCore.errors import InputError
from DRDMCore.models import load_model
from DRDMCore.training.distribution import workers
from DRDMCore.training.objectives import new_objective
from DRDMCore.training.settings import InputAugmentation, TrainingSettings
from DRDMCore.training.settings_file import write_settings
from DRDMCore.training.trainer import train

TOLERANCE = 2e-4
"""Of weights after five steps: sums over a batch come in another order."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_two(python: Any, settings: TrainingSettings, folder: Path) -> subprocess.Popen[str]:
    """`torchrun --nproc_per_node=2 -m DRDMCore train`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "train.yaml"
    write_settings(settings, config)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]
    command = ["-m", "DRDMCore", "train", "--config", config, "--out", folder / "run", "--json"]
    return python(*launch, *command)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["velocity", "published"])
def test_two_processes_train_as_one_with_twice_the_batch(objective, tiny, tmp_path, python):
    settings = tiny(
        objective=objective,
        steps=5,
        batch=2,
        validate_every=5,
        optimizer="adamw",
        augmentation=InputAugmentation(share=0.5, noise=0),
    )
    process = start_two(python, settings, tmp_path)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    train(replace(settings, batch=4), tmp_path / "one")
    names = ("last.ckpt", "best.ckpt")
    for name in names:
        one, two = (torch.load(tmp_path / run / name, weights_only=True) for run in ("one", "run"))
        for part in ("network", "average"):
            for key, value in one[part].items():
                # A norm takes these away: their gradient is rounding, which Adam makes large.
                if not (objective == "published" and key.endswith("conv0.bias")):
                    torch.testing.assert_close(
                        two[part][key], value, rtol=0, atol=TOLERANCE, msg=f"{part} {key}"
                    )
    start = new_objective(settings).network.state_dict()
    moved = max(float((value - start[key]).abs().max()) for key, value in one["network"].items())
    assert moved > 10 * TOLERANCE
    card = load_model(tmp_path / "run" / "tiny.safetensors").card
    assert card.training["batch"] == 4 and card.training["machine"].startswith("2 x ")
    assert sorted(path.name for path in (tmp_path / "run").glob("*.ckpt")) == sorted(names)


@pytest.mark.slow
def test_sigterm_to_torchrun_saves_and_the_run_goes_on(tiny, tmp_path, python):
    settings = tiny(steps=2000, validate_every=1000)
    process = start_two(python, settings, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{") and json.loads(line).get("done", 0) >= 3 and '"step"' in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    done = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["progress"]["step"]
    assert 3 <= done < 2000
    load_model(tmp_path / "run" / "tiny.safetensors")
    shorter = tiny(steps=done + 2, validate_every=1000)
    again = start_two(python, shorter, tmp_path)
    _, err = again.communicate(timeout=180)
    assert again.returncode == 0, err
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["progress"]["step"] == done + 2


def test_variables_of_torchrun_that_do_not_fit_are_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match=r"WORLD_SIZE.*torchrun"):
        train(tiny(), tmp_path)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="RANK"), workers("cpu"):
        pass


def test_one_process_needs_no_others():
    with workers("cpu") as team:
        assert team.first and team.share.world == 1
        assert team.any(True) and not team.any(False)
        assert team.from_first(3.0) == 3.0
        assert team.mean({"loss": 2.0}) == {"loss": 2.0}
        module = torch.nn.Linear(2, 2)
        assert team.together(module) is module
