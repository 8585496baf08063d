"""`drdm serve`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from DRDMCore.cli.options import Commands, add_command

if TYPE_CHECKING:
    from DRDMCore.progress import Callback

_MORE = """\
Reads requests from stdin and answers on stdout, one line of JSON each, until stdin is closed;
models stay loaded in between. For programs with a window, such as 3D Slicer
(DRDMCore/pipelines/worker.py describes the lines).

  drdm serve
"""
_NICENESS = 5
"""The program that waits for the answers must stay quick."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", "Work for another program.", _MORE)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve."""
    from DRDMCore.pipelines.worker import Worker

    source, sink = _own_streams()
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(_NICENESS)
    jobs = _LazyJobs()
    Worker(source, sink, jobs.run).serve(jobs.load)
    return 0


class _LazyJobs:
    """The jobs, imported after the first line has told that the worker lives."""

    def __init__(self) -> None:
        """Import nothing yet."""
        self._jobs: Any = None

    def load(self) -> None:
        """Import what takes seconds; what fails here fails again, and is told, in the jobs."""
        with contextlib.suppress(ImportError):
            self._import()

    def run(self, name: str, arguments: Mapping[str, Any], progress: Callback) -> Any:
        """Do one job."""
        return self._import().run(name, arguments, progress)

    def _import(self) -> Any:
        """The jobs with all that they import."""
        if self._jobs is None:
            from DRDMCore.pipelines.worker_jobs import Jobs

            self._jobs = Jobs()
        return self._jobs


def _own_streams() -> tuple[io.FileIO, io.FileIO]:
    """Stdin and stdout for the protocol alone.

    What libraries print, also from C, goes to stderr, and nobody else reads the requests.
    """
    sys.stdout.flush()
    # As long as the process lives: `closefd=False`, or Python complains when it ends.
    source = io.FileIO(os.dup(0), "rb", closefd=False)
    sink = io.FileIO(os.dup(1), "wb", closefd=False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return source, sink
