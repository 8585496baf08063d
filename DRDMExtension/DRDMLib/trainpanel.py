"""Train: a model of one's own from a folder of scans or the volumes of the scene."""

from __future__ import annotations

import os
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from DRDMLib import inputs, training
from DRDMLib.jobpanel import JobPanel
from DRDMLib.paneltools import StatusLine, fillSelector, setChecked
from DRDMLib.wording import duration

PICTURE = "loss.png"


class TrainPanel(JobPanel):
    """The part "Train a model of your own" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        ui, run = main.ui, main.logic.training
        super().__init__(main, ui.trainButton, ui.trainProgressBar, StatusLine(ui.trainStatusLabel))
        self._picture = None
        self._volumes = []
        run.onProgress, run.onEnd, run.onLog = self._progressed, self._ended, self._log
        run.onScan = self._writing
        fillSelector(ui.presetSelector, _presets())
        main.bindings.bindSelector("preset", ui.presetSelector)
        main.bindings.bindPath("trainFolder", ui.trainFolderEdit)
        main.bindings.bindPath("runFolder", ui.runFolderEdit)
        for button in (ui.folderSourceButton, ui.sceneSourceButton):
            main.bindings.bind("trainSource", button.clicked, self._source, self._showSource)
        ui.trainVolumesList.itemChanged.connect(lambda *ignored: self._ticked())
        self._pictures = qt.QTimer()
        self._pictures.setInterval(1000)
        self._pictures.timeout.connect(self.showPicture)

    @property
    def run(self):
        """The training, whether it runs or not."""
        return self.main.logic.training

    @property
    def running(self):
        """Whether a model is being trained."""
        return self.run.running

    def cancel(self):
        """Let it end; everything is saved."""
        self.status.say(_("Stopping: the step is finished and everything is saved..."))
        self.run.stop()
        self.update()

    def begin(self):
        """Begin a training, or go on with the one in the folder."""
        parameters = self.main.parameters
        self.main.ui.trainLogTextEdit.clear()
        self._picture = None
        chosen = [node for node in self._volumes if node.GetID() in parameters.trainVolumes]
        self.status.say(_("Starting..."))
        self.main.logic.train(
            parameters.runFolder,
            data=parameters.trainFolder if parameters.trainSource == "folder" else None,
            volumes=None if parameters.trainSource == "folder" else chosen,
            preset=parameters.preset or None,
            steps=parameters.trainSteps or None,
            device=parameters.device,
        )
        if self.running:
            self._pictures.start()

    def reason(self):
        """Why no training can start now, one sentence; empty if it can."""
        parameters = self.main.parameters
        if not parameters.runFolder.strip():
            return _("Choose a folder for the run.")
        if training.canResume(parameters.runFolder):
            return ""
        if parameters.trainSource == "folder":
            if not parameters.trainFolder.strip():
                return _("Choose a folder of scans to learn from.")
            if not Path(parameters.trainFolder).is_dir():
                return _("The folder of scans is not there: choose another one.")
        elif len(self._chosen()) < 2:
            return _("Tick at least two volumes to learn from.")
        return ""

    def update(self):
        """Bring the widgets up to date."""
        ui, parameters = self.main.ui, self.main.parameters
        fromScene = parameters.trainSource == "scene"
        for widget in (ui.trainVolumesLabel, ui.trainVolumesList):
            widget.setVisible(fromScene)
        for widget in (ui.trainFolderLabel, ui.trainFolderEdit):
            widget.setVisible(not fromScene)
        if fromScene:
            self._showVolumes()
        text, tooltip = (
            _("Start training"),
            _("Learn what is plausible; it runs in the background."),
        )
        if self.running:
            text, tooltip = _("Stop training"), _("Stop and save; it can go on later.")
        elif parameters.runFolder.strip() and training.canResume(parameters.runFolder):
            text, tooltip = _("Resume training"), _("Go on with the run in this folder.")
        stopping = _("It is stopping.") if self.run.state == "stopping" else ""
        self.showButton(text, tooltip, stopping)

    def showPicture(self):
        """Show the curves of the run, if they are new."""
        path = Path(self.run.folder or "") / PICTURE
        try:
            stamp = (str(path), os.stat(path).st_mtime_ns)
        except OSError:
            return
        label = self.main.ui.lossLabel
        if stamp == self._picture:
            return
        picture = qt.QPixmap(str(path))
        if not picture.isNull():  # else it is being written
            self._picture = stamp
            width = max(200, min(picture.width(), self.main.ui.trainButton.width))
            label.setPixmap(picture.scaledToWidth(width, qt.Qt.SmoothTransformation))
            label.setVisible(True)

    def close(self):
        """Stop looking for pictures; the logic stops the training."""
        self._pictures.stop()
        self.run.onProgress = self.run.onEnd = self.run.onLog = self.run.onScan = None

    def _source(self):
        return "scene" if self.main.ui.sceneSourceButton.checked else "folder"

    def _showSource(self, source):
        setChecked(self.main.ui.sceneSourceButton, source == "scene")
        setChecked(self.main.ui.folderSourceButton, source != "scene")

    def _chosen(self):
        """Ids of the ticked volumes that are in the scene."""
        chosen = self.main.parameters.trainVolumes
        return [each for each in chosen if slicer.mrmlScene.GetNodeByID(each) is not None]

    def _showVolumes(self):
        """List the volumes of the scene that can be learnt from."""
        widget, chosen = self.main.ui.trainVolumesList, self._chosen()
        self._volumes = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if not node.GetHideFromEditors() and _usable(node)
        ]
        blocked = widget.blockSignals(True)
        widget.clear()
        for node in self._volumes:
            item = qt.QListWidgetItem(node.GetName())
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            ticked = node.GetID() in chosen
            item.setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)
            widget.addItem(item)
        widget.blockSignals(blocked)

    def _ticked(self):
        """Keep which volumes are ticked."""
        widget = self.main.ui.trainVolumesList
        self.main.parameters.trainVolumes = [
            node.GetID()
            for row, node in enumerate(self._volumes)
            if widget.item(row).checkState() == qt.Qt.Checked
        ]

    def _log(self, text):
        self.main.ui.trainLogTextEdit.appendPlainText(text)

    def _writing(self, name, number, count):
        """Show which volume of the scene is being written; none if the name is empty."""
        if not name:
            self.showProgress(0, 1, _("Starting..."))
            return
        text = _("Writing {name}, volume {number} of {count}...")
        self.showProgress(number - 1, count, text.format(name=name, number=number, count=count))

    def _progressed(self, progress):
        """Show a step."""
        text = _("Step {step} of {of}: {message}")
        text = text.format(step=progress.step, of=progress.of, message=progress.message)
        left = ""
        if progress.secondsLeft is not None:
            left = _("about {time} left").format(time=duration(progress.secondsLeft))
        self.showProgress(progress.step, progress.of, text, left)

    def _ended(self, run):
        """Put the model into the selector and say how it ended."""
        self._pictures.stop()
        self.showPicture()
        self.status.say(run.message)
        self._log(run.message + (f"\n{run.details}" if run.details else ""))
        if run.state in ("done", "stopped") and run.model is not None:
            with self.main.problemsShown(self.status.say):
                entry = run.addToModels()
                self.main.inputs.showModels(entry.name)
                text = _("{message} The model {name} is in the selector.")
                self.status.say(text.format(message=run.message, name=entry.name))
        self.main.updateSoon()


def _usable(node):
    """Whether a volume can be learnt from."""
    try:
        inputs.checkInputs(node, values=False)
    except inputs.InputProblem:
        return False
    return True


def _presets():
    """Settings to train with."""
    items = [(_("made from the scans"), "", _("For any anatomy."))]
    for preset in training.listPresets():
        items.append((preset.title, preset.name, _("The settings of the bundled model.")))
    return items
