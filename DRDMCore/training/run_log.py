"""The numbers of a run on the disk: tables, a picture, and TensorBoard's files if it is installed.

A log is worth less than the run. What cannot be written (a full disk, a table that another program
holds open) is told once and the run goes on; rows wait until they can be written. A disk that stays
full ends the run all the same, at the next checkpoint.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from DRDMCore.atomic import write_text_whole, written_whole
from DRDMCore.training.loss_picture import draw_losses

Row = Mapping[str, float]

_HELD_OUT = "val_"


class RunLog:
    """`training.csv`, `validation.csv`, `loss.png` and `tensorboard/` in the folder of a run.

    No method raises: what went wrong is in `notes`.
    """

    def __init__(self, folder: Path, *, after: int) -> None:
        """Open the logs in `folder`; rows after step `after` were lost with the last sitting."""
        self.folder = folder
        self._notes: list[str] = []
        self._troubled: set[Path] = set()
        self._curve = array("d")  # step, loss, step, loss, ...
        self._validations: list[Row] = []
        self._stale = False
        self._training = Table(folder / "training.csv", after=after)
        self._validation = Table(folder / "validation.csv", after=after)
        with self._spared(self._training.path):
            rows = self._training.read()
            for row in rows:
                if "loss" in row:
                    self._curve.extend((row["step"], row["loss"]))
        with self._spared(self._validation.path):
            self._validations = [*self._validation.read()]
        self._board: Any = None
        with self._spared(folder / "tensorboard"):
            self._board = _new_board(folder / "tensorboard", after)

    def write(self, step: int, values: Row) -> None:
        """Note the numbers of a step; those of a validation (`val_...`) go into its own table."""
        held_out = {key: value for key, value in values.items() if key.startswith(_HELD_OUT)}
        learned = {key: value for key, value in values.items() if key not in held_out}
        with self._spared(self._training.path):
            self._training.append({"step": step, **learned})
        if "loss" in learned:
            self._curve.extend((step, learned["loss"]))
            self._stale = True
        if held_out:
            self._validations.append({"step": step, **held_out})
            with self._spared(self._validation.path):
                self._validation.append(self._validations[-1])
            self._draw()
        self._tell_board(step, learned, held_out)

    def notes(self) -> list[str]:
        """What could not be written, a sentence each; each is told once."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Draw the picture and close the files."""
        if self._stale:
            self._draw()
        for table in (self._training, self._validation):
            with self._spared(table.path):
                table.close()
        if self._board is not None:
            with self._spared(self.folder / "tensorboard"):
                self._board.close()

    def _draw(self) -> None:
        """Draw the picture anew."""
        path = self.folder / "loss.png"
        with self._spared(path), written_whole(path) as temporary:
            draw_losses(np.array(self._curve).reshape(-1, 2), self._validations).save(temporary)
        self._stale = False

    def _tell_board(self, step: int, learned: Row, held_out: Row) -> None:
        """The same numbers for TensorBoard, as `training/...` and `validation/...`."""
        if self._board is None:
            return
        done = False
        with self._spared(self.folder / "tensorboard"):
            for key, value in learned.items():
                self._board.add_scalar(f"training/{key}", value, step)
            for key, value in held_out.items():
                self._board.add_scalar(f"validation/{key.removeprefix(_HELD_OUT)}", value, step)
            if held_out:
                self._board.flush()
            done = True
        if not done:  # its writing thread has ended and does not come back
            self._board = None

    @contextlib.contextmanager
    def _spared(self, path: Path) -> Iterator[None]:
        """Let the run go on, whatever happens to a log; note the first failure in a row."""
        try:
            yield
        except Exception as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            reason = getattr(cause, "strerror", None) or cause
            if path not in self._troubled:
                self._notes.append(
                    f"{path} cannot be written ({reason}) and the run goes on without it: free "
                    "some space, or close the program that holds it."
                )
            self._troubled.add(path)
        else:
            self._troubled.discard(path)


class Table:
    """Rows of numbers in a CSV file, one appended and flushed at a time.

    A kill can only cut the last row short, and such a row is dropped on reading. A name that comes
    up later gets a column of its own; where a row has no value for a name, its cell is empty.
    """

    def __init__(self, path: Path, *, after: int) -> None:
        """Nothing is touched yet; what is there is kept up to the step `after`."""
        self.path, self._after = path, after
        self._columns: list[str] = []
        self._waiting: list[Row] = []
        self._file: io.FileIO | None = None

    def read(self) -> list[Row]:
        """Cut the file after the step `after` and open it; the rows that stay.

        Raises:
            OSError: If it cannot be read or written.
        """
        old = self.path.read_bytes() if self.path.exists() else b""
        self._columns, rows = _parsed(old, self._after)
        if old:
            self._rewrite(rows)
        else:
            self._open()
        return rows

    def append(self, row: Row) -> None:
        """Write a row, after those that could not be written before.

        Raises:
            OSError: If it cannot be written; the file is as before, and the row waits.
        """
        self._waiting.append(row)
        if self._file is None:
            self.read()
        new = [key for key in dict.fromkeys(k for r in self._waiting for k in r)]
        new = [key for key in new if key not in self._columns]
        if new and self._columns:
            rows = _parsed(self.path.read_bytes(), None)[1]
            self._columns += new
            self._rewrite([*rows, *self._waiting])
        else:
            head = [",".join(new)] if new else []
            columns = self._columns or new
            self._append([*head, *_lines(self._waiting, columns)])
            self._columns = columns
        self._after = max(self._after, *(int(each["step"]) for each in self._waiting))
        self._waiting = []

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If that fails.
        """
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        """Open the file to append to; unbuffered, so that what is written is not lost by a kill."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab", buffering=0)

    def _rewrite(self, rows: Sequence[Row]) -> None:
        """Write the whole file anew, then open it again."""
        self.close()
        self._file = None
        lines = [",".join(self._columns), *_lines(rows, self._columns)] if self._columns else []
        write_text_whole(self.path, "".join(f"{line}\n" for line in lines))
        self._open()

    def _append(self, lines: Sequence[str]) -> None:
        """Add lines, all or none of them."""
        assert self._file is not None
        data = "".join(f"{line}\n" for line in lines).encode()
        before = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(before)
            raise


def _parsed(content: bytes, after: int | None) -> tuple[list[str], list[Row]]:
    """Columns and whole rows of a table up to the step `after`."""
    whole, _, _ = content.rpartition(b"\n")  # what no line end follows was cut short
    columns, *lines = whole.decode("utf-8", "replace").split("\n")
    names = columns.split(",")
    if names[0] != "step":
        return [], []
    rows: list[Row] = []
    for line in lines:
        cells = line.split(",")
        try:
            pairs = zip(names, cells, strict=True)
            row = {name: _number(cell) for name, cell in pairs if cell}
        except ValueError:  # damaged by something else than a kill, and so is what follows
            break
        if "step" not in row or (after is not None and row["step"] > after):
            break
        rows.append(row)
    return names, rows


def _number(text: str) -> float:
    """A number as it was written: whole ones stay whole."""
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _lines(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Rows as lines."""
    return [",".join(_text(row[key]) if key in row else "" for key in columns) for row in rows]


def _text(value: float) -> str:
    """A number with every digit, so that two runs can be compared bit for bit."""
    return str(value) if isinstance(value, int) else repr(float(value))


def _new_board(folder: Path, after: int) -> Any:
    """TensorBoard's writer, which forgets what comes after a step; `None` if not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=after + 1)
