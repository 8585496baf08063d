"""The scene: files, subject hierarchy, closing."""

from __future__ import annotations

import numpy as np
import pytest


def scan(name="scan"):
    import slicer

    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    matrix = np.array([[0.6, -1.6, 0, 7], [0.8, 1.2, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1.0]])
    return slicer.util.addVolumeFromArray(values, matrix, name)


def labels(volume, name="labels"):
    import slicer

    values = (slicer.util.arrayFromVolume(volume) > 60).astype(np.uint8)
    matrix = slicer.util.arrayFromVTKMatrix(_matrix(volume))
    kind = "vtkMRMLLabelMapVolumeNode"
    return slicer.util.addVolumeFromArray(values, matrix, name, kind)


def _matrix(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def segmentation(volume):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    source = labels(volume)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(source, node)
    slicer.mrmlScene.RemoveNode(source)
    return node


def transform(size=4):
    import slicer
    import vtk

    image = vtk.vtkImageData()
    image.SetDimensions(size, size, size)
    image.SetSpacing(4, 4, 4)
    image.AllocateScalars(vtk.VTK_FLOAT, 3)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "field")
    node.SetAndObserveTransformFromParent(grid)
    values = slicer.util.arrayFromGridTransform(node)
    values[...] = np.random.default_rng(1).normal(size=values.shape)
    return node


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_volumes_survive_files(ending, harness, tmp_path):
    import slicer

    volume = scan()
    assert slicer.util.saveNode(volume, str(tmp_path / f"scan{ending}"))
    again = slicer.util.loadVolume(tmp_path / f"scan{ending}", {"name": "again"})
    assert again.GetName() == "again" and again is not volume
    np.testing.assert_array_equal(*map(slicer.util.arrayFromVolume, (volume, again)))
    pair = [slicer.util.arrayFromVTKMatrix(_matrix(each)) for each in (volume, again)]
    np.testing.assert_allclose(*pair, atol=1e-6)
    harness.clearScene()
    assert slicer.util.loadVolume(tmp_path / f"scan{ending}").GetName() == "scan"


def test_label_maps_and_segmentations_survive_files(harness, tmp_path):
    import slicer

    volume = scan()
    node = segmentation(volume)
    ids = node.GetSegmentation().GetSegmentIDs()
    before = slicer.util.arrayFromSegmentBinaryLabelmap(node, ids[0], volume)
    assert slicer.util.saveNode(node, str(tmp_path / "seg.seg.nrrd"))
    again = slicer.util.loadSegmentation(str(tmp_path / "seg.seg.nrrd"))
    after = slicer.util.arrayFromSegmentBinaryLabelmap(again, ids[0], volume)
    np.testing.assert_array_equal(before, after)
    assert before.sum() == 59 and again.GetName() == "seg"
    slicer.util.saveNode(labels(volume), str(tmp_path / "labels.nrrd"))
    loaded = slicer.util.loadLabelVolume(str(tmp_path / "labels.nrrd"))
    assert loaded.IsA("vtkMRMLLabelMapVolumeNode")


@pytest.mark.parametrize("ending", [".h5", ".nrrd"])
def test_transforms_survive_files(ending, harness, tmp_path):
    import slicer

    node = transform()
    slicer.util.exportNode(node, str(tmp_path / f"field{ending}"))
    assert node.GetStorageNode() is None  # exported, not saved
    again = slicer.util.loadTransform(str(tmp_path / f"field{ending}"))
    pair = [slicer.util.arrayFromGridTransform(each) for each in (node, again)]
    np.testing.assert_allclose(*pair, atol=1e-6)


def test_files_that_cannot_be_read_are_told(harness, tmp_path):
    import slicer
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()  # the readers complain on the console
    try:
        with pytest.raises(RuntimeError, match=r"none\.nrrd"):
            slicer.util.loadVolume(str(tmp_path / "none.nrrd"))
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()
    with pytest.raises(AttributeError, match="strange"):
        slicer.util.loadVolume(str(tmp_path / "none.nrrd"), {"strange": 1})
    with pytest.raises(ValueError, match="no known file format"):
        slicer.util.exportNode(scan(), str(tmp_path / "scan.unheard"), {})


@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
def test_scenes_survive_files(ending, harness, tmp_path):
    import slicer

    volume, node = scan(), transform()
    seg = segmentation(volume)
    volume.SetAndObserveTransformNodeID(node.GetID())
    volume.SetAttribute("DRDM.name", "original")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "DRDM samples")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), folder)
    values = slicer.util.arrayFromGridTransform(node).copy()
    if ending == ".mrml":
        for each, name in ((volume, "v.nrrd"), (node, "t.h5"), (seg, "s.seg.nrrd")):
            slicer.util.saveNode(each, str(tmp_path / name))
    assert slicer.util.saveScene(str(tmp_path / f"scene{ending}"))
    harness.clearScene()
    assert slicer.mrmlScene.GetFirstNodeByName("scan") is None
    slicer.util.loadScene(str(tmp_path / f"scene{ending}"))
    volume, node = map(slicer.util.getNode, ("scan", "field"))
    assert volume.GetParentTransformNode() is node
    assert volume.GetAttribute("DRDM.name") == "original"
    np.testing.assert_allclose(slicer.util.arrayFromGridTransform(node), values, atol=1e-6)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    assert hierarchy.GetItemName(parent) == "DRDM samples"
    assert slicer.util.getNode("seg").GetSegmentation().GetNumberOfSegments() == 1


def test_subject_hierarchy_follows_the_scene(harness):
    import slicer

    volume, node = scan(), transform()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    items = [hierarchy.GetItemByDataNode(each) for each in (volume, node)]
    assert all(items) and hierarchy.GetItemName(items[0]) == "scan"
    volume.SetName("renamed")
    assert hierarchy.GetItemName(items[0]) == "renamed"
    slicer.mrmlScene.RemoveNode(volume)
    assert slicer.util.getSubjectHierarchyItemChildren() == [items[1]]
    hidden = slicer.mrmlScene.CreateNodeByClass("vtkMRMLTransformNode")
    hidden.UnRegister(None)
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert not hierarchy.GetItemByDataNode(hidden)
    harness.clearScene()
    assert slicer.util.getSubjectHierarchyItemChildren() == []


def test_closing_tells(harness):
    import slicer

    told = []
    scene = slicer.mrmlScene
    tags = [
        scene.AddObserver(event, lambda *ignored, name=name: told.append(name))
        for name, event in (("start", scene.StartCloseEvent), ("end", scene.EndCloseEvent))
    ]
    scan()
    harness.clearScene()
    for tag in tags:
        scene.RemoveObserver(tag)
    assert told == ["start", "end"]
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_reset_removes_what_closing_keeps(harness):
    import slicer

    for kind in ("vtkMRMLSliceNode", "vtkMRMLScriptedModuleNode"):
        node = slicer.mrmlScene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetSingletonTag("Mine")
        slicer.mrmlScene.AddNode(node)
    harness.clearScene()
    assert slicer.mrmlScene.GetSingletonNode("Mine", "vtkMRMLSliceNode") is not None
    harness.reset()
    for kind in ("vtkMRMLSliceNode", "vtkMRMLScriptedModuleNode"):
        assert slicer.mrmlScene.GetSingletonNode("Mine", kind) is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode") == 3


def test_views_have_nodes_and_logics(harness):
    import slicer

    volume = scan()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    manager = slicer.app.layoutManager()
    assert manager.sliceViewNames() == ("Red", "Yellow", "Green")
    logic = manager.sliceWidget("Yellow").sliceLogic()
    assert logic.GetBackgroundLayer().GetVolumeNode() is volume
    assert logic.GetSliceNode().GetOrientation() == "Sagittal"
    slicer.util.setSliceViewerLayers(background=volume, rotateToVolumePlane=True)
    assert logic.GetSliceNode().GetOrientation() == "Reformat"
    harness.reset()
    assert logic.GetSliceNode().GetOrientation() == "Sagittal"
    slicer.util.resetSliceViews()
    slicer.util.resetThreeDViews()
    with pytest.raises(AttributeError, match="Testing/Harness"):
        manager.tableWidget(0)


def test_a_sequence_steps_a_transform(harness):
    import slicer

    first, second = transform(), transform()
    slicer.util.arrayFromGridTransform(second)[...] = 2
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for index, each in enumerate((first, second)):
        sequence.SetDataNodeAtValue(each, str(index))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    proxy = browser.GetProxyNode(sequence)
    browser.SetSelectedItemNumber(1)
    assert np.all(slicer.util.arrayFromGridTransform(proxy) == 2)
