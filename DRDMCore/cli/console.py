"""Progress for people (a bar, or lines in a log) and programs (JSON), and stopping cleanly."""

from __future__ import annotations

import _thread
import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO, cast

from tqdm import tqdm

from DRDMCore.errors import InputError
from DRDMCore.progress import Event

EXIT_FAILED, EXIT_SOME_FAILED, EXIT_STOPPED = 1, 3, 130
_LINE_SECONDS = 30.0


class Console:
    """Shows events and carries the wish to stop back to the job."""

    def __init__(
        self,
        *,
        json_lines: bool,
        quiet: bool = False,
        lines: TextIO | None = None,
        beat: Callable[[], object] | None = None,
    ) -> None:
        """Start with an empty bar, or none.

        Args:
            json_lines: One JSON line per event on stdout, for programs.
            quiet: Show nothing.
            lines: Where to write sentences instead of showing a bar on stderr.
            beat: Called at every event, to keep a window alive.
        """
        self.json_lines, self.quiet, self.stopping = json_lines, quiet, False
        self._lines, self._beat = lines, beat
        self._bar: tqdm[Any] | None = None
        self._kind, self._begun, self._first = "", 0.0, 0.0
        self._told = 0.0
        self._validation = ""

    def __call__(self, event: Event) -> bool:
        """Show an event; `False` asks the job to stop."""
        if event.kind == "pulse":
            pass
        elif self.json_lines:
            print(json.dumps(event.as_dict()), flush=True)
        elif not self.quiet:
            self._show(event)
        if self._beat is not None:
            self._beat()
        return not self.stopping

    def close(self) -> None:
        """Leave the bar as it is and give the terminal back."""
        if self._bar is not None:
            self._bar.close()

    def _show(self, event: Event) -> None:
        """Draw the bar, or a line now and then; write sentences above it."""
        counted = event.kind in ("read", "step")
        if not counted and event.message:
            self._print(event.message)
        if not event.total or event.kind == "done":
            return
        if (event.kind == "read") != (self._kind == "read") or not self._kind:
            self._begin(event)
        words = self._words(event) if counted else ""
        if self._bar is not None:
            self._bar.total = event.total
            self._bar.n = event.done
            self._bar.set_postfix_str(words, refresh=True)
        elif event.kind == "read" or "loss" in (event.data or {}):
            self._tell(event, words)

    def _begin(self, event: Event) -> None:
        """Begin to count; what an earlier run did is not counted as done in this time."""
        self.close()
        self._kind, self._begun, self._first = event.kind, time.monotonic(), event.done
        self._bar, self._told = None, 0.0
        if self._lines is None and sys.stderr.isatty():
            layout = "{percentage:3.0f}% |{bar}| {elapsed}<{remaining} {postfix}"
            self._bar = tqdm(
                total=event.total,
                initial=cast(int, event.done),
                file=sys.stderr,
                bar_format=layout,
                leave=False,
            )

    def _words(self, event: Event) -> str:
        """The message of a step, and the last validation after it."""
        found = (event.data or {}).get("val_loss")
        if found is not None:
            self._validation = f"validation {found:.3f} at step {event.done:,.0f}"
            return event.message
        return ", ".join(filter(None, (event.message, self._validation)))

    def _tell(self, event: Event, words: str) -> None:
        """A line at the first step, at every validation, and now and then, for logs."""
        now = time.monotonic()
        if self._told and now - self._told < _LINE_SECONDS and "val_loss" not in (event.data or {}):
            return
        self._told = now
        place = f"step {event.done:,.0f} of {event.total:,.0f}: " if event.kind == "step" else ""
        left = ""
        if self._first < event.done < event.total:
            pace = (now - self._begun) / (event.done - self._first)
            left = f", {tqdm.format_interval(pace * (event.total - event.done))} left"
        self._print(f"{place}{words}{left}")

    def _print(self, sentence: str) -> None:
        """A line for people."""
        with tqdm.external_write_mode(file=sys.stderr):
            print(sentence, file=self._lines or sys.stderr, flush=True)


@contextlib.contextmanager
def console(arguments: argparse.Namespace) -> Iterator[Console]:
    """A console for a job; Ctrl-C and SIGTERM stop it at the next pass, a second Ctrl-C at once."""
    new_console = getattr(arguments, "new_console", Console)
    shown: Console = new_console(json_lines=arguments.json, quiet=arguments.quiet)

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


def stop_with_stdin() -> None:
    """Stop as at Ctrl-C when stdin is closed: by a program that started this one, or has died."""

    def wait() -> None:
        # Not `sys.stdin`, whose lock a waiting thread would still hold when the program ends.
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        _thread.interrupt_main()

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def user_values() -> Iterator[None]:
    """Turn the refusal of a value that the user gave into an `InputError`."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error
