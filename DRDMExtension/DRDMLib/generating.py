"""Samples of one volume: asked of the worker, and put into the scene as they come."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from pathlib import Path

from DRDMLib import samples
from DRDMLib.gridfiles import FieldReading
from DRDMLib.running import Run
from DRDMLib.watching import InputWatch


@dataclass(frozen=True)
class Wanted:
    """What is to be generated.

    Attributes:
        volumeNode: The scan.
        segmentationNode: Its segmentation or label map, or `None`.
        model: Name or path of a model, `none` for the random field.
        count: Samples wanted.
        seed: Seed of the first, `None` for a new one.
        device: `auto`, `cpu`, `cuda:0`, ...
        effort: `fast` or `full`.
        sampling: Settings of the core by name, such as `level`.
    """

    volumeNode: object
    segmentationNode: object = None
    model: str = "none"
    count: int = 4
    seed: int | None = None
    device: str = "auto"
    effort: str = "fast"
    sampling: dict = field(default_factory=dict)


class GenerateRun(Run):
    """Generates samples.

    Attributes:
        nodes: Transform nodes made so far.
    """

    def __init__(self, client, wanted, preparation, onSample=None, **callbacks):
        """Ask for samples.

        Args:
            client: The worker's client.
            wanted: What is to be generated.
            preparation: The inputs on their way to files.
            onSample: Told each new transform node.
            callbacks: `onProgress` and `onEnd`, see `Run`.
        """
        super().__init__(client, **callbacks)
        self.wanted = wanted
        self.nodes = []
        self._files = None
        self._onSample = onSample
        self._folder = self.makeFolder("drdm_")
        self._watch = InputWatch(
            wanted.volumeNode, wanted.segmentationNode, preparation, self.abandon
        )
        self.askWhenWritten(preparation, "generate", self._arguments)

    def written(self, files):
        """Keep what the samples are made of; it may have changed while it was written."""
        self._files = files
        self._watch.check()

    def told(self, event):
        """Read a finished sample, and put it into the scene."""
        if event.get("kind") != "sample":
            return
        field = Path(event["folder"]) / event["sample"]["field"]
        read = functools.partial(_read, FieldReading(field), field)
        self.inThread(read, functools.partial(self._add, event))

    def ended(self):
        """Stop watching."""
        self._watch.close()

    def _arguments(self, files):
        """The request of the worker."""
        wanted, labels = self.wanted, files.labels
        return {
            "image": str(files.image),
            "labels": None if labels is None else str(labels),
            "out": str(self._folder / "out"),
            "model": wanted.model,
            "count": wanted.count,
            "seed": wanted.seed,
            "device": wanted.device,
            "sampling": dict(wanted.sampling),
            "effort": wanted.effort,
            "fields_only": True,
        }

    def _add(self, event, field):
        """Make the transform node of a sample."""
        node = samples.addSample(
            field,
            event["sample"],
            volumeNode=self.wanted.volumeNode,
            segmentationNode=self.wanted.segmentationNode,
            model=event["model"],
            settings=event["settings"],
            inputHashes=self._files.sha256,
            versions=event["versions"],
        )
        self.nodes.append(node)
        if self._onSample is not None:
            self._onSample(node)


def _read(reading, path):
    """The field of a sample, in a thread; its file, which may be large, is not needed again."""
    field = reading.read()
    with contextlib.suppress(OSError):  # it goes with its folder then
        path.unlink()
    return field
