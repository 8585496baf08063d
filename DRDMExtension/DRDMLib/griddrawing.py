"""The displacement of a sample as a grid, arrows or contours, in slice views and in 3D."""

import slicer
import vtk

from DRDMLib.nodegeometry import gridOfTransform
from DRDMLib.samplefields import gridTransformOf
from DRDMLib.samples import derivedNodes
from DRDMLib.sceneroles import (
    DERIVED,
    QUALITY,
    SAMPLE_ROLE,
    VOLUME_ROLE,
    baseTransformOf,
    readJson,
    removeWithParts,
)

GRID_MODES = ("none", "grid", "arrows", "contours")
"""How the displacement of a sample can be drawn."""
KIND = "drawing"

_LINES_PER_SIDE = 16
_CONTOURS = (0.2, 0.4, 0.6, 0.8)


def setGridVisible(node, mode):
    """Draw the displacement of a sample in the slice views and in 3D.

    Args:
        node: Transform of the sample.
        mode: One of `GRID_MODES`.

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in GRID_MODES:
        raise ValueError(f"`mode` must be one of {', '.join(GRID_MODES)}, got {mode!r}.")
    drawn = node if baseTransformOf(node) is None else _worldTransform(node, mode != "none")
    for each in (node, *_drawings(node)):
        if each is not drawn or mode == "none":
            _hide(each)
    if mode == "none":
        return
    if drawn.GetDisplayNode() is None:
        drawn.CreateDefaultDisplayNodes()
    display = drawn.GetDisplayNode()
    wasModified = display.StartModify()
    display.SetVisualizationMode(_visualizationMode(mode))
    _fitToSample(display, node)
    _setVisible(display, True)
    display.EndModify(wasModified)


def gridMode(node):
    """How the displacement of a sample is drawn now, one of `GRID_MODES`."""
    modes = {_visualizationMode(mode): mode for mode in GRID_MODES[1:]}
    for each in (node, *_drawings(node)):
        display = each.GetDisplayNode()
        if display is not None and display.GetVisibility():
            return modes[display.GetVisualizationMode()]
    return "none"


def drawnTransform(node):
    """The transform whose display node draws a sample: the sample, or a helper of it."""
    return next(iter(_drawings(node)), node)


def _drawings(node):
    """The helper that draws a sample under a transform, if there is one."""
    return [each for each in derivedNodes(node) if each.GetAttribute(DERIVED) == KIND]


def _worldTransform(node, wanted):
    """A hidden transform that moves points of the world as a sample under a transform does.

    Slicer draws a transform together with those above it: a sample of a volume that was moved by
    10 cm would be drawn with arrows of 10 cm.
    """
    if not wanted:
        return None
    toBase, fromBase = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    base = baseTransformOf(node)
    base.GetTransformFromWorld(toBase)
    base.GetTransformToWorld(fromBase)
    whole = vtk.vtkGeneralTransform()
    whole.PostMultiply()
    for part in (toBase, node.GetTransformToParent(), fromBase):
        whole.Concatenate(part)
    helper = next(iter(_drawings(node)), None) or _newHelper(node)
    helper.SetAndObserveTransformToParent(whole)
    return helper


def _newHelper(node):
    """A hidden transform that belongs to a sample; it is made again when it is needed."""
    helper = slicer.vtkMRMLTransformNode()
    helper.SetName(f"{node.GetName()}_drawing")
    helper.SetHideFromEditors(True)
    helper.SetSaveWithScene(False)
    helper.SetAttribute(DERIVED, KIND)
    helper = slicer.mrmlScene.AddNode(helper)
    helper.SetNodeReferenceID(SAMPLE_ROLE, node.GetID())
    helper.CreateDefaultDisplayNodes()
    helper.GetDisplayNode().SetSaveWithScene(False)
    return helper


def _hide(node):
    """Take the drawing of a sample or a helper from the views."""
    if node.GetAttribute(DERIVED) == KIND:
        removeWithParts(node)
    elif node.GetDisplayNode() is not None:
        _setVisible(node.GetDisplayNode(), False)


def _visualizationMode(mode):
    """Slicer's number of a mode."""
    kind = slicer.vtkMRMLTransformDisplayNode
    return {
        "grid": kind.VIS_MODE_GRID,
        "arrows": kind.VIS_MODE_GLYPH,
        "contours": kind.VIS_MODE_CONTOUR,
    }[mode]


def _setVisible(display, visible):
    """Show or hide in slice views and in 3D."""
    display.SetVisibility(visible)
    display.SetVisibility2D(visible)
    display.SetVisibility3D(visible)


def _fitToSample(display, node):
    """Distances between lines and arrows that suit the size of the volume, and its contours."""
    step = gridOfTransform(gridTransformOf(node)).longestSide() / _LINES_PER_SIDE
    display.SetGridSpacingMm(step)
    display.SetGridResolutionMm(step / 2)
    display.SetGridLineDiameterMm(step / 20)
    display.SetGlyphSpacingMm(step)
    display.SetGlyphDiameterMm(step / 2)
    display.SetContourResolutionMm(step / 2)
    largest = readJson(node, QUALITY, {}).get("displacement_mm", {}).get("max")
    if largest:
        levels = " ".join(f"{part * largest:.3g}" for part in _CONTOURS)
        display.SetContourLevelsMmFromString(levels)
    volume = node.GetNodeReference(VOLUME_ROLE)
    if volume is not None:
        display.SetAndObserveRegionNode(volume)
