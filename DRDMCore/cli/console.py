"""Progress for people (a bar) and for programs (JSON lines), and stopping cleanly."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tqdm import tqdm

from DRDMCore.errors import InputError
from DRDMCore.progress import Event

EXIT_FAILED, EXIT_SOME_FAILED, EXIT_STOPPED = 1, 3, 130


class Console:
    """Shows events and carries the wish to stop back to the job."""

    def __init__(self, *, json_lines: bool, quiet: bool = False) -> None:
        """Start with an empty bar, or none."""
        self.json_lines, self.quiet, self.stopping = json_lines, quiet, False
        self._bar: tqdm[Any] | None = None

    def __call__(self, event: Event) -> bool:
        """Show an event; `False` asks the job to stop."""
        if self.json_lines:
            print(json.dumps(event.as_dict()), flush=True)
        elif not self.quiet:
            self._show(event)
        return not self.stopping

    def close(self) -> None:
        """Leave the bar as it is and give the terminal back."""
        if self._bar is not None:
            self._bar.close()

    def _show(self, event: Event) -> None:
        """Draw the bar; write sentences above it."""
        if event.kind != "step" and event.message:
            with tqdm.external_write_mode(file=sys.stderr):
                print(event.message, file=sys.stderr, flush=True)
        if not event.total or event.kind == "done":
            return
        if self._bar is None:
            layout = "{percentage:3.0f}% |{bar}| {elapsed}<{remaining} {postfix}"
            self._bar = tqdm(
                total=event.total, file=sys.stderr, bar_format=layout, leave=False, disable=None
            )
        self._bar.total = event.total
        self._bar.n = event.done
        self._bar.set_postfix_str(event.message if event.kind == "step" else "", refresh=True)


@contextlib.contextmanager
def console(arguments: argparse.Namespace) -> Iterator[Console]:
    """A console for a job; Ctrl-C and SIGTERM stop it at the next pass, a second Ctrl-C at once."""
    shown = Console(json_lines=arguments.json, quiet=arguments.quiet)

    def stop(number: int, frame: FrameType | None) -> None:
        if shown.stopping:
            raise KeyboardInterrupt
        shown.stopping = True
        # Not `print`: the signal may have come in the middle of one, which cannot be entered twice.
        os.write(2, b"stopping after this pass; what is done is kept\n")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield shown
    finally:
        shown.close()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def user_values() -> Iterator[None]:
    """Turn the refusal of a value that the user gave into an `InputError`."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error
