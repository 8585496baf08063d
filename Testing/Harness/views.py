"""Pictures of slice and 3D views, drawn by Slicer's own displayable managers without a window."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


@functools.cache
def missing() -> str:
    """Why no picture can be drawn here, in a sentence; empty where it can."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        works = bool(window.SupportsOpenGL())
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()
    if works:
        return ""
    return (
        "pictures of views need OpenGL without a screen, which is missing: install libegl1, "
        "libegl-mesa0 and libgl1-mesa-dri (names of Debian)"
    )


class Views:
    """The views of the application.

    Pictures are arrays `(height, width, 3)` of bytes, the first row at the top.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def slice(
        self,
        name: str = "Red",
        path: str | Path | None = None,
        *,
        size: tuple[int, int] = (400, 400),
        offset: float | None = None,
        fit: bool = True,
    ) -> np.ndarray:
        """Draw a slice view: the volume, outlines of segmentations, transforms, markups.

        Args:
            name: `Red`, `Yellow` or `Green`.
            path: PNG file to write, if one is wanted.
            size: Width and height.
            offset: Position across the slices in mm; by default as it is after `fit`.
            fit: Show all of the volume.
        """
        view = self._app.layoutManager().sliceWidget(name)
        logic = view.sliceLogic()
        logic.ResizeSliceNode(*size)
        if fit:
            logic.FitSliceToBackground()
        if offset is not None:
            logic.SetSliceOffset(offset)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        with self._window(size, factory, SLICE_MANAGERS, view.mrmlSliceNode()) as (window, scene):
            mapper = vtk.vtkImageMapper()
            mapper.SetColorWindow(255)
            mapper.SetColorLevel(127.5)
            mapper.SetInputConnection(logic.GetImageDataConnection())
            actor = vtk.vtkActor2D()
            actor.SetMapper(mapper)
            actor.GetProperty().SetDisplayLocationToBackground()
            if logic.GetImageDataConnection() is not None:
                scene.AddViewProp(actor)
            return _picture(window, path)

    def threeD(
        self,
        path: str | Path | None = None,
        *,
        size: tuple[int, int] = (400, 400),
        azimuth: float = 0.0,
        elevation: float = 0.0,
    ) -> np.ndarray:
        """Draw the 3D view from the front; angles in degrees turn it."""
        view = self._app.layoutManager().threeDWidget(0)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        with self._window(size, factory, THREE_D_MANAGERS, view.mrmlViewNode()) as (window, scene):
            camera = scene.GetActiveCamera()
            camera.Azimuth(azimuth)
            camera.Elevation(elevation)
            scene.ResetCamera()
            return _picture(window, path)

    @contextlib.contextmanager
    def _window(
        self, size: tuple[int, int], factory: Any, managers: tuple[str, ...], node: Any
    ) -> Iterator[tuple[Any, Any]]:
        """A window with all that is visible in a view; it observes the scene only meanwhile."""
        factory.SetMRMLApplicationLogic(self._app.applicationLogic())
        for each in managers:
            if not factory.IsDisplayableManagerRegistered(each):
                factory.RegisterDisplayableManager(each)
        window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(0)
        window.SetSize(*size)
        window.AddRenderer(renderer)
        interactor = vtk.vtkGenericRenderWindowInteractor()
        window.SetInteractor(interactor)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.Initialize(factory, renderer)
        group.SetMRMLDisplayableNode(node)
        try:
            yield window, renderer
        finally:
            group.SetMRMLDisplayableNode(None)
            window.SetInteractor(None)
            window.Finalize()


def _picture(window: Any, path: str | Path | None) -> np.ndarray:
    window.Render()
    grabbed = vtk.vtkWindowToImageFilter()
    grabbed.SetInput(window)
    grabbed.ReadFrontBufferOff()
    grabbed.Update()
    image = grabbed.GetOutput()
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputData(image)
        writer.Write()
    width, height, _depth = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)
    return values[::-1].copy()
