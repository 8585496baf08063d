"""The volume and segmentation of the jobs as files, written once while they stay the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from DRDMLib import inputs


class InputFolder:
    """Files of one volume and its segmentation, shared by the jobs on them."""

    def __init__(self):
        """Begin without files."""
        self._folder = None
        self._nodes = None
        self._files = None

    def filesOf(self, volumeNode, segmentationNode=None):
        """Files of the two nodes as they are now.

        Raises:
            InputProblem: If they cannot be used; one sentence for the user.
        """
        if self._nodes == (volumeNode, segmentationNode) and self._fresh():
            return self._files
        self.clear()
        self._folder = Path(tempfile.mkdtemp(prefix="drdm_inputs_"))
        self._files = inputs.writeInputs(volumeNode, segmentationNode, self._folder)
        self._nodes = (volumeNode, segmentationNode)
        return self._files

    def clear(self):
        """Remove the files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._nodes = self._files = None

    def _fresh(self):
        """Whether the files are there and hold what the nodes hold."""
        paths = [path for path in (self._files.image, self._files.labels) if path is not None]
        there = all(Path(path).is_file() for path in paths)
        return there and not inputs.inputChanged(*self._nodes, self._files)


def writeScans(volumeNodes, folder):
    """Write volumes to learn from into a folder of their own.

    Args:
        volumeNodes: The volumes; each counts as a patient of its own.
        folder: New folder, or one that was written before from the same volumes.

    Returns:
        The folder.

    Raises:
        InputProblem: If a volume cannot be used.
    """
    folder = Path(folder)
    for number, node in enumerate(volumeNodes, 1):
        inputs.writeInputs(node, None, folder / f"case{number:03d}")
    return folder
