"""Parameters: typed values in a node of the scene."""

import enum
import pathlib
from typing import Annotated, Optional, Union

import pytest


class Layout(enum.Enum):
    pairs = "pairs of files"
    flat = "one folder"

    def label(self):
        return self.value


@pytest.fixture
def wrapper(harness):
    """A class with each kind of field, and a node for it."""
    import slicer
    from slicer.parameterNodeWrapper import (
        Choice,
        Default,
        Minimum,
        WithinRange,
        parameterNodeWrapper,
    )

    @parameterNodeWrapper
    class Parameters:
        count: Annotated[int, WithinRange(1, 10)] = 4
        amount: float = 0.5
        least: Annotated[float, Minimum(2), Default(3)]
        name: str
        effort: Annotated[str, Choice(["fast", "full"])] = "full"
        on: bool = True
        folder: pathlib.Path
        layout: Layout
        seed: Optional[int]  # noqa: UP045
        either: Union[slicer.vtkMRMLModelNode, slicer.vtkMRMLScalarVolumeNode, None]  # noqa: UP007
        volume: slicer.vtkMRMLScalarVolumeNode
        kept: list[str]

    return Parameters


@pytest.fixture
def parameters(wrapper):
    import slicer

    return wrapper(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_defaults(parameters):
    assert (parameters.count, parameters.amount, parameters.least) == (4, 0.5, 3)
    assert (parameters.name, parameters.effort, parameters.on) == ("", "full", True)
    assert (parameters.folder, parameters.layout) == (pathlib.Path(), Layout.pairs)
    assert (parameters.seed, parameters.either, parameters.volume) == (None, None, None)
    assert parameters.kept == []


def test_values_are_kept_as_slicer_keeps_them(parameters):
    node = parameters.parameterNode
    parameters.count, parameters.on, parameters.layout = 7, False, Layout.flat
    parameters.kept, parameters.seed = ["a", "b"], 5
    texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert texts["count"] == "7" and texts["on"] == "False" and texts["layout"] == "flat"
    assert (texts["kept.len"], texts["kept.1"], texts["seed.0"]) == ("2", "b", "5")
    parameters.seed = None
    assert parameters.seed is None and not node.HasParameter("seed.0")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("count", 0, ValueError),
        ("count", 1.5, TypeError),
        ("count", None, ValueError),
        ("least", 1, ValueError),
        ("effort", "slow", ValueError),
        ("on", 1, TypeError),
        ("folder", "text", TypeError),
        ("layout", "flat", TypeError),
        ("seed", False, TypeError),
        ("kept", ["a", 1], TypeError),
    ],
)
def test_wrong_values_are_refused(name, value, error, parameters):
    before = getattr(parameters, name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert getattr(parameters, name) == before


def test_lists_write_through(parameters):
    told = []
    parameters.AddObserver("ModifiedEvent", lambda *ignored: told.append(1))
    parameters.kept.append("a")
    parameters.kept += ["b", "c"]
    del parameters.kept[0]
    assert parameters.kept == ["b", "c"] and len(told) == 3
    with pytest.raises(TypeError):
        parameters.kept.append(1)
    assert parameters.kept == ["b", "c"]


def test_nodes(parameters):
    import slicer

    scene = slicer.mrmlScene
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    model = scene.AddNewNodeByClass("vtkMRMLModelNode")
    parameters.volume = parameters.either = volume
    assert parameters.volume is volume and parameters.either is volume
    parameters.either = model
    assert parameters.either is model
    with pytest.raises(TypeError):
        parameters.volume = model
    scene.RemoveNode(volume)
    assert parameters.volume is None


def test_they_survive_saving(wrapper, parameters, harness, tmp_path):
    import slicer

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    node = parameters.parameterNode
    node.SetSingletonTag("Tests")
    parameters.volume, parameters.layout, parameters.kept = volume, Layout.flat, ["x"]
    assert slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    harness.clearScene()
    slicer.util.loadScene(str(tmp_path / "scene.mrml"))
    node = slicer.mrmlScene.GetSingletonNode("Tests", "vtkMRMLScriptedModuleNode")
    again = wrapper(node)
    assert again.volume.GetName() == "scan" and again.layout is Layout.flat
    assert again.kept == ["x"]


def test_what_slicer_alone_can_do_is_refused(harness, parameters):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    if harness.source:
        pytest.skip("Slicer's own files are in use: SLICER_SOURCE is set")
    with pytest.raises(NotImplementedError, match="Testing/Harness"):

        @parameterNodeWrapper
        class Strange:
            values: dict[str, int]

    with pytest.raises(TypeError):
        parameters.kept = "text"  # Slicer takes the letters


def test_unknown_names_are_refused(harness, parameters):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(ValueError, match="reserved"):

        @parameterNodeWrapper
        class Reserved:
            connectGui: int

    with pytest.raises(ValueError, match="Cannot find a param"):
        parameters.setValue("cuont", 3)


def gui(**widgets):
    """Named widgets, as `childWidgetVariables` gives them."""
    holder = type("", (), {})()
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
        setattr(holder, name, widget)
    return holder


def test_widgets_follow_parameters_and_the_other_way_round(parameters):
    import ctk
    import qt
    import slicer

    ui = gui(
        count=qt.QSpinBox(),
        least=qt.QDoubleSpinBox(),
        name=qt.QLineEdit(),
        effort=qt.QComboBox(),
        on=qt.QCheckBox(),
        folder=ctk.ctkPathLineEdit(),
        layout=qt.QComboBox(),
        volume=slicer.qMRMLNodeComboBox(),
    )
    ui.volume.setMRMLScene(slicer.mrmlScene)
    tag = parameters.connectGui(ui)
    assert (ui.count.value, ui.count.maximum, ui.effort.currentText) == (4, 10, "full")
    assert ui.least.minimum == 2 and ui.layout.currentText == "pairs of files"
    parameters.count, parameters.name, parameters.on = 9, "x", False
    assert (ui.count.value, ui.name.text, ui.on.checked) == (9, "x", False)
    ui.effort.currentIndex = 0
    ui.layout.currentIndex = 1
    ui.folder.currentPath = "there"
    assert parameters.effort == "fast" and parameters.layout is Layout.flat
    assert parameters.folder == pathlib.Path("there")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    ui.volume.setCurrentNode(volume)
    assert parameters.volume is volume and ui.volume.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    parameters.disconnectGui(tag)
    parameters.count = 2
    ui.name.text = "later"
    assert ui.count.value == 9 and parameters.name == "x"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("on", "QRadioButton", "onnector"),
        ("name", "QPlainTextEdit", "onnector"),
        ("name", "QComboBox", "Choice"),
        ("amount", "QSlider", "onnector"),
        ("seed", "QSpinBox", "onnector"),
    ],
)
def test_pairs_that_slicer_cannot_connect(name, kind, words, parameters):
    import qt

    with pytest.raises(RuntimeError, match=words):
        parameters.connectGui(gui(**{name: getattr(qt, kind)()}))


def test_a_slider_needs_limits_and_a_selector_a_class(parameters):
    import ctk
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(RuntimeError, match=r"range|unbounded"):
        parameters.connectGui(gui(amount=ctk.ctkSliderWidget()))

    @parameterNodeWrapper
    class Abstract:
        any: slicer.vtkMRMLNode

    abstract = Abstract(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    with pytest.raises(TypeError, match="abstract"):
        abstract.connectGui(gui(any=slicer.qMRMLNodeComboBox()))
