"""Train: start, watch, stop, go on; the model is then in the selector."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from Testing.Python.extension import panels, scenes

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")

TINY = """\
name: tiny
grid: {dimension: 2, mode: fov, side: 16}
shape: [16, 16]
widths: [4, 8]
steps: STEPS
batch: 2
validate_every: 2
save_minutes: 0.01
recoveries: 1
"""


@pytest.fixture
def panel(openPanel, tmp_path, monkeypatch):
    """The panel with a folder of scans, settings of a tiny network, and a folder for the run."""
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    panel = openPanel()
    panel.ui.trainSection.setCollapsed(False)
    panels.writeSlices(tmp_path / "scans", 4)
    panel.parameters.trainFolder = str(tmp_path / "scans")
    panel.parameters.runFolder = str(tmp_path / "mine")
    panel.parameters.preset = settings(tmp_path, 4)
    panel.parameters.device = "cpu"
    return panel


def settings(folder, steps):
    """A file of settings."""
    path = folder / f"tiny{steps}.yaml"
    path.write_text(TINY.replace("STEPS", str(steps)), encoding="utf-8")
    return str(path)


def test_a_training_ends_with_its_model_in_the_selector(panel):
    assert panel.ui.trainButton.text == "Start training"
    panel.click("trainButton")
    assert panel.ui.trainButton.text == "Stop training"
    panel.wait(lambda: not panel.main.train.run.running, seconds=90)
    assert panel.main.train.run.state == "done", panel.main.train.run.message
    assert panel.ui.trainStatusLabel.text.endswith("The model mine is in the selector.")
    assert panel.parameters.model == "mine"
    assert panel.ui.modelSelector.currentText == "mine, trained in 3D Slicer"
    assert panel.ui.lossLabel.pixmap.width() >= 200
    assert "step 4 of 4" in panel.ui.trainLogTextEdit.plainText
    assert panel.ui.trainButton.text == "Resume training"


def test_a_stopped_training_goes_on(panel, tmp_path):
    panel.parameters.preset = settings(tmp_path, 100_000)
    panel.click("trainButton")
    panel.wait(lambda: panel.ui.trainStatusLabel.text.startswith("Step "), seconds=90)
    panel.click("trainButton")
    assert not panel.ui.trainButton.enabled
    assert panel.ui.trainButton.toolTip == "It is stopping."
    panel.wait(lambda: not panel.main.train.run.running, seconds=60)
    assert panel.main.train.run.state == "stopped"
    done = panel.main.train.run.progress.step
    panel.wait(lambda: panel.ui.trainButton.text == "Resume training")
    panel.click("trainButton")
    panel.wait(lambda: panel.main.train.run.progress is not None, seconds=90)
    assert panel.main.train.run.progress.step > done
    panel.click("trainButton")
    panel.wait(lambda: not panel.main.train.run.running, seconds=60)


def test_volumes_of_the_scene_are_learnt_from(panel, tmp_path):
    for name in ("A", "B", "C"):
        scenes.volume(scenes.imageArray((2, 24, 24)), name=name)
    panel.ui.sceneSourceButton.click()
    assert panel.ui.trainVolumesList.visible and not panel.ui.trainFolderEdit.visible
    assert panel.ui.trainButton.toolTip == "Tick at least two volumes to learn from."
    panel.tickVolumes("A", "C")
    panel.click("trainButton")
    assert panel.main.train.run.running
    assert panel.ui.trainStatusLabel.text == "Writing A, volume 1 of 2..."
    panel.wait((tmp_path / "mine-scans").exists)
    panel.wait(lambda: panel.ui.trainStatusLabel.text == "Starting...")
    written = sorted((tmp_path / "mine-scans").rglob("*.nrrd"))
    assert [each.name for each in written] == ["A.nrrd", "C.nrrd"]
    assert panel.main.train.run.running
    panel.main.train.run.kill()
    panel.wait(lambda: not panel.main.train.run.running)
    assert panel.main.train.run.state == "stopped"


def test_stop_while_volumes_are_written_leaves_nothing(panel, tmp_path, monkeypatch):
    gate, kind = threading.Event(), panels.lib("inputfiles").InputReading
    write = kind.write
    monkeypatch.setattr(kind, "write", lambda *given: gate.wait(30) and write(*given))
    for name in ("A", "B"):
        scenes.volume(scenes.imageArray((2, 24, 24)), name=name)
    panel.ui.sceneSourceButton.click()
    panel.tickVolumes("A", "B")
    before = sorted(tmp_path.iterdir())
    panel.click("trainButton")
    panel.wait(lambda: sorted(tmp_path.iterdir()) != before)
    assert panel.ui.trainButton.text == "Stop training" and panel.ui.trainProgressBar.visible
    panel.click("trainButton")
    assert panel.main.train.run.state == "stopped"
    assert panel.ui.trainStatusLabel.text.startswith("The training was stopped before its first")
    assert panel.ui.trainButton.text == "Start training" and panel.ui.trainButton.enabled
    gate.set()
    panel.wait(lambda: sorted(tmp_path.iterdir()) == before)


def test_a_volume_that_cannot_be_learnt_from_ends_the_training(panel, tmp_path):
    scenes.volume(scenes.imageArray((2, 24, 24)), name="A")
    scenes.volume(np.zeros((2, 24, 24), np.int16), name="Empty")
    panel.ui.sceneSourceButton.click()
    panel.tickVolumes("A", "Empty")
    before = sorted(tmp_path.iterdir())
    panel.click("trainButton")
    panel.wait(lambda: not panel.main.train.run.running)
    assert panel.main.train.run.state == "failed"
    assert "'Empty' must show something" in panel.ui.trainStatusLabel.text
    assert "'Empty' must show something" in panel.ui.trainLogTextEdit.plainText
    assert sorted(tmp_path.iterdir()) == before


def test_a_button_that_cannot_be_used_says_why(panel):
    panel.parameters.trainFolder = ""
    reason = "Choose a folder of scans to learn from."
    assert not panel.ui.trainButton.enabled
    assert panel.ui.trainButton.toolTip == panel.ui.trainStatusLabel.text == reason
    panel.parameters.runFolder = ""
    assert panel.ui.trainButton.toolTip == "Choose a folder for the run."


def test_a_failure_is_told_with_the_reason(panel, tmp_path):
    (tmp_path / "empty").mkdir()
    panel.parameters.trainFolder = str(tmp_path / "empty")
    panel.click("trainButton")
    panel.wait(lambda: not panel.main.train.run.running, seconds=90)
    assert panel.main.train.run.state == "failed"
    assert str(tmp_path / "empty") in panel.ui.trainStatusLabel.text
    assert panel.dialogs() == []
