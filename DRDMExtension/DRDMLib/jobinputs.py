"""The volume and segmentation of the jobs as files, written once while they stay the same."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from slicer.i18n import tr as _

from DRDMLib import inputs
from DRDMLib.background import InThread


class Preparation:
    """Inputs that are being written.

    Attributes:
        files: `InputFiles` once they are there.
        problem: Why they are not, an exception.
    """

    def __init__(self, reading, folder):
        """Begin to write.

        Args:
            reading: What was read of the nodes, an `InputReading`.
            folder: A folder for them alone, removed by `drop`.
        """
        self.files = self.problem = None
        self.times = reading.times
        self._folder, self._waiting = folder, []
        write = functools.partial(reading.write, folder)
        self._writing = InThread(
            write, lambda files: self._end(files, None), lambda problem: self._end(None, problem)
        )

    @property
    def done(self):
        """Whether it has ended, well or not."""
        return self.files is not None or self.problem is not None

    def whenDone(self, tell):
        """Call a function when it has ended: now, if it has, else in a turn of the event loop."""
        if self.done:
            tell()
        else:
            self._waiting.append(tell)

    def isCurrent(self, volumeNode, segmentationNode):
        """Whether the files hold, or will hold, what the nodes hold.

        Nodes that were touched count as changed: writing them again, in the thread, is less of a
        burden than to compare their voxels here.
        """
        if self.problem is not None:
            return False
        paths = [] if self.files is None else [self.files.image, self.files.labels]
        there = all(path.is_file() for path in paths if path is not None)
        return there and not inputs.mayHaveChanged(volumeNode, segmentationNode, self.times)

    def drop(self):
        """Remove the files; who waits for them is told that there will be none."""
        if self.done:
            self._remove()
            return
        self._writing.cancel(self._remove)
        self._end(None, RuntimeError(_("Other inputs were chosen meanwhile: start again.")))

    def _remove(self):
        """Remove the files; in any thread."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, files, problem):
        """Tell how it ended."""
        self.files, self.problem = files, problem
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()


class InputFolder:
    """Files of one volume and its segmentation, shared by the jobs on them."""

    def __init__(self):
        """Begin without files."""
        self._nodes = self._preparation = None

    def prepare(self, volumeNode, segmentationNode=None):
        """Begin to write the two nodes as they are now; what is there already is used again.

        Returns:
            `Preparation`.

        Raises:
            InputProblem: If they cannot be used; one sentence for the user.
        """
        nodes = (volumeNode, segmentationNode)
        if self._nodes == nodes and self._preparation.isCurrent(*nodes):
            return self._preparation
        self.clear()
        reading = inputs.readInputs(*nodes)
        self._preparation = Preparation(reading, Path(tempfile.mkdtemp(prefix="drdm_inputs_")))
        self._nodes = nodes
        return self._preparation

    def clear(self):
        """Remove the files."""
        preparation, self._nodes, self._preparation = self._preparation, None, None
        if preparation is not None:
            preparation.drop()
