"""The MRML scene with the logics of Slicer's modules; all of it is the real thing."""

from __future__ import annotations

import colorsys
from typing import Any

import slicer
import vtk

LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
}
"""Modules of Slicer by name, and the classes of their logics."""

SLICES = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class Scene:
    """The scene of the application.

    Attributes:
        scene: `slicer.mrmlScene`.
        appLogic: The application's logic.
        logics: The modules' logics by name.
    """

    def __init__(self) -> None:
        # Colour tables and terminologies are files of the desktop: their absence is told loudly.
        vtk.vtkObject.GlobalWarningDisplayOff()
        try:
            self._make()
        finally:
            vtk.vtkObject.GlobalWarningDisplayOn()

    def _make(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.appLogic = slicer.vtkSlicerApplicationLogic()
        self.appLogic.SetMRMLScene(self.scene)
        self._remote = self._enable_files()
        self.logics = {name: self._add_logic(name, kind) for name, kind in LOGICS.items()}
        self.appLogic.SetColorLogic(self.logics["Colors"])
        self.logics["Colors"].AddDefaultColorNodes()
        self._add_generic_colors()
        self.sliceLogics = self._add_slices()
        self.viewLogics = self._add_view()
        self._follow_subject_hierarchy()

    def _enable_files(self) -> Any:
        """Without this, scenes and bundles cannot be read."""
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(self.scene)
        remote.AddDataIOToScene()
        return remote

    def setCacheFolder(self, folder: str) -> None:
        """Where bundles are unpacked."""
        self._remote.GetCacheManager().SetRemoteCacheDirectory(folder)
        self.appLogic.SetTemporaryPath(folder)

    def _add_generic_colors(self) -> None:
        """Label maps want this table by its id; its file comes with the desktop."""
        colors = slicer.vtkMRMLColorTableNode()
        colors.SetTypeToUser()
        colors.SetName("GenericColors")
        colors.SetSingletonTag("FileGenericColors.txt")
        colors.SetSaveWithScene(False)
        colors.SetNumberOfColors(256)
        for index in range(1, 256):
            hue = index * 0.618 % 1.0
            colors.SetColor(index, f"label {index}", *colorsys.hsv_to_rgb(hue, 0.6, 0.9), 1.0)
        colors.SetColor(0, "background", 0.0, 0.0, 0.0, 0.0)
        self.scene.AddNode(colors)

    def _add_logic(self, name: str, kind: str) -> Any:
        logic = getattr(slicer, kind)()
        # In this order: some logics ask the application while they get their scene.
        logic.SetMRMLApplicationLogic(self.appLogic)
        logic.SetMRMLScene(self.scene)
        self.appLogic.SetModuleLogic(name, logic)
        return logic

    def _add_slices(self) -> Any:
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        logics = vtk.vtkCollection()
        for name, orientation in SLICES.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self.appLogic)
            logic.SetMRMLScene(self.scene)
            node = logic.AddSliceNode(name)
            node.SetDefaultOrientation(orientation)
            node.SetOrientation(orientation)
            logics.AddItem(logic)
        self.appLogic.SetSliceLogics(logics)
        return logics

    def _add_view(self) -> Any:
        logics = vtk.vtkCollection()
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(self.appLogic)
        logic.SetMRMLScene(self.scene)
        logic.AddViewNode("1")
        logics.AddItem(logic)
        self.appLogic.SetViewLogics(logics)
        return logics

    # Subject hierarchy: a Qt class of the desktop makes its items ---------------------------------

    def _follow_subject_hierarchy(self) -> None:
        scene = self.scene
        scene.AddObserver(scene.NodeAddedEvent, self._node_added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._node_leaves)
        scene.AddObserver(scene.EndImportEvent, self._add_items, 10.0)
        scene.AddObserver(scene.EndBatchProcessEvent, self._add_items, 10.0)
        scene.AddObserver(scene.EndCloseEvent, self._resolve)
        self._resolve(scene, "")

    def _resolve(self, scene: Any, event: str) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)

    def _add_items(self, scene: Any, event: str) -> None:
        self._resolve(scene, event)
        nodes = scene.GetNodes()
        for index in range(nodes.GetNumberOfItems()):
            self._add_item(nodes.GetItemAsObject(index))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, scene: Any, event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._resolve(scene, event)
        elif not scene.IsImporting():
            self._add_item(node)

    def _add_item(self, node: Any) -> None:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        if _has_item(node) and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_leaves(self, scene: Any, event: str, node: Any) -> None:
        if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)


_WITH_ITEMS = (
    "vtkMRMLDisplayableNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLSequenceBrowserNode",
)


def _has_item(node: Any) -> bool:
    """Whether a plugin of Slicer's subject hierarchy claims a node."""
    if node.GetHideFromEditors() or node.IsA("vtkMRMLAbstractViewNode"):
        return False
    return any(node.IsA(each) for each in _WITH_ITEMS)
