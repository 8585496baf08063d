"""Runs that are planned: their names, the best of tuned settings, and making those that miss."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

from DRDMCore.machine import processor
from Testing.Benchmarks.machine import commit
from Testing.Experiments.finished import FinishedRuns, Row

TUNING, TEST = "tuning", "test"
_PAUSE = 20.0
"""Seconds until another process may have finished a run."""

Setting = Mapping[str, Any]
"""What a kind of field is drawn with; `p`: the share of samples that are deformed."""


@dataclass(frozen=True)
class PlannedRun:
    """One network, or one method without a network.

    Attributes:
        study: Name of the study.
        stage: `tuning` (scored on validation subjects) or `test`.
        arm: What is compared.
        settings: Settings by kind, as `as_text` writes them.
    """

    study: str
    stage: str
    arm: str
    settings: str

    @property
    def place(self) -> str:
        """What stands for the run among others of its study and stage, to be read by people."""
        return self.arm

    @property
    def key(self) -> str:
        """A name that no other run has; changed settings make another run."""
        text = json.dumps(asdict(self), sort_keys=True)
        short = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.study}-{self.stage}-{self.place}-{short}"

    @property
    def by_kind(self) -> dict[str, Setting]:
        """The settings by kind."""
        kinds: dict[str, Setting] = json.loads(self.settings)
        return kinds


AnyRun = TypeVar("AnyRun", bound=PlannedRun)


def as_text(settings: Mapping[str, Setting]) -> str:
    """Settings by kind as one line, the same for the same settings."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))


def best_of(
    rows: Sequence[Mapping[str, str]], tuning: Iterable[PlannedRun], arms: Iterable[str]
) -> dict[str, Setting]:
    """The setting of each tuned arm whose mean Dice over its runs of tuning is highest.

    Args:
        rows: Finished runs, as the table holds them.
        tuning: The runs of tuning, in which an arm has settings of one kind.
        arms: Those that are tuned.

    Returns:
        Setting by arm; an arm is left out as long as one of its tuning runs is missing.
    """
    done = {row["key"]: float(row["dice"]) for row in rows}
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in arms}
    complete = set(scores)
    for run in tuning:
        if run.key not in done:
            complete.discard(run.arm)
            continue
        scores[run.arm].setdefault(run.settings, []).append(done[run.key])
    best = {}
    for name in sorted(complete):
        means = {text: sum(values) / len(values) for text, values in scores[name].items()}
        (best[name],) = json.loads(max(means, key=lambda text: means[text])).values()
    return best


def make_missing(
    records: FinishedRuns,
    runs: Sequence[AnyRun],
    make: Callable[[AnyRun], object],
    tell: Callable[[str], object],
    limit: int | None = None,
) -> int:
    """Make the runs that are not finished, in their order.

    Args:
        records: Where finished runs are.
        runs: The plan.
        make: Makes a run and keeps its row.
        tell: Told what is being done.
        limit: Make at most so many.

    Returns:
        How many are not finished: another process is at them, or the limit is reached.
    """
    left = limit if limit is not None else len(runs)
    for number, run in enumerate(runs, start=1):
        with records.claimed(run.key) as ours:
            done = {row["key"] for row in records.rows()}
            if not ours or run.key in done or left < 1:
                continue
            tell(f"run {number} of {len(runs)}: {run.key}")
            make(run)
            left -= 1
    done = {row["key"] for row in records.rows()}
    return sum(run.key not in done for run in runs)


def make_tuning(
    records: FinishedRuns, make: Callable[[int | None], int], limit: int | None
) -> int | None:
    """Make the runs of tuning, and wait for those of other processes: the rest depends on them.

    Args:
        records: Where finished runs are.
        make: Makes at most so many of them, and returns how many are missing.
        limit: Make at most so many runs, and do not wait.

    Returns:
        How many of the limit are left.
    """
    before = len(records.rows())
    while make(limit):
        if limit is not None:
            break
        time.sleep(_PAUSE)
    return None if limit is None else limit - (len(records.rows()) - before)


def missing_in_words(
    rows: Iterable[Row],
    tuning: Sequence[AnyRun],
    runs: Sequence[AnyRun],
    name: Callable[[AnyRun], str],
) -> str:
    """What is not finished.

    Args:
        rows: Finished runs.
        tuning: Runs of tuning.
        runs: Those that are reported.
        name: The group that a run is counted in.
    """
    done = {row["key"] for row in rows}
    left = sum(run.key not in done for run in tuning)
    if left:
        return f"**missing: {left} of {len(tuning)} runs of tuning, and all of the test**"
    counts = Counter(name(run) for run in runs if run.key not in done)
    if not counts:
        return "none is missing"
    return "**missing: " + "; ".join(f"{name} ({n})" for name, n in counts.items()) + "**"


def circumstances(device: str, packages: Sequence[str]) -> dict[str, Any]:
    """With what a run was made.

    Args:
        device: Where its network was trained.
        packages: Whose versions matter.
    """
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    on_gpu = torch.device(device).type == "cuda"
    machine = torch.cuda.get_device_name(device) if on_gpu else processor()
    return {
        "device": f"{device}, {machine}",
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
    }
