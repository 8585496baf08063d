"""A .ui file that Slicer would load differently than it is meant is an error."""

from __future__ import annotations

import pytest

from Testing.Python.harness.conftest import CONNECTION, UI


@pytest.fixture
def load(harness, tmp_path):
    """Load a .ui text as a module does."""
    import slicer

    def load_(text):
        path = tmp_path / "Tiny.ui"
        path.write_text(text, encoding="utf-8")
        widget = slicer.util.loadUI(str(path))
        widget.setMRMLScene(slicer.mrmlScene)
        return widget, slicer.util.childWidgetVariables(widget)

    return load_


def test_widgets_by_name(load):
    import ctk
    import qt
    import slicer

    widget, ui = load(UI)
    assert type(widget) is slicer.qMRMLWidget
    assert type(ui.volumeSelector) is slicer.qMRMLNodeComboBox and ui.volumeSelector.enabled
    assert type(ui.amountSlider) is ctk.ctkSliderWidget
    assert type(ui.applyButton) is qt.QPushButton and ui.applyButton.text == "Apply"
    assert not hasattr(widget, "applyButton")  # PySide6 alone would put it there


def test_a_forgotten_connection_shows(load):
    _widget, ui = load(UI.replace(CONNECTION, ""))
    assert not ui.volumeSelector.enabled and ui.volumeSelector.mrmlScene() is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('class="QPushButton"', 'class="QPushBotton"', "class QPushBotton"),
        ('class="QPushButton"', 'class="ctkUnknown"', "class ctkUnknown"),
        ('name="text"', 'name="txt"', "property 'txt' of applyButton"),
        ('name="nodeTypes"', 'name="nodeType"', "property 'nodeType'"),
        ("<class>ctkSliderWidget</class>", "<class>Other</class>", "customwidgets"),
        ('name="applyButton"', 'name="amountSlider"', "Two widgets"),
        ("<receiver>volumeSelector", "<receiver>nobody", "connects nobody"),
        ("mrmlSceneChanged(", "sceneChanged(", "sceneChanged"),
        ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "setScene"),
    ],
)
def test_mistakes_are_told(old, new, words, load):
    assert old in UI
    with pytest.raises((RuntimeError, AttributeError)) as caught:
        load(UI.replace(old, new))
    assert words in str(caught.value)


def test_enumerations_and_connections_of_qt(load):
    import ctk

    path = """<item><widget class="ctkPathLineEdit" name="edit">
      <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Writable</set></property>
      </widget></item><item><widget class="QCheckBox" name="box"/></item>"""
    custom = "<customwidget><class>ctkPathLineEdit</class><extends>QWidget</extends></customwidget>"
    toggle = """<connection><sender>box</sender><signal>toggled(bool)</signal>
      <receiver>applyButton</receiver><slot>setVisible(bool)</slot></connection>"""
    text = UI.replace("</layout>", path + "</layout>").replace(
        "<customwidgets>", "<customwidgets>" + custom
    )
    _widget, ui = load(text.replace("<connections>", "<connections>" + toggle))
    kinds = ctk.ctkPathLineEdit
    assert ui.edit.filters == kinds.Dirs | kinds.Writable
    ui.box.checked = True
    assert not ui.applyButton.isHidden()
    ui.box.checked = False
    assert ui.applyButton.isHidden()
