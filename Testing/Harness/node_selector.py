"""The combo box of nodes."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Qt, Signal, Slot

NODE = Qt.ItemDataRole.UserRole
ACTION = Qt.ItemDataRole.UserRole + 1


def _flag(name: str) -> Any:
    """A boolean property; the rows are made again when it changes."""

    def write(self: qMRMLNodeComboBox, value: bool) -> None:
        if self._flags[name] != value:
            self._flags[name] = value
            self._update_rows()

    return Property(bool, lambda self: self._flags[name], write)


class _Observers:
    """What a selector observes; it outlives the widget by as much as is needed to stop."""

    def __init__(self) -> None:
        self.scene: Any = None
        self.of_scene: list[int] = []
        self.of_nodes: dict[str, tuple[Any, int]] = {}

    def forget(self) -> None:
        for tag in self.of_scene:
            self.scene.RemoveObserver(tag)
        for node, tag in self.of_nodes.values():
            node.RemoveObserver(tag)
        self.of_scene, self.of_nodes = [], {}


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Selects a node of the scene.

    A real QComboBox is inside, as in Slicer, so rows that come and go move the selection alike:
    an added node is selected if it is the only row ("None" and the actions are rows too), and the
    row before takes the place of a removed one.
    """

    stand_in = True
    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    currentNodeRenamed = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._flags = {
            "noneEnabled": False,
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "showHidden": False,
            "showChildNodeTypes": True,
            "selectNodeUponCreation": True,
        }
        self._types: list[str] = []
        self._hidden_types: list[str] = []
        self._attributes: list[tuple[str, str, Any]] = []
        self._base_names: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._none = "None"
        self._scene: Any = None
        self._requested: str | None = None
        self._observers = observers = _Observers()
        self._busy = False
        self._box = QtWidgets.QComboBox(self)
        policy = QtWidgets.QSizePolicy.Policy
        self._box.setSizePolicy(policy.Expanding, policy.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(self._index_changed)
        self._box.activated.connect(self._activated)
        # Nothing of the widget itself may be touched when it is destroyed.
        self.destroyed.connect(lambda *ignored: observers.forget())
        self.setEnabled(False)

    # Properties -----------------------------------------------------------------------------------

    noneEnabled = _flag("noneEnabled")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    editEnabled = _flag("editEnabled")
    renameEnabled = _flag("renameEnabled")
    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes")
    selectNodeUponCreation = _flag("selectNodeUponCreation")

    def setNodeTypes(self, types: Any) -> None:
        self._types = [each for each in types if each]
        self._update_rows()

    def setHideChildNodeTypes(self, types: Any) -> None:
        self._hidden_types = list(types)
        self._update_rows()

    def setNoneDisplay(self, text: str) -> None:
        self._none = text
        self._update_rows()

    nodeTypes = Property("QStringList", lambda self: tuple(self._types), setNodeTypes)
    hideChildNodeTypes = Property(
        "QStringList", lambda self: tuple(self._hidden_types), setHideChildNodeTypes
    )
    noneDisplay = Property(str, lambda self: self._none, setNoneDisplay)
    currentNodeID = Property(
        str, lambda self: self._current(NODE) or "", lambda self, v: self.setCurrentNodeID(v)
    )
    baseName = Property(
        str,
        lambda self: self._base_names.get(self._types[0], "") if self._types else "",
        lambda self, value: self.setBaseName(value),
    )

    def setNoneEnabled(self, value: bool) -> None:
        self.noneEnabled = value

    def setAddEnabled(self, value: bool) -> None:
        self.addEnabled = value

    def setRemoveEnabled(self, value: bool) -> None:
        self.removeEnabled = value

    def setBaseName(self, name: str, nodeType: str = "") -> None:
        for each in [nodeType] if nodeType else self._types:
            self._base_names[each] = name

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        self._attributes.append((nodeType, name, value))
        self._update_rows()

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        self._labels[nodeType] = label
        self._update_rows()

    def nodeTypeLabel(self, nodeType: str) -> str:
        if nodeType in self._labels:
            return self._labels[nodeType]
        label = self._scene.GetTypeDisplayNameByClassName(nodeType) if self._scene else ""
        return label or "node"

    # Scene ----------------------------------------------------------------------------------------

    def mrmlScene(self) -> Any:
        return self._scene

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        before = self._requested or self.currentNodeID
        self._observers.forget()
        self._scene = self._observers.scene = scene
        if scene is not None:
            self._observe(scene)
        self._update_rows()
        self.setCurrentNodeID(before)
        self._requested = None
        self.setEnabled(scene is not None)

    def _observe(self, scene: Any) -> None:
        add = scene.AddObserver
        self._observers.of_scene = [
            add(scene.NodeAddedEvent, self._node_added),
            add(scene.NodeAboutToBeRemovedEvent, self._node_leaves),
            add(scene.NodeRemovedEvent, self._scene_changed),
            add(scene.EndCloseEvent, self._scene_changed),
            add(scene.EndImportEvent, self._scene_changed),
            add(scene.EndBatchProcessEvent, self._scene_changed),
        ]

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, scene: Any, event: str, node: Any) -> None:
        self._update_rows()
        if node is not None and self._row(node.GetID()) >= 0:
            self.nodeAdded.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_leaves(self, scene: Any, event: str, node: Any) -> None:
        if node is not None and self._row(node.GetID()) >= 0:
            self.nodeAboutToBeRemoved.emit(node)

    def _scene_changed(self, scene: Any, event: str) -> None:
        self._update_rows()

    def _node_changed(self, node: Any, event: str) -> None:
        row = self._row(node.GetID())
        if (row >= 0) != self._shows(node):
            self._update_rows()
        elif row >= 0:
            self._box.setItemText(row, node.GetName())

    # Rows -----------------------------------------------------------------------------------------

    def _shows(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self._flags["showHidden"]:
            return False
        if any(node.IsA(each) for each in self._hidden_types):
            return False
        kind = node.GetClassName()
        exact = not self._flags["showChildNodeTypes"]
        types = [each for each in self._types if kind == each or (not exact and node.IsA(each))]
        return (bool(types) or not self._types) and self._has_attributes(node, kind)

    def _has_attributes(self, node: Any, kind: str) -> bool:
        for wanted, name, value in self._attributes:
            if wanted != kind:
                continue
            found = node.GetAttribute(name)
            if found is None or (value is not None and found != str(value)):
                return False
        return True

    def _wanted(self) -> list[tuple[str, Any, str]]:
        """Rows as (text, id of the node, action)."""
        if self._scene is None:
            return []
        rows: list[tuple[str, Any, str]] = []
        if self._flags["noneEnabled"]:
            rows.append((self._none, "", ""))
        nodes = self._scene.GetNodes()
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if self._shows(node):
                rows.append((node.GetName() or "", node.GetID(), ""))
                self._watch(node)
        return rows + self._actions()

    def _actions(self) -> list[tuple[str, Any, str]]:
        label = self.nodeTypeLabel(self._types[0] if len(self._types) == 1 else "")
        rows: list[tuple[str, Any, str]] = []
        if self._flags["renameEnabled"]:
            rows.append((f"Rename current {label}", None, "rename"))
        if self._flags["addEnabled"]:
            for each in self._types:
                rows.append((f"Create new {self.nodeTypeLabel(each)}", None, f"create {each}"))
        if self._flags["removeEnabled"]:
            rows.append((f"Delete current {label}", None, "remove"))
        return rows

    def _watch(self, node: Any) -> None:
        if node.GetID() not in self._observers.of_nodes:
            tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._node_changed)
            self._observers.of_nodes[node.GetID()] = (node, tag)

    def _update_rows(self) -> None:
        """Take rows away and put rows in, one by one, so that the selection moves as in Qt."""
        wanted = self._wanted()
        keys = [row[1:] for row in wanted]
        for index in reversed(range(self._box.count)):
            if self._key(index) not in keys:
                self._observers.of_nodes.pop(self._key(index)[0] or "", None)
                if index == self._box.currentIndex:  # Qt 5 goes back, newer ones go on
                    self._box.setCurrentIndex(index - 1)
                self._box.removeItem(index)
        for index, (text, node, action) in enumerate(wanted):
            if index >= self._box.count or self._key(index) != (node, action):
                # The data come first: the selection may move as soon as the row is there.
                self._insert(index, text, node, action)
            self._box.setItemText(index, text)

    def _insert(self, index: int, text: str, node: Any, action: str) -> None:
        self._busy = True
        before = self._box.currentIndex
        self._box.insertItem(index, text)
        self._box.setItemData(index, node, NODE)
        self._box.setItemData(index, action, ACTION)
        self._busy = False
        if action and before == -1:
            self._box.setCurrentIndex(-1)
        elif before == -1 and self._box.currentIndex >= 0:
            self._index_changed()

    def _key(self, index: int) -> tuple[Any, Any]:
        return (self._box.itemData(index, NODE), self._box.itemData(index, ACTION))

    def _current(self, role: Any) -> Any:
        return self._box.itemData(self._box.currentIndex, role)

    def _row(self, node: str | None) -> int:
        rows = range(self._box.count)
        return next((row for row in rows if node and self._key(row)[0] == node), -1)

    def _index_changed(self, *ignored: Any) -> None:
        if self._busy:
            return
        if self._current(ACTION):  # an action is never selected: the last node is
            rows = [row for row in range(self._box.count) if not self._key(row)[1]]
            self._box.setCurrentIndex(rows[-1] if rows else -1)
            return
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def _activated(self, index: int) -> None:
        action = self._key(index)[1]
        if not action:
            self.nodeActivated.emit(self.currentNode())
        elif action == "remove":
            self.removeCurrentNode()
        elif action.startswith("create "):
            self.addNode(action.removeprefix("create "))

    # Selection ------------------------------------------------------------------------------------

    def currentNode(self) -> Any:
        node = self._current(NODE)
        return self._scene.GetNodeByID(node) if self._scene is not None and node else None

    @Slot(object)
    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    @Slot(str)
    def setCurrentNodeID(self, node: str | None) -> None:
        if self._scene is None:
            self._requested = node
            return
        row = self._row(node)
        self._box.setCurrentIndex(0 if row < 0 and self._flags["noneEnabled"] else row)

    def setCurrentNodeIndex(self, index: int) -> None:
        rows = [row for row in range(self._box.count) if self._key(row)[0]]
        self._box.setCurrentIndex(rows[index] if 0 <= index < len(rows) else -1)

    def nodeCount(self) -> int:
        return len(self.nodes())

    def nodes(self) -> list[Any]:
        keys = (self._key(row)[0] for row in range(self._box.count))
        return [self._scene.GetNodeByID(each) for each in keys if each]

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._box

    @Slot()
    def addNode(self, nodeType: str = "") -> Any:
        kind = nodeType or self._types[0]
        if kind not in self._types:
            raise ValueError(f"{kind} is not among the node types {self._types}")
        name = self._base_names.get(kind) or self.nodeTypeLabel(kind)
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        for wanted, attribute, value in self._attributes:
            if wanted == kind:
                node.SetAttribute(attribute, str(value if value is not None else ""))
        if self._flags["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    @Slot()
    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())
