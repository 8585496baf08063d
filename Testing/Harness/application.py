"""`slicer.app` and its main window."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .errors import NotInHarness
from .file_io import CoreIOManager
from .layout import LayoutManager
from .modules import ModuleManager, ModuleSelector
from .scene import Scene
from .versions import Version


class CommandOptions:
    """Options of Slicer's command line."""

    runPythonAndExit = False
    noMainWindow = False


class Environment:
    """The environment that Slicer was started in."""

    def keys(self) -> list[str]:
        return list(os.environ)

    def value(self, name: str) -> str:
        return os.environ[name]


class ExtensionsManagerModel:
    """The extensions that are installed."""

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.asked: list[str] = []
        self.works = True

    def clear(self) -> None:
        """None is installed any more."""
        self.__init__()  # type: ignore[misc]

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self.installed

    def installedExtensions(self) -> list[str]:
        return list(self.installed)

    def installExtensionFromServer(self, name: str, *more: Any) -> bool:
        """Recorded in `asked`; Slicer must be restarted before a module of it can be used."""
        self.asked.append(name)
        if self.works:
            self.installed.append(name)
        return self.works

    def __getattr__(self, name: str) -> Any:
        raise NotInHarness("extensionsManagerModel", name)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The window: a status bar and the module panel."""

    stand_in = True

    def __init__(self, selector: ModuleSelector) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = selector
        self.statusBar()

    def moduleSelector(self) -> ModuleSelector:
        return self._selector


class qSlicerApplication(QtWidgets.QApplication):
    """The application."""

    stand_in = True
    startupCompleted = Signal()

    def __init__(self) -> None:
        super().__init__(["Slicer"])
        self._folder = tempfile.mkdtemp(prefix="slicer-harness-")
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self._testing = False
        self._options = CommandOptions()
        self._extensions = ExtensionsManagerModel()
        self._startup: list[Callable[[], None]] = []
        self._exit_codes: list[int] = []
        self._restarts = 0
        self._paused = 0
        self._translate: Callable[[str], str] | None = None
        self._keep_settings_apart()

    def _keep_settings_apart(self) -> None:
        """The settings of this machine's user are neither read nor written."""
        settings = QtCore.QSettings
        settings.setDefaultFormat(settings.Format.IniFormat)
        settings.setPath(settings.Format.IniFormat, settings.Scope.UserScope, self._folder)
        self.setOrganizationName("harness")
        self.setApplicationName("Slicer")

    def prepare(self, version: Version) -> None:
        """Make the parts that need `slicer.app`."""
        self._version = version
        self._scene = Scene()
        self._scene.setCacheFolder(self._folder)
        self._modules = ModuleManager(self._scene)
        self._selector = ModuleSelector(self._modules)
        self._window = qSlicerMainWindow(self._selector)
        self._layout = LayoutManager(self._scene)
        self._io = CoreIOManager(self._scene)

    # What modules use -----------------------------------------------------------------------------

    def applicationLogic(self) -> Any:
        return self._scene.appLogic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def layoutManager(self) -> LayoutManager:
        return self._layout

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def extensionsManagerModel(self) -> ExtensionsManagerModel:
        return self._extensions

    def commandOptions(self) -> CommandOptions:
        return self._options

    def startupEnvironment(self) -> Environment:
        return Environment()

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    userSettings = settings
    revisionUserSettings = settings

    def testingEnabled(self) -> bool:
        return self._testing

    def translate(self, context: str, text: str) -> str:
        return self._translate(text) if self._translate else text

    def pauseRender(self) -> None:
        self._paused += 1

    def resumeRender(self) -> None:
        self._paused -= 1

    def exit(self, code: int = 0) -> None:
        """Recorded, not done."""
        self._exit_codes.append(code)

    def restart(self) -> None:
        """Recorded, not done."""
        self._restarts += 1

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"https://slicer.readthedocs.io/{name}"

    temporaryPath = Property(str, lambda self: self._folder)
    slicerHome = Property(str, lambda self: self._folder)
    revision = Property(str, lambda self: "harness")
    repositoryRevision = Property(str, lambda self: "harness")
    majorVersion = Property(int, lambda self: self._version.number[0])
    minorVersion = Property(int, lambda self: self._version.number[1])
    isInstalled = Property(bool, lambda self: False)

    # Startup --------------------------------------------------------------------------------------

    def harness_connect(self, signal: str, target: Callable[[], None]) -> bool:
        """`startupCompleted()` reaches a module that is loaded later too, once."""
        from . import pythonqt

        if signal == "startupCompleted()":
            self._startup.append(target)
            return True
        return pythonqt.connect(self, signal, target)

    def finishStartup(self) -> None:
        """Tell the modules that were loaded since the last time."""
        waiting, self._startup = self._startup, []
        for each in waiting:
            each()
