"""Which widget can show which type of parameter; the same pairs as in Slicer, no others."""

from __future__ import annotations

import enum
import logging
import types
import typing
from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtWidgets

from .ctk_paths import ctkPathLineEdit
from .ctk_values import ctkSliderWidget
from .ctk_widgets import ctkComboBox
from .node_selector import qMRMLNodeComboBox
from .parameter_types import PATHS
from .parameter_validators import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange


class Connector:
    """Joins a widget to a parameter.

    Attributes:
        signal: The name of the signal that tells of a change; empty if there is none.
    """

    signal = ""

    def __init__(self, widget: Any, type_: Any, annotations: list[Any]) -> None:
        self.widget = widget
        self.type = type_
        self._callback: Callable[[], None] | None = None
        self.prepare(annotations)

    def prepare(self, annotations: list[Any]) -> None:
        """Set the widget up."""

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        if self.signal:
            signal = getattr(self.widget, self.signal)
            if callback is not None:
                signal.connect(self._changed)
            elif self._callback is not None:
                signal.disconnect(self._changed)
        self._callback = callback

    def _changed(self, *ignored: Any) -> None:
        if self._callback:
            self._callback()

    def read(self) -> Any:
        raise NotImplementedError

    def write(self, value: Any) -> None:
        raise NotImplementedError


def find(annotations: list[Any], kind: type) -> Any:
    """The first annotation of a kind, or `None`."""
    return next((each for each in annotations if isinstance(each, kind)), None)


class Checked(Connector):
    signal = "toggled"

    def prepare(self, annotations: list[Any]) -> None:
        if not self.widget.checkable:
            logging.warning("the button %s is made checkable", self.widget.name)
            self.widget.checkable = True

    def read(self) -> bool:
        return bool(self.widget.checked)

    def write(self, value: bool) -> None:
        self.widget.checked = value


class Number(Connector):
    signal = "valueChanged"
    unbounded = (-(2**31), 2**31 - 1)
    bounded_only = (QtWidgets.QSlider, ctkSliderWidget)

    def prepare(self, annotations: list[Any]) -> None:
        decimals, step = find(annotations, Decimals), find(annotations, SingleStep)
        if decimals is not None:
            self.widget.decimals = decimals.value
        if step is not None:
            self.widget.singleStep = step.value
        both = find(annotations, WithinRange)
        low, high = find(annotations, Minimum) or both, find(annotations, Maximum) or both
        if type(self.widget) in self.bounded_only and not (low and high):
            raise RuntimeError(f"{type(self.widget).__name__} needs a parameter with a range.")
        self.widget.minimum = low.minimum if low else self.unbounded[0]
        self.widget.maximum = high.maximum if high else self.unbounded[1]

    def read(self) -> Any:
        return self.type(self.widget.value)

    def write(self, value: Any) -> None:
        self.widget.value = self.type(value)


class Decimal(Number):
    unbounded = (float("-inf"), float("inf"))  # type: ignore[assignment]

    def prepare(self, annotations: list[Any]) -> None:
        if self.type is int:
            annotations = [*annotations, Decimals(0)]
        super().prepare(annotations)


class Chosen(Connector):
    """The combo box is filled with the choices: what the .ui file has in it is lost."""

    signal = "currentIndexChanged"

    def prepare(self, annotations: list[Any]) -> None:
        choice = find(annotations, Choice)
        if choice is None:
            raise RuntimeError(f"The combo box {self.widget.name} needs a parameter with a Choice.")
        self._fill(list(choice.choices), [str(each) for each in choice.choices])

    def _fill(self, values: list[Any], labels: list[str]) -> None:
        self.values = values
        self.widget.clear()
        self.widget.addItems(labels)

    def read(self) -> Any:
        return self.values[self.widget.currentIndex]

    def write(self, value: Any) -> None:
        if value not in self.values:
            raise ValueError(f"{value} is not among {self.values}")
        self.widget.currentIndex = self.values.index(value)


class ChosenMember(Chosen):
    def prepare(self, annotations: list[Any]) -> None:
        label = getattr(self.type, "label", lambda member: member.name)
        self._fill(list(self.type), [label(each) for each in self.type])


class Line(Connector):
    signal = "textChanged"

    def read(self) -> str:
        return str(self.widget.text)

    def write(self, value: str) -> None:
        if value != self.widget.text:  # else the cursor would jump to the end
            self.widget.text = value


class Label(Line):
    signal = ""


class Paragraphs(Connector):
    signal = "textChanged"

    def read(self) -> str:
        return str(self.widget.toPlainText())

    def write(self, value: str) -> None:
        self.widget.setPlainText(value)


class Path(Connector):
    signal = "currentPathChanged"

    def read(self) -> Any:
        return self.type(self.widget.currentPath)

    def write(self, value: Any) -> None:
        self.widget.currentPath = str(value)


class Node(Connector):
    """The widget's node types are those of the parameter: what the .ui file says is lost."""

    signal = "currentNodeChanged"

    def prepare(self, annotations: list[Any]) -> None:
        kinds = typing.get_args(self.type) or (self.type,)
        names = []
        for each in kinds:
            if each is not type(None):
                try:
                    names.append(each().GetClassName())
                except TypeError as error:
                    # Slicer asks an instance for its class too, and fails alike.
                    raise TypeError(
                        f"The parameter of {self.widget.name} has the abstract type "
                        f"{each.__name__}: name its classes, e.g. Union[vtkMRMLSegmentationNode, "
                        "vtkMRMLLabelMapVolumeNode, None]."
                    ) from error
        self.widget.nodeTypes = names

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


def _is_node(type_: Any) -> bool:
    kinds = typing.get_args(type_) or (type_,)
    return all(
        isinstance(each, type) and (each is type(None) or issubclass(each, slicer.vtkMRMLNode))
        for each in kinds
    )


def _is_enum(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, enum.Enum)


def make_connector(widget: Any, annotated: Any) -> Connector:
    """Join a widget to a type of parameter.

    Raises:
        RuntimeError: If Slicer has no connector for the two.
    """
    type_, *annotations = typing.get_args(typing.Annotated[annotated, None])[:-1]
    if isinstance(type_, types.UnionType):
        type_ = typing.Union[typing.get_args(type_)]  # noqa: UP007
    kind = type(widget)
    for connector, widgets, fits in _RULES:
        if kind in widgets and (fits(type_) if callable(fits) else type_ in fits):
            return connector(widget, type_, annotations)
    raise RuntimeError(
        f"Slicer has no connector for a {kind.__name__} and a parameter of the type {annotated}: "
        "connect it by hand."
    )


_RULES: tuple[tuple[type[Connector], tuple[type, ...], Any], ...] = (
    (Checked, (QtWidgets.QCheckBox, QtWidgets.QPushButton), (bool,)),
    (Number, (QtWidgets.QSpinBox, QtWidgets.QSlider), (int,)),
    (Decimal, (QtWidgets.QDoubleSpinBox, ctkSliderWidget), (float, int)),
    (Chosen, (QtWidgets.QComboBox, ctkComboBox), (int, float, str, bool)),
    (ChosenMember, (QtWidgets.QComboBox, ctkComboBox), _is_enum),
    (Line, (QtWidgets.QLineEdit,), (str,)),
    (Label, (QtWidgets.QLabel,), (str,)),
    (Paragraphs, (QtWidgets.QTextEdit,), (str,)),
    (Path, (ctkPathLineEdit,), PATHS),
    (Node, (qMRMLNodeComboBox,), _is_node),
)
"""Connectors, their widgets, and types (or a function that knows them)."""
