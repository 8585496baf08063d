"""PySide6 made to look like PythonQt, which is what Slicer has.

In PythonQt a Qt property is an attribute (`button.text`, `button.enabled = False`) and its getter
is hidden by it; other methods stay. Signals connect by name too. An attribute that a C++ class
does not have cannot be set, so a wrong name is an error.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from .errors import NotInHarness

_PASSED_OVER: list[bool] = []
# C++ asks for these as methods, to see whether Python has overridden them.
_VIRTUAL = {"minimumSizeHint", "sizeHint"}
_ASKED: set[int] = set()
_POINTER = re.compile(r"(const )?vtk\w+\s*\*")
_plain_get = QtCore.QObject.__getattribute__
# `__setattr__` of a base refuses objects of a class that has its own: this one takes all.
_plain_set = ctypes.PyDLL(None).PyObject_GenericSetAttr
_plain_set.argtypes = [ctypes.py_object] * 3


class QtProperty:
    """A property of Qt as a Python attribute; on the class, what PySide6 had by that name."""

    def __init__(self, name: str, hidden: Any) -> None:
        self.name = name
        self.hidden = hidden

    def __get__(self, owner: QtCore.QObject | None, kind: type) -> Any:
        if owner is not None:
            if self.name in _VIRTUAL:
                return self._virtual(owner, kind)
            value = owner.property(self.name)
            return tuple(value) if isinstance(value, list) else value
        if self.hidden is None:
            raise NotInHarness(f"qt.{kind.__name__}", self.name)
        return self.hidden

    def _virtual(self, owner: QtCore.QObject, kind: type) -> Any:
        """The value for Python; the method for C++, which asks for it while it reads the value."""
        if id(owner) in _ASKED or not kind.__module__.startswith("PySide6."):
            return self.hidden.__get__(owner, kind)
        _ASKED.add(id(owner))
        try:
            return owner.property(self.name)
        finally:
            _ASKED.discard(id(owner))

    def __set__(self, owner: QtCore.QObject, value: Any) -> None:
        if not owner.setProperty(self.name, value):
            kind = owner.metaObject().className()
            raise TypeError(f"{kind}.{self.name} cannot be set to {value!r}")


def make_properties(kind: type) -> None:
    """Turn the properties that a class of Qt declares itself into attributes."""
    meta = kind.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name.isidentifier():
            setattr(kind, name, QtProperty(name, getattr(kind, name, None)))


def signal_signature(owner: QtCore.QObject, signal: str) -> str:
    """A signal as Qt writes it, e.g. `clicked(bool)`; an error if there is no such signal."""
    signature = _POINTER.sub("PyObject", signal)
    normalized = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
    if owner.metaObject().indexOfSignal(normalized) < 0:
        raise NotInHarness(owner.metaObject().className(), signal)
    return normalized


def connect(owner: QtCore.QObject, signal: str, *target: Any) -> bool:
    """`owner.connect("clicked(bool)", slot)` or `(..., receiver, "slot()")`."""
    if isinstance(signal, QtCore.QObject):  # QTimer.singleShot calls PySide6's own way
        return bool(QtCore.QObject.connect(signal, *target))
    name = QtCore.SIGNAL(signal_signature(owner, signal))
    if len(target) == 2:
        return bool(QtCore.QObject.connect(owner, name, target[0], QtCore.SLOT(target[1])))
    if not callable(target[0]):
        raise TypeError(f"{signal} must be connected to a function, not to {target[0]!r}")
    return bool(QtCore.QObject.connect(owner, name, target[0]))


def disconnect(owner: QtCore.QObject, signal: str, target: Callable[..., Any]) -> bool:
    name = QtCore.SIGNAL(signal_signature(owner, signal))
    return bool(QtCore.QObject.disconnect(owner, name, target))


def _get(owner: QtCore.QObject, name: str) -> Any:
    # Shiboken answers `connect` and `disconnect` itself: a descriptor would not be asked.
    if name == "connect":
        own = getattr_static(type(owner), "harness_connect")
        return functools.partial(own or connect, owner)
    if name == "disconnect":
        return functools.partial(disconnect, owner)
    return _plain_get(owner, name)


def _is_native(kind: type) -> bool:
    """Whether a class is C++ in Slicer: its objects take no new attributes from Python."""
    return kind.__module__.startswith("PySide6.") or "stand_in" in vars(kind)


def _set(owner: QtCore.QObject, name: str, value: Any) -> None:
    kind = type(owner)
    found = getattr_static(kind, name)
    if isinstance(found, QtCore.Property):
        if found.fset is None:
            raise AttributeError(f"{owner.metaObject().className()}.{name} cannot be set")
        found.fset(owner, value)
        return
    # PySide6 itself keeps a signal on the object that it belongs to.
    own = name.startswith("_") or isinstance(value, QtCore.SignalInstance)
    if _is_native(kind) and not own:
        if found is None or not hasattr(found, "__set__"):
            if _PASSED_OVER:
                return
            raise NotInHarness(owner.metaObject().className(), name)
    _plain_set(owner, name, value)


@contextlib.contextmanager
def unknown_attributes_passed_over() -> Iterator[None]:
    """PySide6's loader hangs the widgets on the outermost one, by name; Slicer's does not."""
    _PASSED_OVER.append(True)
    try:
        yield
    finally:
        _PASSED_OVER.pop()


def getattr_static(kind: type, name: str) -> Any:
    """What a class or its bases hold under a name, without asking it for a value."""
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)


def qt_classes() -> dict[str, type]:
    """The classes of Qt that have properties, by name."""
    return {
        name: kind
        for name, kind in public_names().items()
        if isinstance(kind, type) and issubclass(kind, QtCore.QObject)
    }


@functools.cache
def public_names() -> dict[str, Any]:
    """All of Qt's names; PySide6 makes its classes when they are asked for."""
    return {
        name: getattr(module, name)
        for module in (QtCore, QtGui, QtWidgets)
        for name in dir(module)
        if not name.startswith("_")
    }


@functools.cache
def install() -> None:
    """Change PySide6, once and for the rest of this process."""
    base = QtCore.QObject
    # Subclasses come first: a base that is changed already would be taken for their own method.
    for kind in sorted(qt_classes().values(), key=lambda each: -len(each.__mro__)):
        make_properties(kind)
        kind.__setattr__ = _set  # type: ignore[method-assign, assignment]
    base.name = QtProperty("objectName", None)  # type: ignore[attr-defined]
    base.className = lambda self: self.metaObject().className()  # type: ignore[attr-defined]
    base.delete = lambda self: shiboken6.delete(self)  # type: ignore[attr-defined]
    base.__getattribute__ = _get  # type: ignore[method-assign, assignment]
