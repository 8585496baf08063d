"""The views of the application: their nodes and logics, without windows."""

from __future__ import annotations

from typing import Any

from .errors import NotInHarness
from .scene import SLICES, Scene


class View:
    """One view: what a module asks of its widget."""

    def __init__(self, logic: Any, node: Any) -> None:
        self._logic = logic
        self._node = node
        self.renders = 0

    def sliceLogic(self) -> Any:
        return self._logic

    viewLogic = sliceLogic

    def mrmlSliceNode(self) -> Any:
        return self._node

    mrmlViewNode = mrmlSliceNode

    def sliceView(self) -> View:
        return self

    threeDView = sliceView

    def forceRender(self) -> None:
        self.renders += 1

    scheduleRender = forceRender

    def resetFocalPoint(self) -> None:
        self.renders += 1

    def __getattr__(self, name: str) -> Any:
        raise NotInHarness("a view of slicer.app.layoutManager()", name)


class LayoutManager:
    """`slicer.app.layoutManager()`."""

    threeDViewCount = 1
    tableViewCount = 0
    plotViewCount = 0

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        logics = [scene.sliceLogics.GetItemAsObject(index) for index in range(len(SLICES))]
        self._slices = {
            name: View(logic, logic.GetSliceNode())
            for name, logic in zip(SLICES, logics, strict=True)
        }
        logic = scene.viewLogics.GetItemAsObject(0)
        self._view = View(logic, logic.GetViewNode())
        self.layouts: list[int] = []

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(SLICES)

    def sliceWidget(self, name: str) -> View | None:
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> View | None:
        return self._view if index == 0 else None

    def mrmlSliceLogics(self) -> Any:
        return self._scene.sliceLogics

    def mrmlViewLogics(self) -> Any:
        return self._scene.viewLogics

    def resetSliceViews(self) -> None:
        for each in self._slices.values():
            each.sliceLogic().FitSliceToBackground()

    def resetThreeDViews(self) -> None:
        self._view.resetFocalPoint()

    def setLayout(self, layout: int) -> None:
        """Recorded in `layouts`."""
        self.layouts.append(layout)

    def forgetOrientations(self) -> None:
        """Turn the slices back to where a new application has them."""
        for each in self._slices.values():
            each.mrmlSliceNode().SetOrientationToDefault()

    def __getattr__(self, name: str) -> Any:
        raise NotInHarness("slicer.app.layoutManager()", name)
