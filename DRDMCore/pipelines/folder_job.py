"""A job over folders: many units of work, resumable, shared out, one failure stopping nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DRDMCore.atomic import remove_partials, require_writable
from DRDMCore.errors import Cancelled, DRDMError, OutputError
from DRDMCore.imaging import Case
from DRDMCore.pipelines import records
from DRDMCore.pipelines.manifest import NAME
from DRDMCore.pipelines.records import Failure, Unit
from DRDMCore.progress import Callback, Event, tell
from DRDMCore.recovery import StepInfo
from DRDMCore.sharding import Share

OnStep = Callable[[StepInfo], object]
Make = Callable[[Unit, OnStep], Mapping[str, Any]]
"""Writes the files of a unit and says what enters its record."""

_OF_ONE_CASE = (DRDMError, ValueError, RuntimeError, OSError, MemoryError)
"""What may go wrong with one case, foreseen or not; a full disk and a stop concern all."""

_LIVING_SECONDS = 3600
"""With several processes, half-written files younger than this may be somebody's."""

Open = Callable[[Case], Make]
"""Reads a case, for its units to be made."""


@dataclass(frozen=True)
class FolderJob:
    """What there is to do.

    Attributes:
        command: `augment` or `synthesize`.
        home: Folder of records, manifest and list of failures.
        identity: Everything but the input that the samples depend on.
        units: All units of all processes, those of a case side by side.
        failed: Cases that could not even be planned.
        notes: What the user should know before it starts.
        share: The part of this process.
    """

    command: str
    home: Path
    identity: Mapping[str, Any]
    units: Sequence[Unit]
    failed: Sequence[Failure] = ()
    notes: Sequence[str] = ()
    share: Share = field(default_factory=Share)

    @property
    def hash(self) -> str:
        """Hash of the identity."""
        return records.hash_of_job(self.identity)


@dataclass
class _Tally:
    """How far this process has come."""

    total: int
    failed: list[Failure]
    done: int = 0
    skipped: int = 0
    given_up: int = 0

    @property
    def past(self) -> int:
        """Units that need no more work."""
        return self.done + self.skipped + self.given_up


def run_folder_job(job: FolderJob, work: Open, progress: Callback | None) -> dict[str, Any]:
    """Do the units of this process that are not done yet.

    Args:
        job: What there is to do.
        work: Reads a case and makes its units.
        progress: Told of every unit; answering `False` stops, keeping what is done.

    Returns:
        `done`, `skipped` and `failed` of this process, `folder`, `notes`, and `complete`:
        whether `manifest`, a file (`None` while other processes have work left), lacks nothing.

    Raises:
        InputError: If the folder holds another job.
        OutputError: If results cannot be written.
        Cancelled: If `progress` answered `False`.
    """
    _refuse_others(job)
    require_writable(job.home)
    records.begin(job.home, job.identity)
    alone = job.share.world == 1
    remove_partials(_folders(job), older_than=0 if alone else _LIVING_SECONDS)
    records.forget_failures(job.home, job.share.rank, job.share.world)
    own = job.share.mine(job.units)
    tally = _Tally(len(own), list(job.failed))
    tell(progress, Event("start", f"{len(own)} to make in {job.home}", 0, len(own)))
    for text in job.notes:
        tell(progress, Event("note", text))
    try:
        for failure in job.failed:
            tell(progress, Event("failure", _sentence(failure), 0, len(own)))
        for _, group in itertools.groupby(own, key=lambda unit: unit.case.name):
            _run_case(job, list(group), work, tally, progress)
    finally:
        records.write_failures(job.home, job.share.rank, tally.failed)
    manifest = records.finish(job.home, job.command, job.identity, job.units, alone=alone)
    return _summary(job, tally, manifest, progress)


def plan(job: FolderJob) -> dict[str, Any]:
    """What `run_folder_job` would do, without writing anything.

    Raises:
        InputError: If the folder holds another job.
    """
    _refuse_others(job)
    units, failed = [], list(job.failed)
    for _, group in itertools.groupby(job.units, key=lambda unit: unit.case.name):
        for unit, done in _states(job, list(group), failed):
            files = [str(path) for path in unit.files.values()]
            units.append({"name": unit.name, **unit.facts, "files": files, "done": done})
    return {
        "dry_run": True,
        "folder": str(job.home),
        "cases": list(dict.fromkeys(unit.case.name for unit in job.units)),
        "units": units,
        "done": sum(unit["done"] for unit in units),
        "failed": [failure.as_dict() for failure in failed],
        "notes": list(job.notes),
    }


def _states(
    job: FolderJob, units: Sequence[Unit], failed: list[Failure]
) -> Iterator[tuple[Unit, bool]]:
    """The units of a case and whether each is done; an unreadable case goes to `failed`."""
    try:
        inputs = records.describe_case(units[0].case)
        states = [(unit, records.is_done(job.home, job.hash, unit, inputs)) for unit in units]
    except (DRDMError, OSError) as error:
        failed.append(Failure(units[0].case.name, str(error)))
        states = []
    yield from states


def _refuse_others(job: FolderJob) -> None:
    """Refuse a folder with the results of another job before anything is written."""
    records.refuse_other_job(job.home, job.identity)
    for unit in job.units:
        records.refuse_other_record(job.home, job.hash, unit)


def _folders(job: FolderJob) -> set[Path]:
    """All folders that are written to."""
    places = {path.parent for unit in job.units for path in unit.files.values()}
    return {*places, job.home, job.home / records.FOLDER}


def _run_case(
    job: FolderJob,
    units: Sequence[Unit],
    work: Open,
    tally: _Tally,
    progress: Callback | None,
) -> None:
    """The units of one case; what goes wrong is noted, and the rest goes on."""
    case, left = units[0].case, len(units)
    make: Make | None = None
    try:
        inputs = records.describe_case(case)
        for unit in units:
            if records.is_done(job.home, job.hash, unit, inputs):
                tally.skipped += 1
                tell(progress, _event("skip", f"{unit.name} is done already", tally))
            else:
                make = make or work(case)
                _run_unit(job, unit, inputs, make, tally, progress)
            left -= 1
    except (Cancelled, OutputError):
        raise
    except _OF_ONE_CASE as error:
        tally.given_up += left
        _give_up(Failure(case.name, _reason(error)), tally, progress)


def _run_unit(
    job: FolderJob,
    unit: Unit,
    inputs: Mapping[str, Any],
    make: Make,
    tally: _Tally,
    progress: Callback | None,
) -> None:
    """Make one unit and record it."""

    def on_step(info: StepInfo) -> None:
        text = f"{unit.name}, pass {info.index} of {info.total}"
        part = info.index / info.total
        tell(progress, Event("step", text, tally.past + part, tally.total))

    try:
        made = make(unit, on_step)
    except (Cancelled, OutputError):
        raise
    except _OF_ONE_CASE as error:
        tally.given_up += 1
        _give_up(Failure(unit.case.name, _reason(error), unit.name), tally, progress)
        return
    records.write_record(job.home, job.hash, unit, inputs, made)
    tally.done += 1
    tell(progress, _event("sample", unit.name, tally, {"sample": {"name": unit.name, **made}}))


def _reason(error: Exception) -> str:
    """Why something failed; errors that were not foreseen are called by their kind."""
    return str(error) if isinstance(error, DRDMError) else f"{type(error).__name__}: {error}"


def _give_up(failure: Failure, tally: _Tally, progress: Callback | None) -> None:
    """Note a failure and tell of it."""
    tally.failed.append(failure)
    tell(progress, _event("failure", _sentence(failure), tally, failure.as_dict()))


def _event(kind: str, text: str, tally: _Tally, data: dict[str, Any] | None = None) -> Event:
    """An event with how far the job is."""
    return Event(kind, text, tally.past, tally.total, data)


def _sentence(failure: Failure) -> str:
    """A failure for people."""
    return f"{failure.unit or failure.case}: {failure.reason}"


def _summary(
    job: FolderJob, tally: _Tally, manifest: Mapping[str, Any] | None, progress: Callback | None
) -> dict[str, Any]:
    """What was done, told and returned."""
    text = f"{tally.done} made, {tally.skipped} done before, {len(tally.failed)} failed"
    summary = {
        "folder": str(job.home),
        "done": tally.done,
        "skipped": tally.skipped,
        "failed": [failure.as_dict() for failure in tally.failed],
        "notes": list(job.notes),
        "complete": manifest is not None and manifest["complete"],
        "manifest": None if manifest is None else str(job.home / NAME),
    }
    tell(progress, Event("done", f"{text}: {job.home}", tally.past, tally.total, summary))
    return summary
