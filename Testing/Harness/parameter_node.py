"""`slicer.parameterNodeWrapper`: a class with typed fields, kept in a parameter node."""

from __future__ import annotations

import typing
from typing import Any

import slicer
import vtk

from .parameter_types import Kind, kind_of
from .parameter_validators import (
    Choice,
    Decimals,
    Default,
    Exclude,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
)
from .parameter_widgets import Connector, make_connector

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"


class Parameter:
    """One field of a wrapper class; as a class attribute it reads and writes the node."""

    def __init__(self, name: str, annotated: Any, owner: type) -> None:
        self.name = name
        self.annotated = annotated
        self.kind: Kind = kind_of(annotated)
        annotations = typing.get_args(typing.Annotated[annotated, None])[1:-1]
        default = next((each for each in annotations if isinstance(each, Default)), None)
        if name in vars(owner):
            default = Default(vars(owner)[name])
        self.default = default if default is not None else Default(self.kind.start)

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        node = owner.parameterNode
        if not self.kind.isIn(node, self.name):
            self.write(node, self.default.value)
        return self.kind.read(node, self.name)

    def __set__(self, owner: Any, value: Any) -> None:
        self.write(owner.parameterNode, value)

    def write(self, node: Any, value: Any) -> None:
        self.kind.validate(value)
        with slicer.util.NodeModify(node):
            self.kind.write(node, self.name, value)


class Wrapper:
    """What every wrapper class gets."""

    allParameters: typing.ClassVar[dict[str, Parameter]]
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, tuple[dict[str, Connector], int]] = {}
        self._next_tag = 0
        self._showing = False
        for each in self.allParameters.values():
            if not each.kind.isIn(parameterNode, each.name):
                each.write(parameterNode, each.default.value)

    def _find(self, name: str) -> Parameter:
        if name not in self.allParameters:
            raise ValueError(
                f"Cannot find a param with the given name: {name}, there are "
                f"{sorted(self.allParameters)}"
            )
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:
        return getattr(self, self._find(name).name)

    def setValue(self, name: str, value: Any) -> None:
        setattr(self, self._find(name).name, value)

    def default(self, name: str) -> Default:
        return self._find(name).default

    @classmethod
    def dataType(cls, name: str) -> Any:
        return cls.allParameters[name].annotated

    # The widgets ----------------------------------------------------------------------------------

    def connectGui(self, gui: Any) -> int:
        """Join the widgets that have the property `SlicerParameterName`."""
        import qt

        is_widget = isinstance(gui, qt.QWidget)
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        named = ((each.property(SlicerParameterNamePropertyName), each) for each in widgets)
        return self.connectParametersToGui({name: each for name, each in named if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Join parameters to widgets; a tag to part them again."""
        connectors = {
            name: make_connector(widget, self._find(name).annotated)
            for name, widget in mapping.items()
        }
        for name, each in connectors.items():
            each.write(self.getValue(name))
            each.onChanged(self._listener(name, each))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *ignored: self._show())
        self._guis[self._next_tag] = (connectors, observer)
        self._next_tag += 1
        return self._next_tag - 1

    def _listener(self, name: str, connector: Connector) -> Any:
        def changed() -> None:
            if not self._showing:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return changed

    def _show(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _observer in list(self._guis.values()):
                    for name, each in connectors.items():
                        each.write(self.getValue(name))
        finally:
            self._showing = False

    def disconnectGui(self, tag: int | None) -> None:
        """Part the widgets again; an unknown tag is passed over, as in Slicer."""
        if tag in self._guis:
            connectors, observer = self._guis.pop(tag)
            for each in connectors.values():
                each.onChanged(None)
            self.RemoveObserver(observer)

    # The node -------------------------------------------------------------------------------------

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, before: Any) -> Any:
        return self.parameterNode.EndModify(before)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _wrap(owner: type) -> type:
    hints = typing.get_type_hints(owner, include_extras=True)
    parameters = {name: Parameter(name, hint, owner) for name, hint in hints.items()}
    for name in parameters:
        if hasattr(Wrapper, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    for name, value in vars(Wrapper).items():
        # The class stays itself, as in Slicer: what was written in it keeps working.
        if not name.startswith("__") or name == "__init__":
            if name in vars(owner) and name != "__init__":
                raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
            setattr(owner, name, value)
    for name, each in parameters.items():
        setattr(owner, name, each)
    owner.allParameters = parameters  # type: ignore[attr-defined]
    return owner


def parameterNodeWrapper(owner: type | None = None) -> Any:
    """The decorator, with or without parentheses."""
    return _wrap if owner is None else _wrap(owner)


def isParameterNodeWrapper(thing: Any) -> bool:
    return bool(getattr(thing, "_is_parameter_node_wrapper", False))
