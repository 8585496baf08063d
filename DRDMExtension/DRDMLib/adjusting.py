"""A sample made weaker or stronger, and its local change of volume."""

from __future__ import annotations

import functools

from DRDMLib import display, samples
from DRDMLib.gridfiles import FieldReading, VolumeReading
from DRDMLib.running import Run

_latest = {}
"""The run that sets the amplitude of a sample, by its node."""


class SampleRun(Run):
    """A job on one sample in the scene."""

    def __init__(self, client, node, field, then, **callbacks):
        """Write a field of a sample to a file.

        Args:
            client: The worker's client.
            node: The sample.
            field: What is written, a `FieldWriting`.
            then: Called when it is there.
            callbacks: `onProgress` and `onEnd`, see `Run`.
        """
        super().__init__(client, **callbacks)
        self.node = node
        self.folder = self.makeFolder("drdm_sample_")
        self.field = self.folder / "field.nrrd"
        self.inThread(functools.partial(field.write, self.field), lambda answer: then())

    @property
    def gone(self):
        """Whether the sample has left the scene."""
        return self.node.GetScene() is None

    def read(self, reading, use):
        """Read a file of the worker in a thread, and use what it holds if the sample is there.

        Args:
            reading: A `FieldReading` or `VolumeReading`.
            use: Told what it has read.
        """
        self.inThread(reading.read, lambda answer: None if self.gone else use(answer))


class AmplitudeRun(SampleRun):
    """Sets the amplitude of a sample: its field as generated, times a factor, without folds.

    The last one that is asked for counts: it stops one that goes on for the same sample.
    """

    def __init__(self, client, node, amplitude, preparation, **callbacks):
        """Ask for the field.

        Args:
            client: The worker's client.
            node: The sample.
            amplitude: 0 .. 1.5; 1 is as generated.
            preparation: The inputs on their way to files, to measure what becomes of them.
            callbacks: `onProgress` and `onEnd`, see `Run`.
        """
        ask = functools.partial(self.askWhenWritten, preparation, "scale", self._arguments)
        self._amplitude = amplitude
        super().__init__(client, node, samples.baseFieldOf(node), ask, **callbacks)
        before = _latest.get(node)
        _latest[node] = self
        if before is not None:
            before.abandon("Another amplitude was asked for.")

    def answered(self, result):
        """Give the sample its new field."""
        amplitude, quality = result["amplitude"], result["quality"]
        self.read(
            FieldReading(result["field"]),
            lambda scaled: samples.setScaledField(self.node, scaled, amplitude, quality),
        )

    def ended(self):
        """Make room for another one."""
        if _latest.get(self.node) is self:
            del _latest[self.node]

    def _arguments(self, files):
        """The request of the worker."""
        return {
            "field": str(self.field),
            "amplitude": self._amplitude,
            "image": str(files.image),
            "labels": None if files.labels is None else str(files.labels),
            "out": str(self.folder / "scaled.nrrd"),
        }


class JacobianRun(SampleRun):
    """Shows det J of a sample as a colour overlay."""

    def __init__(self, client, node, **callbacks):
        """Ask for det J of `node`."""
        super().__init__(client, node, samples.fieldOf(node), self._ask, **callbacks)

    def answered(self, result):
        """Show the volume."""
        self.read(
            VolumeReading(result["volume"]),
            lambda volumeRead: display.showJacobian(volumeRead, self.node),
        )

    def _ask(self):
        """Ask the worker."""
        out = str(self.folder / "jacobian.nrrd")
        self.ask("jacobian", {"field": str(self.field), "out": out})
