"""Generate: how many, how strong, with which seed; the button; progress; status; log."""

from __future__ import annotations

import random

import slicer
from slicer.i18n import tr as _

from DRDMLib.jobpanel import WorkerPanel
from DRDMLib.paneltools import fillSelector, setQuietly
from DRDMLib.parameters import GREATEST_SEED
from DRDMLib.wording import amountWord, duration


class GeneratePanel(WorkerPanel):
    """The part "Generate" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        ui = main.ui
        super().__init__(main, ui.generateButton, ui.progressBar, main.status)
        fillSelector(ui.effortSelector, _efforts())
        main.bindings.bindSelector("effort", ui.effortSelector)
        main.bindings.bindSelector("sliceAxis", ui.sliceAxisSelector)
        ui.levelSlider.valueChanged.connect(self._levelMoved)

    def begin(self):
        """Generate what the panel says."""
        parameters = self.main.parameters
        if parameters.newSeed:
            parameters.seed = random.SystemRandom().randrange(GREATEST_SEED)
        self.main.log(self._announcement())
        self.follow(self.main.logic.generate(**self._arguments()))

    def reason(self):
        """Why nothing can be generated now, one sentence; empty if it can."""
        other = self.main.busyReason(but=self)
        return other or self.main.inputs.problem()

    def update(self):
        """Bring the widgets up to date."""
        ui, parameters = self.main.ui, self.main.parameters
        text = _("Generate deformations")
        tooltip = _("Make deformed versions of the volume and its segmentation.")
        if self.running:
            text, tooltip = _("Cancel"), _("Stop. The samples that are finished stay.")
        self.showButton(text, tooltip)
        level = self.level()
        setQuietly(ui.levelSlider, level)
        text = _("{word} ({level})").format(word=amountWord(level), level=level)
        ui.levelWordLabel.setText(text)
        ui.seedSpinBox.setEnabled(not parameters.newSeed)
        self._updateSlices()

    def level(self):
        """The level that is used: the chosen one, or the one that the model recommends."""
        parameters = self.main.parameters
        return (
            self.main.inputs.recommendedLevel()
            if parameters.recommendedLevel
            else (parameters.level)
        )

    def endText(self, run):
        """How many samples came of it."""
        if run.state == "done":
            text = _("{count} samples made in {time}.")
            return text.format(count=len(run.nodes), time=duration(self._clock.elapsed()))
        if run.state == "cancelled":
            text = _("{reason} {count} samples are there.")
            return text.format(reason=run.message, count=len(run.nodes))
        return ""

    def _arguments(self):
        """What the logic is asked for."""
        parameters = self.main.parameters
        sampling = {}
        if self._slicesMatter() and parameters.sliceAxis >= 0:
            sampling["slice_axis"] = parameters.sliceAxis
        return {
            "volume": parameters.volume,
            "segmentation": parameters.segmentation,
            "model": parameters.model,
            "count": parameters.count,
            "level": None if parameters.recommendedLevel else parameters.level,
            "seed": parameters.seed,
            "device": parameters.device,
            "effort": parameters.effort,
            "sampling": sampling,
            "onSample": self._made,
            "onProgress": self._told,
            "onEnd": self.ended,
        }

    def _announcement(self):
        """A line in the log."""
        parameters = self.main.parameters
        text = _("{count} samples of {volume}: model {model}, level {level}, seed {seed}")
        return text.format(
            count=parameters.count,
            volume=parameters.volume.GetName(),
            model=parameters.model,
            level=self.level(),
            seed=parameters.seed,
        )

    def _levelMoved(self, level):
        """The user moved the slider: the recommendation no longer counts."""
        parameters = self.main.parameters
        if parameters is not None:
            with slicer.util.NodeModify(parameters):
                parameters.level = level
                parameters.recommendedLevel = False

    def _told(self, event):
        """Progress of the worker."""
        if event.get("kind") == "step":
            text = str(event["message"])
            self.showEvent(event, f"{text[:1].upper()}{text[1:]}")
        elif event.get("message"):
            self.main.log(event["message"])

    def _made(self, node):
        """Show the table with a new sample; the first one is shown in the views as well."""
        self.main.view.refresh()
        if self.main.view.shown() is None and len(self.run.nodes if self.run else ()) == 1:
            self.main.view.showSample(node)

    def _slicesMatter(self):
        """Whether the model knows slices and the volume has more than one."""
        entry, volume = self.main.inputs.entry(), self.main.parameters.volume
        if entry is None or entry.dimension != 2 or volume is None:
            return False
        image = volume.GetImageData()
        return image is not None and min(image.GetDimensions()) > 1

    def _updateSlices(self):
        """Offer the directions of slices, by the names that radiologists use."""
        ui, matters = self.main.ui, self._slicesMatter()
        ui.sliceAxisLabel.setVisible(matters)
        ui.sliceAxisSelector.setVisible(matters)
        if matters:
            names = _sliceNames(self.main.parameters.volume)
            fillSelector(ui.sliceAxisSelector, names, self.main.parameters.sliceAxis)


def _efforts():
    """How much is computed."""
    return (
        (_("fast"), "fast", _("What the model recommends: seconds per sample.")),
        (_("full"), "full", _("All passes: several times slower, closer to the model.")),
    )


def _sliceNames(volumeNode):
    """Directions of slices by array axis (k, j, i), named by the nearest anatomical plane."""
    names = (_("sagittal"), _("coronal"), _("axial"))
    directions = [[0.0] * 3 for _axis in range(3)]
    volumeNode.GetIJKToRASDirections(directions)
    items = [(_("thickest direction"), -1, _("Across the slices with the largest spacing."))]
    for axis in range(3):
        column = [abs(directions[row][2 - axis]) for row in range(3)]
        name = names[column.index(max(column))]
        items.append((_("{plane} slices").format(plane=name), axis, ""))
    return items
