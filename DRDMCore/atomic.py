"""Write to a temporary name, then rename: a file is whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from DRDMCore.errors import OutputError


@contextlib.contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it to `path`, else remove it.

    The temporary name keeps the suffixes of `path`, so that writers that choose the format by
    name work.

    Raises:
        OutputError: If the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:])
    temporary = path.with_name(f".{uuid.uuid4().hex}.partial{suffix}")
    _require_plain_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): "
            "choose another folder, or free some space on the disk, and run again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text_whole(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_partials(folders: Iterable[Path], *, older_than: float = 0) -> None:
    """Remove half-written files that a killed run left behind.

    Args:
        folders: Where to look; missing folders are passed over.
        older_than: Seconds; younger files may belong to a process that lives.
    """
    youngest = time.time() - older_than
    for folder in set(folders):
        for path in folder.glob(".*.partial*") if folder.is_dir() else ():
            if path.is_file() and (not older_than or path.stat().st_mtime < youngest):
                path.unlink(missing_ok=True)


def require_writable(folder: Path | str) -> None:
    """Refuse, before any work, a folder that cannot be written to; leaves no trace.

    Raises:
        OutputError: If it is a file, has an impossible name, or may not be written to.
    """
    _require_plain_name(folder)
    try:
        existing = Path(folder).absolute()
        while not _exists(existing):
            existing = existing.parent
        with tempfile.TemporaryFile(dir=existing):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{str(folder)!r} must be a folder that can be written to, but that fails ({reason}): "
            "choose another folder."
        ) from error


def _require_plain_name(path: Path | str) -> None:
    """Refuse a name of bytes that are no text: SimpleITK would end the whole program."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise OutputError(
            f"the name of {str(path)!a} must be text in UTF-8, but holds other bytes: "
            "choose another folder."
        ) from error


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; other troubles than its absence are raised."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _sync(path: Path) -> None:
    """Bring the file to the disk before it gets its name."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
