"""A sample made weaker or stronger, and its local change of volume."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from DRDMLib import display, samples
from DRDMLib.running import Run


class SampleRun(Run):
    """A job on one sample in the scene."""

    def __init__(self, client, node, **callbacks):
        """Make a scratch folder for a job on `node`."""
        super().__init__(client, **callbacks)
        self.node = node
        self.folder = Path(tempfile.mkdtemp(prefix="drdm_sample_"))

    @property
    def gone(self):
        """Whether the sample has left the scene."""
        return self.node.GetScene() is None

    def ended(self):
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


class AmplitudeRun(SampleRun):
    """Sets the amplitude of a sample: its field as generated, times a factor, without folds."""

    def __init__(self, client, node, amplitude, preparation, **callbacks):
        """Ask for the field.

        Args:
            client: The worker's client.
            node: The sample.
            amplitude: 0 .. 1.5; 1 is as generated.
            preparation: The inputs on their way to files, to measure what becomes of them.
            callbacks: `onProgress` and `onEnd`, see `Run`.
        """
        super().__init__(client, node, **callbacks)
        self._amplitude = amplitude
        self._base = self.folder / "base.nrrd"
        samples.writeBaseField(node, self._base)
        self.askWhenWritten(preparation, "scale", self._arguments)

    def _arguments(self, files):
        """The request of the worker."""
        return {
            "field": str(self._base),
            "amplitude": self._amplitude,
            "image": str(files.image),
            "labels": None if files.labels is None else str(files.labels),
            "out": str(self.folder / "scaled.nrrd"),
        }

    def answered(self, result):
        """Give the sample its new field."""
        if not self.gone:
            samples.setScaledField(
                self.node, Path(result["field"]), result["amplitude"], result["quality"]
            )


class JacobianRun(SampleRun):
    """Shows det J of a sample as a colour overlay."""

    def __init__(self, client, node, **callbacks):
        """Ask for det J of `node`."""
        super().__init__(client, node, **callbacks)
        field = self.folder / "field.nrrd"
        samples.writeField(node, field)
        self.ask("jacobian", {"field": str(field), "out": str(self.folder / "jacobian.nrrd")})

    def answered(self, result):
        """Show the volume."""
        if not self.gone:
            display.showJacobian(Path(result["volume"]), self.node)
