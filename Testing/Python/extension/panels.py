"""A user of the panel: opens it, chooses, clicks, waits, and looks at the scene."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import time
from pathlib import Path

import numpy as np

from Testing.Python.extension import scenes

MODULE = Path(__file__).parents[3] / "DRDMExtension" / "DRDM.py"
KEEP, NAME, MEAN, MOST, LEAST_JACOBIAN, FOLDED, VOLUMES, SEED = range(8)


class Panel:
    """The open panel."""

    def __init__(self, harness):
        self.harness, self.shared = harness, None
        self.widget = harness.openModule(MODULE)
        self.widget.parent.resize(480, 1400)
        self.widget.parent.show()

    ui = property(lambda self: self.widget.ui)
    main = property(lambda self: self.widget.panel)
    logic = property(lambda self: self.widget.logic)
    parameters = property(lambda self: self.widget.panel.parameters)

    def letGo(self):
        """Give the shared worker back, idle, before the panel is closed."""
        if self.shared is not None:
            self.shared.cancelAll()
            self.harness.wait(lambda: not self.shared.busy, 10)
            self.widget.logic._client = None

    def choose(self, volume, segmentation=None, **values):
        """Choose inputs; other choices by name. Seeds are fixed."""
        self.parameters.volume = volume
        self.parameters.segmentation = segmentation
        for name, value in {"newSeed": False, **values}.items():
            setattr(self.parameters, name, value)
        self.harness.processEvents()

    def click(self, name):
        """Click a button that can be clicked."""
        button = getattr(self.ui, name)
        assert button.enabled, f"{name}: {button.toolTip}"
        button.click()

    def tick(self, row, keep):
        """Tick or clear the box of a row."""
        import qt

        state = qt.Qt.Checked if keep else qt.Qt.Unchecked
        self.ui.samplesTable.item(row, KEEP).setCheckState(state)
        self.spin(0.02)

    def tickVolumes(self, *names):
        """Tick volumes to learn from."""
        import qt

        self.harness.processEvents()
        for name in names:
            (item,) = self.ui.trainVolumesList.findItems(name, qt.Qt.MatchExactly)
            item.setCheckState(qt.Qt.Checked)

    def wait(self, condition, seconds=30):
        """Let the application live until the condition holds."""
        self.harness.wait(condition, seconds)

    def spin(self, seconds):
        """Let the application live for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.harness.processEvents()
            time.sleep(0.002)

    def finish(self, seconds=60):
        """Wait for the end of what was clicked."""
        main = self.main
        self.wait(lambda: not (main.generate.running or main.export.running), seconds)
        self.harness.processEvents()

    def warmUp(self):
        """Start the worker and let it answer all that the panel asks by itself."""
        self.logic.ask("status", {}, waitForCompletion=True)
        self.wait(lambda: not (self.logic.client.busy or self.main.device.waiting))

    def killWorker(self):
        """Kill the worker's process, as the system does where memory is short."""
        os.kill(self.logic.client._process._popen.pid, signal.SIGKILL)

    def samples(self):
        """The samples in the scene."""
        return lib("samples").samplesOf(None)

    def texts(self, row):
        """The texts of a row."""
        table = self.ui.samplesTable
        return [table.item(row, column).text() for column in range(table.columnCount)]

    def answer(self, button, contains=""):
        """Answer a dialog that will come."""
        self.harness.dialogs.answer(button, contains)

    def dialogs(self):
        """Texts of the dialogs that came."""
        return self.harness.dialogs.texts

    @contextlib.contextmanager
    def heartbeat(self):
        """Milliseconds between turns of the event loop, as a user would feel them."""
        import qt

        beats, last = [], [time.monotonic()]

        def beat():
            now = time.monotonic()
            beats.append(1000 * (now - last[0]))
            last[0] = now

        timer = qt.QTimer()
        timer.setInterval(5)
        timer.timeout.connect(beat)
        timer.start()
        yield beats
        timer.stop()


def lib(name):
    """A module of DRDMLib."""
    return importlib.import_module(f"DRDMLib.{name}")


def smallCase():
    """A volume with two segments that a core deforms in a fraction of a second."""
    volume = scenes.volume(scenes.imageArray((16, 24, 20)))
    return volume, scenes.segmentation(volume)


def fieldOf(node):
    """The field of a sample, `(k, j, i, 3)` in mm, RAS; a copy."""
    import slicer

    return slicer.util.arrayFromGridTransform(node).copy()


def contentOf(volume):
    """What a volume holds, and where."""
    import slicer

    matrix = slicer.util.arrayFromVTKMatrix(_matrixOf(volume))
    return slicer.util.arrayFromVolume(volume).tobytes(), matrix.tobytes()


def sceneContent():
    """Names, parents and sizes of the nodes that a job may touch."""
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLTransformableNode")
    parents = [(node.GetID(), node.GetName(), node.GetTransformNodeID()) for node in nodes]
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return parents, [contentOf(node) for node in volumes], slicer.mrmlScene.GetNumberOfNodes()


def writeSlices(folder, count):
    """Slices to learn from."""
    import SimpleITK as sitk

    folder.mkdir()
    random = np.random.default_rng(3)
    for number in range(count):
        array = scenes.imageArray((1, 24, 24))[0] + random.integers(0, 200, (24, 24))
        sitk.WriteImage(
            sitk.GetImageFromArray(array.astype(np.int16)), str(folder / f"p{number:03d}_a.nrrd")
        )


def _matrixOf(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix
