"""The logic of the module: what the buttons call, and scripts as well."""

from __future__ import annotations

import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from DRDMLib import background, samples
from DRDMLib.adjusting import AmplitudeRun, JacobianRun
from DRDMLib.exporting import ExportChoice, ExportRun
from DRDMLib.generating import GenerateRun, Wanted
from DRDMLib.jobinputs import InputFolder
from DRDMLib.parameters import DRDMParameters
from DRDMLib.running import Run, RunFailed
from DRDMLib.training import TrainingRun, canResume
from DRDMLib.trainscans import ScanWriting
from DRDMLib.workerclient import WorkerClient


class DRDMLogic(ScriptedLoadableModuleLogic):
    """Generates, adjusts, exports and trains; all computing is in other processes.

    logic = DRDMLogic()
    logic.generate(volume, segmentation, model="none", count=4, waitForCompletion=True)
    logic.export("/data/new", volume, waitForCompletion=True)
    """

    def __init__(self):
        """Make a logic; no process is started before the first job."""
        super().__init__()
        self.inputFolder = InputFolder()
        self.training = TrainingRun()
        self._client = None

    @property
    def client(self):
        """The client of the worker, which starts with the first request and stays warm."""
        if self._client is None:
            self._client = WorkerClient()
        return self._client

    def getParameterNode(self):
        """The choices of the panel, as the scene keeps them."""
        return DRDMParameters(super().getParameterNode())

    def generate(
        self,
        volume,
        segmentation=None,
        model="none",
        count=4,
        level=None,
        seed=None,
        device="auto",
        effort="fast",
        *,
        sampling=None,
        onSample=None,
        onProgress=None,
        onEnd=None,
        waitForCompletion=False,
    ):
        """Make deformed versions of a volume: transform nodes, applied to nothing yet.

        Args:
            volume: The scan, a scalar volume node.
            segmentation: Its segmentation or label map node, or `None`.
            model: Name or path of a model; `none` is the random field, for any anatomy.
            count: Samples wanted.
            level: 0 .. 79, higher deforms more; `None` is what the model recommends.
            seed: Seed of the first sample; `None` draws one.
            device: `auto`, `cpu`, `cuda:0`, ...
            effort: `fast` or `full`.
            sampling: Further settings of `drdm generate` by name.
            onSample: Told each new transform node.
            onProgress: Told each event of the worker.
            onEnd: Told the run when it has ended.
            waitForCompletion: Return when all samples are there.

        Returns:
            The transform nodes where it waits, else the run, which has `cancel()` and `nodes`.

        Raises:
            InputProblem: If the volume or segmentation cannot be used.
            RunFailed: If it waits and the run failed or was cancelled, as where segments overlap.
        """
        settings = dict(sampling or {})
        if level is not None:
            settings["level"] = int(level)
        written = self.inputFolder.prepare(volume, segmentation)
        wanted = Wanted(volume, segmentation, model, count, seed, device, effort, settings)
        callbacks = {"onProgress": onProgress, "onEnd": onEnd}
        run = GenerateRun(self.client, wanted, written, onSample, **callbacks)
        if not waitForCompletion:
            return run
        run.wait()
        return run.nodes

    def export(
        self,
        folder,
        volume=None,
        layout="pairs",
        *,
        chosen=None,
        imageFormat=".nii.gz",
        fieldFormat=".nrrd",
        originals=True,
        datasetName=None,
        onChanged=None,
        onProgress=None,
        onEnd=None,
        waitForCompletion=False,
    ):
        """Write image, labels and field of the kept samples, made once from the originals.

        Args:
            folder: New or empty folder; one of the same export, begun before, is finished.
            volume: The scan; not needed where one only has samples.
            layout: `pairs`, `nnunet` or `flat`.
            chosen: Samples as `samplesOf` gives them; those that are kept, by default.
            imageFormat: `.nii.gz` or `.nrrd`.
            fieldFormat: `.nrrd`, `.nii.gz`, `.h5` or `.mha`.
            originals: Whether the original is one more case.
            datasetName: Name of an nnU-Net data set.
            onChanged: Asked whether to go on where the image has changed since a model made
                samples from it, with their names: `drdm replay` will not make them again.
            onProgress: Told each event of the worker.
            onEnd: Told the run when it has ended.
            waitForCompletion: Return when everything is written.

        Returns:
            The folder where it waits, else the run.

        Raises:
            RunFailed: If there is nothing to export, or it waits and the run failed.
            InputProblem: If the volume or segmentation cannot be used.
        """
        chosen = self.kept(volume) if chosen is None else list(chosen)
        if not chosen:
            raise RunFailed(_("No sample is kept: tick at least one in the table."))
        first = chosen[0]
        written = self.inputFolder.prepare(first.volumeNode, first.segmentationNode)
        choice = ExportChoice(
            Path(folder), layout, imageFormat, fieldFormat, originals, datasetName
        )
        callbacks = {"onChanged": onChanged, "onProgress": onProgress, "onEnd": onEnd}
        run = ExportRun(self.client, choice, chosen, written, **callbacks)
        if not waitForCompletion:
            return run
        run.wait()
        return run.folder

    def train(
        self,
        folder,
        data=None,
        *,
        volumes=None,
        preset=None,
        steps=None,
        device="auto",
        waitForCompletion=False,
    ):
        """Train a model, or go on with the training in a folder.

        Args:
            folder: Folder of the run: model, curves, checkpoint.
            data: Folder of scans.
            volumes: Volume nodes to learn from instead; they are written to a folder beside the
                run first.
            preset: Name of a bundled model whose settings are taken; made from the scans if `None`.
            steps: Steps, or `None` for those of the settings.
            device: `auto`, `cpu`, `cuda:0`, ...
            waitForCompletion: Return when it has ended.

        Returns:
            The training: its `state`, `model`, `stop()`.

        Raises:
            InputProblem: If a volume cannot be used.
            RunFailed: If it waits and the training failed.
        """
        folder = Path(folder)
        if canResume(folder) and steps is None:
            self.training.resume(folder, device=device)
        else:
            if volumes:
                data = ScanWriting(volumes, folder.parent / f"{folder.name}-scans")
            self.training.start(folder, data, preset, steps=steps, device=device)
        while waitForCompletion and self.training.running:
            slicer.app.processEvents()
            time.sleep(0.01)
        if waitForCompletion and self.training.state == "failed":
            raise RunFailed(self.training.message)
        return self.training

    def setAmplitude(self, node, amplitude, *, onEnd=None, waitForCompletion=False):
        """Make a sample weaker or stronger: 0 .. 1.5 times as generated, without folds."""
        sample = samples.sampleOf(node)
        written = self.inputFolder.prepare(sample.volumeNode, sample.segmentationNode)
        return self._run(
            AmplitudeRun(self.client, node, amplitude, written, onEnd=onEnd), waitForCompletion
        )

    def showJacobian(self, node, *, onEnd=None, waitForCompletion=False):
        """Overlay the local change of volume of a sample."""
        return self._run(JacobianRun(self.client, node, onEnd=onEnd), waitForCompletion)

    def ask(self, job, arguments, *, onEnd=None, waitForCompletion=False):
        """Ask the worker anything else, such as `status` or `needs`; see `Run.result`."""
        run = Run(self.client, onEnd=onEnd)
        run.ask(job, arguments)
        return self._run(run, waitForCompletion)

    def kept(self, volume=None):
        """Samples that are kept; of one volume."""
        found = [sample for sample in samples.samplesOf(volume) if sample.keep]
        if len({sample.volumeNode.GetID() for sample in found if sample.volumeNode}) > 1:
            raise RunFailed(_("Samples of several volumes are kept: say of which to export."))
        return found

    def endWorker(self):
        """End the worker; the next request starts a new one. Nothing must be waited for."""
        if self._client is not None:
            self._client.close()

    def close(self):
        """End all processes and remove temporary files."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self.training.close()
        self.inputFolder.clear()
        background.finish()

    @staticmethod
    def _run(run, waitForCompletion):
        """The run; ended, where the caller waits."""
        if waitForCompletion:
            run.wait()
        return run
