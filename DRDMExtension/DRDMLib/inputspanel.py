"""Inputs: the volume, its segmentation, and the model that knows the anatomy."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from DRDMLib import inputs, modellist, sampledata
from DRDMLib.paneltools import askForFile, fillSelector
from DRDMLib.wording import RECOMMENDED_LEVEL


class InputsPanel:
    """The part "Inputs" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        self.main = main
        self._entries = {}
        ui = main.ui
        main.bindings.bindSelector("model", ui.modelSelector)
        ui.sampleDataButton.clicked.connect(lambda *ignored: self.loadSampleData())
        self._makeMenu(ui.modelMenuButton)
        self.showModels()

    def showModels(self, chosen=None):
        """Offer the models that are there; choose one of them."""
        self._entries = {entry.name: entry for entry in modellist.listModels()}
        items = [(entry.title, name, describeFully(entry)) for name, entry in self._entries.items()]
        parameters = self.main.parameters
        if chosen is not None and parameters is not None:
            parameters.model = chosen
        current = parameters.model if parameters is not None else None
        fillSelector(self.main.ui.modelSelector, items, current)

    def entry(self):
        """The chosen model, or `None` if it is not there."""
        return self._entries.get(self.main.parameters.model)

    def recommendedLevel(self):
        """The level that the chosen model was tuned for."""
        entry = self.entry()
        recommended = {} if entry is None else entry.recommended
        return int(recommended.get("level", RECOMMENDED_LEVEL))

    def problem(self):
        """Why the inputs cannot be used, one sentence; empty if they can."""
        parameters = self.main.parameters
        if parameters.volume is None:
            return _("Choose a volume, or load a phantom.")
        if self.entry() is None:
            text = _("The model {name} is not there any more: choose another one.")
            return text.format(name=parameters.model)
        if not self.entry().usable:
            return f"{self.entry().title} {self.entry().problem}"
        try:
            inputs.checkInputs(parameters.volume, parameters.segmentation, values=False)
        except inputs.InputProblem as problem:
            return str(problem)
        return ""

    def loadSampleData(self):
        """Load the phantom chest and choose it, with the model that knows it."""
        kind = sampledata.KINDS[0]
        with self.main.problemsShown():
            volume, segmentation = sampledata.loadSample(kind)
            with slicer.util.NodeModify(self.main.parameters):
                self.main.parameters.volume = volume
                self.main.parameters.segmentation = segmentation
                self.main.parameters.model = kind

    def refresh(self):
        """Choose a volume where none is chosen and there is only one."""
        parameters = self.main.parameters
        volumes = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
        ]
        if parameters.volume is None and len(volumes) == 1:
            parameters.volume = volumes[0]
        self.main.ui.sampleDataButton.setVisible(not volumes)

    def update(self):
        """Bring the widgets up to date."""
        ui, entry = self.main.ui, self.entry()
        ui.modelDescriptionLabel.setText("" if entry is None else describe(entry))
        ui.modelDescriptionLabel.setToolTip("" if entry is None else describeFully(entry))
        warning = self._warning()
        ui.modelWarningLabel.setText(warning)
        ui.modelWarningLabel.setVisible(bool(warning))

    def close(self):
        """Nothing goes on here."""

    def _warning(self):
        """Why the model may not suit the volume, or what to know of the volume."""
        entry, volume = self.entry(), self.main.parameters.volume
        if entry is None or volume is None or self.problem():
            return ""
        remarks = inputs.inputRemarks(volume, self.main.parameters.segmentation)
        size = volume.GetImageData().GetDimensions()
        modality = inputs.modalityOf(volume)
        unfit = modellist.looksFitting(entry, size, volume.GetSpacing(), modality)
        if unfit:
            remarks.insert(0, _("Warning: {text}").format(text=unfit))
        return "\n".join(remarks)

    def _makeMenu(self, button):
        """The small menu of models."""
        menu = qt.QMenu(button)
        entries = (
            (_("Add a model file..."), self.addModel),
            (_("Import published weights..."), self.importWeights),
            (_("Open the folder of your models"), self.openFolder),
            (_("Delete the chosen model..."), self.deleteModel),
        )
        for text, function in entries:
            menu.addAction(text).triggered.connect(lambda *ignored, call=function: call())
        button.setMenu(menu)

    def addModel(self):
        """Copy a model file to the folder of the user's models, if it can be used."""
        path = askForFile(_("Model file"), _("Models (*.safetensors)"))
        if path is not None:
            with self.main.problemsShown():
                entry = modellist.addModelFile(path)
                self.showModels(entry.name)
                self.main.say(_("The model {name} was added.").format(name=entry.name))

    def importWeights(self):
        """Turn a checkpoint of the published program into a model of the user."""
        path = askForFile(_("Published weights"), _("Checkpoints (*.pth *.pt)"))
        if path is None or not self.main.installation.ensure():
            return
        with self.main.problemsShown():
            target = modellist.freePath(path.stem)
            target.parent.mkdir(parents=True, exist_ok=True)
            arguments = {"weights": str(path), "out": str(target)}
            self.main.say(_("Importing {name}...").format(name=path.name))
            self.main.logic.ask("import_weights", arguments, onEnd=self._imported)

    def openFolder(self):
        """Show the folder of the user's models in the system's file manager."""
        folder = modellist.userModelFolder()
        with self.main.problemsShown():
            folder.mkdir(parents=True, exist_ok=True)
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def deleteModel(self):
        """Delete the chosen model, if it is the user's own."""
        entry, folder = self.entry(), modellist.userModelFolder()
        if entry is None or entry.path is None or entry.path.parent != folder:
            self.main.say(_("Only models of your own can be deleted: choose one of them."))
            return
        text = _("Delete the model {name}? This cannot be undone.")
        if slicer.util.confirmYesNoDisplay(text.format(name=entry.name)):
            with self.main.problemsShown():
                entry.path.unlink()
                self.showModels("none")

    def _imported(self, run):
        """Choose the new model."""
        self.main.showEnd(run)
        if run.state == "done":
            name = Path(run.result["path"]).stem
            self.showModels(name)
            self.main.say(_("The model {name} was imported.").format(name=name))


def describe(entry):
    """A model in a line: what it knows, and under which licence."""
    if not entry.usable:
        return f"{entry.title} {entry.problem}"
    if entry.path is None:
        return entry.notes
    kind = {2: _("2D"), 3: _("3D")}[entry.dimension]
    text = _("{kind} {modality}: {anatomy}. Licence: {licence}.")
    return text.format(
        kind=kind,
        modality=entry.modality,
        anatomy=entry.anatomy,
        licence=entry.licence or _("not stated"),
    )


def describeFully(entry):
    """What is known of a model, for its tooltip."""
    parts = [describe(entry)]
    if entry.data:
        parts.append(_("Learnt from {data}.").format(data=entry.data.rstrip(".")))
    if entry.path is not None:
        parts += [entry.notes, str(entry.path)]
    return "\n".join(filter(None, parts))
