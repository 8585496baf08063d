"""What people see of a training: a bar on a terminal, lines in a log; and how long it will take."""

from __future__ import annotations

import io
import json
import re
import sys
import time

import pytest

from DRDMCore.cli.console import Console
from DRDMCore.progress import Event


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def step(done: int, total: int = 1000, **more: float) -> Event:
    return Event("step", f"loss {1 / done:.3f}", done, total, {"loss": 1 / done, **more})


def seconds(text: str) -> int:
    """`1:02:03` or `02:03` as seconds."""
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def show(console: Console, events: list[Event], pause: float = 0.0) -> None:
    for event in events:
        assert console(event) is True
        time.sleep(pause)
    console.close()


def test_the_bar_counts_only_the_steps_of_this_sitting(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    show(Console(json_lines=False), [step(n) for n in range(901, 907)], pause=0.05)
    remaining = re.findall(r"\d\d:\d\d<(\S+)", terminal.getvalue())
    # 94 steps of at least 0.05 s are left; 906 steps in this time would leave none
    assert remaining[0] == "?" and seconds(remaining[-1]) >= 4
    assert "loss 0.001" in terminal.getvalue() and " 91%" in terminal.getvalue()


def test_the_bar_of_the_steps_does_not_count_the_reading(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    console = Console(json_lines=False)
    show(console, [Event("read", f"reading {n} of 9", n, 9) for n in range(1, 10)])
    console(step(1))
    assert re.findall(r"\d\d:\d\d<(\S+)", terminal.getvalue())[-1] == "?"
    console.close()


def test_the_last_validation_stays_in_sight(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    show(Console(json_lines=False), [step(5, val_loss=0.25), step(6)])
    assert "loss 0.167, validation 0.250 at step 5" in terminal.getvalue()


def test_a_log_gets_lines_now_and_then(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = io.StringIO()
    console = Console(json_lines=False, lines=out)
    for number in range(901, 1001):
        console(step(number, **({"val_loss": 0.5} if number == 950 else {})))
        now[0] += 2.0
    first, *rest = out.getvalue().splitlines()
    assert first == "step 901 of 1,000: loss 0.001"
    assert rest[0] == "step 916 of 1,000: loss 0.001, 02:48 left"  # 84 steps of 2 s
    assert [int(line.split()[1]) for line in rest] == [916, 931, 946, 950, 965, 980, 995]
    assert "validation 0.500 at step 950" in rest[-1]


def test_a_pipe_gets_lines_too(capsys):
    show(Console(json_lines=False), [Event("note", "going on after step 4"), step(5), step(6)])
    assert capsys.readouterr() == ("", "going on after step 4\nstep 5 of 1,000: loss 0.200\n")


def test_other_jobs_write_no_lines_for_their_passes(capsys):
    show(Console(json_lines=False), [Event("step", "pass 1 of 8", 0.1, 2, {"level": 40})])
    assert capsys.readouterr() == ("", "")


def test_json_has_a_line_per_step_with_all_numbers(capsys):
    show(Console(json_lines=True), [step(1, rate=1e-3), step(2, val_loss=0.5)])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["loss"] == 1.0 and first["rate"] == 1e-3 and first["total"] == 1000
    assert second["val_loss"] == 0.5 and second["done"] == 2


@pytest.mark.parametrize("stopping", [False, True])
def test_every_event_beats_and_asks(stopping):
    beats: list[int] = []
    console = Console(json_lines=False, quiet=True, beat=lambda: beats.append(1))
    console.stopping = stopping
    assert [console(step(n)) for n in (1, 2, 3)] == [not stopping] * 3
    assert len(beats) == 3
