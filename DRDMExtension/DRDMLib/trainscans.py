"""Volumes of the scene as a folder of scans to learn from.

One volume after the other is read, on the main thread, and written, in a thread. The folder appears
when it is complete: until then everything lies in a hidden folder beside it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import tempfile
from pathlib import Path

from slicer.i18n import tr as _

from DRDMLib import inputs
from DRDMLib.background import InThread
from DRDMLib.sceneroles import inScene

LIST = "written-by-drdm.json"
"""Names the files of a folder that was written here: it alone is ever replaced."""


class ScanWriting:
    """Volumes on their way to a folder.

    Attributes:
        folder: Where they will be.
    """

    def __init__(self, volumeNodes, folder):
        """Look at the volumes; `begin` writes them.

        Args:
            volumeNodes: The volumes; each counts as a patient of its own.
            folder: Where to write; beside it, under a number, if it holds anything else than
                scans that were written before.

        Raises:
            InputProblem: If a volume cannot be used, but for its values: these are looked at later.
        """
        for node in volumeNodes:
            inputs.checkInputs(node, values=False)
        self.folder = _freeFolder(Path(folder).resolve())
        self._nodes = [(node, node.GetName()) for node in volumeNodes]
        self._left = list(self._nodes)
        self._scratch = self._going = None
        self._cancelled = False
        self._cannotMake = _("{folder} cannot be made ({reason}): choose another folder.")

    def begin(self, onScan, onDone, onProblem):
        """Begin to write.

        Args:
            onScan: Told the name of each volume that is begun, its number from 1, and their count.
            onDone: Told when the folder is there.
            onProblem: Told the exception that ended it: `InputProblem` if a volume is gone or
                cannot be used, `OSError` if a file cannot be written.
        """
        self._onScan, self._onDone, self._onProblem = onScan, onDone, onProblem
        self._next()

    def cancel(self):
        """Stop; nothing is left of what was written, and nothing is told."""
        self._cancelled = True
        if self._going is not None:
            self._going.cancel(self._clear)

    def wait(self, seconds):
        """Wait for the thread after `cancel`, for so long at most."""
        if self._going is not None:
            self._going.wait(seconds)

    def _next(self):
        """Begin with a volume; publish the folder after the last."""
        if not self._left:
            self._do(self._publish, lambda *ignored: self._onDone())
            return
        node, name = self._left.pop(0)
        number = len(self._nodes) - len(self._left)
        with self._problemsTold():
            self._require(node, name)
            self._onScan(name, number, len(self._nodes))
            read = functools.partial(self._read, node, name, number)
            self._do(inputs.roomFor(node), read)

    def _read(self, node, name, number, room):
        """Read a volume and let it be written."""
        with self._problemsTold():
            self._require(node, name)
            reading = inputs.readInputs(node, room=room)
            write = functools.partial(self._write, reading, number)
            self._do(write, lambda *ignored: self._next())

    def _require(self, node, name):
        """Refuse a volume that is gone, by its name, or has become unfit."""
        if not inScene(node):
            text = _("{name} was removed from the scene before it was written.")
            raise inputs.InputProblem(text.format(name=f"'{name}'"))
        inputs.checkInputs(node, values=False)

    @contextlib.contextmanager
    def _problemsTold(self):
        """End with what is wrong with a volume."""
        try:
            yield
        except inputs.InputProblem as problem:
            self._failed(problem)

    def _do(self, work, then):
        """Do something in the thread, and then something here; nothing if it was cancelled."""
        if not self._cancelled:
            self._going = InThread(work, then, self._failed)

    def _failed(self, problem):
        """Leave nothing behind, and tell."""
        self._clear()
        self._onProblem(problem)

    def _write(self, reading, number):
        """Write a volume; in the thread."""
        if self._scratch is None:
            self._scratch = self._newScratch()
        reading.write(self._scratch / "scans" / f"case{number:03d}")

    def _newScratch(self):
        """A hidden folder on the same disk; in the thread."""
        parent = self.folder.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=parent))
        except OSError as error:
            text = self._cannotMake.format(folder=self.folder, reason=error.strerror)
            raise OSError(text) from error

    def _publish(self):
        """Put the folder into its place; in the thread."""
        whole = self._scratch / "scans"
        names = [path.relative_to(whole).as_posix() for path in _filesIn(whole)]
        (whole / LIST).write_text(json.dumps(names, indent=1), encoding="utf-8")
        if _canBeReplaced(self.folder):
            self.folder.rename(self._scratch / "before")
        whole.rename(self.folder)
        self._clear()

    def _clear(self):
        """Remove what is not in its place; in any thread."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _freeFolder(folder):
    """The folder, or one beside it: one that is not there, is empty, or was written here."""
    number, free = 1, folder
    while free.exists() and not _canBeReplaced(free):
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _canBeReplaced(folder):
    """Whether a folder is empty, or holds exactly what was written here."""
    if not folder.is_dir():
        return False
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return not any(folder.iterdir())
    found = {path.relative_to(folder).as_posix() for path in _filesIn(folder)}
    return found == {LIST, *map(str, listed)}


def _filesIn(folder):
    """All files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
