"""Generate and Samples: real clicks, the real worker, and what is then in the scene."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

from Testing.Python.extension import panels, scenes

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")


@pytest.fixture
def panel(openPanel):
    """The panel with a small volume and its segmentation, random field, two samples wanted."""
    panel = openPanel()
    panel.choose(*panels.smallCase(), model="none", count=2, seed=5)
    return panel


def test_samples_come_into_the_scene_as_they_are_made(panel):
    volume, segmentation = panel.parameters.volume, panel.parameters.segmentation
    before = panels.contentOf(volume)
    panel.click("generateButton")
    assert panel.ui.generateButton.text == "Cancel"
    assert panel.ui.progressBar.visible
    panel.finish()
    first, second = panel.samples()
    assert [first.seed, second.seed] == [5, 6]
    assert panel.texts(0)[1:3] == ["1", f"{first.quality['displacement_mm']['mean']:.1f}"]
    assert panel.ui.generateButton.text == "Generate deformations"
    assert panel.ui.statusLabel.text.startswith("2 samples made in")
    # The first one is shown, on image and segmentation; the original is what it was.
    assert volume.GetParentTransformNode() is first.node
    assert segmentation.GetParentTransformNode() is first.node
    assert panels.contentOf(volume) == before
    assert "ml" in panel.ui.samplesTable.item(0, panels.VOLUMES).toolTip()


def test_the_same_seed_gives_the_same_sample_and_a_new_one_another(panel):
    panel.parameters.count = 1
    for newSeed in (False, False, True):
        panel.parameters.newSeed = newSeed
        panel.click("generateButton")
        panel.finish()
    first, again, other = (panels.fieldOf(each.node) for each in panel.samples())
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert panel.parameters.seed == panel.samples()[2].seed != 5


def test_cancel_is_quick_and_keeps_what_is_made(panel):
    panel.parameters.count = 500
    panel.click("generateButton")
    panel.wait(lambda: len(panel.samples()) >= 1)
    begun = time.monotonic()
    panel.click("generateButton")
    panel.finish()
    taken = time.monotonic() - begun
    made = len(panel.samples())
    assert 1 <= made < 500
    assert taken < 2  # 1 s is promised; the machines of CI are slow
    assert f"{made} samples are there" in panel.ui.statusLabel.text
    panel.spin(0.3)
    assert len(panel.samples()) == made


def test_the_window_stays_alive(panel, record_property):
    """The event loop stands still for no more than a tenth of a second.

    On a busy machine the system alone takes the processor away for longer, now and then: 99 of 100
    beats keep the bound, and the longest may take two and a half times as long.
    """
    panel.parameters.count = 4
    panel.warmUp()
    with panel.heartbeat() as beats:
        panel.click("generateButton")
        panel.finish()
    worst, usual = max(beats), statistics.median(beats)
    percentile = statistics.quantiles(beats, n=100, method="inclusive")[98]
    for name, value in (("worst", worst), ("p99", percentile), ("median", usual)):
        record_property(f"{name}_ms", round(value, 1))
    told = f"event loop: worst {worst:.0f} ms, 99 % {percentile:.0f} ms, median {usual:.1f} ms"
    print(told)
    assert len(panel.samples()) == 4
    assert len(beats) >= 20 and percentile <= 100 and worst <= 250, told


@pytest.mark.parametrize("what", ["volume deleted", "scene closed", "voxels changed"])
def test_a_job_ends_quietly_when_its_input_goes(panel, what):
    import slicer

    panel.parameters.count = 500
    panel.click("generateButton")
    panel.wait(lambda: len(panel.samples()) >= 1)
    volume = panel.parameters.volume
    if what == "volume deleted":
        slicer.mrmlScene.RemoveNode(volume)
    elif what == "scene closed":
        slicer.mrmlScene.Clear()
    else:
        slicer.util.arrayFromVolume(volume)[:] += 1
        slicer.util.arrayFromVolumeModified(volume)
    panel.wait(lambda: not panel.main.generate.running)
    transforms = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTransformNode")
    panel.spin(0.5)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == transforms
    assert panel.dialogs() == []
    panel.choose(*panels.smallCase(), model="none", count=1, seed=5)
    panel.click("generateButton")
    panel.finish()
    assert [each.name for each in panel.main.view.table.samples][-1:] == [panel.samples()[-1].name]
    assert panel.parameters.volume.GetParentTransformNode() is panel.samples()[-1].node


@pytest.mark.slow
def test_a_worker_that_dies_changes_nothing_in_the_scene(panel):
    """Killed at twenty random moments; the message is clear, and the next click works."""
    panel.parameters.count = 500
    moments = np.random.default_rng(0).uniform(0, 0.4, 20)
    for moment in moments:
        panel.warmUp()
        panel.click("generateButton")
        panel.spin(moment)
        made = panel.samples()
        before = panels.sceneContent()
        panel.killWorker()
        panel.finish()
        extra = [each for each in panel.samples() if each.node not in [s.node for s in made]]
        for each in extra:  # what had arrived before the end is whole, and a sample like others
            assert np.isfinite(panels.fieldOf(each.node)).all()
        if not extra:
            assert panels.sceneContent() == before
        assert "process" in panel.ui.statusLabel.text
        if panel.samples():
            panel.answer("Yes", "Remove all")
            panel.click("removeAllButton")
    panel.parameters.count = 1
    panel.click("generateButton")
    panel.finish()
    assert len(panel.samples()) == 1


def test_rows_show_samples_and_the_original_comes_back(panel):
    volume = panel.parameters.volume
    panel.click("generateButton")
    panel.finish()
    panel.ui.samplesTable.selectRow(1)
    assert volume.GetParentTransformNode() is panel.samples()[1].node
    panel.click("originalButton")
    assert volume.GetParentTransformNode() is None
    panel.click("deformedButton")
    assert volume.GetParentTransformNode() is panel.samples()[1].node
    panel.click("removeButton")
    assert volume.GetParentTransformNode() is None
    (left,) = panel.samples()
    panel.answer("Yes", "Remove all")
    panel.click("removeAllButton")
    assert panel.samples() == [] and left.node.GetScene() is None
    assert not panel.ui.removeButton.enabled
    assert panel.ui.removeButton.toolTip == "There are no samples yet."


def test_the_amplitude_dial_scales_and_comes_back(panel):
    panel.click("generateButton")
    panel.finish()
    node = panel.samples()[0].node
    drawn, mean = panels.fieldOf(node), float(panel.texts(0)[2])
    for percent in (150, 50, 100):
        panel.ui.amplitudeSlider.setValue(percent)
        assert panel.ui.amplitudeSpinBox.value == percent
        panel.wait(lambda percent=percent: panel.samples()[0].amplitude == percent / 100)
        panel.wait(lambda: panel.main.view.run is None)
        sample = panel.samples()[0]
        assert sample.quality["folding"]["voxels"] == 0
        assert float(panel.texts(0)[2]) == pytest.approx(mean * percent / 100, abs=0.15)
    assert np.abs(panels.fieldOf(node) - drawn).max() < 1e-4


def test_drawings_of_the_deformation(panel):
    panel.click("generateButton")
    panel.finish()
    first, second = (each.node for each in panel.samples())
    display = panels.lib("display")
    for row, mode in enumerate(("not drawn", "grid", "arrows", "contours")):
        panel.ui.gridSelector.setCurrentIndex(row)
        assert panel.ui.gridSelector.currentText == mode
        assert display.gridMode(first) == ("none", "grid", "arrows", "contours")[row]
        assert display.gridMode(second) == "none"
    panel.ui.samplesTable.selectRow(1)
    assert (display.gridMode(first), display.gridMode(second)) == ("none", "contours")


def test_the_colour_overlay_follows_the_sample_shown(panel):
    jacobianOf = panels.lib("jacobianoverlay").jacobianOf
    panel.click("generateButton")
    panel.finish()
    first, second = (each.node for each in panel.samples())
    panel.ui.jacobianCheckBox.click()
    panel.wait(lambda: jacobianOf(first) is not None)
    panel.ui.samplesTable.selectRow(1)
    panel.wait(lambda: jacobianOf(second) is not None)
    assert jacobianOf(first) is None
    assert panel.parameters.volume is not jacobianOf(second)
    panel.ui.jacobianCheckBox.click()
    assert jacobianOf(second) is None


def test_play_steps_through_the_samples(panel):
    panel.click("generateButton")
    panel.finish()
    panel.click("playButton")
    browser = panels.lib("browser").browserOf(panel.parameters.volume)
    assert browser.GetPlaybackActive()
    browser.SetSelectedItemNumber(1)
    assert panel.main.view.shown() is panel.samples()[1].node
    panel.click("originalButton")
    assert not browser.GetPlaybackActive() and not panel.ui.playButton.checked
    assert panel.parameters.volume.GetParentTransformNode() is None


def test_a_seed_is_used_again(panel):
    panel.click("generateButton")
    panel.finish()
    panel.ui.samplesTable.selectRow(1)
    panel.parameters.newSeed = True
    panel.click("copySeedButton")
    assert (panel.ui.seedSpinBox.value, panel.ui.newSeedCheckBox.checked) == (6, False)


def test_the_amount_is_in_words_and_recommended_by_the_model(panel):
    panel.parameters.model = "phantom-torso-3d"
    assert panel.ui.levelWordLabel.text == "moderate (48)"
    panel.parameters.model = "none"
    assert panel.ui.levelWordLabel.text == "subtle (30)"
    panel.ui.levelSlider.setValue(75)
    assert panel.ui.levelWordLabel.text == "very strong (75)"
    assert not panel.ui.recommendedCheckBox.checked
    panel.parameters.count = 1
    panel.click("generateButton")
    panel.finish()
    assert panel.samples()[0].level == 75
    panel.ui.recommendedCheckBox.click()
    assert panel.ui.levelSlider.value == 30


def test_a_button_that_cannot_be_used_says_why(panel):
    volume = panel.parameters.volume
    panel.parameters.volume = None
    reason = "Choose a volume, or load a phantom."
    assert not panel.ui.generateButton.enabled
    assert panel.ui.generateButton.toolTip == panel.ui.statusLabel.text == reason
    panel.parameters.volume = volume
    assert panel.ui.generateButton.enabled and not panel.ui.statusLabel.text
    colours = scenes.volume(np.zeros((4, 5, 6, 3), np.uint8), className="vtkMRMLVectorVolumeNode")
    panel.parameters.volume = colours
    assert "one number per voxel" in panel.ui.generateButton.toolTip


def test_an_error_of_the_worker_is_in_the_status_line(panel):
    panel.parameters.device = "cuda:99"
    panel.click("generateButton")
    panel.finish()
    assert "`device` must be one that is there" in panel.ui.statusLabel.text
    assert "`device` must be one that is there" in panel.ui.logTextEdit.plainText
    assert panel.dialogs() == []


def test_a_model_that_does_not_fit_is_warned_of(panel):
    panel.parameters.model = "phantom-torso-3d"
    assert panel.ui.modelWarningLabel.text.startswith("Warning: ")
    assert "Licence: Apache-2.0" in panel.ui.modelDescriptionLabel.text
    panel.parameters.model = "none"
    assert panel.ui.modelWarningLabel.text == ""


def test_memory_and_devices_are_told(panel):
    panel.wait(lambda: "GB" in panel.ui.needsLabel.text)
    assert panel.ui.needsLabel.text.startswith("One sample needs about")
    panel.wait(lambda: panel.ui.deviceSelector.count >= 2)
    assert panel.ui.deviceSelector.itemData(1) == "cpu"
