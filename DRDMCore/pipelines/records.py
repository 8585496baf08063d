"""What a job over folders has done so far: one small record per unit of work, written last.

`HOME/records/NAME.json` says what unit NAME was made from and the hash of every file of it;
`records/job.json` says of which job they are. A unit without a record is made (again).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import InputError
from DRDMCore.imaging import Case
from DRDMCore.models import sha256_of
from DRDMCore.pipelines.manifest import FORMAT, NAME, hash_of, versions, write_manifest

FOLDER = "records"
FAILURES = "failures.json"
_JOB = "job.json"
_FAILED_OF_RANK = "failures_rank"


@dataclass(frozen=True)
class Unit:
    """One piece of work: a sample, a pair or an original.

    Attributes:
        name: Name of its record.
        case: What it is made from.
        files: What it writes, by kind.
        facts: Level, seed and the like, as plain JSON values; they enter the record.
    """

    name: str
    case: Case
    files: Mapping[str, Path]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """What could not be done, and why; `unit` is empty where it is the whole case."""

    case: str
    reason: str
    unit: str = ""

    def as_dict(self) -> dict[str, str]:
        """The failure for JSON."""
        return {"case": self.case, "unit": self.unit, "reason": self.reason}


def hash_of_job(identity: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a job's samples depend on, but for the input."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def describe_case(case: Case) -> dict[str, Any]:
    """Names and hashes of the files of a case."""
    paths = {"image": case.image, "labels": case.labels}
    return {
        kind: None if path is None else {"file": path.name, "sha256": hash_of(path)}
        for kind, path in paths.items()
    }


def begin(home: Path, identity: Mapping[str, Any]) -> None:
    """Enter the job in its folder.

    Raises:
        InputError: If the folder holds another job.
    """
    refuse_other_job(home, identity)
    path = home / FOLDER / _JOB
    if not path.exists():
        write_text_whole(path, _json(identity))


def refuse_other_job(home: Path, identity: Mapping[str, Any]) -> None:
    """Raise `InputError`, saying what differs, if the folder holds the records of another job."""
    begun = _read(home / FOLDER / _JOB)
    wanted = json.loads(json.dumps(identity))
    if begun is None or begun == wanted:
        return
    differ = [key for key in {**begun, **wanted} if begun.get(key) != wanted.get(key)]
    raise InputError(
        f"{home} holds the results of another job (it differs in {', '.join(differ)}): choose "
        "another folder, or remove it first."
    )


def write_record(
    home: Path, job_hash: str, unit: Unit, inputs: Mapping[str, Any], made: Mapping[str, Any]
) -> None:
    """Say that a unit is done; the last thing written of it."""
    files = {
        kind: {"path": _relative(path, home), "sha256": sha256_of(path)}
        for kind, path in unit.files.items()
    }
    record = {
        "format": FORMAT,
        "name": unit.name,
        "case": unit.case.name,
        "job": job_hash,
        "input": inputs,
        **unit.facts,
        **made,
        "files": files,
    }
    write_text_whole(_path(home, unit.name), _json(record))


def is_done(home: Path, job_hash: str, unit: Unit, inputs: Mapping[str, Any]) -> bool:
    """Whether a unit has its record, and its files as recorded.

    Raises:
        InputError: If the record is that of another job or input.
    """
    record = _read(_path(home, unit.name))
    if record is None:
        return False
    refuse_other_record(home, job_hash, unit)
    if record.get("input") != inputs:
        raise InputError(
            f"{home} holds {unit.name} made from other files than {unit.case.image.name} and its "
            "labels are now: choose another folder, or remove its record and files."
        )
    files = record["files"]
    return all(
        kind in files and path.is_file() and sha256_of(path) == files[kind]["sha256"]
        for kind, path in unit.files.items()
    )


def refuse_other_record(home: Path, job_hash: str, unit: Unit) -> None:
    """Raise `InputError` if there is a record of this name, but of another job."""
    record = _read(_path(home, unit.name))
    if record is None:
        return
    same = all(record.get(key) == value for key, value in unit.facts.items())
    if not same or record.get("job") != job_hash:
        raise InputError(
            f"{home} holds {unit.name} of another job: choose another folder, or remove it first."
        )


def forget_failures(home: Path, rank: int, world: int) -> None:
    """Remove what this process, and processes that are no more, reported in the last run."""
    for path in (home / FOLDER).glob(f"{_FAILED_OF_RANK}*.json"):
        number = path.stem.removeprefix(_FAILED_OF_RANK)
        if number.isdigit() and (int(number) == rank or int(number) >= world):
            path.unlink(missing_ok=True)


def write_failures(home: Path, rank: int, failures: Sequence[Failure]) -> None:
    """Keep the failures of one process, if any."""
    if failures:
        listed = [failure.as_dict() for failure in failures]
        write_text_whole(home / FOLDER / f"{_FAILED_OF_RANK}{rank}.json", _json(listed))


def finish(
    home: Path, command: str, identity: Mapping[str, Any], units: Iterable[Unit], *, alone: bool
) -> dict[str, Any] | None:
    """Write `manifest.json` and `failures.json` once nothing is left to do.

    Args:
        home: Folder of the job.
        command: Name of the job for the manifest.
        identity: What its samples depend on.
        units: All units, also those of other processes.
        alone: Whether this is the only process, so that what is missing will stay so.

    Returns:
        The manifest, or `None` if there is something left for another process to make and write.
    """
    failed = _all_failures(home)
    cases = {each["case"] for each in failed if not each["unit"]}
    names = {each["unit"] for each in failed}
    missing = [unit for unit in units if not _path(home, unit.name).exists()]
    if not alone and any(u.case.name not in cases and u.name not in names for u in missing):
        return None
    if failed:
        write_text_whole(home / FAILURES, _json(failed))
    else:
        (home / FAILURES).unlink(missing_ok=True)
    manifest = {
        "format": FORMAT,
        "command": command,
        "versions": versions(),
        "job": dict(identity),
        "samples": _all_records(home, hash_of_job(identity)),
        "failed": failed,
        "complete": not failed and not missing,
    }
    write_manifest(home / NAME, manifest)
    return manifest


def _all_records(home: Path, job_hash: str) -> list[dict[str, Any]]:
    """The records of a job, by name."""
    found = [_read(path) for path in sorted((home / FOLDER).glob("*.json"))]
    return [record for record in found if record is not None and record.get("job") == job_hash]


def _all_failures(home: Path) -> list[dict[str, str]]:
    """The failures of all processes, each once, by case and unit."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for path in sorted((home / FOLDER).glob(f"{_FAILED_OF_RANK}*.json")):
        for each in json.loads(path.read_text(encoding="utf-8")):
            found.setdefault((each["case"], each["unit"]), each)
    return [found[key] for key in sorted(found)]


def _read(path: Path) -> dict[str, Any] | None:
    """A record; `None` if it is not there or no JSON object (then it is made again)."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _path(home: Path, name: str) -> Path:
    """Where the record of a unit is."""
    return home / FOLDER / f"{name}.json"


def _relative(path: Path, home: Path) -> str:
    """The path seen from the folder of the job, with slashes."""
    try:
        return Path(os.path.relpath(path, home)).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def _json(value: Any) -> str:
    """Indented JSON with a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
