"""Export: kept samples, and no others, in the layout that was chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.extension import panels

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")


@pytest.fixture
def panel(openPanel, tmp_path):
    """The panel with three samples of a small volume, the second of them not kept."""
    panel = openPanel()
    panel.choose(*panels.smallCase(), model="none", count=3, seed=5)
    panel.click("generateButton")
    panel.finish()
    panel.tick(1, False)
    panel.parameters.exportFolder = str(tmp_path / "out")
    return panel


def test_what_is_kept_is_exported(panel, tmp_path):
    assert panel.ui.exportButton.text == "Export 2 kept samples"
    assert [each.keep for each in panel.samples()] == [True, False, True]
    panel.click("exportButton")
    assert panel.ui.exportButton.text == "Cancel"
    assert not panel.ui.generateButton.enabled
    assert panel.ui.generateButton.toolTip == "Samples are being exported: wait, or cancel."
    panel.finish()
    assert panel.ui.exportStatusLabel.text.startswith(f"Exported to {tmp_path / 'out'}")
    names = sorted(each.name for each in (tmp_path / "out" / "img").iterdir())
    first, _second, third = (each.name for each in panel.samples())
    assert names[:2] == [f"{first}.nii.gz", f"{third}.nii.gz"] and "original" in names[2]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert [each["seed"] for each in manifest["samples"] if each.get("seed") is not None] == [5, 7]


def test_the_exported_field_is_the_one_in_the_scene(panel, tmp_path):
    panel.ui.amplitudeSlider.setValue(50)
    panel.wait(lambda: panel.samples()[0].amplitude == 0.5 and panel.main.view.run is None)
    panel.click("exportButton")
    panel.finish()
    sample = panel.samples()[0]
    written = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out/ddf" / f"{sample.name}.nrrd"))
    ras = panels.fieldOf(sample.node)
    assert np.array_equal(written * np.float32([-1, -1, 1]), ras)


def test_nnunet_layout_has_the_names_of_the_segments(panel, tmp_path):
    panel.ui.layoutSelector.setCurrentIndex(1)
    panel.ui.originalsCheckBox.click()
    panel.click("exportButton")
    panel.finish()
    data = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
    assert data["labels"] == {"background": 0, "Liver": 1, "Spleen": 2}
    assert data["numTraining"] == 2
    assert len(list((tmp_path / "out/imagesTr").iterdir())) == 2


def test_a_button_that_cannot_be_used_says_why(panel):
    for row in range(3):
        panel.tick(row, False)
    reason = "No sample is kept: tick at least one in the table."
    assert not panel.ui.exportButton.enabled
    assert panel.ui.exportButton.toolTip == panel.ui.exportStatusLabel.text == reason
    panel.tick(0, True)
    assert panel.ui.exportButton.text == "Export 1 kept sample" and panel.ui.exportButton.enabled
    panel.parameters.exportFolder = ""
    assert panel.ui.exportButton.toolTip == "Choose a folder to export to."


def test_a_folder_with_other_things_is_refused(panel, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    panel.click("exportButton")
    panel.finish()
    assert str(tmp_path / "out") in panel.ui.exportStatusLabel.text
    assert (tmp_path / "out" / "thesis.txt").read_text(encoding="utf-8") == "mine"
    assert panel.dialogs() == []


def test_a_cancelled_export_goes_on(panel, tmp_path):
    panel.click("exportButton")
    panel.click("exportButton")
    panel.finish()
    assert "ancelled" in panel.ui.exportStatusLabel.text
    panel.click("exportButton")
    panel.finish()
    assert len(list((tmp_path / "out/img").iterdir())) == 3


def changeVoxels(volume):
    """Make part of a volume brighter."""
    import slicer

    slicer.util.arrayFromVolume(volume)[..., 10:20, 10:20] += 300
    slicer.util.arrayFromVolumeModified(volume)


def test_a_changed_image_under_samples_of_a_model_is_asked_about(openPanel, tmp_path):
    """Their fields belong to the image as it was: `drdm replay` makes others of this one."""
    from DRDMCore.pipelines.replay import replay

    panel = openPanel()
    volume, segmentation = panels.lib("sampledata").loadSample("phantom-heart-2d")
    panel.choose(volume, segmentation, model="phantom-heart-2d", count=2, seed=5)
    panel.parameters.exportFolder = str(tmp_path / "out")
    panel.click("generateButton")
    panel.finish()
    changeVoxels(volume)
    panel.answer("No", contains="has changed since these samples were made")
    panel.click("exportButton")
    panel.finish()
    (question,) = panel.dialogs()
    assert f"'{volume.GetName()}'" in question
    assert ", ".join(each.name for each in panel.samples()) in question
    assert panel.ui.exportStatusLabel.text == "Cancelled."
    assert not (tmp_path / "out").exists() and panel.ui.exportButton.enabled
    panel.answer("Yes", contains="Export all the same?")
    panel.click("exportButton")
    panel.finish()
    assert len(list((tmp_path / "out/img").iterdir())) == 3
    assert replay(tmp_path / "out", 1)["field_max_difference_mm"] > 0


def test_a_changed_image_under_random_samples_is_exported(panel, tmp_path):
    """A random field depends on the grid alone: `drdm replay` makes the same again."""
    from DRDMCore.pipelines.replay import replay

    changeVoxels(panel.parameters.volume)
    panel.click("exportButton")
    panel.finish()
    assert panel.dialogs() == []
    assert panel.ui.exportStatusLabel.text.startswith("Exported to")
    assert replay(tmp_path / "out", 1)["identical"]
