"""How a scripted module is loaded, entered, left, reloaded and unloaded."""

from __future__ import annotations

import sys

import pytest


def calls():
    return sys.modules["Tiny"].calls


def test_life_of_a_module(harness, tiny):
    import slicer

    widget = harness.openModule(tiny)
    assert calls() == ["startup", "setup", "enter"]
    assert slicer.modules.TinyWidget is widget and slicer.modules.tiny.title == "Tiny"
    assert widget.parent.isEntered and slicer.util.selectedModule() == "Tiny"
    assert slicer.util.getModuleWidget("Tiny") is widget
    assert slicer.util.getModuleLogic("Tiny") is widget.logic
    assert harness.openModule(tiny) is widget and calls()[-1] == "enter"
    slicer.util.selectModule("Volumes")
    assert calls()[-1] == "exit" and not widget.parent.isEntered
    slicer.util.selectModule(slicer.modules.tiny)
    assert calls()[-2:] == ["exit", "enter"]
    seen = calls()
    harness.closeModule("Tiny")
    assert seen[-2:] == ["exit", "cleanup"] and not widget.Observations
    assert not hasattr(slicer.modules, "tiny") and not hasattr(slicer.modules, "TinyWidget")


def test_the_panel_works(harness, tiny):
    import slicer

    widget = harness.openModule(tiny)
    ui = widget.ui
    assert ui.amountSlider.value == 3 and ui.amountSlider.maximum == 10
    ui.amountSlider.value = 5
    node = slicer.mrmlScene.GetSingletonNode("Tiny", "vtkMRMLScriptedModuleNode")
    assert node.GetParameter("amount") == "5.0"
    ui.applyButton.click()
    assert ui.applyButton.toolTip == "Applied"
    ui.amountSlider.value = 7
    ui.applyButton.click()
    assert [str(each) for each in harness.exceptions.take()] == ["seven"]


def test_closing_the_scene_resets_the_parameters(harness, tiny):
    import slicer

    widget = harness.openModule(tiny)
    widget.parameters.amount = 8
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    widget.ui.volumeSelector.setCurrentNode(volume)
    assert widget.parameters.volume is volume
    harness.clearScene()
    assert widget.parameters.amount == 3 and widget.ui.amountSlider.value == 3
    assert widget.parameters.volume is None


def test_reload(harness, tiny):
    import slicer

    before = harness.openModule(tiny)
    before.parameters.amount = 6
    first = calls()
    before.onReload()
    widget = slicer.modules.TinyWidget
    assert first[-1] == "cleanup" and widget is not before and calls() == ["setup"]
    widget.enter()
    assert widget.ui.amountSlider.value == 6  # it is in the scene
    shown = [each for each in widget.parent.children() if getattr(each, "isHidden", bool)()]
    assert len(shown) == 1  # the old panel


def test_its_own_test_runs(harness, tiny):
    import slicer

    harness.openModule(tiny)
    slicer.selfTests["Tiny"]()
    assert calls()[-1] == "test"


def test_texts_are_translated(harness, tiny):
    import slicer

    harness.setTranslation(str.upper)
    widget = harness.openModule(tiny)
    assert slicer.modules.tiny.title == "TINY" and slicer.modules.tiny.categories == ["EXAMPLES"]
    widget.ui.applyButton.click()
    assert widget.ui.applyButton.toolTip == "APPLIED"


def test_mistakes_of_a_module_are_told(harness, tiny):
    import slicer

    text = tiny.read_text(encoding="utf-8")
    tiny.write_text(text.replace("self.parent.title", "self.parent.titel"), encoding="utf-8")
    with pytest.raises(AttributeError, match="titel"):
        harness.openModule(tiny)
    harness.closeModules()
    tiny.write_text(text.replace("self.logic = ", "1 / 0 #"), encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        harness.openModule(tiny)
    harness.closeModules()
    with pytest.raises(AttributeError, match="Unheard"):
        slicer.util.selectModule("Unheard")
    with pytest.raises(AttributeError, match="Testing/Harness"):
        _ = slicer.modules.unheard


def test_exit_and_restart_are_recorded(harness):
    import slicer

    slicer.util.exit(3)
    assert harness.exitCodes == [3]


def test_pictures_of_the_panel(harness, tiny, tmp_path):
    from PIL import Image

    widget = harness.openModule(tiny)
    path = harness.screenshot(widget, tmp_path / "panel.png", width=500)
    with Image.open(path) as image:
        assert image.width == 500 and len(image.getcolors(100000)) > 10
