"""How values stand in a parameter node: as text or as references, under Slicer's own names."""

from __future__ import annotations

import contextlib
import enum
import pathlib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any

import slicer

from .parameter_validators import Decimals, Default, SingleStep, Validator

PATHS = (pathlib.Path, pathlib.PurePath, pathlib.PosixPath, pathlib.WindowsPath)


class Kind:
    """A type that a parameter may have.

    Attributes:
        type: What a value must be an instance of.
        start: The value where no default is given.
        validators: Rules from the annotation.
    """

    def __init__(self, type_: Any, start: Any) -> None:
        self.type = type_
        self.start = start
        self.validators: list[Validator] = []

    def validate(self, value: Any) -> None:
        """Raise what Slicer raises for a value that is not allowed."""
        self.check(value)
        for each in self.validators:
            each.validate(value)

    def check(self, value: Any) -> None:
        """Raise what Slicer raises for a value of a wrong type."""
        if value is None:
            raise ValueError("Value must not be None")
        if not isinstance(value, self.type):
            raise TypeError(f"Value must be of type '{self.type}', is {value!r}")

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def read(self, node: Any, name: str) -> Any:
        raise NotImplementedError

    def write(self, node: Any, name: str, value: Any) -> None:
        raise NotImplementedError

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class Text(Kind):
    """Anything that one text holds."""

    def __init__(
        self,
        type_: Any,
        start: Any,
        fromText: Callable[[str], Any],
        toText: Callable[[Any], str] = str,
    ) -> None:
        super().__init__(type_, start)
        self._from, self._to = fromText, toText

    def read(self, node: Any, name: str) -> Any:
        return self._from(node.GetParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, self._to(value))


class Node(Kind):
    """A node of the scene, or `None`."""

    def __init__(self, type_: Any) -> None:
        super().__init__(type_, None)

    def check(self, value: Any) -> None:
        if value is not None:
            super().check(value)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def write(self, node: Any, name: str, value: Any) -> None:
        # The empty text tells that the parameter has been set, be it to None.
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def remove(self, node: Any, name: str) -> None:
        super().remove(node, name)
        node.RemoveNodeReferenceIDs(name)


class Nothing(Text):
    """`None`, as a part of a union."""

    def __init__(self) -> None:
        super().__init__(type(None), None, lambda text: None, lambda value: "True")

    def check(self, value: Any) -> None:
        if value is not None:
            raise ValueError("Value must be None")


class Union(Kind):
    """One of several kinds; each has a name of its own in the node."""

    def __init__(self, kinds: list[Kind]) -> None:
        optional = len(kinds) == 2 and isinstance(kinds[1], Nothing)
        super().__init__(object, None if optional else kinds[0].start)
        self._kinds = kinds

    def _fitting(self, value: Any) -> int:
        for index, each in enumerate(self._kinds):
            # A bool is an int for Python, not for Slicer.
            if isinstance(value, each.type) and (type(value) is not bool or each.type is bool):
                return index
        raise TypeError(f"Unable to write value '{value}' of type '{type(value)}'")

    def check(self, value: Any) -> None:
        self._kinds[self._fitting(value)].validate(value)

    def isIn(self, node: Any, name: str) -> bool:
        return any(each.isIn(node, f"{name}.{i}") for i, each in enumerate(self._kinds))

    def read(self, node: Any, name: str) -> Any:
        for index, each in enumerate(self._kinds):
            if each.isIn(node, f"{name}.{index}"):
                return each.read(node, f"{name}.{index}")
        raise KeyError(name)

    def write(self, node: Any, name: str, value: Any) -> None:
        index = self._fitting(value)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            self._kinds[index].write(node, f"{name}.{index}", value)

    def remove(self, node: Any, name: str) -> None:
        for index, each in enumerate(self._kinds):
            each.remove(node, f"{name}.{index}")


class ObservedList(MutableSequence[Any]):
    """A list in a parameter node: a change of it is a change of the node."""

    def __init__(self, load: Callable[[], list[Any]], save: Callable[[list[Any]], None]) -> None:
        self._load = load
        self._save = save
        self._items = load()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Any]]:
        """A refused change leaves the list as it was."""
        items = list(self._items)
        yield items
        try:
            self._save(items)
        finally:
            self._items = self._load()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        with self._changing() as items:
            items[index] = value

    def __delitem__(self, index: Any) -> None:
        with self._changing() as items:
            del items[index]

    def insert(self, index: int, value: Any) -> None:
        with self._changing() as items:
            items.insert(index, value)

    def extend(self, values: Iterable[Any]) -> None:
        with self._changing() as items:
            items.extend(values)

    def __iadd__(self, values: Iterable[Any]) -> ObservedList:  # type: ignore[override, misc]
        self.extend(values)
        return self

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    __hash__ = None  # type: ignore[assignment]


class List(Kind):
    """A list of one kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__((list, tuple, ObservedList), [])
        self._kind = kind

    def check(self, value: Any) -> None:
        super().check(value)
        for each in value:
            self._kind.validate(each)

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def read(self, node: Any, name: str) -> ObservedList:
        def load() -> list[Any]:
            return [self._kind.read(node, f"{name}.{i}") for i in range(self._length(node, name))]

        def save(changed: list[Any]) -> None:
            self.validate(changed)
            self.write(node, name, changed)

        return ObservedList(load, save)

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}.len") or 0)

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            before = self._length(node, name)
            for index, each in enumerate(value):
                self._kind.write(node, f"{name}.{index}", each)
            node.SetParameter(f"{name}.len", str(len(value)))
            for index in range(len(value), before):
                self._kind.remove(node, f"{name}.{index}")

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index in range(self._length(node, name)):
                self._kind.remove(node, f"{name}.{index}")
            node.UnsetParameter(f"{name}.len")


def kind_of(type_: Any) -> Kind:
    """How values of a type are kept.

    Raises:
        NotImplementedError: If Slicer may have it, but the harness has not.
    """
    if typing.get_origin(type_) is typing.Annotated:
        plain, *annotations = typing.get_args(type_)
        kind = kind_of(plain)
        kind.validators = [each for each in annotations if isinstance(each, Validator)]
        _refuse_others(annotations)
        return kind
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin in (typing.Union, types.UnionType):
        return Union([kind_of(each) for each in arguments])
    if origin is list and len(arguments) == 1:
        return List(kind_of(arguments[0]))
    simple = _simple(type_) if isinstance(type_, type) else None
    if simple is None:
        raise NotImplementedError(
            f"A parameter of the type {type_} is not in Testing/Harness: write it in "
            "parameter_types.py, or use a simpler one."
        )
    return simple


def _refuse_others(annotations: list[Any]) -> None:
    for each in annotations:
        if not isinstance(each, Validator | Default | Decimals | SingleStep):
            raise NotImplementedError(f"The annotation {each} is not in Testing/Harness.")


def _simple(type_: type) -> Kind | None:
    if type_ is bool:
        return Text(bool, False, "True".__eq__)
    if type_ is int:
        return Text(int, 0, int)
    if type_ is float:
        return Text((int, float), 0, float)
    if type_ is str:
        return Text(str, "", str)
    if type_ is type(None):
        return Nothing()
    if type_ in PATHS:
        return Text(type_, type_(), type_)
    if issubclass(type_, enum.Enum):
        return Text(type_, next(iter(type_)), type_.__getitem__, lambda value: value.name)
    return Node(type_) if issubclass(type_, slicer.vtkMRMLNode) else None
