"""The numbers of a run on the disk stay whole, whatever happens to the run or to the disk."""

from __future__ import annotations

import builtins
import csv
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from DRDMCore.errors import Cancelled
from DRDMCore.imaging import GridPolicy
from DRDMCore.progress import Event
from DRDMCore.training.loss_picture import SIZE, draw_losses, nice_ticks, smooth
from DRDMCore.training.run_log import RunLog, Table
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.trainer import train

REPOSITORY = Path(__file__).resolve().parents[3]
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def numbers(step: int) -> dict[str, float]:
    """What a step tells; a third of one has many digits."""
    return {"loss": 1 / (3 + step), "velocity": 0.1, "rate": 1e-3, "seconds": 0.5 * step}


def held_out(step: int) -> dict[str, float]:
    return {"val_loss": 1 / (2 + step), "val_explained_48": 0.4, "val_ncc": 0.9}


def written(folder: Path, steps: range, after: int = 0, every: int = 2) -> RunLog:
    """A log with some steps, a validation at every second of them."""
    log = RunLog(folder, after=after)
    for step in steps:
        log.write(step, numbers(step) | (held_out(step) if step % every == 0 else {}))
    return log


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def steps_in(path: Path) -> list[int]:
    return [int(row["step"]) for row in rows(path)]


# Tables -------------------------------------------------------------------------------------------


def test_every_step_is_on_the_disk_at_once_with_every_digit(tmp_path):
    log = RunLog(tmp_path, after=0)
    for step in (1, 2):
        log.write(step, numbers(step) | (held_out(step) if step == 2 else {}))
        assert steps_in(tmp_path / "training.csv")[-1] == step
    first, second = rows(tmp_path / "training.csv")
    assert list(first) == ["step", "loss", "velocity", "rate", "seconds"]
    assert float(second["loss"]) == 1 / 5
    (found,) = rows(tmp_path / "validation.csv")
    assert list(found) == ["step", *held_out(2)] and float(found["val_loss"]) == 1 / 4
    log.close()
    assert log.notes() == []


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
    written(tmp_path, range(1, 8)).close()
    written(tmp_path, range(5, 7), after=4).close()
    assert steps_in(tmp_path / "training.csv") == [1, 2, 3, 4, 5, 6]
    assert steps_in(tmp_path / "validation.csv") == [2, 4, 6]
    RunLog(tmp_path, after=4).close()  # dropped before any new step, too
    assert steps_in(tmp_path / "training.csv") == [1, 2, 3, 4]


def test_two_sittings_make_the_file_of_one(tmp_path):
    written(tmp_path / "one", range(1, 7)).close()
    written(tmp_path / "two", range(1, 6)).close()
    written(tmp_path / "two", range(4, 7), after=3).close()
    for name in ("training.csv", "validation.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_row_cut_short_is_dropped(tmp_path):
    path = tmp_path / "t.csv"
    whole = b"step,loss\n1,0.25\n2,0.125\n3,0.0625\n"
    for length in range(whole.index(b"3,"), len(whole)):
        path.write_bytes(whole[:length])
        table = Table(path, after=10)
        assert table.read() == [{"step": 1, "loss": 0.25}, {"step": 2, "loss": 0.125}]
        table.append({"step": 3, "loss": 0.0625})
        table.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"step", b"st", b"\0\0\0", b"my,own,notes\n1,2,3\n"])
def test_a_table_without_a_head_begins_anew(content, tmp_path):
    (tmp_path / "training.csv").write_bytes(content)
    log = written(tmp_path, range(3, 5), after=2)
    log.close()
    assert steps_in(tmp_path / "training.csv") == [3, 4]
    assert log.notes() == []


def test_a_damaged_row_ends_the_table(tmp_path):
    path = tmp_path / "training.csv"
    path.write_bytes(b"step,loss\n1,0.5\n2,\0\0\0\n3,0.4\n")
    written(tmp_path, range(2, 3), after=3).close()
    assert [row["loss"] for row in rows(path)] == ["0.5", repr(1 / 5)]


def test_a_later_name_gets_a_column(tmp_path):
    table = Table(tmp_path / "t.csv", after=0)
    table.append({"step": 1, "loss": 0.5})
    table.append({"step": 2, "ncc": 0.9})
    table.append({"step": 3, "loss": 0.3})
    table.close()
    assert (tmp_path / "t.csv").read_text(
        encoding="utf-8"
    ) == "step,loss,ncc\n1,0.5,\n2,,0.9\n3,0.3,\n"


KILLED = """
import sys
from pathlib import Path
from DRDMCore.training.run_log import RunLog
log = RunLog(Path(sys.argv[1]), after=0)
for step in range(1, 100000):
    log.write(step, {"loss": 1 / step, "rate": 1e-3})
    if step == 20:
        print(flush=True)
"""


def test_a_killed_process_leaves_every_row_it_wrote(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    found = (tmp_path / "training.csv").read_bytes().splitlines()
    written(tmp_path, range(0), after=10**6).close()
    steps = steps_in(tmp_path / "training.csv")
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 20 and len(steps) >= len(found) - 2  # the head, and a row cut short


# A disk that fails --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's
def test_a_full_disk_is_told_once_and_rows_wait_for_it(tmp_path):
    """Files may not grow beyond some bytes, which the system refuses as it does on a full disk."""
    log = written(tmp_path, range(1, 3), every=1000)
    path = tmp_path / "training.csv"
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, before[1]))  # in the middle of a row
    try:
        for step in (3, 4):
            log.write(step, numbers(step))
        assert path.stat().st_size == size  # no half row
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    notes = [note for note in log.notes() if "training.csv" in note]
    assert len(notes) == 1 and "the run goes on without it" in notes[0]
    log.write(5, numbers(5))
    assert steps_in(path) == [1, 2, 3, 4, 5]
    log.close()


def test_a_table_that_is_held_open_elsewhere_is_written_later(tmp_path, monkeypatch):
    real = builtins.open

    def locked(file, mode="r", **options):
        if str(file).endswith(".csv") and "a" in mode:
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, mode, **options)

    monkeypatch.setattr(builtins, "open", locked)
    log = written(tmp_path, range(1, 4))
    assert any("training.csv" in note and "Permission denied" in note for note in log.notes())
    monkeypatch.undo()
    log.write(4, numbers(4) | held_out(4))
    assert log.notes() == []
    log.close()
    assert steps_in(tmp_path / "training.csv") == [1, 2, 3, 4]
    assert steps_in(tmp_path / "validation.csv") == [2, 4]


def test_logs_that_cannot_be_written_do_not_end_a_run(tmp_path):
    for name in ("training.csv", "validation.csv", "loss.png"):
        (tmp_path / name / "in the way").mkdir(parents=True)
    (tmp_path / "tensorboard").write_text("in the way", encoding="utf-8")
    events: list[Event] = []
    train(tiny(), tmp_path, progress=events.append)
    assert (tmp_path / "tiny.safetensors").is_file() and (tmp_path / "last.ckpt").is_file()
    notes = [event.message for event in events if event.kind == "note"]
    for name in ("training.csv", "validation.csv", "loss.png"):
        assert len([note for note in notes if f"{name} cannot be written" in note]) == 1


# The picture --------------------------------------------------------------------------------------


def test_the_picture_is_drawn_at_validations_and_at_the_end(tmp_path):
    log = written(tmp_path, range(1, 4), every=2)
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.size == SIZE == (1000, 420)
    (tmp_path / "loss.png").unlink()
    log.write(5, numbers(5))
    assert not (tmp_path / "loss.png").exists()
    log.close()
    assert (tmp_path / "loss.png").exists()
    assert not list(tmp_path.glob("*partial*")) and log.notes() == []


def places(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """`(N, 2)` rows and columns, inside the axes, of the pixels of a colour."""
    near = np.abs(np.asarray(picture, dtype=int) - colour).max(axis=-1) < 12
    near[:84] = False  # title and legend
    return np.argwhere(near)


def test_curves_lie_where_their_numbers_say():
    step = np.arange(1, 1001.0)
    falling = np.stack([step, 2 - step / 1000], axis=1)
    flat = [{"step": 100.0 * n, "val_loss": 1.5} for n in range(1, 11)]
    picture = draw_losses(falling, flat)
    blue, orange = places(picture, BLUE), places(picture, ORANGE)
    left, right = blue[blue[:, 1] < 100], blue[blue[:, 1] > 500]
    assert left[:, 0].mean() < 110 and right[:, 0].mean() > 340  # falls from top to bottom
    middle = blue[np.abs(blue[:, 1] - blue[:, 1].mean()) < 3][:, 0].mean()
    assert abs(orange[:, 0].mean() - middle) < 6 and np.ptp(orange[:, 0]) < 12
    assert orange[:, 1].min() > 90  # the first validation is at a tenth of the steps


def test_one_wild_step_does_not_flatten_the_picture():
    step = np.arange(1, 501.0)
    plain = np.stack([step, 1 - step / 1000], axis=1)
    wild = plain.copy()
    wild[3, 1] = 1e6
    rows_of = [np.ptp(places(draw_losses(each, []), BLUE)[:, 0]) for each in (plain, wild)]
    assert rows_of[1] > 0.8 * rows_of[0] > 100


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        (np.zeros((0, 2)), []),
        (np.array([[1.0, 0.5]]), []),
        (np.array([[1.0, np.nan], [2.0, np.inf]]), [{"step": 2, "val_loss": np.nan}]),
        (np.array([[1.0, -1.0], [2.0, -1.0]]), [{"step": 2, "val_loss": -1.0, "val_ncc": 1.0}]),
    ],
)
def test_little_or_no_numbers_make_a_picture_too(training, validation):
    assert draw_losses(training, validation).size == SIZE


def test_smooth_keeps_lines_and_quiets_noise():
    line = np.linspace(2, 1, 400)
    noise = np.where(np.arange(400) % 2, 0.1, -0.1)
    assert np.allclose(smooth(line)[20:-20], line[20:-20])
    assert np.abs(smooth(noise)).max() < 0.2 * 0.1 + 1e-9
    assert smooth(np.array([3.0])) == [3.0]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.31, 0.58, [0.35, 0.4, 0.45, 0.5, 0.55]),
        (-1.2, 0.1, [-1.2, -1, -0.8, -0.6, -0.4, -0.2, 0]),
        (0, 3000, [0, 500, 1000, 1500, 2000, 2500, 3000]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert np.allclose(nice_ticks(low, high), ticks)


# TensorBoard --------------------------------------------------------------------------------------


def scalars(folder: Path, tag: str) -> list[int]:
    """Steps of a tag, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), purge_orphaned_data=True)
    accumulator.Reload()
    return [event.step for event in accumulator.Scalars(tag)]


def test_tensorboard_files_forget_the_lost_steps(tmp_path):
    pytest.importorskip("tensorboard")
    written(tmp_path, range(1, 8)).close()
    written(tmp_path, range(5, 7), after=4).close()
    board = tmp_path / "tensorboard"
    assert scalars(board, "training/loss") == [1, 2, 3, 4, 5, 6]
    assert scalars(board, "validation/explained_48") == [2, 4, 6]


def test_without_tensorboard_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = written(tmp_path, range(1, 4))
    log.close()
    assert log.notes() == [] and not (tmp_path / "tensorboard").exists()
    assert steps_in(tmp_path / "training.csv") == [1, 2, 3]


# The run ------------------------------------------------------------------------------------------


def tiny() -> TrainingSettings:
    return TrainingSettings(
        name="tiny",
        data="phantom:heart-2d",
        grid=GridPolicy(dimension=2, mode="fov", side=16),
        shape=(16, 16),
        widths=(4, 8),
        subjects=3,
        steps=6,
        batch=2,
        validate_every=3,
        recoveries=1,
        precision="fp32",
    )


def test_a_run_in_two_sittings_has_one_row_per_step(tmp_path):
    with pytest.raises(Cancelled):
        train(tiny(), tmp_path, progress=lambda event: event.done < 4)
    train(tiny(), tmp_path)
    assert steps_in(tmp_path / "training.csv") == [1, 2, 3, 4, 5, 6]
    assert steps_in(tmp_path / "validation.csv") == [3, 6]
    first = rows(tmp_path / "training.csv")[0]
    assert {"step", "loss", "velocity", "slope", "folding", "rate", "seconds"} <= first.keys()
    assert not [name for name in first if name.startswith("val_")]
    assert {"val_loss", "val_ncc", "val_explained_48"} <= rows(tmp_path / "validation.csv")[
        0
    ].keys()
