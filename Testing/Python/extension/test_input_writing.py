"""Inputs are written beside the event loop: it goes on, and what goes wrong there is shown."""

from __future__ import annotations

import threading

import pytest

from Testing.Python.extension import panels, scenes

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")


@pytest.fixture
def panel(openPanel):
    """The panel with a small volume and its segmentation, random field, one sample wanted."""
    panel = openPanel()
    panel.choose(*panels.smallCase(), model="none", count=1, seed=5)
    panel.warmUp()
    return panel


@pytest.fixture
def gate(panel, monkeypatch):
    """Writing begins when this is set."""
    gate, kind = threading.Event(), panels.lib("inputfiles").InputReading
    write = kind.write

    def later(reading, folder):
        gate.wait(30)
        return write(reading, folder)

    monkeypatch.setattr(kind, "write", later)
    yield gate
    gate.set()


def begin(panel, gate):
    """Click, and be where the files are being written."""
    panel.click("generateButton")
    panel.spin(0.1)
    assert panel.main.generate.running and not panel.logic.client.busy
    assert panel.ui.generateButton.text == "Cancel"


def test_the_job_starts_when_its_inputs_are_written(panel, gate):
    begin(panel, gate)
    gate.set()
    panel.finish()
    assert len(panel.samples()) == 1


def test_cancel_works_while_inputs_are_written_and_they_are_used_later(panel, gate):
    begin(panel, gate)
    preparation = panel.logic.inputFolder.prepare(
        panel.parameters.volume, panel.parameters.segmentation
    )
    panel.click("generateButton")
    panel.harness.processEvents()
    assert not panel.main.generate.running and panel.ui.generateButton.enabled
    assert panel.ui.statusLabel.text == "Cancelled. 0 samples are there."
    begin(panel, gate)
    gate.set()
    panel.finish()
    assert len(panel.samples()) == 1  # of the second click alone
    assert panel.logic.inputFolder.prepare(*nodes(panel)) is preparation


def nodes(panel):
    """What is chosen."""
    return panel.parameters.volume, panel.parameters.segmentation


@pytest.mark.parametrize("what", ["voxels changed", "volume deleted", "scene closed"])
def test_inputs_that_go_while_they_are_written_end_the_job(panel, gate, what):
    import slicer

    begin(panel, gate)
    volume = panel.parameters.volume
    if what == "voxels changed":
        slicer.util.arrayFromVolume(volume)[3, 4, 5] += 1
        slicer.util.arrayFromVolumeModified(volume)
    elif what == "volume deleted":
        slicer.mrmlScene.RemoveNode(volume)
    else:
        panel.harness.clearScene()
    gate.set()
    panel.finish()
    panel.spin(0.2)
    assert panel.samples() == [] and not panel.logic.client.busy
    assert panel.dialogs() == []


def test_other_inputs_leave_no_files_of_the_first(panel, gate):
    begin(panel, gate)
    first = panel.logic.inputFolder.prepare(*nodes(panel))
    panel.click("generateButton")
    other = scenes.volume(scenes.imageArray((8, 16, 16)))
    panel.choose(other)
    panel.click("generateButton")
    gate.set()
    panel.finish()
    assert len(panel.samples()) == 1
    panel.wait(lambda: not first._folder.exists(), 5)
    kept = panel.logic.inputFolder.prepare(other).files
    assert kept.image.is_file()
    panel.logic.inputFolder.clear()
    assert not kept.image.exists()


def test_files_that_cannot_be_written_are_told(panel, monkeypatch, tmp_path):
    """A folder stands in the place of the file, as close as a test comes to a full disk."""
    import tempfile

    make = tempfile.mkdtemp

    def blocked(*arguments, prefix="", **more):
        folder = make(*arguments, prefix=prefix, dir=tmp_path)
        if prefix == "drdm_inputs_":
            (tmp_path / folder / "CT.nrrd").mkdir()
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", blocked)
    panel.click("generateButton")
    panel.finish()
    assert "CT.nrrd cannot be written" in panel.ui.statusLabel.text
    assert "free some space on the disk" in panel.ui.logTextEdit.plainText
    monkeypatch.undo()
    panel.click("generateButton")  # the failure is not kept
    panel.finish()
    assert len(panel.samples()) == 1


def test_segments_that_overlap_are_told(panel):
    volume = panel.parameters.volume
    shape = (16, 24, 20)
    masks = {
        "Liver": scenes.ball(shape, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)),
        "Tumour": scenes.ball(shape, (0.5, 0.5, 0.6), (0.2, 0.2, 0.2)),
    }
    panel.choose(volume, scenes.segmentation(volume, masks))
    panel.click("generateButton")
    panel.finish()
    text = panel.ui.statusLabel.text
    assert "must not overlap" in text and "'Liver' and 'Tumour'" in text
    assert panel.samples() == [] and panel.ui.generateButton.enabled
    with pytest.raises(panels.lib("running").RunFailed, match="must not overlap"):
        panel.logic.generate(*nodes(panel), waitForCompletion=True)


def test_a_large_volume_does_not_stop_the_window(panel, record_property):
    """256 x 256 x 200 voxels: what touches the scene is short, the rest is in the thread.

    The bounds are those of `test_the_window_stays_alive`; written in place, it took 290 ms where
    this takes 34 ms.
    """
    volume = scenes.volume(scenes.imageArray((200, 256, 256)))
    panel.choose(volume, scenes.segmentation(volume))
    with panel.heartbeat() as beats:
        panel.spin(0.2)
        panel.click("generateButton")
        preparation = panel.logic.inputFolder.prepare(*nodes(panel))
        panel.wait(lambda: preparation.done)
        panel.click("generateButton")
    worst = max(beats)
    record_property("worst_ms", round(worst, 1))
    print(f"event loop while a large volume is written: worst {worst:.0f} ms")
    panel.finish()
    assert preparation.files.labels.is_file()
    assert sorted(beats)[-2] <= 100 and worst <= 250
