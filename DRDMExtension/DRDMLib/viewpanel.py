"""Samples: choose one, look at it, make it weaker or stronger, remove it."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from DRDMLib import browser, display, samples
from DRDMLib.jacobianoverlay import jacobianOf
from DRDMLib.paneltools import explain, fillSelector, setChecked, setQuietly
from DRDMLib.samplestable import SamplesTable

PATIENCE_MS = 300
"""The amplitude is set when the dial has rested for so long."""


class ViewPanel:
    """The part "Samples" of the panel."""

    def __init__(self, main):
        """Connect the widgets.

        Args:
            main: The whole panel, a `MainPanel`.
        """
        self.main = main
        self.run = None
        self._coloured = None
        self._colouring = None
        ui = main.ui
        self.table = SamplesTable(ui.samplesTable, self.showSample, self._keep)
        self._rest = qt.QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(PATIENCE_MS)
        self._rest.timeout.connect(self._setAmplitude)
        fillSelector(ui.gridSelector, _drawings())
        main.bindings.bindSelector("grid", ui.gridSelector)
        main.bindings.bind(
            "jacobian",
            ui.jacobianCheckBox.toggled,
            lambda: ui.jacobianCheckBox.checked,
            lambda value: setChecked(ui.jacobianCheckBox, value),
        )
        ui.originalButton.clicked.connect(lambda *ignored: self.showOriginal())
        ui.deformedButton.clicked.connect(lambda *ignored: self.showSample(self.table.node))
        ui.amplitudeSlider.valueChanged.connect(self._turned)
        ui.amplitudeSpinBox.valueChanged.connect(self._turned)
        ui.playButton.clicked.connect(lambda *ignored: self.play(ui.playButton.checked))
        ui.copySeedButton.clicked.connect(lambda *ignored: self.copySeed())
        ui.removeButton.clicked.connect(lambda *ignored: self.remove())
        ui.removeAllButton.clicked.connect(lambda *ignored: self.removeAll())

    @property
    def volume(self):
        """The scan whose samples are shown."""
        return self.main.parameters.volume if self.main.parameters else None

    def shown(self):
        """The sample that the volume stands under, or `None`."""
        return display.shownSample(self.volume) if self.volume is not None else None

    def refresh(self):
        """Show what the scene has."""
        self.table.show(samples.samplesOf(self.volume) if self.volume is not None else [])
        shown = self.shown()
        if shown is not None:
            self.table.select(shown)
        self.update()

    def showSample(self, node):
        """Put the volume and its segmentation under a sample."""
        if node is None:
            return
        self._rest.stop()
        display.showSample(node)
        self.table.select(node)
        self._draw()
        self.update()

    def showOriginal(self):
        """Take the volume and its segmentation out from under the sample."""
        self.play(False)
        if self.volume is not None:
            display.showOriginal(self.volume, self.main.parameters.segmentation)
        self._draw()
        self.update()

    def play(self, playing):
        """Show one sample after the other, or stop."""
        volume = self.volume
        if volume is None:
            return
        node = browser.browserOf(volume)
        if playing and len(self.table.samples) > 1:
            node = browser.makeBrowser(volume, self.table.samples)
            node.SetPlaybackLooped(True)
            node.SetPlaybackRateFps(1.5)
        if node is not None:
            node.SetPlaybackActive(playing)
        setChecked(self.main.ui.playButton, playing)

    def copySeed(self):
        """Take the seed of the selected sample as the seed of the next ones."""
        sample = self._selected()
        if sample is not None:
            self.main.parameters.seed = sample.seed
            self.main.parameters.newSeed = False

    def remove(self):
        """Remove the selected sample, and select its neighbour."""
        node = self.table.node
        if node is None:
            return
        nodes = [sample.node for sample in self.table.samples]
        row = nodes.index(node)
        neighbours = nodes[row + 1 :] + nodes[:row][::-1]
        self._forgetBrowser()
        samples.removeSample(node)
        self.refresh()
        self.table.select(neighbours[0] if neighbours else None)
        self.update()

    def removeAll(self):
        """Remove all samples of the volume, after asking."""
        count = len(self.table.samples)
        text = _("Remove all {count} samples of this volume? This cannot be undone.")
        if not slicer.util.confirmYesNoDisplay(text.format(count=count)):
            return
        self._forgetBrowser()
        for sample in self.table.samples:
            samples.removeSample(sample.node)
        self.refresh()

    def update(self):
        """Bring the widgets up to date."""
        ui, sample, shown = self.main.ui, self._selected(), self.shown()
        setChecked(ui.deformedButton, shown is not None)
        setChecked(ui.originalButton, shown is None)
        ui.samplesHintLabel.setText(self._hint())
        self._updateAmplitude(sample)
        count = len(self.table.samples)
        none = "" if count else _("There are no samples yet.")
        unselected = none or ("" if sample else _("Select a sample in the table."))
        explain(ui.deformedButton, unselected, _("Show volume and segmentation deformed."))
        explain(ui.originalButton, none, _("Show the volume as it is."))
        few = "" if count > 1 else _("It takes two samples to play them.")
        explain(ui.playButton, few, _("Show one sample after the other."))
        explain(ui.copySeedButton, unselected, _("Put its seed into the field Seed."))
        busy = self.main.generate.running and _("Wait until the samples are made, or cancel.")
        explain(ui.removeButton, busy or unselected, _("Remove the selected sample."))
        explain(ui.removeAllButton, busy or none, _("Remove all samples of this volume."))
        explain(ui.jacobianCheckBox, unselected, _("Overlay of det J, the local volume change."))
        explain(ui.gridSelector, unselected, _("Draw the deformation in slice and 3D views."))
        self._draw()

    def close(self):
        """Stop what goes on."""
        self.stop("The panel was closed.")

    def stop(self, reason):
        """Stop what the worker is asked for here; the reason is for the log."""
        self._rest.stop()
        for run in (self.run, self._colouring):
            if run is not None:
                run.abandon(reason)

    def _hint(self):
        """A line below the table."""
        found = self.table.samples
        if not found:
            return _("Samples appear here. Select one to see it.")
        kept = sum(sample.keep for sample in found)
        return _("{kept} of {count} samples kept.").format(kept=kept, count=len(found))

    def _selected(self):
        """The selected sample, or `None`."""
        node = self.table.node
        return next((each for each in self.table.samples if each.node is node), None)

    def _keep(self, node, kept):
        samples.setKeep(node, kept)
        self.main.updateSoon()

    def _updateAmplitude(self, sample):
        """The dial shows the amplitude of the selected sample, or what is being set."""
        ui = self.main.ui
        reason = "" if sample else _("Select a sample in the table.")
        if self.main.busyReason():
            reason = self.main.busyReason()
        tooltip = _("Make the selected sample weaker or stronger; folds are smoothed away.")
        for widget in (ui.amplitudeSlider, ui.amplitudeSpinBox):
            explain(widget, reason, tooltip)
            if sample and not self._rest.active and self.run is None:
                setQuietly(widget, round(100 * sample.amplitude))

    def _turned(self, percent):
        """The user turned the dial."""
        setQuietly(self.main.ui.amplitudeSlider, percent)
        setQuietly(self.main.ui.amplitudeSpinBox, percent)
        self._rest.start()

    def _setAmplitude(self):
        """Ask for the field at the amplitude of the dial; the last one asked for counts."""
        node = self.table.node
        if node is None or self.main.busyReason():
            return
        if self.run is not None:
            self.run.abandon("Another amplitude was asked for.")
        self.run = None
        amplitude = self.main.ui.amplitudeSlider.value / 100
        with self.main.problemsShown():
            run = self.main.logic.setAmplitude(node, amplitude, onEnd=self._amplitudeSet)
            self.run = run if run.running else None

    def _amplitudeSet(self, run):
        """Show the sample with its new amplitude."""
        if self.run is run:
            self.run = None
        self.main.showEnd(run)
        display.hideJacobian(run.node)
        self._coloured = None
        self.refresh()

    def _draw(self):
        """Draw the deformation of the shown sample, and of no other."""
        if self.main.parameters is None:
            return
        shown = self.shown()
        for sample in self.table.samples:
            mode = self.main.parameters.grid if sample.node is shown else "none"
            if display.gridMode(sample.node) != mode:
                display.setGridVisible(sample.node, mode)
        self._drawJacobian(shown if self.main.parameters.jacobian else None)

    def _drawJacobian(self, wanted):
        """Overlay det J of this sample, and of no other; of none for `None`."""
        for sample in self.table.samples:
            if sample.node is not wanted and jacobianOf(sample.node) is not None:
                display.hideJacobian(sample.node)
        if wanted is self._coloured:
            return
        self._coloured = wanted
        if self._colouring is not None:
            self._colouring.abandon("Another sample is shown.")
            self._colouring = None
        if wanted is not None and jacobianOf(wanted) is None:
            with self.main.problemsShown():
                run = self.main.logic.showJacobian(wanted, onEnd=self.main.showEnd)
                self._colouring = run if run.running else None

    def _forgetBrowser(self):
        """Remove the sequence browser: it holds copies of what goes."""
        self.play(False)
        if self.volume is not None:
            browser.removeBrowser(self.volume)


def _drawings():
    """Ways to draw the deformation."""
    return (
        (_("not drawn"), "none", ""),
        (_("grid"), "grid", _("A regular grid, deformed.")),
        (_("arrows"), "arrows", _("Arrows from where a point is taken to where it is shown.")),
        (_("contours"), "contours", _("Lines of equal displacement in mm.")),
    )
