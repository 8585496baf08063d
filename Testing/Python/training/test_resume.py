"""A run that was stopped, however rudely, goes on as if it had not been."""

from __future__ import annotations

import csv
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from DRDMCore.errors import Cancelled, InputError, ModelError, OutputError
from DRDMCore.imaging import phantom, write_volume
from DRDMCore.models import load_model
from DRDMCore.progress import Event
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.settings_file import write_settings
from DRDMCore.training.trainer import train


def stop_at(step: int) -> Callable[[Event], bool]:
    return lambda event: not (event.kind == "step" and event.done >= step)


def equal(first: Any, second: Any) -> bool:
    """Bit for bit, all the way down."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in table]


def assert_same_run(first: Path, second: Path, *, model: str = "tiny") -> None:
    """Weights, average, optimiser, history, tables and model."""
    for name in ("last.ckpt", "best.ckpt"):
        one, two = (torch.load(each / name, weights_only=True) for each in (first, second))
        for state in (one, two):
            del state["progress"]["seconds"], state["random"]  # of the process, which we share
        for key in one:
            assert equal(one[key], two[key]), (name, key)
    for name in ("training", "validation"):
        assert rows(first, name) == rows(second, name)
    weights = [load_model(each / f"{model}.safetensors") for each in (first, second)]
    assert equal(*(each.step.network.state_dict() for each in weights))
    assert weights[0].card.metrics == weights[1].card.metrics


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", ["velocity", "published"])
def test_a_resumed_run_is_the_uninterrupted_one(objective, precision, tiny, tmp_path):
    settings = tiny(objective=objective, precision=precision, steps=6, validate_every=4)
    train(settings, tmp_path / "whole")
    for step in (3, 5):  # no validation is due at either
        with pytest.raises(Cancelled, match=f"after step {step}"):
            train(settings, tmp_path / "parts", progress=stop_at(step))
    train(settings, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_an_error_in_the_caller_loses_nothing(tiny, tmp_path):
    train(tiny(), tmp_path / "whole")

    def failing(event: Event) -> None:
        if event.kind == "step" and event.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tmp_path / "parts", progress=failing)
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert state["progress"]["step"] == 4
    train(tiny(), tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("where", ["optimizer", "average", "validation"])
def test_a_break_within_a_step_does_not_mix_two_steps(where, tiny, tmp_path, monkeypatch):
    train(tiny(), tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(tiny(), tmp_path / "parts", progress=stop_at(2))
    from DRDMCore.training import learner

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if where == "optimizer":  # some of the weights have moved
            patched.setattr(torch.optim.Muon, "step", broken)
        else:
            name = {"average": "update_average", "validation": "validate"}[where]
            patched.setattr(learner, name, broken)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(), tmp_path / "parts")
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert state["progress"]["step"] == 2  # the checkpoint before
    train(tiny(), tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_is_left_alone_and_goes_on_for_more_steps(tiny, tmp_path):
    train(tiny(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.ckpt")}
    train(tiny(), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.ckpt")}
    events: list[Event] = []
    train(tiny(steps=8, learning_rate=5e-4), tmp_path, progress=events.append)
    assert [event.done for event in events if event.kind == "step"] == [7, 8]


def test_other_settings_are_refused_by_name(tiny, tmp_path):
    with pytest.raises(Cancelled):
        train(tiny(), tmp_path, progress=stop_at(2))
    with pytest.raises(InputError, match=r"batch \(2 -> 3\), widths.*--fresh"):
        train(tiny(batch=3, widths=(8, 8)), tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["settings"]["batch"] == 2


def test_another_number_of_processes_is_refused(tiny, tmp_path):
    train(tiny(), tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.save({**state, "processes": 2}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"begun by 2 processes.*there are 1 now.*--fresh"):
        train(tiny(), tmp_path)


def test_other_data_are_refused(tiny, tmp_path):
    for folder, names in (("a", "xyz"), ("b", "xyw")):
        for seed, name in enumerate(names):
            image = phantom("heart-2d", seed, shape=(24, 24))[0]
            write_volume(image, tmp_path / folder / f"{name}.nrrd")
    run = tmp_path / "run"
    with pytest.raises(Cancelled):
        train(tiny(data=str(tmp_path / "a")), run, progress=stop_at(2))
    with pytest.raises(InputError, match=r"other subjects than `data` holds now"):
        train(tiny(data=str(tmp_path / "b")), run)
    (tmp_path / "a").rename(tmp_path / "moved")  # the same images elsewhere are the same data
    train(tiny(data=str(tmp_path / "moved")), run)


@pytest.mark.parametrize("size", [0, 1000, -1000])
def test_a_damaged_checkpoint_is_named_and_the_best_one_helps(size, tiny, tmp_path):
    with pytest.raises(Cancelled):
        train(tiny(), tmp_path, progress=stop_at(5))
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"last\.ckpt.*best\.ckpt.*--fresh"):
        train(tiny(), tmp_path)
    shutil.copy(tmp_path / "best.ckpt", last)
    events: list[Event] = []
    train(tiny(), tmp_path, progress=events.append)
    assert next(event.done for event in events if event.kind == "step") == 4


class Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (open, (str(self.trace), "w"))


def test_a_hostile_checkpoint_is_not_run(tiny, tmp_path):
    trace = tmp_path / "was-run"
    for kind, write in (("zip", torch.save), ("pickle", None)):
        run = tmp_path / kind
        run.mkdir()
        if write is not None:
            write({"format": 1, "network": Hostile(trace)}, run / "last.ckpt")
        else:
            (run / "last.ckpt").write_bytes(pickle.dumps(Hostile(trace)))
        with pytest.raises(ModelError, match=r"last\.ckpt"):
            train(tiny(), run)
    assert not trace.exists()


@pytest.mark.parametrize("content", [[1], {"format": 2}, {"format": 1}])
def test_foreign_checkpoints_are_named(content, tiny, tmp_path):
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ModelError, match=r"last\.ckpt"):
        train(tiny(), tmp_path)


def test_a_full_disk_keeps_the_checkpoint_before(tiny, tmp_path):
    """A real one: a file system of a few hundred kilobytes."""
    train(tiny(), tmp_path / "whole")
    disk = tmp_path / "disk"
    disk.mkdir()
    size = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(size, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        with pytest.raises(Cancelled):
            train(tiny(), disk / "run", progress=stop_at(2))
        good = (disk / "run" / "last.ckpt").read_bytes()
        with open(disk / "rest", "wb", buffering=0) as rest:
            while _written(rest):
                pass
        with pytest.raises(OutputError, match=r"(last|best)\.ckpt|safetensors|csv|split|settings"):
            train(tiny(), disk / "run", progress=stop_at(5))
        assert (disk / "run" / "last.ckpt").read_bytes() == good
        assert not list((disk / "run").glob(".*partial*"))
        (disk / "rest").unlink()
        train(tiny(), disk / "run")
        assert_same_run(tmp_path / "whole", disk / "run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _written(file: Any) -> bool:
    try:
        return bool(file.write(b"\0" * 4096))
    except OSError:
        return False


LIMITED = """
import resource, signal, sys
from pathlib import Path
from DRDMCore.errors import OutputError
from DRDMCore.training.settings_file import read_settings
from DRDMCore.training.trainer import train
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limit(event):
    if event.kind == "step" and event.done == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    train(read_settings(Path(sys.argv[1])), sys.argv[2], progress=limit)
except OutputError as error:
    print(error)
"""


def test_a_checkpoint_that_cannot_be_written_whole_is_not_written(tiny, tmp_path, python):
    assert resource.RLIMIT_FSIZE
    train(tiny(), tmp_path / "whole")
    write_settings(tiny(), tmp_path / "train.yaml")
    process = python("-c", LIMITED, tmp_path / "train.yaml", tmp_path / "run")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "cannot be written" in out, err
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["progress"]["step"] == 3
    train(tiny(), tmp_path / "run")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def start(python: Any, settings: TrainingSettings, folder: Path) -> subprocess.Popen[str]:
    """`drdm train` in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "train.yaml"
    write_settings(settings, config)
    return python("-m", "DRDMCore", "train", "--config", config, "--out", folder / "run", "--json")


def read_until(process: subprocess.Popen[str], step: int) -> None:
    """Read events until a step is done."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["kind"] == "step" and event["done"] >= step:
            return
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["velocity", "published"])
def test_kill_at_any_moment(objective, tiny, tmp_path, python):
    """Checkpoints at every step, so that many kills come in the middle of writing one."""
    settings = tiny(objective=objective, steps=14, save_minutes=1e-9, validate_every=6)
    train(settings, tmp_path / "whole")
    for step in (3, 8):
        process = start(python, settings, tmp_path / "killed")
        read_until(process, step)
        time.sleep(0.02 * (os.getpid() % 5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    train(settings, tmp_path / "killed" / "run")
    assert_same_run(tmp_path / "whole", tmp_path / "killed" / "run")
    assert not list((tmp_path / "killed" / "run").glob(".*partial*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_signals_stop_with_everything_saved(number, tiny, tmp_path, python):
    settings = tiny(steps=200, validate_every=100)
    process = start(python, settings, tmp_path)
    read_until(process, 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert load_model(tmp_path / "run" / "tiny.safetensors").step is not None
    done = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["progress"]["step"]
    assert 3 <= done < 200
    events: list[Event] = []
    with pytest.raises(Cancelled):
        train(settings, tmp_path / "run", progress=lambda e: events.append(e) or stop_at(1)(e))
    assert [event.done for event in events if event.kind == "step"] == [done + 1]
