"""Widgets of CTK and MRML."""

from __future__ import annotations

import sys

import pytest


def nodes(*names, kind="vtkMRMLScalarVolumeNode"):
    import slicer

    return [slicer.mrmlScene.AddNewNodeByClass(kind, name) for name in names]


@pytest.fixture
def selector(harness):
    """A selector of scalar volumes with "None"."""
    import slicer

    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.noneEnabled = True
    widget.setMRMLScene(slicer.mrmlScene)
    return widget


def test_a_folded_section_hides_what_is_shown_meanwhile(harness):
    import ctk
    import qt

    window = qt.QWidget()
    qt.QVBoxLayout(window)
    section = ctk.ctkCollapsibleButton("Inputs")
    window.layout().addWidget(section)
    layout = qt.QVBoxLayout(section)
    shown, hidden = qt.QLabel("shown"), qt.QLabel("hidden")
    hidden.visible = False
    layout.addWidget(shown)
    layout.addWidget(hidden)
    window.show()
    harness.processEvents()
    told = []
    section.connect("contentsCollapsed(bool)", told.append)
    section.collapsed = True
    late = qt.QLabel("late")
    layout.addWidget(late)
    late.visible = True
    harness.processEvents()
    assert [each.visible for each in (shown, hidden, late)] == [False] * 3
    section.click()
    assert [each.visible for each in (shown, hidden, late)] == [True, False, True]
    assert told == [True, False] and section.collapsed is False
    window.close()


def test_a_size_hint_does_not_ask_itself(harness):
    import qt

    calls = []
    window = qt.QWidget()
    qt.QVBoxLayout(window).addWidget(qt.QLabel("text"))
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name))
    try:
        hint = window.sizeHint
    finally:
        sys.setprofile(None)
    assert hint.width() > 0 and hint.height() > 0
    assert len(calls) < 50


def test_slider_and_its_box_agree(harness):
    import ctk

    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.singleStep = -1, 1, 0.25
    heard = []
    slider.connect("valueChanged(double)", heard.append)
    slider.value = 0.5
    slider.value = 0.5
    assert heard == [0.5] and slider.value == 0.5
    assert slider.slider().value == 750
    slider.slider().setValue(0)
    assert slider.value == -1 and heard[-1] == -1
    slider.value = 99
    assert slider.value == 1


def test_range_keeps_its_order(harness):
    import ctk

    widget = ctk.ctkRangeWidget()
    widget.setRange(0, 10)
    heard = []
    widget.connect("valuesChanged(double,double)", lambda *values: heard.append(values))
    widget.setValues(2, 5)
    widget.minimumValue = 7
    assert (widget.minimumValue, widget.maximumValue) == (7, 7) and heard == [(2, 5), (7, 7)]


def test_path(harness, tmp_path):
    import ctk

    edit = ctk.ctkPathLineEdit()
    edit.filters = ctk.ctkPathLineEdit.Dirs
    heard = []
    edit.connect("currentPathChanged(QString)", heard.append)
    harness.dialogs.answer(tmp_path)
    edit.browse()
    assert edit.currentPath == str(tmp_path) and heard == [str(tmp_path)] and edit.isValid()
    edit.currentPath = str(tmp_path / "none")
    assert not edit.isValid()
    with pytest.raises(TypeError, match="text"):
        edit.currentPath = tmp_path


def test_what_is_not_made_says_so(harness):
    import ctk
    import slicer

    for kind in (ctk.ctkDirectoryButton, slicer.qMRMLSliderWidget):
        with pytest.raises(NotImplementedError, match="Testing/Harness"):
            kind()
    with pytest.raises(AttributeError, match="Testing/Harness"):
        _ = ctk.ctkUnheardOf
    with pytest.raises(AttributeError, match="Testing/Harness"):
        _ = slicer.qMRMLUnheardOf


def test_selector_without_a_scene_is_disabled(harness):
    import slicer

    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLModelNode"]
    (node,) = nodes("model", kind="vtkMRMLModelNode")
    assert not widget.enabled and widget.nodeCount() == 0
    widget.setCurrentNode(node)  # remembered
    widget.setMRMLScene(slicer.mrmlScene)
    assert widget.enabled and widget.currentNode() is node


def test_selector_does_not_select_what_is_added(selector):
    heard = []
    selector.currentNodeChanged.connect(heard.append)
    first, _second = nodes("first", "second")
    assert selector.currentNode() is None and heard == [] and selector.nodeCount() == 2
    selector.setCurrentNode(first)
    selector.setCurrentNode(first)
    assert heard == [first] and selector.currentNodeID == first.GetID()


def test_selector_lets_go_of_a_removed_node(selector):
    import slicer

    first, second = nodes("first", "second")
    selector.setCurrentNode(first)
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    slicer.mrmlScene.RemoveNode(first)
    assert heard == [None] and selector.nodes() == [second]
    selector.setCurrentNode(second)
    slicer.mrmlScene.Clear(0)
    assert selector.currentNode() is None and heard == [None, second, None]


def test_selector_shows_its_types_only(selector):
    import slicer

    (labels,) = nodes("labels", kind="vtkMRMLLabelMapVolumeNode")
    nodes("model", kind="vtkMRMLModelNode")
    (hidden,) = nodes("hidden")
    assert selector.nodes() == [labels, hidden]
    hidden.SetHideFromEditors(True)
    hidden.Modified()
    assert selector.nodes() == [labels]
    selector.showChildNodeTypes = False
    assert selector.nodes() == []
    selector.showHidden = True
    assert selector.nodes() == [hidden]
    selector.addAttribute("vtkMRMLScalarVolumeNode", "mine", 1)
    assert selector.nodes() == []
    hidden.SetAttribute("mine", "1")
    assert selector.nodes() == [hidden]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") >= 1


def test_selector_follows_names(selector):
    (node,) = nodes("before")
    node.SetName("after")
    assert selector.comboBox().itemText(1) == "after"


def test_selector_makes_nodes(selector):
    selector.baseName = "DRDM input"
    heard = []
    selector.connect("nodeAddedByUser(vtkMRMLNode*)", heard.append)
    node = selector.addNode()
    assert node.GetName() == "DRDM input" and selector.currentNode() is node and heard == [node]
    with pytest.raises(ValueError, match="vtkMRMLModelNode"):
        selector.addNode("vtkMRMLModelNode")
    selector.removeCurrentNode()
    assert selector.currentNode() is None


def test_an_action_of_the_selector_is_never_the_selection(selector):
    (node,) = nodes("node")
    box = selector.comboBox()
    texts = [box.itemText(row) for row in range(box.count)]
    assert texts == ["None", "node", "Create new Volume", "Delete current Volume"]
    box.setCurrentIndex(2)
    assert selector.currentNode() is node


def test_a_selector_that_has_nothing_else_takes_the_first_node(harness):
    import slicer

    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.addEnabled = widget.removeEnabled = False
    widget.setMRMLScene(slicer.mrmlScene)
    heard = []
    widget.currentNodeChanged.connect(heard.append)
    first, _second = nodes("first", "second")
    assert widget.currentNode() is first and heard == [first]  # as QComboBox does


def test_a_deleted_selector_no_longer_listens(harness):
    import slicer

    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(slicer.mrmlScene)
    widget.deleteLater()
    del widget
    harness.processEvents()
    nodes("late")
    harness.exceptions.check()
