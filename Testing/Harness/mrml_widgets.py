"""Widgets that know the scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Signal, Slot

from .node_selector import qMRMLNodeComboBox


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands a scene on to those connected to it."""

    stand_in = True
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """The same, as base of the widgets of modules."""

    stand_in = True


NOT_MADE = (
    "qMRMLCheckableNodeComboBox",
    "qMRMLRangeWidget",
    "qMRMLSliderWidget",
    "qMRMLSpinBox",
    "qMRMLSubjectHierarchyTreeView",
)
WIDGETS = (qMRMLNodeComboBox, qMRMLWidget, qSlicerWidget)
