"""Slicer's own files in the harness: a checkout of Slicer, named by SLICER_SOURCE, is needed.

The harness is right where modules cannot tell it from Slicer: Slicer's module template runs
unmodified in it, and Slicer's tests of its Python files pass on top of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCE = Path(os.environ.get("SLICER_SOURCE", ""))

pytestmark = pytest.mark.skipif(
    "SLICER_SOURCE" not in os.environ,
    reason="SLICER_SOURCE does not name a checkout of Slicer",
)

TEMPLATE = """
import sys
from Testing.Harness import start
harness = start(sys.argv[2])
import slicer
widget = harness.openModule(sys.argv[1] + "/Utilities/Templates/Modules/Scripted/TemplateKey.py")
ui = widget.ui
assert not ui.applyButton.enabled and "Select input" in ui.applyButton.toolTip
volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
ui.inputSelector.setCurrentNode(volume)
output = ui.outputSelector.addNode()
assert ui.applyButton.enabled and ui.imageThresholdSliderWidget.value == 100
parameters = widget._parameterNode
assert parameters.inputVolume is volume and parameters.thresholdedVolume is output
parameters.imageThreshold = 7.5
assert ui.imageThresholdSliderWidget.value == 7.5
harness.exceptions.check()
ui.applyButton.click()  # it wants a command line module, which the harness has not
(error,) = harness.exceptions.take()
assert "Testing/Harness" in str(error) and "Failed to compute" in harness.dialogs.texts[0]
harness.clearScene()
assert widget._parameterNode.inputVolume is None and not ui.applyButton.enabled
before = widget
widget.onReload()
assert slicer.modules.TemplateKeyWidget is not before
harness.closeModule("TemplateKey")
assert "TemplateKey" in slicer.modules.sampleDataSources
harness.exceptions.check()
"""

# Of widgets that the harness has not.
LACKING = {
    "test_CtkCheckBoxToBool",
    "test_CtkDoubleRangeSliderToRange",
    "test_ctkColorPickerButtonToQColor",
    "test_ctkDirectoryButtonToPath",
    "test_ctkDoubleSliderToFloat",
    "test_ctkDoubleSpinBoxToFloat",
    "test_qMRMLRangeSliderToRange",
    "test_qMRMLSliderWidgetToFloat",
    "test_qMRMLSpinBoxToFloat",
    "test_qMRMLSubjectHierarchyComboBox",
    "test_qMRMLSubjectHierarchyTreeViewToNode",
}

THEIR_TESTS = """
import importlib, json, sys, unittest
from Testing.Harness import start
from Testing.Harness.ctk_widgets import not_made
harness = start(sys.argv[2])
harness.setTesting(True)
import slicer
slicer.qMRMLSubjectHierarchyComboBox = not_made("qMRMLSubjectHierarchyComboBox")
sys.path.append(sys.argv[1] + "/Base/Python/slicer/tests")
module = importlib.import_module(sys.argv[3])
result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
bad = {test.id().split(".")[-1]: text for test, text in result.errors + result.failures}
print(json.dumps({"run": result.testsRun, "bad": bad}))
harness.exceptions.check()
"""


def run(code, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "SLICER_SOURCE"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(SOURCE), *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("files", ["", SOURCE], ids=["ours", "slicers"])
def test_the_template_of_slicer_runs_unmodified(files):
    run(TEMPLATE, files)


@pytest.mark.parametrize(
    "name",
    [
        "test_slicer_parameter_node_wrapper",
        "test_slicer_parameter_node_wrapper_guis",
        "test_slicer_parameter_pack",
        "test_slicer_util_VTKObservationMixin",
        "test_slicer_util_childWidgetVariables",
        "test_slicer_util_getNodes",
        "test_slicer_util_without_modules",
    ],
)
def test_slicers_tests_pass(name):
    import json

    result = json.loads(run(THEIR_TESTS, SOURCE, name).splitlines()[-1])
    bad = {each: text for each, text in result["bad"].items() if each not in LACKING}
    assert result["run"] > 0 and not bad, bad


@pytest.mark.parametrize("files", ["", SOURCE], ids=["ours", "slicers"])
def test_our_module_opens_on_both(files):
    code = """
import sys
from Testing.Harness import start
harness = start(sys.argv[2])
widget = harness.openModule("DRDMExtension/DRDM.py")
harness.clearScene()
harness.processEvents()
harness.closeModule("DRDM")
harness.exceptions.check()
"""
    run(code, files)
