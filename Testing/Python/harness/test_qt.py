"""Qt as PythonQt has it."""

from __future__ import annotations

import pytest


def test_properties_are_attributes(harness):
    import qt

    button = qt.QPushButton("Go")
    button.enabled = False
    button.toolTip = "why"
    assert (button.text, button.isEnabled(), button.toolTip) == ("Go", False, "why")
    button.setText("Stop")
    assert button.text == "Stop" and button.checkable is False
    with pytest.raises(TypeError, match="not callable"):
        button.text()
    assert not qt.QTimer.singleShot.__doc__ == ""  # a static function keeps its name on the class


def test_an_unknown_attribute_cannot_be_set(harness):
    import ctk
    import qt

    for widget in (qt.QPushButton(), ctk.ctkSliderWidget(), qt.QLabel()):
        with pytest.raises(AttributeError, match="Testing/Harness"):
            widget.enable = False
        with pytest.raises(AttributeError, match="Testing/Harness"):
            widget.setEnabled = None

    class Own(qt.QObject):
        pass

    own = Own()
    own.anything = 3
    assert own.anything == 3


def test_a_value_of_a_wrong_type_is_refused(harness):
    import qt

    with pytest.raises(TypeError, match=r"QSpinBox.value cannot be set to 'many'"):
        qt.QSpinBox().value = "many"


@pytest.mark.parametrize("name", ["QNothing", "Signal", "Property"])
def test_an_unknown_name_tells_where_it_is_missing(name, harness):
    import qt

    with pytest.raises(AttributeError, match=f"qt has no '{name}' in Testing/Harness"):
        getattr(qt, name)


def test_signals_connect_by_name(harness):
    import qt

    heard = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", heard.append)
    button.connect("clicked()", lambda: heard.append("nothing"))

    def deaf():
        heard.append("deaf")

    button.connect("clicked(bool)", deaf)  # a function may take fewer arguments
    button.clicked.connect(lambda value: heard.append(f"({value})"))
    button.click()
    assert sorted(map(str, heard)) == ["(False)", "False", "deaf", "nothing"]
    heard.clear()
    assert button.disconnect("clicked(bool)", deaf)
    button.click()
    assert "deaf" not in heard and len(heard) == 3


def test_an_unknown_signal_is_refused(harness):
    import qt

    with pytest.raises(AttributeError, match=r"clicked\(int\)"):
        qt.QPushButton().connect("clicked(int)", print)
    with pytest.raises(TypeError, match="function"):
        qt.QPushButton().connect("clicked(bool)", None)


def test_lists_of_text_are_tuples(harness):
    import ctk
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLModelNode", ""]
    assert selector.nodeTypes == ("vtkMRMLModelNode",)
    edit = ctk.ctkPathLineEdit()
    edit.nameFilters = ["*.nrrd"]
    assert edit.nameFilters == ("*.nrrd",)


def test_names_of_objects(harness):
    import ctk
    import qt

    widget = ctk.ctkCollapsibleButton()
    widget.setObjectName("inputs")
    assert (widget.name, widget.objectName, widget.className()) == (
        "inputs",
        "inputs",
        "ctkCollapsibleButton",
    )
    assert qt.QLabel().className() == "QLabel"


def test_settings_are_those_of_the_harness_alone(harness):
    import qt
    import slicer

    settings = qt.QSettings()
    settings.setValue("one/two", 3)
    settings.sync()
    assert settings.fileName().startswith(slicer.app.temporaryPath)
    assert slicer.util.settingsValue("one/two", 0, converter=int) == 3
    settings.clear()


def test_an_exception_of_a_slot_is_collected(harness, capsys):
    import qt

    button = qt.QPushButton()
    button.clicked.connect(lambda *ignored: 1 / 0)
    button.click()
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        harness.exceptions.check()
    harness.exceptions.check()  # told once
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_exception_of_an_observer_is_collected(harness):
    import slicer
    import vtk

    def fail(caller, event):
        raise KeyError("observed")

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, fail)
    node.Modified()
    (error,) = harness.exceptions.take()
    assert isinstance(error, KeyError)


def test_waiting_ends(harness):
    import qt

    seen = []
    qt.QTimer.singleShot(20, lambda: seen.append(1))
    assert harness.wait(lambda: seen, timeout=5) == [1]
    with pytest.raises(TimeoutError, match="nothing happened"):
        harness.wait(lambda: False, timeout=0.02)
    qt.QTimer.singleShot(1, lambda: 1 / 0)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        harness.wait(lambda: False, timeout=5)
