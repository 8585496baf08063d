"""Fixtures of the tests of the harness itself."""

from __future__ import annotations

import pytest

from Testing.Harness.fixtures import harness, slicer_application  # noqa: F401

MODULE = """
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin
from typing import Annotated
from slicer import vtkMRMLScalarVolumeNode

calls = []


class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Tiny")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Examples")]
        slicer.app.connect("startupCompleted()", lambda: calls.append("startup"))


@parameterNodeWrapper
class TinyParameters:
    volume: vtkMRMLScalarVolumeNode
    amount: Annotated[float, WithinRange(0, 10)] = 3


class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = self.tag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = TinyLogic()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda *a: self.use(None))
        self.addObserver(scene, scene.EndCloseEvent, self.closed)
        self.ui.applyButton.connect("clicked(bool)", self.apply)
        calls.append("setup")

    def enter(self):
        calls.append("enter")
        self.use(self.logic.getParameterNode())

    def exit(self):
        calls.append("exit")
        self.use(None)

    def cleanup(self):
        calls.append("cleanup")
        self.removeObservers()

    def closed(self, caller, event):
        if self.parent.isEntered:
            self.use(self.logic.getParameterNode())

    def use(self, parameters):
        if self.parameters:
            self.parameters.disconnectGui(self.tag)
        self.parameters = parameters
        if parameters:
            self.tag = parameters.connectGui(self.ui)

    def apply(self):
        self.ui.applyButton.toolTip = _("Applied")
        if self.ui.amountSlider.value == 7:
            raise ValueError("seven")


class TinyLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return TinyParameters(super().getParameterNode())


class TinyTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_nothing(self):
        calls.append("test")
"""

CONNECTION = """
  <connection>
   <sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>volumeSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
"""

UI = f"""<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Tiny</class>
 <widget class="qMRMLWidget" name="Tiny">
  <layout class="QVBoxLayout" name="mainLayout">
   <item>
    <widget class="qMRMLNodeComboBox" name="volumeSelector">
     <property name="nodeTypes">
      <stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist>
     </property>
     <property name="noneEnabled"><bool>true</bool></property>
     <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
    </widget>
   </item>
   <item>
    <widget class="ctkSliderWidget" name="amountSlider">
     <property name="SlicerParameterName" stdset="0"><string>amount</string></property>
    </widget>
   </item>
   <item>
    <widget class="QPushButton" name="applyButton">
     <property name="text"><string>Apply</string></property>
    </widget>
   </item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget>
   <class>qMRMLWidget</class><extends>QWidget</extends><container>1</container>
  </customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
  <customwidget><class>ctkSliderWidget</class><extends>QWidget</extends></customwidget>
 </customwidgets>
 <connections>{CONNECTION}</connections>
</ui>
"""


@pytest.fixture
def tiny(tmp_path):
    """Path of a small module, which is not opened."""
    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "Resources" / "UI" / "Tiny.ui").write_text(UI, encoding="utf-8")
    (tmp_path / "Tiny.py").write_text(MODULE, encoding="utf-8")
    return tmp_path / "Tiny.py"
