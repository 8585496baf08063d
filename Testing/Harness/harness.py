"""The harness: the application, and what a test does with it."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .missing import missing

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def _keep_none() -> None:
    """Let None outlive PySide6 6.12, which before Python 3.12 gives it up in every void call.

    Each takes one reference that is not its own; after some ten thousand Python would end itself.
    """
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 30


class Harness:
    """One application per process.

    Attributes:
        app: `slicer.app`.
        exceptions: Exceptions of slots and observers.
        vtkMessages: Errors and warnings of VTK and MRML.
        dialogs: What was shown, and the user's answers.
        packages: What was installed.
        version: `version.set(5, 10)` takes away what that version lacks.
        source: Folder of Slicer's sources that are in use, or `None`.
    """

    def __init__(self, source: str | Path | None) -> None:
        from .application import qSlicerApplication
        from .dialogs import Dialogs
        from .errors import ExceptionLog, VtkMessages
        from .installation import install
        from .packages import Packages
        from .versions import Version

        _keep_none()
        self.source = source
        self.exceptions = ExceptionLog()
        self.dialogs = Dialogs(self.exceptions)
        self.packages = Packages()
        self.exceptions.install()
        self.vtkMessages = VtkMessages()
        self.vtkMessages.install()
        self.app = qSlicerApplication()
        self.version = Version(self.packages)
        install(self.app, self.dialogs, self.packages, self.version, source)
        nodes = self.scene.GetNodes()
        self._first_nodes = {
            nodes.GetItemAsObject(index).GetID() for index in range(nodes.GetNumberOfItems())
        }

    # Modules --------------------------------------------------------------------------------------

    def loadModule(self, path: str | Path) -> Any:
        """Load a scripted module as the start of Slicer does; its `slicer.modules` object."""
        module = self.app.moduleManager().load(Path(path).resolve())
        self.app.finishStartup()
        return module

    def openModule(self, path: str | Path) -> Any:
        """Load a module if need be and go to it; its Python widget (setup and enter were called).

        The panel is `widget.parent`.
        """
        name = Path(path).stem
        module = self.app.moduleManager().module(name) or self.loadModule(path)
        self.app._selector.selectModule(name)
        self._raise_now()
        return module.widgetRepresentation().self()

    def leaveModule(self) -> None:
        """Go to another module (none)."""
        self.app._selector.selectModule("")

    def closeModule(self, name: str | Path) -> None:
        """What happens to a module at the end of Slicer: exit and cleanup."""
        name = Path(name).stem
        if self.app._selector.selectedModule == name:
            self.leaveModule()
        self.app.moduleManager().unload(name)
        self.processEvents()

    def closeModules(self) -> None:
        """Close all scripted modules."""
        from .modules import qSlicerScriptedLoadableModule

        manager = self.app.moduleManager()
        for name in manager.modulesNames():
            if isinstance(manager.module(name), qSlicerScriptedLoadableModule):
                self.closeModule(name)

    def _raise_now(self) -> None:
        """What went wrong while a panel was made is the error of the caller."""
        self.exceptions.check()

    # Scene ----------------------------------------------------------------------------------------

    @property
    def scene(self) -> Any:
        """`slicer.mrmlScene`."""
        return self.app.mrmlScene()

    def clearScene(self) -> None:
        """Close the scene, as File > Close Scene does: StartClose and EndClose are told."""
        self.scene.Clear(0)
        self.processEvents()

    # Time -----------------------------------------------------------------------------------------

    def processEvents(self) -> None:
        """Let Qt do what it has waiting, deletions too."""
        from PySide6 import QtCore

        self.app.processEvents()
        self.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)

    def wait(self, condition: Callable[[], Any], timeout: float = 10.0) -> Any:
        """Run the event loop until a condition is true; its value.

        Raises:
            TimeoutError: If it is not true in time, in seconds.
            AssertionError: If an exception was not caught meanwhile.
        """
        end = time.monotonic() + timeout
        while not (value := condition()):
            self.exceptions.check()
            if time.monotonic() > end:
                raise TimeoutError(f"nothing happened in {timeout} s: {condition}")
            self.processEvents()
            time.sleep(0.002)
        return value

    # Settings of the application ------------------------------------------------------------------

    def setTesting(self, enabled: bool) -> None:
        """Whether `slicer.app.testingEnabled()`: Slicer then shows no message."""
        self.app._testing = enabled

    def setTranslation(self, translate: Callable[[str], str] | None) -> None:
        """A function that all translated texts go through, to find those that are not."""
        self.app._translate = translate

    @property
    def exitCodes(self) -> list[int]:
        """Codes given to `slicer.util.exit`."""
        return self.app._exit_codes

    # Pictures -------------------------------------------------------------------------------------

    @functools.cached_property
    def views(self) -> Any:
        """Pictures of slice and 3D views, see views.py."""
        from .views import Views

        return Views(self.app)

    def screenshot(self, widget: Any, path: str | Path, width: int = 0, height: int = 0) -> Path:
        """Save a picture of a widget (or of the panel of a Python widget)."""
        target = getattr(widget, "parent", None) if not hasattr(widget, "grab") else widget
        hint = target.property("sizeHint")
        target.resize(width or max(hint.width(), 400), height or hint.height())
        target.show()
        self.processEvents()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if not target.grab().save(str(path)):
            raise OSError(f"the picture cannot be written to {path}")
        return Path(path)

    # The end --------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to an empty application: no module, no nodes, no answers."""
        self.closeModules()
        self.clearScene()
        self._remove_kept_nodes()
        self.app.moduleManager().forgetOld()
        self.app.layoutManager().forgetOrientations()
        self.app.extensionsManagerModel().clear()
        for name in ("sampleDataSources", "sampleDataSourceCategories"):
            vars(sys.modules["slicer.modules"]).pop(name, None)
        self.processEvents()
        self.dialogs.clear()
        self.packages.clear()
        self.version.reset()
        self.setTesting(False)
        self.setTranslation(None)
        self.exitCodes.clear()

    def _remove_kept_nodes(self) -> None:
        """Clearing keeps singletons: those of modules and of views that a test has made."""
        for kind in ("ScriptedModule", "Slice", "SliceComposite", "SliceDisplay"):
            nodes = self.scene.GetNodesByClass(f"vtkMRML{kind}Node")
            nodes.UnRegister(None)
            for index in range(nodes.GetNumberOfItems()):
                node = nodes.GetItemAsObject(index)
                if node.GetID() not in self._first_nodes:
                    self.scene.RemoveNode(node)


@functools.cache
def _start(source: str | None) -> Harness:
    return Harness(source)


def running(source: str | Path | None) -> Harness:
    """The harness of this process."""
    reason = missing()
    if reason:
        raise RuntimeError(reason)
    wanted = source or os.environ.get("SLICER_SOURCE")
    return _start(str(wanted) if wanted else None)
