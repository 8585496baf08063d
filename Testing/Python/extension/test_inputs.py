"""Nodes as inputs: what gets into the files, and what is refused by name."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from Testing.Python.extension import scenes

ALL = pytest.mark.parametrize("geometry", scenes.GEOMETRIES)


def refusal(lib, *nodes, **more) -> str:
    """The sentence of a refusal."""
    with pytest.raises(lib.inputs.InputProblem) as caught:
        lib.inputs.checkInputs(*nodes, **more)
    return str(caught.value)


def readLabels(files):
    from DRDMCore.imaging import read_labels

    return read_labels(files.labels)


def exported(segmentationNode, volumeNode):
    """The labels as Slicer itself exports all segments onto a volume."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    identifiers = list(segmentationNode.GetSegmentation().GetSegmentIDs())
    assert logic.ExportSegmentsToLabelmapNode(segmentationNode, identifiers, node, volumeNode)
    return slicer.util.arrayFromVolume(node).copy()


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]
)
def test_numbers_and_their_type_are_kept(lib, tmp_path, dtype):
    from DRDMCore.imaging import read_image

    array = (scenes.imageArray(dtype=np.float64) / 60).astype(dtype)
    read = read_image(lib.inputs.writeInputs(scenes.volume(array), None, tmp_path).image)
    assert read.array.dtype == dtype
    np.testing.assert_array_equal(read.array, array)


@ALL
def test_segments_equal_slicers_own_export_voxel_for_voxel(lib, tmp_path, geometry):
    volume = scenes.volume(geometry=geometry)
    segmentation = scenes.segmentation(volume)
    files = lib.inputs.writeInputs(volume, segmentation, tmp_path)
    labels = readLabels(files)
    for array in (scenes.labelsArray(), exported(segmentation, volume)):
        np.testing.assert_array_equal(labels.array, scenes.inFiles(array, geometry))
    np.testing.assert_allclose(labels.geometry.affine, scenes.fileMatrixOf(geometry), atol=1e-8)
    assert labels.label_names == files.names == {1: "Liver", 2: "Spleen"}


@ALL
def test_a_segmentation_of_another_grid_comes_to_the_grid_of_the_volume(lib, tmp_path, geometry):
    volume = scenes.volume(geometry=geometry)
    fine = scenes.volume(scenes.imageArray((17, 23, 29)), "plain", "fine")
    fine.SetSpacing(1.1, 1.3, 1.9)
    centre = scenes.matrixOf(geometry) @ (*(np.array(scenes.SHAPE[::-1]) / 2), 1)
    corner = np.array([29 * 1.1, 23 * 1.3, 17 * 1.9]) / 2
    fine.SetOrigin(centre[:3] - corner)
    segmentation = scenes.segmentation(fine)
    read = readLabels(lib.inputs.writeInputs(volume, segmentation, tmp_path))
    assert read.geometry.shape == scenes.SHAPE
    assert set(np.unique(read.array)) == {0, 1, 2}
    expected = scenes.inFiles(exported(segmentation, volume), geometry)
    np.testing.assert_array_equal(read.array, expected)


def test_files_are_hashed_as_they_are(lib, tmp_path):
    volume = scenes.volume()
    files = lib.inputs.writeInputs(volume, scenes.segmentation(volume), tmp_path)
    for key, path in (("image", files.image), ("labels", files.labels)):
        assert files.sha256[key] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert lib.inputs.writeInputs(volume, None, tmp_path / "two").sha256["labels"] is None


def test_names_in_any_script_reach_the_core(lib, tmp_path):
    volume = scenes.volume(name='Größe μ/数据 "1"')
    labels = scenes.labelsArray()
    masks = {"Foie (gauche): é;=": labels == 1, "脾臓 <b>": labels == 2}
    files = lib.inputs.writeInputs(volume, scenes.segmentation(volume, masks), tmp_path / "Jörg 数")
    assert readLabels(files).label_names == files.names == dict(zip((1, 2), masks, strict=True))
    assert files.image.name == "Groe_1.nrrd"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("MRHead", "MRHead"),
        ("3: T1 ax/sag", "3_T1_ax_sag"),
        ("../..", "image"),
        ("数据", "image"),
        ("CON", "CON_"),
        ("a" * 90, "a" * 40),
        (None, "image"),
    ],
)
def test_file_names_are_safe(lib, name, safe):
    assert lib.inputs.safeName(name) == safe


def test_the_originals_stay_as_they_are(lib, tmp_path):
    volume = scenes.volume(geometry="oblique")
    segmentation = scenes.segmentation(volume)
    before = scenes.fingerprint(volume, segmentation)
    lib.inputs.checkInputs(volume, segmentation)
    lib.inputs.writeInputs(volume, segmentation, tmp_path)
    assert scenes.fingerprint(volume, segmentation) == before


def test_a_segmentation_of_surfaces_is_turned_into_voxels_in_a_copy(lib, tmp_path, scene):
    import slicer

    volume = scenes.volume(geometry="oblique and flipped")
    drawn = scenes.segmentation(volume)
    drawn.CreateClosedSurfaceRepresentation()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    for name in ("Liver", "Spleen"):
        identifier = drawn.GetSegmentation().GetSegmentIdBySegmentName(name)
        shape = drawn.GetClosedSurfaceInternalRepresentation(identifier)
        node.AddSegmentFromClosedSurfaceRepresentation(shape, name, (1, 0, 0))
    before = scenes.fingerprint(node)
    files = lib.inputs.writeInputs(volume, node, tmp_path)
    assert scenes.fingerprint(node) == before
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")
    read, truth = readLabels(files).array, scenes.labelsArray()[::-1]
    for value in (1, 2):
        overlap = np.sum((read == value) & (truth == value))
        assert 2 * overlap / (np.sum(read == value) + np.sum(truth == value)) > 0.85
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


@ALL
def test_a_label_map_takes_the_place_of_a_segmentation(lib, tmp_path, geometry):
    volume = scenes.volume(geometry=geometry)
    labels = scenes.labelsArray().astype(np.int16)
    labels[labels == 2] = 300
    node = scenes.volume(labels, geometry, "map", "vtkMRMLLabelMapVolumeNode")
    files = lib.inputs.writeInputs(volume, node, tmp_path)
    read = readLabels(files)
    np.testing.assert_array_equal(read.array, scenes.inFiles(labels, geometry))
    assert set(files.names) == {1, 300} and all(files.names.values())


def test_a_label_map_of_another_grid_is_moved_by_nearest_neighbour(lib, tmp_path):
    volume = scenes.volume()
    node = scenes.volume(
        np.kron(scenes.labelsArray(), np.ones((2, 2, 2), np.uint8)),
        "plain",
        "map",
        "vtkMRMLLabelMapVolumeNode",
    )
    node.SetSpacing(0.5, 0.5, 0.5)
    node.SetOrigin(np.array(scenes.ORIGIN) - 0.25)
    read = readLabels(lib.inputs.writeInputs(volume, node, tmp_path))
    np.testing.assert_array_equal(read.array, scenes.labelsArray())


def test_names_of_a_label_map_come_from_its_colours(lib, tmp_path, scene):
    import slicer

    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "colours")
    table.SetTypeToUser()
    table.SetNumberOfColors(3)
    for value, name in enumerate(["background", "Herz", "Lunge ü"]):
        table.SetColor(value, name, 1, 0, 0, 1)
    volume = scenes.volume()
    node = scenes.volume(scenes.labelsArray(), "plain", "map", "vtkMRMLLabelMapVolumeNode")
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    assert isinstance(node, slicer.vtkMRMLLabelMapVolumeNode)
    assert readLabels(lib.inputs.writeInputs(volume, node, tmp_path)).label_names == {
        1: "Herz",
        2: "Lunge ü",
    }


def test_an_empty_segment_keeps_its_number_and_its_name(lib, tmp_path):
    volume, labels = scenes.volume(), scenes.labelsArray()
    masks = {"Liver": labels == 1, "Nothing": labels == 9, "Spleen": labels == 2}
    files = lib.inputs.writeInputs(volume, scenes.segmentation(volume, masks), tmp_path)
    assert files.names == {1: "Liver", 2: "Nothing", 3: "Spleen"}
    read = readLabels(files)
    assert read.label_names == files.names
    np.testing.assert_array_equal(read.array, np.array([0, 1, 3], np.uint8)[labels])


def test_segments_that_overlap_are_refused_by_name(lib, tmp_path):
    volume, labels = scenes.volume(), scenes.labelsArray()
    masks = {
        "Liver": labels == 1,
        "Tumour é": scenes.ball(labels.shape, (0.5, 0.4, 0.35), [0.1] * 3),
    }
    shared = int(np.sum(masks["Liver"] & masks["Tumour é"]))
    with pytest.raises(lib.inputs.InputProblem) as caught:
        lib.inputs.writeInputs(volume, scenes.segmentation(volume, masks), tmp_path)
    for part in ("Organs", "'Liver' and 'Tumour é'", f"{shared} voxels"):
        assert part in str(caught.value)


def test_segments_without_a_voxel_in_the_volume_are_refused(lib, tmp_path):
    volume = scenes.volume()
    elsewhere = scenes.volume(name="elsewhere")
    elsewhere.SetOrigin(500, 500, 500)
    empty = {"Liver": np.zeros(scenes.SHAPE, bool)}
    for node in (scenes.segmentation(elsewhere), scenes.segmentation(volume, empty)):
        with pytest.raises(lib.inputs.InputProblem, match="'Organs' must have a voxel inside 'CT'"):
            lib.inputs.writeInputs(volume, node, tmp_path)


def test_without_a_volume_nothing_goes(lib, scene):
    assert "none is" in refusal(lib, None)
    volume = scenes.volume()
    scene.RemoveNode(volume)
    assert "none is" in refusal(lib, volume)


def test_a_label_map_is_no_image(lib):
    node = scenes.volume(scenes.labelsArray(), name="map", className="vtkMRMLLabelMapVolumeNode")
    assert "'map' must be an image, but is a label map" in refusal(lib, node)


def test_a_volume_without_voxels_is_refused(lib, scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "void")
    assert "'void' must hold voxels" in refusal(lib, node)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_several_numbers_per_voxel_are_refused(lib, count):
    array = np.stack([scenes.imageArray()] * count, -1)
    node = scenes.volume(array, name="series", className="vtkMRMLVectorVolumeNode")
    assert f"'series' must have one number per voxel, but has {count}" in refusal(lib, node)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(lib, value):
    array = scenes.imageArray(dtype=np.float32)
    array[3, 4, 5:7] = value
    node = scenes.volume(array, name="holes")
    assert "'holes' must hold finite numbers, but 2 voxels" in refusal(lib, node)
    lib.inputs.checkInputs(node, values=False)


def test_an_image_of_one_value_is_refused(lib):
    node = scenes.volume(np.full(scenes.SHAPE, 7, np.int16), name="flat")
    assert "'flat' must show something, but every voxel is 7" in refusal(lib, node)


def test_a_sheared_volume_is_refused(lib):
    import slicer

    node = scenes.volume(name="tilted")
    matrix = scenes.matrixOf("oblique")
    matrix[:3, 2] += 0.2 * matrix[:3, 1]
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    assert "'tilted' must stand at right angles" in refusal(lib, node)


def test_a_line_of_voxels_is_refused(lib):
    node = scenes.volume(np.arange(9, dtype=np.int16).reshape(1, 1, 9), name="line")
    assert "'line' must be at least a whole slice, but has 9 x 1 x 1" in refusal(lib, node)


def test_what_holds_no_labels_is_no_segmentation(lib, scene):
    volume = scenes.volume()
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    assert "'empty' must have a segment" in refusal(lib, volume, empty)
    image = scenes.volume(name="other")
    assert "'other' must be a segmentation or a label map" in refusal(lib, volume, image)
    wrong = scenes.volume(
        scenes.imageArray(dtype=np.float32), name="part", className="vtkMRMLLabelMapVolumeNode"
    )
    assert "labels of 'part' must be whole numbers" in refusal(lib, volume, wrong)
    gone = scenes.segmentation(volume)
    scene.RemoveNode(gone)
    assert "is gone" in refusal(lib, volume, gone)


def test_negative_labels_are_refused(lib, tmp_path):
    labels = scenes.labelsArray().astype(np.int16) - 1
    node = scenes.volume(labels, name="signed", className="vtkMRMLLabelMapVolumeNode")
    with pytest.raises(lib.inputs.InputProblem, match=r"'signed' must be 0 or more.* is -1"):
        lib.inputs.writeInputs(scenes.volume(), node, tmp_path)


def test_different_parents_are_refused_by_name(lib):
    volume = scenes.volume()
    segmentation = scenes.segmentation(volume)
    first, second = scenes.linearTransform("first"), scenes.linearTransform("second")
    volume.SetAndObserveTransformNodeID(first.GetID())
    text = refusal(lib, volume, segmentation)
    assert (
        "'CT' and 'Organs' must be under the same transform" in text and "'first' and none" in text
    )
    segmentation.SetAndObserveTransformNodeID(second.GetID())
    assert "'first' and 'second'" in refusal(lib, volume, segmentation)
    segmentation.SetAndObserveTransformNodeID(first.GetID())
    lib.inputs.checkInputs(volume, segmentation)


def test_a_common_parent_changes_nothing_in_the_files(lib, tmp_path):
    volume = scenes.volume(geometry="oblique and flipped")
    segmentation = scenes.segmentation(volume)
    before = lib.inputs.writeInputs(volume, segmentation, tmp_path / "before").sha256
    parent = scenes.linearTransform()
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    assert lib.inputs.writeInputs(volume, segmentation, tmp_path / "after").sha256 == before


def test_a_volume_that_shows_a_sample_is_written_as_it_is_without(lib, tmp_path):
    volume = scenes.volume(geometry="oblique")
    segmentation = scenes.segmentation(volume)
    parent = scenes.linearTransform()
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    case = scenes.Case(lib, tmp_path, volume, segmentation)
    lib.display.showSample(case.sample())
    again = lib.inputs.writeInputs(volume, segmentation, tmp_path / "again")
    assert again.sha256 == case.files.sha256
    assert lib.inputs.baseTransformOf(volume) is parent
    segmentation.SetAndObserveTransformNodeID(parent.GetID())
    lib.inputs.checkInputs(volume, segmentation)


def test_what_was_computed_from_a_sample_is_no_input(lib):
    node = scenes.volume(name="det J")
    node.SetAttribute("DRDM.derived", "jacobian")
    assert "'det J' must be an image, but was computed from a sample" in refusal(lib, node)


def test_an_item_of_a_sequence_is_taken_and_said_to_be_one(lib, tmp_path, scene):
    from DRDMCore.imaging import read_image

    volume = scenes.volume(name="beating")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "frames")
    for number in range(3):
        array = scenes.imageArray() + number
        item = scenes.volume(array, name=f"frame{number}")
        sequence.SetDataNodeAtValue(item, str(number))
        scene.RemoveNode(item)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "cine")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(volume, sequence, False)
    browser.SetSelectedItemNumber(0)
    case = scenes.Case(lib, tmp_path, volume)
    assert lib.inputs.inputRemarks(volume) == [
        "'beating' is item 1 of 3 of the sequence 'cine': samples are made from this item."
    ]
    node = case.sample()
    lib.display.showSample(node)
    browser.SetSelectedItemNumber(2)
    assert volume.GetParentTransformNode() is node
    assert scenes.changed(lib, volume, None, case.files.content)
    files = lib.inputs.writeInputs(volume, None, tmp_path / "third")
    np.testing.assert_array_equal(read_image(files.image).array, scenes.imageArray() + 2)
    browser.SetSelectedItemNumber(0)
    assert not scenes.changed(lib, volume, None, case.files.content)
    assert lib.inputs.inputRemarks(scenes.volume(name="single")) == []


def test_changes_of_the_inputs_are_noticed(lib, tmp_path, scene):
    import slicer

    volume = scenes.volume()
    segmentation = scenes.segmentation(volume)
    files = lib.inputs.writeInputs(volume, segmentation, tmp_path)

    def changed():
        return scenes.changed(lib, volume, segmentation, files.content)

    assert not changed()
    array = slicer.util.arrayFromVolume(volume)
    array[2, 3, 4] += 1
    slicer.util.arrayFromVolumeModified(volume)
    assert changed()
    array[2, 3, 4] -= 1
    slicer.util.arrayFromVolumeModified(volume)
    assert not changed()
    origin = volume.GetOrigin()
    volume.SetOrigin(1, 2, 3)
    assert changed()
    volume.SetOrigin(origin)
    assert not changed()
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    segment.SetName("Other")
    assert changed()
    segment.SetName("Liver")
    assert not changed()
    mask = np.zeros(scenes.SHAPE, np.uint8)
    identifier = segmentation.GetSegmentation().GetNthSegmentID(1)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, identifier, volume)
    assert changed()
    assert scenes.changed(lib, volume, None, files.content)
    scene.RemoveNode(segmentation)
    assert changed()


def test_looks_and_transforms_are_no_change_of_the_inputs(lib, tmp_path):
    volume = scenes.volume()
    segmentation = scenes.segmentation(volume)
    case = scenes.Case(lib, tmp_path, volume, segmentation)
    lib.display.showSample(case.sample())
    volume.SetName("renamed")
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 10)
    segmentation.GetSegmentation().GetNthSegment(0).SetColor(0, 0, 1)
    segmentation.CreateClosedSurfaceRepresentation()
    assert not scenes.changed(lib, volume, segmentation, case.files.content)


def test_a_disk_that_is_full_is_told(lib, tmp_path):
    (tmp_path / "CT.nrrd").mkdir()
    with pytest.raises(OSError, match="cannot be written"):
        lib.inputs.writeInputs(scenes.volume(), None, tmp_path)
