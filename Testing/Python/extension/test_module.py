"""The module itself: it opens without ado, keeps choices, and leaves no trace."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from Testing.Python.extension import panels

EXTENSION = Path(__file__).parents[3] / "DRDMExtension"
FORM = EXTENSION / "Resources" / "UI" / "DRDM.ui"
FILES = [EXTENSION / "DRDM.py", *sorted((EXTENSION / "DRDMLib").glob("*.py"))]
needsScene = pytest.mark.usefixtures("sceneHere")
FINE = {*sys.stdlib_module_names, "slicer", "qt", "ctk", "vtk", "numpy", "SimpleITK", "DRDMLib"}


@pytest.fixture
def sceneHere():
    pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
    pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")


def topLevelImports(tree):
    """Names of the packages that a file imports when it is imported."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "DRDMLib").split(".")[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_heavy_is_imported_and_nothing_runs_on_import(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert set(topLevelImports(tree)) <= FINE
    calls = [node for node in tree.body if isinstance(node, ast.Expr | ast.For | ast.With)]
    assert all(isinstance(node.value, ast.Constant) for node in calls), "code at file scope"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_texts_are_translated_whole(file):
    """An f-string inside `_()` cannot be translated; the source is ASCII, as Slicer reads it."""
    text = file.read_text(encoding="utf-8")
    assert text.isascii()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
            (argument,) = node.args
            assert isinstance(argument, ast.Constant), f"line {node.lineno}"


def test_every_widget_of_the_form_says_what_it_does():
    kinds = {"QLabel", "QWidget", "qMRMLWidget", "ctkCollapsibleButton", "ctkCollapsibleGroupBox"}
    set_in_code = {"generateButton", "exportButton", "trainButton", "progressBar"}
    set_in_code |= {"exportProgressBar", "trainProgressBar"}
    for widget in ElementTree.parse(FORM).iter("widget"):
        if widget.get("class") not in kinds and widget.get("name") not in set_in_code:
            names = [each.get("name") for each in widget.findall("property")]
            assert "toolTip" in names, widget.get("name")


def test_the_sample_data_are_small_and_made_by_us(tmp_path):
    files = sorted((EXTENSION / "Resources" / "SampleData").iterdir())
    assert sum(file.stat().st_size for file in files) <= 300_000
    script = EXTENSION.parent / "Testing" / "Benchmarks" / "make_sample_data.py"
    subprocess.run(
        [sys.executable, script, "--out", tmp_path],
        check=True,
        env={**os.environ, "PYTHONPATH": str(EXTENSION.parent)},
    )
    import SimpleITK as sitk

    for file in files:
        if file.suffix == ".nrrd":
            kept, made = (sitk.ReadImage(str(each)) for each in (file, tmp_path / file.name))
            assert np.array_equal(*map(sitk.GetArrayFromImage, (kept, made)))


@needsScene
def test_opening_starts_nothing_and_installs_nothing(openPanel):
    panel = openPanel(share=False)
    panel.spin(1)
    assert panel.logic._client is None
    assert panel.dialogs() == []
    assert panel.ui.sampleDataButton.visible
    assert panel.ui.statusLabel.text == "Choose a volume, or load a phantom."


@needsScene
def test_torch_stays_out_of_the_process_of_slicer(tmp_path):
    code = (
        "import sys; from Testing.Harness import start; h = start();"
        f"w = h.openModule({str(panels.MODULE)!r}); w.ui.sampleDataButton.click();"
        "h.processEvents();"
        "print('has', [m for m in ('torch', 'yaml', 'PIL') if m in sys.modules]);"
        "h.reset()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=EXTENSION.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert "has []" in run.stdout.splitlines(), run.stderr


@needsScene
def test_one_click_loads_the_phantom_with_its_segments_and_its_model(openPanel):
    panel = openPanel()
    panel.click("sampleDataButton")
    panel.harness.processEvents()
    segmentation = panel.parameters.segmentation.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(5)]
    assert names == ["left lung", "right lung", "heart", "liver", "spine"]
    assert segmentation.GetNthSegment(2).GetColor() == pytest.approx((0.80, 0.28, 0.25), abs=0.01)
    assert panel.parameters.model == "phantom-torso-3d"
    assert panel.ui.modelWarningLabel.text == ""
    assert panel.ui.generateButton.enabled and not panel.ui.sampleDataButton.visible


@needsScene
def test_sample_data_are_registered(openPanel):
    import SampleData

    openPanel()
    nodes = SampleData.SampleDataLogic().downloadSamples("Phantom heart")
    assert [node.GetClassName() for node in nodes] == [
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLSegmentationNode",
    ]
    assert nodes[0].GetImageData().GetDimensions() == (128, 128, 1)
    assert nodes[0].GetSpacing() == pytest.approx((1.5, 1.5, 8.0))


@needsScene
def test_a_saved_scene_reopens_with_choices_and_samples(openPanel, tmp_path):
    import slicer

    panel = openPanel()
    panel.choose(*panels.smallCase(), model="none", count=2, seed=11, level=40)
    panel.parameters.recommendedLevel = False
    panel.parameters.effort = "full"
    panel.parameters.exportFolder = str(tmp_path / "new")
    panel.click("generateButton")
    panel.finish()
    panel.tick(1, False)
    fields = [panels.fieldOf(each.node) for each in panel.samples()]
    rows = [panel.texts(row) for row in range(2)]
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    panel.harness.clearScene()
    assert panel.ui.samplesTable.rowCount == 0 and panel.parameters.count == 4
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    panel.harness.processEvents()
    chosen = panel.parameters
    assert (chosen.count, chosen.seed, chosen.level, chosen.effort) == (2, 11, 40, "full")
    assert panel.ui.effortSelector.currentText == "full"
    assert panel.ui.countSpinBox.value == 2 and panel.ui.levelSlider.value == 40
    assert panel.ui.exportFolderEdit.currentPath == str(tmp_path / "new")
    assert (
        chosen.volume.GetName() == "CT" and panel.ui.volumeSelector.currentNode() is chosen.volume
    )
    assert [panel.texts(row) for row in range(2)] == rows
    assert [each.keep for each in panel.samples()] == [True, False]
    for sample, field in zip(panel.samples(), fields, strict=True):
        assert np.array_equal(panels.fieldOf(sample.node), field)
    # The sample that was shown is shown, and others can be.
    assert chosen.volume.GetParentTransformNode() is panel.samples()[0].node
    panel.ui.samplesTable.selectRow(1)
    assert chosen.volume.GetParentTransformNode() is panel.samples()[1].node


@needsScene
def test_choices_made_by_a_script_are_shown_and_those_of_the_user_kept(openPanel):
    panel = openPanel()
    panel.parameters.exportLayout = "nnunet"
    assert panel.ui.layoutSelector.currentText == "nnU-Net data set"
    panel.ui.layoutSelector.setCurrentIndex(2)
    assert panel.parameters.exportLayout == "flat"
    panel.ui.exportFolderEdit.setCurrentPath("/tmp/new")
    assert panel.parameters.exportFolder == "/tmp/new"
    panel.ui.sceneSourceButton.click()
    assert panel.parameters.trainSource == "scene"


@needsScene
def test_leaving_ends_the_worker(openPanel):
    panel = openPanel(share=False)
    panel.choose(*panels.smallCase(), count=500)
    panel.click("generateButton")
    panel.wait(lambda: len(panel.samples()) >= 1)
    process = panel.logic.client._process
    panel.harness.closeModules()
    assert process.hasExited() and panels.lib("samples").samplesOf(None)


@needsScene
def test_reload_takes_all_modules_leaves_first(openPanel):
    panel = openPanel()
    reloading = panels.lib("reloading")
    order = reloading.loadOrder()
    assert order.index("DRDMLib.running") < order.index("DRDMLib.generating")
    assert order.index("DRDMLib.generating") < order.index("DRDMLib.logic")
    assert order[-1] in ("DRDMLib.mainpanel", "DRDMLib.logic")
    before = {name: vars(sys.modules[name]).get("__spec__") for name in order}
    oldRun = panels.lib("running").Run
    panel.widget.onReload()
    panel.harness.processEvents()
    assert panels.lib("running").Run is not oldRun
    assert set(before) == set(reloading.loadOrder())
    panel.widget = sys.modules["slicer"].modules.DRDMWidget
    assert (
        type(panel.logic).generate.__globals__["GenerateRun"].__mro__[1]
        is panels.lib("running").Run
    )
    panel.choose(*panels.smallCase(), model="none", count=1, seed=1)
    panel.click("generateButton")
    panel.finish()
    assert len(panel.samples()) == 1


@needsScene
def test_the_test_of_the_module_passes(openPanel):
    import slicer

    openPanel()
    slicer.selfTests["DRDM"](msec=1)


@needsScene
def test_a_script_does_what_the_buttons_do(openPanel, tmp_path):
    panel = openPanel()
    volume, segmentation = panels.smallCase()
    nodes = panel.logic.generate(
        volume, segmentation, "none", 2, level=25, seed=3, waitForCompletion=True
    )
    assert [each.node for each in panel.samples()] == nodes
    assert [each.level for each in panel.samples()] == [25, 25]
    folder = panel.logic.export(tmp_path / "out", volume, "flat", waitForCompletion=True)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert [each["seed"] for each in manifest["samples"]][:2] == [3, 4]
    with pytest.raises(panels.lib("running").RunFailed, match="must be a file or one of"):
        panel.logic.generate(volume, model="no such model", waitForCompletion=True)
