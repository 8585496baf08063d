"""The numbers of a run on the disk: a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class RunLog:
    """Appends the numbers of steps; on going on, later rows of the last sitting are dropped."""

    def __init__(self, folder: Path, *, after: int) -> None:
        """Open the logs in `folder`, with nothing after step `after`."""
        self.folder = folder

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a step."""

    def close(self) -> None:
        """Close the files."""
