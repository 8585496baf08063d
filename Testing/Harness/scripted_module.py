"""`slicer.ScriptedLoadableModule`: the base classes of scripted modules."""

from __future__ import annotations

import importlib
import logging
import os
import unittest
from typing import Any

import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


class ScriptedLoadableModule:
    """Describes a module; made when the application starts."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""
        self._find_icon()
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def _find_icon(self) -> None:
        import qt

        for ending in ("svg", "png"):
            path = self.resourcePath(f"Icons/{self.moduleName}.{ending}")
            if os.path.isfile(path):
                self.parent.icon = qt.QIcon(path)
                return

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return f'<a href="{slicer.app.moduleDocumentationUrl(self.moduleName)}">documentation</a>'

    def runTest(self, msec: int = 100, **named: Any) -> None:
        module = importlib.import_module(type(self).__module__)
        name = f"{self.moduleName}Test"
        if not hasattr(module, name):
            raise AssertionError(f"{self.moduleName}.py has no class {name}")
        test = getattr(module, name)()
        test.messageDelay = msec
        test.runTest(**named)


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue(
            "Developer/DeveloperMode", False, converter=slicer.util.toBool
        )
        self.parent = parent or slicer.qMRMLWidget()
        if not parent:
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()
        manager = slicer.app.moduleManager()
        manager.connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        folder = os.path.dirname(slicer.util.modulePath(self.moduleName))
        return os.path.join(folder, "Resources", filename)

    def setup(self) -> None:
        """Developers get a button to reload; their other buttons are not made here."""
        if not self.developerMode:
            return
        import qt

        self.reloadButton = qt.QPushButton("Reload")
        self.layout.addWidget(self.reloadButton)
        self.reloadButton.connect("clicked()", self.onReload)

    def cleanup(self) -> None:
        """For modules to override."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            manager = slicer.app.moduleManager()
            manager.disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self) -> None:
        logging.info("Reloading module: %s", self.moduleName)
        slicer.util.reloadScriptedModule(self.moduleName)

    def onReloadAndTest(self, **named: Any) -> None:
        with slicer.util.tryWithErrorDisplay("Reload and Test failed."):
            self.onReload()
            slicer.selfTests[self.moduleName](**named)


class ScriptedLoadableModuleLogic:
    """What a module does, without its panel."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The first parameter node of this module; it is made if there is none."""
        nodes = self.getAllParameterNodes()
        if self.isSingletonParameterNode:
            found = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            nodes = [found] if found else []
        if not nodes:
            return slicer.mrmlScene.AddNode(self.createParameterNode())
        # Closing a scene resets a singleton node, its attributes too.
        if nodes[0].GetAttribute("ModuleName") != self.moduleName:
            nodes[0].SetAttribute("ModuleName", self.moduleName)
        return nodes[0]

    def getAllParameterNodes(self) -> list[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [each for each in nodes if each.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Tests that run inside the application."""

    messageDelay: int | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.moduleTestNames: list[str] = []
        super().__init__(*arguments, **named)
        # unittest does not go on to the next base: a mixin of a test class would not be made.
        super(unittest.TestCase, self).__init__()
        own = (name for name in dir(self) if "test" in name and callable(getattr(self, name)))
        self.moduleTestNames = self.moduleTestNames or list(own)

    def delayDisplay(
        self, message: str, requestedDelay: int = 100, msec: int | None = None
    ) -> None:
        logging.info(message)
        slicer.app.processEvents()

    def runTest(self) -> None:
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()
