"""Finished runs: one file each, and the tables that are made of them.

A run that is finished has a file in the output folder, written whole. The table in docs/results is
made of these files and of what it held before, so that several processes can work on one plan, and
a fresh checkout knows what was done.
"""

from __future__ import annotations

import abc
import contextlib
import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DRDMCore.atomic import write_text_whole

_LONGEST_RUN = 2 * 3600.0
"""Seconds; an older claim is that of a dead process whose number another one has now."""

Row = dict[str, str]
Scores = Mapping[str, Mapping[str, list[float | None]]]
"""Dice, mean surface distance and HD95 by what was scored and label."""


@dataclass(frozen=True)
class FinishedRuns(abc.ABC):
    """Where the results of a study are.

    Attributes:
        name: Of the study.
        folder: Working folder: a file per finished run.
        results: Folder of the tables.
    """

    name: str
    folder: Path
    results: Path

    @property
    @abc.abstractmethod
    def columns(self) -> tuple[str, ...]:
        """What the table says of a run."""

    @property
    @abc.abstractmethod
    def table(self) -> Path:
        """One row per run."""

    @property
    @abc.abstractmethod
    def by_subject(self) -> Path:
        """One line of JSON per run: the scores of everything that it was judged by."""

    def rows(self) -> list[Row]:
        """All finished runs."""
        found = {row["key"]: row for row in self._table_rows()}
        for content in self._files():
            found[content["row"]["key"]] = content["row"]
        return list(found.values())

    def scores(self) -> dict[str, Scores]:
        """Scores by run, of those that have a row."""
        found: dict[str, Scores] = {}
        if self.by_subject.is_file():
            for line in self.by_subject.read_text(encoding="utf-8").splitlines():
                content = json.loads(line)
                found[content["key"]] = content["subjects"]
        for content in self._files():
            found[content["row"]["key"]] = content["subjects"]
        return found

    def finish(self, row: Mapping[str, Any], subjects: Scores) -> None:
        """Keep a finished run, and make the tables anew."""
        written = {name: str(row[name]) for name in self.columns}
        text = json.dumps({"row": written, "subjects": subjects})
        write_text_whole(self.folder / "finished" / f"{row['key']}.json", text)
        self.write()

    def write(self) -> None:
        """The tables, sorted, so that they do not depend on the order of the runs."""
        rows = sorted(self.rows(), key=lambda row: row["key"])
        scores = self.scores()
        lines = io.StringIO()
        writer = csv.DictWriter(lines, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        kept = [
            json.dumps({"key": row["key"], "subjects": scores[row["key"]]}, separators=(",", ":"))
            for row in rows
            if row["key"] in scores
        ]
        write_text_whole(self.by_subject, "".join(f"{line}\n" for line in kept))
        write_text_whole(self.table, lines.getvalue())

    @contextlib.contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Whether this process may do a run: no living one is at it."""
        path = self.folder / "claims" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _claim(path):
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)

    def _table_rows(self) -> list[Row]:
        """The rows of the table in the repository."""
        if not self.table.is_file():
            return []
        with self.table.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _files(self) -> Iterator[dict[str, Any]]:
        """The files of finished runs."""
        for path in sorted((self.folder / "finished").glob(f"{self.name}-*.json")):
            yield json.loads(path.read_text(encoding="utf-8"))


def _claim(path: Path) -> bool:
    """Take a claim, also that of a process which is no more."""
    for _ in range(2):
        with contextlib.suppress(FileExistsError):
            with path.open("x", encoding="utf-8") as file:
                file.write(str(os.getpid()))
            return True
        with contextlib.suppress(OSError, ValueError):
            owner = int(path.read_text(encoding="utf-8") or 0)
            if _alive(owner) and time.time() - path.stat().st_mtime < _LONGEST_RUN:
                return False
            path.unlink()
    return False


def _alive(process: int) -> bool:
    """Whether there is such a process on this machine."""
    if process == os.getpid():
        return False  # left behind by an earlier process of the same number
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0
