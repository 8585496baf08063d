"""Showing samples, grids and det J: what the views get, and that the original comes back."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.extension import scenes


@pytest.fixture
def case(lib, tmp_path):
    """A volume and a segmentation under a common transform."""
    volume = scenes.volume(geometry="oblique")
    segmentation = scenes.segmentation(volume)
    parent = scenes.linearTransform()
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    case = scenes.Case(lib, tmp_path, volume, segmentation)
    case.parent = parent
    return case


def stateOf(scene):
    """All nodes of a scene, with transform and what a slice view shows."""
    nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    state = {}
    for node in nodes:
        facts = []
        if node.IsA("vtkMRMLTransformableNode"):
            facts.append(node.GetTransformNodeID())
        if node.IsA("vtkMRMLSliceCompositeNode"):
            facts += [node.GetForegroundVolumeID(), node.GetForegroundOpacity()]
        if node.IsA("vtkMRMLTransformDisplayNode"):
            facts.append(node.GetVisibility())
        state[node.GetID()] = facts
    return state


def views(scene):
    """The composite nodes of two slice views, one with a foreground."""
    found = []
    for name in ("Red", "Green"):
        composite = scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
        if composite is None:
            composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
            composite.SetLayoutName(name)
        found.append(composite)
    found[1].SetForegroundVolumeID(scenes.volume(name="fused").GetID())
    found[1].SetForegroundOpacity(0.25)
    return found


def jacobian(lib, node, folder):
    """det J of a sample, read from a file as the worker writes it."""
    from torch import from_numpy

    from DRDMCore.fields import jacobian_determinant
    from DRDMCore.imaging import ddf_from_field, read_field

    lib.samples.fieldOf(node).write(folder / "shown.nrrd")
    field = read_field(folder / "shown.nrrd")
    det = jacobian_determinant(from_numpy(ddf_from_field(field))[None])
    det = det.numpy().reshape(field.geometry.shape).astype(np.float32)
    image = sitk.GetImageFromArray(det)
    image.CopyInformation(sitk.ReadImage(str(folder / "shown.nrrd")))
    sitk.WriteImage(image, str(folder / "det.nrrd"))
    return lib.gridfiles.VolumeReading(folder / "det.nrrd").read()


def test_original_and_back_is_what_it_was(lib, case, scene):
    nodes = [case.sample(), case.sample(seed=1)]
    before = scenes.fingerprint(case.volume, case.segmentation)
    state = stateOf(scene)
    for node in (*nodes, *nodes):
        lib.display.showSample(node)
        assert lib.display.shownSample(case.volume) is node
        for each in (case.volume, case.segmentation):
            assert each.GetParentTransformNode() is node
        assert node.GetParentTransformNode() is case.parent
    lib.display.showOriginal(case.volume)
    assert lib.display.shownSample(case.volume) is None
    assert stateOf(scene) == state
    assert scenes.fingerprint(case.volume, case.segmentation) == before
    lib.display.showOriginal(case.volume, case.segmentation)
    assert stateOf(scene) == state


def test_nothing_is_hardened(lib, case):
    before = scenes.fingerprint(case.volume, case.segmentation)
    lib.display.showSample(case.sample())
    assert scenes.fingerprint(case.volume, case.segmentation) == before


def test_a_volume_that_was_moved_since_shows_its_sample_where_it_is_now(lib, case):
    node = case.sample()
    other = scenes.linearTransform("other")
    for each in (case.volume, case.segmentation):
        each.SetAndObserveTransformNodeID(other.GetID())
    lib.display.showSample(node)
    assert node.GetParentTransformNode() is other
    lib.display.showOriginal(case.volume)
    for each in (case.volume, case.segmentation):
        assert each.GetParentTransformNode() is other


def test_segmentation_elsewhere_is_refused_by_name(lib, case, scene):
    node = case.sample()
    case.segmentation.SetAndObserveTransformNodeID(None)
    state = stateOf(scene)
    with pytest.raises(lib.inputs.InputProblem, match="'CT' and 'Organs' must be under the same"):
        lib.display.showSample(node)
    assert stateOf(scene) == state


def test_a_volume_that_lies_elsewhere_now_is_refused(lib, case, scene):
    node = case.sample()
    state = stateOf(scene)
    case.volume.SetSpacing(1, 1, 1)
    with pytest.raises(lib.inputs.InputProblem, match="'CT' must lie on the grid"):
        lib.display.showSample(node)
    assert stateOf(scene) == state


def test_a_transform_of_the_user_under_the_sample_makes_no_circle(lib, case):
    node = case.sample()
    lib.display.showSample(node)
    below = scenes.linearTransform("below")
    below.SetAndObserveTransformNodeID(node.GetID())
    for each in (case.volume, case.segmentation):
        each.SetAndObserveTransformNodeID(below.GetID())
    with pytest.raises(lib.inputs.InputProblem, match="'below' must not be under the sample"):
        lib.display.showSample(node)
    assert lib.display.shownSample(case.volume) is None


def test_what_is_no_sample_cannot_be_shown(lib, scene):
    with pytest.raises(lib.inputs.InputProblem, match="it is gone"):
        lib.display.showSample(None)
    with pytest.raises(lib.inputs.InputProblem, match="it is gone"):
        lib.display.showSample(scenes.linearTransform())
    assert lib.display.shownSample(None) is None


UNDER = pytest.mark.parametrize("under", [False, True], ids=["in the world", "under a transform"])


def inTheWorld(case):
    """Take a case out from under its transform."""
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(None)


@UNDER
@pytest.mark.parametrize("mode", ["grid", "arrows", "contours"])
def test_the_displacement_is_drawn_in_2d_and_3d(lib, case, scene, mode, under):
    if not under:
        inTheWorld(case)
    node = case.sample()
    count = scene.GetNumberOfNodes()
    assert lib.display.gridMode(node) == "none"
    lib.display.setGridVisible(node, mode)
    display = lib.griddrawing.drawnTransform(node).GetDisplayNode()
    assert display.GetVisibility() and display.GetVisibility2D() and display.GetVisibility3D()
    kind = type(display)
    numbers = {"grid": kind.VIS_MODE_GRID, "arrows": kind.VIS_MODE_GLYPH}
    assert display.GetVisualizationMode() == numbers.get(mode, kind.VIS_MODE_CONTOUR)
    assert display.GetRegionNode() is case.volume
    longest = 24.0  # 12 slices of 2 mm
    assert display.GetGridSpacingMm() == display.GetGlyphSpacingMm() == pytest.approx(longest / 16)
    levels = list(map(float, display.GetContourLevelsMmAsString().split()))
    np.testing.assert_allclose(levels, [0.6, 1.2, 1.8, 2.4], rtol=1e-3)
    assert lib.display.gridMode(node) == mode
    assert [each.node for each in lib.samples.samplesOf()] == [node]
    lib.display.setGridVisible(node, "none")
    assert lib.display.gridMode(node) == "none"
    assert scene.GetNumberOfNodes() == count + (0 if under else 1)  # its display node stays


def test_the_drawing_follows_a_volume_that_gets_a_transform(lib, case, scene):
    inTheWorld(case)
    node = case.sample()
    lib.display.setGridVisible(node, "grid")
    for each in (case.volume, case.segmentation):
        each.SetAndObserveTransformNodeID(case.parent.GetID())
    lib.display.showSample(node)
    lib.display.setGridVisible(node, "grid")
    assert lib.griddrawing.drawnTransform(node) is not node
    assert not node.GetDisplayNode().GetVisibility()
    inTheWorld(case)
    lib.display.showSample(node)
    lib.display.setGridVisible(node, "arrows")
    assert lib.griddrawing.drawnTransform(node) is node
    assert lib.display.gridMode(node) == "arrows"
    assert lib.samples.derivedNodes(node) == []


def test_the_drawing_goes_with_the_sample_that_is_shown(lib, case):
    first, second = case.sample(), case.sample(seed=1)
    lib.display.showSample(first)
    lib.display.setGridVisible(first, "grid")
    lib.display.showSample(second)
    assert lib.display.gridMode(first) == "none"
    lib.display.setGridVisible(second, "arrows")
    lib.display.showOriginal(case.volume)
    assert lib.display.gridMode(second) == "none"


def test_an_unknown_drawing_is_an_error(lib, case):
    with pytest.raises(ValueError, match="one of none, grid, arrows, contours, got 'waves'"):
        lib.display.setGridVisible(case.sample(), "waves")


@UNDER
def test_slicer_draws_the_displacement_where_the_volume_is(lib, case, under):
    """By the logic that the displayable managers of the 3D views use."""
    import slicer
    import vtk

    if not under:
        inTheWorld(case)
    node = case.sample()
    bounds = [0.0] * 6
    case.volume.GetRASBounds(bounds)
    lib.display.showSample(node)
    for mode in ("grid", "arrows", "contours"):
        lib.display.setGridVisible(node, mode)
        display = lib.griddrawing.drawnTransform(node).GetDisplayNode()
        shape = vtk.vtkPolyData()
        logic = slicer.vtkSlicerTransformLogic
        assert logic.GetVisualization3d(shape, display, display.GetRegionNode())
        assert shape.GetNumberOfPoints() > 100, mode
        low, high = np.array(shape.GetBounds()).reshape(3, 2).T
        assert (low > np.array(bounds)[::2] - 2).all(), mode
        assert (high < np.array(bounds)[1::2] + 2).all(), mode
        assert (high - low > 8).all(), mode


def test_the_drawing_under_a_transform_moves_points_as_the_volume_is_moved(lib, case):
    node = case.sample()
    lib.display.showSample(node)
    lib.display.setGridVisible(node, "grid")
    helper = lib.griddrawing.drawnTransform(node)
    assert helper is not node and helper.GetHideFromEditors() and not helper.GetSaveWithScene()
    rng = np.random.default_rng(1)
    local = (scenes.matrixOf("oblique") @ np.c_[rng.uniform(3, 9, (10, 3)), np.ones(10)].T).T[:, :3]
    moved = scenes.pointsThrough(case.parent, scenes.pointsThrough(node, local))
    drawn = scenes.pointsThrough(helper, scenes.pointsThrough(case.parent, local))
    np.testing.assert_allclose(drawn, moved, atol=0.02)
    assert np.abs(drawn - scenes.pointsThrough(case.parent, local)).max() > 0.5


def test_the_jacobian_is_laid_over_the_slices_and_taken_away(lib, case, scene, tmp_path):
    red, green = views(scene)
    node = case.sample()
    lib.display.showSample(node)
    state = stateOf(scene)
    lib.display.showJacobian(jacobian(lib, node, tmp_path), node)
    volume = lib.jacobianoverlay.jacobianOf(node)
    for composite in (red, green):
        assert composite.GetForegroundVolumeID() == volume.GetID()
        assert composite.GetForegroundOpacity() == 0.6
    display = volume.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 2)
    assert not display.GetAutoWindowLevel()
    # It belongs to the deformed image, which has the original's grid.
    assert volume.GetParentTransformNode() is case.parent
    np.testing.assert_allclose(
        [volume.GetOrigin(), volume.GetSpacing()],
        [case.volume.GetOrigin(), case.volume.GetSpacing()],
        atol=1e-8,
    )
    assert [each.node for each in lib.samples.samplesOf()] == [node]
    with pytest.raises(lib.inputs.InputProblem, match="computed from a sample"):
        lib.inputs.checkInputs(volume)
    lib.display.hideJacobian(node)
    after = stateOf(scene)
    colours = {each for each in after if "Color" in each}
    assert {key: after[key] for key in after if key not in colours - state.keys()} == state
    lib.display.hideJacobian(node)


def test_shown_again_it_remembers_what_the_views_had_first(lib, case, scene, tmp_path):
    red, green = views(scene)
    fused = green.GetForegroundVolumeID()
    node = case.sample()
    for _ in range(3):
        lib.display.showJacobian(jacobian(lib, node, tmp_path), node)
    assert len(lib.samples.derivedNodes(node)) == 1
    other = scenes.volume(name="chosen since")
    red.SetForegroundVolumeID(other.GetID())
    lib.display.showOriginal(case.volume)
    assert red.GetForegroundVolumeID() == other.GetID()
    assert (green.GetForegroundVolumeID(), green.GetForegroundOpacity()) == (fused, 0.25)
    assert lib.samples.derivedNodes(node) == []


def test_it_goes_with_its_sample(lib, case, scene, tmp_path):
    node = case.sample()
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    lib.display.showJacobian(jacobian(lib, node, tmp_path), node)
    lib.samples.removeSample(node)
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count


def test_a_missing_file_of_it_is_told(lib, tmp_path):
    with pytest.raises(OSError, match=r"missing\.nrrd cannot be read"):
        lib.gridfiles.VolumeReading(tmp_path / "missing.nrrd").read()


def test_its_colours_say_shrinks_grows_and_folded(lib, case, scene, tmp_path):
    node = case.sample()
    for _ in range(2):
        lib.display.showJacobian(jacobian(lib, node, tmp_path), node)
    volume = lib.jacobianoverlay.jacobianOf(node)
    table = volume.GetDisplayNode().GetColorNode()
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == 1 + len(
        [each for each in stateOf(scene) if "ColorTable" in each and each != table.GetID()]
    )
    colours = table.GetLookupTable()

    def at(value):
        return np.array(colours.GetTableValue(round(value / 2 * 255)))

    assert at(0.5)[2] > at(0.5)[0] and at(1.5)[0] > at(1.5)[2]
    assert at(1.0)[3] < 0.05 and at(0.2)[3] == at(1.8)[3] == 1
    assert list(at(0)) == [0, 0, 0, 1]


def test_the_slice_pipeline_blends_the_colours(lib, case, scene, tmp_path):
    """A real slice logic: where det J is far from 1 the picture is tinted, elsewhere it is not."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    logic.AddSliceNode("Test") if hasattr(logic, "AddSliceNode") else None
    node = case.sample(amplitude=5.0)
    lib.display.showSample(node)
    composite, slice_ = logic.GetSliceCompositeNode(), logic.GetSliceNode()
    composite.SetBackgroundVolumeID(case.volume.GetID())
    slice_.SetDimensions(64, 64, 1)
    logic.FitSliceToAll()
    lib.display.showJacobian(jacobian(lib, node, tmp_path), node)
    logic.UpdatePipeline()
    port = logic.GetImageDataConnection()
    producer = port.GetProducer()
    producer.Update()
    image = producer.GetOutputDataObject(0)
    assert isinstance(image, vtk.vtkImageData)
    colours = vtk_to_numpy(image.GetPointData().GetScalars()).astype(int)
    tinted = np.abs(colours[:, 0] - colours[:, 2]) > 20
    grey = (np.ptp(colours[:, :3], axis=1) <= 8) & (colours[:, 0] > 20)
    assert tinted.sum() > 20 and grey.sum() > 20
    logic.SetMRMLScene(None)
