"""Train: a model of one's own from a folder of scans or the volumes of the scene."""

from __future__ import annotations

import os
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from DRDMLib import inputs, training
from DRDMLib.paneltools import explain, fillSelector, setChecked
from DRDMLib.wording import duration

PICTURE = "loss.png"


class TrainPanel:
    """The part "Train a model of your own" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        self.main = main
        self._message = ""
        self._picture = None
        self._volumes = []
        ui, run = main.ui, main.logic.training
        run.onProgress, run.onEnd, run.onLog = self._progressed, self._ended, self._log
        fillSelector(ui.presetSelector, _presets())
        main.bindings.bindSelector("preset", ui.presetSelector)
        main.bindings.bindPath("trainFolder", ui.trainFolderEdit)
        main.bindings.bindPath("runFolder", ui.runFolderEdit)
        for button in (ui.folderSourceButton, ui.sceneSourceButton):
            main.bindings.bind("trainSource", button.clicked, self._source, self._showSource)
        ui.trainVolumesList.itemChanged.connect(lambda *ignored: self._ticked())
        ui.trainButton.clicked.connect(lambda *ignored: self.toggle())
        self._pictures = qt.QTimer()
        self._pictures.setInterval(1000)
        self._pictures.timeout.connect(self.showPicture)

    @property
    def run(self):
        """The training, whether it runs or not."""
        return self.main.logic.training

    def toggle(self):
        """Start, go on, or stop."""
        if self.run.running:
            self._say(_("Stopping: the step is finished and everything is saved..."))
            self.run.stop()
            self.update()
        else:
            self.start()

    def start(self):
        """Begin a training, or go on with the one in the folder."""
        parameters = self.main.parameters
        if self.reason() or not self.main.installation.ensure():
            return
        self.main.ui.trainLogTextEdit.clear()
        self._picture = None
        chosen = [node for node in self._volumes if node.GetID() in parameters.trainVolumes]
        with self.main.problemsShown(self._say):
            self.main.logic.train(
                parameters.runFolder,
                data=parameters.trainFolder if parameters.trainSource == "folder" else None,
                volumes=None if parameters.trainSource == "folder" else chosen,
                preset=parameters.preset or None,
                steps=parameters.trainSteps or None,
                device=parameters.device,
            )
            self._say(_("Starting..."))
            self._pictures.start()
        self.update()

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
        ui, parameters, running = self.main.ui, self.main.parameters, self.run.running
        fromScene = parameters.trainSource == "scene"
        for widget in (ui.trainVolumesLabel, ui.trainVolumesList):
            widget.setVisible(fromScene)
        for widget in (ui.trainFolderLabel, ui.trainFolderEdit):
            widget.setVisible(not fromScene)
        if fromScene:
            self._showVolumes()
        reason = "" if running else self.reason()
        text, tooltip = (
            _("Start training"),
            _("Learn what is plausible; it runs in the background."),
        )
        if running:
            text, tooltip = _("Stop training"), _("Stop and save; it can go on later.")
        elif parameters.runFolder.strip() and training.canResume(parameters.runFolder):
            text, tooltip = _("Resume training"), _("Go on with the run in this folder.")
        ui.trainButton.setText(text)
        stopping = _("It is stopping.") if self.run.state == "stopping" else ""
        explain(ui.trainButton, reason or stopping, tooltip)
        ui.trainProgressBar.setVisible(running)
        ui.trainStatusLabel.setText(reason or self._message)
        ui.trainStatusLabel.setVisible(bool(reason or self._message))

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
        self.run.onProgress = self.run.onEnd = self.run.onLog = None

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

    def _say(self, text):
        """Show a sentence below the button."""
        self._message = text
        self.main.ui.trainStatusLabel.setText(text)
        self.main.ui.trainStatusLabel.setVisible(bool(text))

    def _log(self, text):
        self.main.ui.trainLogTextEdit.appendPlainText(text)

    def _progressed(self, progress):
        """Show a step."""
        bar = self.main.ui.trainProgressBar
        bar.setMaximum(max(progress.of, 1))
        bar.setValue(progress.step)
        text = _("Step {step} of {of}: {message}")
        text = text.format(step=progress.step, of=progress.of, message=progress.message)
        if progress.secondsLeft is not None:
            left = _("about {time} left").format(time=duration(progress.secondsLeft))
            text = f"{text}, {left}"
        self._say(text)

    def _ended(self, run):
        """Put the model into the selector and say how it ended."""
        self._pictures.stop()
        self.showPicture()
        self._say(run.message)
        self._log(run.message + (f"\n{run.details}" if run.details else ""))
        if run.state in ("done", "stopped") and run.model is not None:
            with self.main.problemsShown(self._say):
                entry = run.addToModels()
                self.main.inputs.showModels(entry.name)
                text = _("{message} The model {name} is in the selector.")
                self._say(text.format(message=run.message, name=entry.name))
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
