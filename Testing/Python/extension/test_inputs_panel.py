"""The model menu, the warnings on the chosen model, and the direction of slices, by real clicks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.Python.extension import panels, scenes

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")

BUNDLED = panels.MODULE.parents[1] / "Resources" / "Models"
HEART, HIPPOCAMPUS = "phantom-heart-2d", "hippocampus-mr-3d"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of models, not there yet."""
    folder = tmp_path / "models of mine"
    monkeypatch.setenv("DRDM_MODELS", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.fixture
def panel(folder, openPanel):
    """The panel; its worker is its own, for it must know the user's folder."""
    return openPanel(share=False)


def choose(panel, words):
    """Click an entry of the model menu."""
    (action,) = [each for each in panel.ui.modelMenuButton.menu().actions() if words in each.text]
    action.trigger()
    panel.harness.processEvents()


def retitled(name, title):
    """A bundled model with another title: another file."""
    data = (BUNDLED / f"{name}.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    card = json.loads(header["__metadata__"]["drdm"])
    card["card"]["title"] = title
    header["__metadata__"]["drdm"] = json.dumps(card)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def models(panel):
    """Names in the selector."""
    selector = panel.ui.modelSelector
    return [selector.itemData(row) for row in range(selector.count)]


def publishedWeights(path, levels=80):
    """A checkpoint laid out as the published program writes it, of random numbers."""
    torch = pytest.importorskip("torch", reason="needs torch, to write a checkpoint")
    from DRDMCore.recovery.published_network import PublishedNetwork

    generator = torch.Generator().manual_seed(0)
    network = PublishedNetwork(2, levels=levels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    torch.save(network.state_dict(), path)
    return path


def test_a_model_file_is_added_and_chosen(panel, folder, tmp_path):
    mine = tmp_path / "my heart.safetensors"
    mine.write_bytes(retitled(HEART, "Heart of my own"))
    panel.answer(mine, "Model file")
    choose(panel, "Add a model file")
    assert panel.parameters.model == panel.ui.modelSelector.currentData == "my heart"
    assert panel.ui.modelSelector.currentText == "Heart of my own"
    assert (folder / mine.name).read_bytes() == mine.read_bytes()
    assert panel.ui.statusLabel.text == "Choose a volume, or load a phantom."  # comes first
    assert panel.ui.modelDescriptionLabel.text.startswith("2D phantom")
    panel.choose(*panels.smallCase(), count=1, seed=2, model="my heart")
    panel.click("generateButton")
    panel.finish()
    (sample,) = panel.samples()
    assert sample.model["title"] == "Heart of my own"


def test_a_file_dialog_that_is_cancelled_changes_nothing(panel, folder):
    before = models(panel)
    for words, title in (("Add a model", "Model file"), ("Import", "Published weights")):
        panel.answer("", title)
        choose(panel, words)
    assert models(panel) == before and not folder.exists()
    assert panel.logic._client is None


def test_a_corrupt_model_file_is_refused_with_its_reason(panel, folder, tmp_path):
    panel.choose(*panels.smallCase(), model="none")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((BUNDLED / f"{HEART}.safetensors").read_bytes()[:-1000])
    before = models(panel)
    panel.answer(broken, "Model file")
    choose(panel, "Add a model file")
    assert "broken.safetensors cannot be used: it has" in panel.ui.statusLabel.text
    assert "get the file again" in panel.ui.logTextEdit.plainText
    assert models(panel) == before and panel.parameters.model == "none"
    assert not folder.exists()


def test_a_file_that_went_bad_is_listed_and_says_why(panel, folder):
    folder.mkdir()
    (folder / "odd.safetensors").write_bytes(b"no model")
    panel.main.inputs.showModels("odd")
    panel.choose(*panels.smallCase(), model="odd")
    assert not panel.ui.generateButton.enabled
    assert "odd cannot be used: " in panel.ui.generateButton.toolTip
    (folder / "odd.safetensors").unlink()
    panel.main.inputs.showModels()
    panel.main.update()
    assert "odd is not there any more" in panel.ui.generateButton.toolTip


def test_published_weights_are_imported_chosen_and_known_to_the_worker(panel, folder, tmp_path):
    weights = publishedWeights(tmp_path / f"{HEART}.pth")
    panel.choose(*panels.smallCase(), count=1, seed=4)
    for name in (f"{HEART}-2", f"{HEART}-3"):  # no model is ever replaced
        panel.answer(weights, "Published weights")
        choose(panel, "Import published")
        panel.wait(lambda name=name: panel.parameters.model == name, 60)
        assert panel.ui.statusLabel.text == f"The model {name} was imported."
        assert (folder / f"{name}.safetensors").is_file()
    assert panel.ui.modelSelector.currentText.startswith("Published DRDM weights, 2D")
    assert "check the data's terms" in panel.ui.modelDescriptionLabel.text
    panel.wait(lambda: panel.ui.needsLabel.text.startswith("One sample needs"), 60)


def test_weights_that_are_none_are_refused(panel, folder, tmp_path):
    panel.choose(*panels.smallCase(), model="none")
    (tmp_path / "x.pth").write_bytes(b"nothing of the kind")
    panel.answer(tmp_path / "x.pth", "Published weights")
    choose(panel, "Import published")
    panel.wait(lambda: "is not a plain checkpoint" in panel.ui.statusLabel.text, 60)
    assert panel.parameters.model == "none" and not list(folder.iterdir())


@pytest.mark.parametrize("sure", ["Yes", "No"])
def test_a_model_of_the_user_is_deleted_after_a_question(panel, folder, sure):
    folder.mkdir()
    path = folder / "mine.safetensors"
    path.write_bytes(retitled(HEART, "Mine"))
    panel.main.inputs.showModels("mine")
    panel.answer(sure, "Delete the model mine?")
    choose(panel, "Delete the chosen model")
    assert path.exists() == (sure == "No")
    assert ("mine" in models(panel)) == (sure == "No")
    assert panel.parameters.model == ("mine" if sure == "No" else "none")


@pytest.mark.parametrize("name", ["none", HEART])
def test_other_models_are_not_deleted(panel, name):
    panel.choose(*panels.smallCase(), model=name)
    choose(panel, "Delete the chosen model")
    assert panel.dialogs() == []
    assert "Only models of your own can be deleted" in panel.ui.statusLabel.text
    assert (BUNDLED / f"{HEART}.safetensors").is_file()


def test_the_folder_of_models_is_opened(panel, folder, monkeypatch):
    import qt

    opened = []
    desktop = type("Desktop", (), {"openUrl": staticmethod(opened.append)})
    monkeypatch.setattr(qt, "QDesktopServices", desktop)
    choose(panel, "Open the folder")
    assert [each.toLocalFile() for each in opened] == [str(folder)] and folder.is_dir()


@pytest.mark.parametrize("where", ["node", "series"])
def test_the_modality_counts_in_the_warning_on_a_model(panel, where):
    import slicer

    volume = scenes.volume(scenes.imageArray((35, 51, 35)))
    panel.choose(volume, model=HIPPOCAMPUS)
    assert panel.ui.modelWarningLabel.text == ""
    for modality, warned in (("CT", True), ("MR", False)):
        if where == "node":
            volume.SetAttribute("DICOM.Modality", modality)
        else:
            hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
            item = hierarchy.GetItemByDataNode(volume)
            hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)
        panel.main.update()
        assert ("trained on MR, but the volume is CT" in panel.ui.modelWarningLabel.text) == warned


@pytest.mark.parametrize(
    ("geometry", "planes"),
    [
        ("anisotropic", ["axial", "coronal", "sagittal"]),
        ("sagittal", ["sagittal", "axial", "coronal"]),
    ],
)
def test_directions_of_slices_have_the_names_of_planes(panel, geometry, planes):
    panel.choose(scenes.volume(geometry=geometry), model=HEART)
    selector = panel.ui.sliceAxisSelector
    names = [selector.itemText(row) for row in range(selector.count)]
    assert names == ["thickest direction", *(f"{plane} slices" for plane in planes)]


def test_the_direction_of_slices_is_for_stacks_and_2d_models_alone(panel):
    stack, flat = scenes.volume(), scenes.volume(scenes.imageArray((1, 24, 20)))
    for volume, model, offered in (
        (stack, HEART, True),
        (stack, "none", False),
        (stack, HIPPOCAMPUS, False),
        (flat, HEART, False),
    ):
        panel.choose(volume, model=model)
        assert panel.ui.sliceAxisSelector.visible == panel.ui.sliceAxisLabel.visible == offered


def test_a_stack_is_deformed_within_the_slices_that_were_chosen(panel):
    """Nothing moves across them: their normal is the axis i, then the one that is found."""
    panel.choose(*panels.smallCase(), model=HEART, count=1, seed=3)
    selector = panel.ui.sliceAxisSelector
    for row, across in ((selector.findText("sagittal slices"), 0), (0, 2)):
        selector.setCurrentIndex(row)
        panel.harness.processEvents()
        assert panel.parameters.sliceAxis == selector.itemData(row)
        panel.click("generateButton")
        panel.finish()
        moved = np.abs(panels.fieldOf(panel.samples()[-1].node)).max(axis=(0, 1, 2))
        assert moved[across] < 1e-6
        assert all(moved[axis] > 0.1 for axis in range(3) if axis != across)
