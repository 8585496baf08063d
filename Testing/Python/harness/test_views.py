"""Pictures of views: what is visible in the scene is seen in them."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.harness.test_scene import segmentation


@pytest.fixture
def views(harness):
    """The views; a test without OpenGL is skipped."""
    from Testing.Harness import views

    if views.missing():
        pytest.skip(views.missing())
    return harness.views


def block():
    """A bright block in the left half of a volume, at +20 mm R."""
    import slicer

    values = np.zeros((20, 40, 60), dtype=np.int16)
    values[5:15, 12:28, 36:48] = 100
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = (-60, -40, -20)
    volume = slicer.util.addVolumeFromArray(values, matrix, "block")
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(100, 50)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume


def shift(volume):
    """Move a volume by 10 mm to the right (R) with a grid transform."""
    import slicer
    import vtk

    image = vtk.vtkImageData()
    image.SetDimensions(13, 9, 5)
    image.SetSpacing(10, 10, 10)
    image.SetOrigin(-60, -40, -20)
    image.AllocateScalars(vtk.VTK_FLOAT, 3)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "shift")
    node.SetAndObserveTransformFromParent(grid)
    slicer.util.arrayFromGridTransform(node)[...] = (-10, 0, 0)
    slicer.util.arrayFromGridTransformModified(node)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


def column(picture):
    """Mean column of the bright grey pixels, from 0 to 1."""
    return np.nonzero(picture.min(axis=2) > 200)[1].mean() / picture.shape[1]


def colours(picture):
    """How many pixels are not grey."""
    picture = picture.astype(int)
    return int((picture.max(axis=2) - picture.min(axis=2) > 40).sum())


def test_a_transform_moves_what_is_seen(views, tmp_path):
    volume = block()
    before = views.slice("Red", tmp_path / "red.png", size=(300, 200))
    assert before.shape == (200, 300, 3) and (tmp_path / "red.png").stat().st_size > 200
    # Right of the patient is left in the picture: +24 mm of 120 mm lie 0.2 left of the middle.
    assert column(before) == pytest.approx(0.5 - 23 / 120, abs=0.02)
    shift(volume)
    after = views.slice("Red", size=(300, 200), fit=False)
    assert column(after) - column(before) == pytest.approx(-10 / 120, abs=0.01)


@pytest.mark.parametrize("mode", ["GRID", "GLYPH", "CONTOUR"])
def test_transforms_are_drawn(mode, views):
    node = shift(block())
    assert colours(views.slice("Green")) == 0
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisualizationMode(getattr(display, f"VIS_MODE_{mode}"))
    if mode == "CONTOUR":
        display.SetContourLevelsMmFromString("5 10 15")
        values = np.linspace(0, -20, 13)[None, None, :, None] * (1, 0, 0)
        import slicer

        slicer.util.arrayFromGridTransform(node)[...] = values
        slicer.util.arrayFromGridTransformModified(node)
    display.SetVisibility(True)
    display.SetVisibility2D(True)
    assert colours(views.slice("Red")) > 100


def test_segmentations_are_drawn(views):
    volume = block()
    node = segmentation(volume)
    node.CreateDefaultDisplayNodes()
    segment = node.GetSegmentation().GetNthSegment(0)
    segment.SetColor(1, 0, 0)
    assert colours(views.slice("Red")) > 500
    node.GetDisplayNode().SetVisibility(False)
    assert colours(views.slice("Red")) == 0


def test_surfaces_are_drawn(views):
    volume = block()
    node = segmentation(volume)
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().GetNthSegment(0).SetColor(1, 0, 0)

    def red():
        picture = views.threeD(size=(200, 200), azimuth=20).astype(int)
        return int((picture[..., 0] - picture[..., 2] > 60).sum())

    assert red() == 0
    node.CreateClosedSurfaceRepresentation()
    assert red() > 100


def test_an_empty_scene_is_black(views):
    assert views.slice("Yellow", size=(50, 40)).max() == 0
