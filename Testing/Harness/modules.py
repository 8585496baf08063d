"""Modules: how Slicer loads a scripted one, makes its panel, enters and leaves it."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .errors import NotInHarness
from .mrml_widgets import qSlicerWidget
from .scene import Scene

_DESCRIPTION = {
    "title": "",
    "categories": (),
    "dependencies": (),
    "contributors": (),
    "helpText": "",
    "acknowledgementText": "",
    "hidden": False,
    "icon": None,
    "index": -1,
    "associatedNodeTypes": (),
    "widgetRepresentationCreationEnabled": True,
}


class Module:
    """What all modules have."""

    def __init__(self, name: str) -> None:
        self.name = name


class LoadableModule(Module):
    """A module written in C++: its logic is here, its panel is not."""

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__(name)
        self._logic = logic

    def logic(self) -> Any:
        return self._logic

    def __getattr__(self, name: str) -> Any:
        raise NotInHarness(f"slicer.modules.{self.name.lower()}", name)


class qSlicerScriptedLoadableModule(Module):
    """The C++ object behind a scripted module: `parent` of its first class."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self.path = str(path)
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        self.__dict__.update(_DESCRIPTION)
        self._ready = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "_ready" in self.__dict__ and name not in self.__dict__:
            raise NotInHarness("qSlicerScriptedLoadableModule", name)
        super().__setattr__(name, value)

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The panel; it is made when it is wanted first."""
        if self._widget is None:
            widget = qSlicerScriptedLoadableModuleWidget()
            self._widget = widget
            widget.setObjectName(f"{self.name}ModuleWidget")
            widget.setMRMLScene(slicer.mrmlScene)
            widget.setPythonSource(self.name)
            widget.setup()
        return self._widget


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The C++ object behind the panel: `parent` of the widget class."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        QtWidgets.QVBoxLayout(self)
        self._entered = False
        self._python: Any = None
        self._name = ""

    def setPythonSource(self, name: str) -> None:
        """Make the Python object; it is `slicer.modules.<name>Widget` from then on."""
        self._name = name
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)

    def self(self) -> Any:
        return self._python

    def setup(self) -> None:
        self._python.setup()

    def enter(self) -> None:
        self._entered = True
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self) -> None:
        self._entered = False
        if hasattr(self._python, "exit"):
            self._python.exit()

    def reload(self) -> None:
        self.setPythonSource(self._name)
        self.setup()

    isEntered = Property(bool, lambda self: self._entered)


class _Factory:
    def __init__(self, names: Callable[[], list[str]]) -> None:
        self.loadedModuleNames = names


class ModuleManager(QtCore.QObject):
    """`slicer.app.moduleManager()`."""

    stand_in = True
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._modules: dict[str, Module] = {}
        self._old: list[QtWidgets.QWidget] = []
        for name, logic in scene.logics.items():
            self._publish(LoadableModule(name, logic))

    def _publish(self, module: Module) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        setattr(slicer.moduleNames, module.name, module.name)

    def load(self, path: Path) -> qSlicerScriptedLoadableModule:
        """Execute a scripted module and make its first object, as Slicer does at startup."""
        name = path.stem
        if name in self._modules:
            raise RuntimeError(f"The module {name} is loaded already: close it first.")
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"No Python file is at {path}.")
        source = importlib.util.module_from_spec(spec)
        sys.modules[name] = source
        spec.loader.exec_module(source)
        module = qSlicerScriptedLoadableModule(name, path)
        self._publish(module)
        setattr(slicer.modules, f"{name}Instance", getattr(source, name)(module))
        return module

    def unload(self, name: str) -> None:
        """What happens to a scripted module at the end of the application."""
        module = self._modules[name]
        self.moduleAboutToBeUnloaded.emit(name)
        if isinstance(module, qSlicerScriptedLoadableModule) and module._widget is not None:
            # Slicer ends soon after this: what still listens to the scene keeps its widgets.
            module._widget.hide()
            self._old.append(module._widget)
        del self._modules[name]
        delattr(slicer.modules, name.lower())
        delattr(slicer.moduleNames, name)
        for each in (f"{name}Instance", f"{name}Widget"):
            vars(slicer.modules).pop(each, None)
        sys.modules.pop(name, None)

    def forgetOld(self) -> None:
        """Delete the panels of unloaded modules."""
        for each in self._old:
            each.deleteLater()
        self._old.clear()

    def module(self, name: str) -> Module | None:
        return self._modules.get(name)

    def modulesNames(self) -> list[str]:
        return list(self._modules)

    def factoryManager(self) -> _Factory:
        return _Factory(self.modulesNames)


class ModuleSelector(QtCore.QObject):
    """The selector of the main window: one module is entered at a time."""

    stand_in = True
    moduleSelected = Signal(str)

    def __init__(self, manager: ModuleManager) -> None:
        super().__init__()
        self._manager = manager
        self._selected = ""

    def selectModule(self, name: str) -> None:
        module = self._manager.module(name)
        if name and module is None:
            raise NotInHarness("slicer.modules", name)
        if name == self._selected:
            return
        before = self._manager.module(self._selected)
        self._selected = name
        if isinstance(before, qSlicerScriptedLoadableModule):
            before.widgetRepresentation().exit()
        if isinstance(module, qSlicerScriptedLoadableModule):
            module.widgetRepresentation().enter()
        self.moduleSelected.emit(name)

    selectedModule = Property(str, lambda self: self._selected)


def make_namespace(name: str) -> types.ModuleType:
    """`slicer.modules` or `slicer.moduleNames`."""
    from .qt_module import StandInModule

    return StandInModule(name, "Modules that are loaded (a stand-in).")
