"""Reads .ui files, strictly: what Slicer's loader would pass over is an error here."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets
from .errors import NotInHarness
from .pythonqt import signal_signature, unknown_attributes_passed_over

STAND_INS: dict[str, type[QtWidgets.QWidget]] = {
    kind.__name__: kind for kind in (*ctk_widgets.WIDGETS, *mrml_widgets.WIDGETS)
}
"""Classes that are not Qt's, by name."""

# Names that Qt Designer invents.
_OF_DESIGNER = {
    "QTabWidget": {"currentTabText", "currentTabName", "currentTabToolTip", "currentTabIcon"},
    "QToolBox": {"currentItemText", "currentItemName"},
    "QTableWidget": {"rowCount", "columnCount"},
    "Line": {"orientation"},
}
_LAYOUT = {
    "leftMargin",
    "topMargin",
    "rightMargin",
    "bottomMargin",
    "margin",
    "horizontalSpacing",
    "verticalSpacing",
}


class UiError(RuntimeError):
    """A .ui file that Slicer would not load as it is meant."""


def _meta(name: str) -> QtCore.QMetaObject:
    kind = STAND_INS.get(name) or getattr(QtWidgets, name, None)
    if name == "Line":
        kind = QtWidgets.QFrame
    if kind is None:
        raise UiError(
            f"The .ui file uses the class {name}, which is neither Qt's nor in Testing/Harness: "
            "write it there, or use another one."
        )
    return _meta_of(kind)


@functools.cache
def _example(kind: type[QtWidgets.QWidget]) -> QtWidgets.QWidget:
    return kind()


def _meta_of(kind: Any) -> QtCore.QMetaObject:
    """What Qt knows of a class; PySide6 deletes that of a class in Python when it is made anew."""
    try:
        kind.staticMetaObject.className()
    except RuntimeError:
        return _example(kind).metaObject()
    return kind.staticMetaObject  # type: ignore[no-any-return]


def _check_properties(owner: str, element: ElementTree.Element, known: set[str]) -> None:
    meta = _meta(owner)
    for each in element.findall("property"):
        name = each.get("name", "")
        if each.get("stdset") != "0" and name not in known and meta.indexOfProperty(name) < 0:
            raise UiError(
                f"The .ui file sets the property '{name}' of {element.get('name')}, but {owner} "
                "has none of that name: correct it, add it to Testing/Harness, or mark it with "
                'stdset="0" if it is a dynamic property.'
            )


def _check(root: ElementTree.Element) -> None:
    """Classes and properties must exist, and names must differ."""
    names: set[str] = set()
    declared = {each.findtext("class") for each in root.iter("customwidget")}
    for each in root.iter("widget"):
        kind, name = each.get("class", ""), each.get("name", "")
        _check_properties(kind, each, _OF_DESIGNER.get(kind, set()))
        if kind in STAND_INS and kind not in declared:
            raise UiError(f"The class {kind} must be listed under <customwidgets>: add it.")
        if name in names:
            raise UiError(f"Two widgets are named {name}: rename one.")
        names.add(name)
    for each in root.iter("layout"):
        _check_properties(each.get("class", ""), each, _LAYOUT)


class QUiLoader(QtUiTools.QUiLoader):
    """Qt's loader, which also makes the widgets of CTK and MRML."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self._error: Exception | None = None

    def createWidget(
        self, className: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        kind = STAND_INS.get(className)
        if kind is None:
            return super().createWidget(className, parent, name)
        try:
            widget = kind(parent)
        except Exception as error:
            self._error = error
            raise
        widget.setObjectName(name)
        return widget

    def load(self, device: Any, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """The widget that a .ui file describes.

        Raises:
            UiError: If it names what is not known here.
        """
        root = ElementTree.fromstring(device.readAll().data())
        _check(root)
        connections = _take_connections(root)
        later = _take_enumerations(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        self._error = None
        with unknown_attributes_passed_over():
            widget = super().load(buffer, parent)
        if self._error is not None:
            raise self._error
        if widget is None:
            raise UiError(f"The .ui file cannot be loaded: {self.errorString()}")
        for name, attribute, value in later:
            setattr(_named(widget, name), attribute, value)
        for each in connections:
            _make_connection(widget, *each)
        return widget


def _take_connections(root: ElementTree.Element) -> list[tuple[str, str, str, str]]:
    """Qt cannot make those of MRML: all are made in Python, and checked."""
    found = []
    for parent in root.findall("connections"):
        for each in parent.findall("connection"):
            texts = [each.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot")]
            found.append(tuple(texts))
        root.remove(parent)
    return found  # type: ignore[return-value]


def _take_enumerations(root: ElementTree.Element) -> list[tuple[str, str, int]]:
    """Values such as `ctkPathLineEdit::Dirs`, which Qt does not know."""
    found = []
    for widget in root.iter("widget"):
        kind = STAND_INS.get(widget.get("class", ""))
        for each in widget.findall("property") if kind else []:
            text = each.findtext("set") or each.findtext("enum")
            owner = text.split("::")[0] if text else ""
            if text and owner in (widget.get("class"), "QComboBox"):
                words = [word.split("::")[-1] for word in text.split("|")]
                source = kind if owner == widget.get("class") else QtWidgets.QComboBox
                values = [getattr(source, word) for word in words]
                total = sum(getattr(value, "value", value) for value in values)
                found.append((widget.get("name", ""), each.get("name", ""), total))
                widget.remove(each)
    return found


def _named(root: QtWidgets.QWidget, name: str) -> Any:
    if root.objectName == name:
        return root
    found = root.findChild(QtCore.QObject, name)
    if found is None:
        raise UiError(f"The .ui file connects {name}, but nothing has that name: correct it.")
    return found


def _make_connection(root: Any, sender: str, signal: str, receiver: str, slot: str) -> None:
    source, target = _named(root, sender), _named(root, receiver)
    # A slot with the pointer of a VTK class is a Python method here.
    if re.search(r"\(\s*vtk\w+\s*\*\s*\)", slot):
        method = getattr(target, slot.split("(")[0], None)
        if method is None:
            raise NotInHarness(target.metaObject().className(), slot)
        source.connect(signal, method)
        return
    signal_signature(source, signal)
    normalized = QtCore.QMetaObject.normalizedSignature(slot).data().decode()
    if target.metaObject().indexOfMethod(normalized) < 0:
        raise NotInHarness(target.metaObject().className(), slot)
    source.connect(signal, target, slot)
