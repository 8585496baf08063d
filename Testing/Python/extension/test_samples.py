"""Samples as transform nodes: what they do to data, what they know, and how they survive."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.extension import scenes

ALL = pytest.mark.parametrize("geometry", scenes.GEOMETRIES)
INSIDE = (slice(1, -1),) * 3
"""Without the outermost voxels, where resamplers differ in what lies outside."""


@pytest.fixture
def case(lib, tmp_path):
    """An oblique, flipped volume with a segmentation."""
    volume = scenes.volume(scenes.imageArray(dtype=np.float32), "oblique and flipped")
    return scenes.Case(lib, tmp_path, volume, scenes.segmentation(volume))


def resampled(volume, reference):
    """What Slicer shows of a volume, on the grid of another."""
    import slicer

    moved = slicer.vtkSlicerVolumesLogic.ResampleVolumeToReferenceVolume(volume, reference)
    return slicer.util.arrayFromVolume(moved).copy()


def stillCopy(volume, parent):
    """A copy of a volume that shows no sample."""
    import slicer

    copy = slicer.mrmlScene.AddNewNodeByClass(volume.GetClassName(), "reference")
    slicer.util.updateVolumeFromArray(copy, slicer.util.arrayFromVolume(volume))
    copy.CopyOrientation(volume)
    copy.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    return copy


def worldCopy(volume, parent):
    """Such a copy with the transform above it in its matrix.

    Slicer's resampling of volumes takes the transform of the input for that of the reference.
    """
    copy = stillCopy(volume, parent)
    copy.HardenTransform()
    return copy


def movedByCore(case, field):
    """Image and labels as DRDMCore moves them."""
    from DRDMCore.imaging import apply_field, read_field, read_image, read_labels

    read = read_field(field)
    image = apply_field(read_image(case.files.image), read)
    return image.array, apply_field(read_labels(case.files.labels), read).array


def exportedSegments(segmentationNode, reference):
    """The segments as Slicer exports them, with the transform that they are under."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    identifiers = list(segmentationNode.GetSegmentation().GetSegmentIDs())
    assert slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
        segmentationNode, identifiers, node, reference
    )
    return slicer.util.arrayFromVolume(node)


@ALL
@pytest.mark.parametrize("under", [False, True], ids=["in the world", "under a transform"])
def test_slicer_shows_what_the_core_computes(lib, tmp_path, geometry, under):
    parent = scenes.linearTransform() if under else None
    volume = scenes.volume(scenes.imageArray(dtype=np.float32), geometry)
    segmentation = scenes.segmentation(volume)
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID() if under else None)
    case = scenes.Case(lib, tmp_path, volume, segmentation)
    reference = stillCopy(volume, parent)
    lib.display.showSample(case.sample(seed=2))
    image, labels = movedByCore(case, case.field(seed=2))
    moved = scenes.inFiles(resampled(volume, worldCopy(volume, parent)), geometry)
    span = float(np.ptp(image))
    assert np.abs(moved - image)[INSIDE].max() < 1e-3 * span
    still = scenes.inFiles(scenes.imageArray(dtype=np.float32), geometry)
    assert np.abs(image - still)[INSIDE].max() > 0.1 * span
    exported = scenes.inFiles(exportedSegments(segmentation, reference), geometry)
    assert np.count_nonzero(exported != labels) <= 2  # ties of the nearest neighbour
    assert np.count_nonzero(labels != scenes.inFiles(scenes.labelsArray(), geometry)) > 50


@pytest.mark.parametrize("geometry", ["dicom", "oblique"])
def test_a_single_slice_is_shown_as_the_core_computes_it(lib, tmp_path, geometry):
    array = scenes.imageArray((1, 40, 32), np.float32)
    array += 500 * np.random.default_rng(2).random(array.shape, np.float32)
    volume = scenes.volume(array, geometry)
    labels = scenes.labelsArray((3, 40, 32))[1:2]
    masks = {"Liver": labels == 1, "Spleen": labels == 2}
    case = scenes.Case(lib, tmp_path, volume, scenes.segmentation(volume, masks))
    reference = stillCopy(volume, None)
    lib.display.showSample(case.sample())
    image, labels = movedByCore(case, case.field())
    moved, span = resampled(volume, reference), float(np.ptp(image))
    inside = (slice(None), slice(1, -1), slice(1, -1))
    assert np.abs(moved - image)[inside].max() < 1e-3 * span
    assert np.abs(image - array)[inside].max() > 0.1 * span
    # Slicer's own export loses voxels of a single oblique slice, even without a displacement.
    if geometry == "dicom":
        exported = exportedSegments(case.segmentation, reference)
        assert labels.any() and np.count_nonzero(exported != labels) <= 2


@ALL
@pytest.mark.parametrize("ending", ["nrrd", "h5", "nii.gz"])
def test_slicers_files_of_a_sample_give_the_same_warp(lib, tmp_path, geometry, ending):
    case = scenes.Case(lib, tmp_path, scenes.volume(geometry=geometry))
    node = case.sample()
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(tmp_path / f"slicer.{ending}"))
    assert storage.WriteData(node)
    again = storage.GetScene() or lib.samples.slicer.mrmlScene
    read = again.AddNewNodeByClass("vtkMRMLTransformNode", "read")
    assert storage.ReadData(read)
    lib.samples.fieldOf(read).write(tmp_path / "written.nrrd")
    image = sitk.ReadImage(str(case.files.image), sitk.sitkFloat32)
    warps = []
    for path in (case.field(), tmp_path / "written.nrrd"):
        field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
        transform = sitk.DisplacementFieldTransform(field)
        warps.append(sitk.GetArrayFromImage(sitk.Resample(image, image, transform)))
    direct = transformOfFile(tmp_path / f"slicer.{ending}")
    warps.append(sitk.GetArrayFromImage(sitk.Resample(image, image, direct)))
    span = float(np.ptp(sitk.GetArrayFromImage(image)))
    for warp in warps[1:]:
        assert np.abs(warp - warps[0])[INSIDE].max() < 1e-3 * span
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "written.nrrd"))),
        sitk.GetArrayFromImage(sitk.ReadImage(str(case.field()))),
    )


def transformOfFile(path):
    """The transform of a file as SimpleITK reads it."""
    if path.suffix == ".h5":
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def test_all_that_is_known_of_a_sample_can_be_read_back(lib, case):
    node = case.sample(seed=2**62)
    (sample,) = lib.samples.samplesOf(case.volume)
    assert sample.node is node
    assert (sample.name, sample.seed, sample.level) == ("CT_0001", 2**62, 30)
    assert (sample.amplitude, sample.keep) == (1.0, True)
    assert (sample.quality, sample.model) == (scenes.QUALITY, scenes.MODEL)
    assert (sample.settings, sample.versions) == (scenes.SETTINGS, scenes.VERSIONS)
    assert sample.inputHashes == case.files.sha256
    assert sample.volumeNode is case.volume and sample.segmentationNode is case.segmentation
    lib.samples.setKeep(node, False)
    assert not lib.samples.sampleOf(node).keep


def test_a_new_sample_changes_nothing_but_the_list(lib, case):
    before = scenes.fingerprint(case.volume, case.segmentation)
    case.sample()
    case.sample(seed=1)
    assert scenes.fingerprint(case.volume, case.segmentation) == before
    assert scenes.parentOf(case.volume) is scenes.parentOf(case.segmentation) is None


def test_names_are_unique_and_safe_for_files(lib, case, tmp_path):
    twin = scenes.Case(lib, tmp_path / "twin", scenes.volume(name="CT"))
    other = scenes.Case(lib, tmp_path / "other", scenes.volume(name="Größe 数/1"))
    nodes = [each.sample() for each in (case, twin, case, other, other)]
    names = [lib.samples.sampleOf(each).name for each in nodes]
    assert names == ["CT_0001", "CT_0002", "CT_0003", "Groe_1_0001", "Groe_1_0002"]
    assert nodes[3].GetName() == "Größe 数/1_0001"
    assert [each.node for each in lib.samples.samplesOf(twin.volume)] == [nodes[1]]
    assert [each.node for each in lib.samples.samplesOf()] == nodes


def test_samples_lie_in_one_folder_per_volume(lib, case, tmp_path, scene):
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = tree.CreateFolderItem(tree.GetSceneItemID(), "study")
    tree.SetItemParent(
        tree.GetItemByDataNode(case.volume) or tree.CreateItem(study, case.volume), study
    )
    other = scenes.Case(lib, tmp_path / "other", scenes.volume(name="é"))
    nodes = [each.sample(seed) for seed, each in enumerate((case, other, case))]
    folders = [tree.GetItemParent(tree.GetItemByDataNode(each)) for each in nodes]
    assert folders[0] == folders[2] != folders[1]
    assert tree.GetItemName(folders[0]) == "DRDM samples of CT"
    assert tree.GetItemName(folders[1]) == "DRDM samples of é"
    assert tree.GetItemParent(folders[0]) == study
    case.volume.SetName("renamed")
    assert tree.GetItemParent(tree.GetItemByDataNode(case.sample(4))) == folders[0]
    lib.samples.removeSample(nodes[1])
    assert not tree.GetItemByName("DRDM samples of é")
    lib.samples.removeSample(nodes[0])
    assert tree.GetItemByName("DRDM samples of CT") == folders[0]


def test_the_base_of_a_sample_is_that_of_its_volume(lib, case):
    parent = scenes.linearTransform()
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    first = case.sample()
    lib.display.showSample(first)
    assert first.GetParentTransformNode() is parent
    assert case.sample(seed=1).GetParentTransformNode() is parent


def test_a_field_of_another_grid_is_refused(lib, case, tmp_path, scene):
    other = scenes.Case(lib, tmp_path / "other", scenes.volume(geometry="oblique"))
    count = scene.GetNumberOfNodes()
    case.field = other.field
    with pytest.raises(lib.inputs.InputProblem, match="'CT' must lie on the grid"):
        case.sample()
    sitk.WriteImage(sitk.ReadImage(str(case.files.image)), str(tmp_path / "scalar.nrrd"))
    case.field = lambda *ignored: tmp_path / "scalar.nrrd"
    with pytest.raises(lib.inputs.InputProblem, match="1 numbers per voxel"):
        case.sample()
    case.field = lambda *ignored: tmp_path / "missing.nrrd"
    with pytest.raises(OSError, match=r"missing\.nrrd cannot be read"):
        case.sample()
    assert scene.GetNumberOfNodes() == count


def test_removing_a_shown_sample_shows_the_original(lib, case, scene):
    import slicer

    parent = scenes.linearTransform()
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    first = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    sample, other = case.sample(), case.sample(seed=1)
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    lib.display.showSample(sample)
    model.SetAndObserveTransformNodeID(sample.GetID())
    lib.display.setGridVisible(sample, "grid")
    lib.samples.setScaledField(sample, weaker(lib, case), 0.4, scenes.QUALITY)
    lib.samples.removeSample(sample)
    for node in (case.volume, case.segmentation, model):
        assert node.GetParentTransformNode() is parent
    assert [each.node for each in lib.samples.samplesOf()] == [other]
    with pytest.raises(lib.inputs.InputProblem, match="it is gone"):
        lib.samples.removeSample(sample)
    lib.samples.removeSample(other)
    slicer.mrmlScene.RemoveNode(model)
    left = [scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())]
    assert set(left) <= first, set(left) - first


def test_a_removed_volume_leaves_samples_that_can_be_removed(lib, case, scene):
    node = case.sample()
    lib.display.showSample(node)
    scene.RemoveNode(case.volume)
    (sample,) = lib.samples.samplesOf()
    assert sample.volumeNode is None and sample.segmentationNode is case.segmentation
    with pytest.raises(lib.inputs.InputProblem, match="must be in the scene, but was removed"):
        lib.display.showSample(node)
    lib.samples.removeSample(node)
    assert lib.samples.samplesOf() == []
    assert case.segmentation.GetParentTransformNode() is None
    with pytest.raises(lib.inputs.InputProblem, match="is gone"):
        case.sample()


def test_a_removed_segmentation_leaves_the_rest_at_work(lib, case, scene):
    node = case.sample()
    scene.RemoveNode(case.segmentation)
    lib.display.showSample(node)
    assert case.volume.GetParentTransformNode() is node
    lib.display.showOriginal(case.volume)
    assert case.volume.GetParentTransformNode() is None


def test_a_closed_scene_has_no_samples(lib, case, scene):
    node = case.sample()
    lib.display.showSample(node)
    scene.Clear(0)
    assert lib.samples.samplesOf() == []
    with pytest.raises(lib.inputs.InputProblem, match="it is gone"):
        lib.display.showSample(node)
    lib.display.showOriginal(case.volume)
    assert scenes.changed(lib, case.volume, case.segmentation, case.files.content)


def test_another_amplitude_keeps_the_drawn_field(lib, case, tmp_path):
    node = case.sample()
    lib.display.showSample(node)
    drawn = case.field().read_bytes()
    for factor in (0.5, 1.3):
        quality = {**scenes.QUALITY, "displacement_mm": {"max": 3.0 * factor}}
        scaled = case.field(amplitude=3.0 * factor)
        lib.samples.setScaledField(node, scenes.fieldIn(lib, scaled), factor, quality)
        sample = lib.samples.sampleOf(node)
        assert (sample.amplitude, sample.quality) == (factor, quality)
        lib.samples.fieldOf(node).write(tmp_path / "now.nrrd")
        lib.samples.baseFieldOf(node).write(tmp_path / "base.nrrd")
        assert pixels(tmp_path / "now.nrrd") == pixels(scaled)
        assert pixels(tmp_path / "base.nrrd") == pixels(case.field())
        assert case.volume.GetParentTransformNode() is node
        assert [each.node for each in lib.samples.samplesOf()] == [node]
    lib.samples.resetAmplitude(node)
    sample = lib.samples.sampleOf(node)
    assert (sample.amplitude, sample.quality) == (1.0, scenes.QUALITY)
    lib.samples.fieldOf(node).write(tmp_path / "now.nrrd")
    assert pixels(tmp_path / "now.nrrd") == pixels(case.field())
    assert case.field().read_bytes() == drawn
    lib.samples.resetAmplitude(node)


def test_the_transform_that_keeps_the_drawn_field_is_hidden(lib, case, scene):
    node = case.sample()
    lib.samples.setScaledField(node, weaker(lib, case), 1 / 3, scenes.QUALITY)
    base = node.GetNodeReference("DRDMBase")
    assert base.GetHideFromEditors() and not lib.sceneroles.isSample(base)


def test_a_scaled_field_of_another_grid_is_refused(lib, case, tmp_path):
    other = scenes.Case(lib, tmp_path / "other", scenes.volume(geometry="plain"))
    node = case.sample()
    with pytest.raises(lib.inputs.InputProblem, match="must lie on the grid of 'CT_0001'"):
        lib.samples.setScaledField(node, scenes.fieldIn(lib, other.field()), 0.5, {})
    assert lib.samples.sampleOf(node).amplitude == 1.0
    assert node.GetNodeReference("DRDMBase") is None


def weaker(lib, case):
    """The field of the first sample at a third."""
    return scenes.fieldIn(lib, case.field(amplitude=1.0))


def numbers(path):
    """The numbers of a field file; Slicer's files lose the sign of a zero."""
    return (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) + 0.0).tobytes()


def pixels(path):
    """The numbers of a field file."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).tobytes()


def test_a_sample_that_was_inverted_or_combined_is_refused(lib, case, tmp_path):
    for change in ("Inverse", "HardenTransform"):
        node = case.sample()
        parent = scenes.linearTransform()
        node.SetAndObserveTransformNodeID(parent.GetID())
        getattr(node, change)()
        with pytest.raises(lib.inputs.InputProblem, match="inverted or combined"):
            lib.samples.fieldOf(node).write(tmp_path / "field.nrrd")
        with pytest.raises(lib.inputs.InputProblem, match="inverted or combined"):
            lib.display.showSample(node)


@pytest.mark.parametrize("ending", ["nrrd", "h5"])
def test_a_saved_and_opened_scene_has_its_samples(lib, tmp_path, ending):
    volume = scenes.volume(geometry="oblique and flipped", name="Größe 数")
    segmentation = scenes.segmentation(volume, name="Organe é")
    parent = scenes.linearTransform()
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID())
    case = scenes.Case(lib, tmp_path, volume, segmentation)
    first, second = case.sample(), case.sample(seed=1)
    lib.samples.setKeep(second, False)
    scaled = scenes.fieldIn(lib, case.field(1, 2.0))
    lib.samples.setScaledField(second, scaled, 2 / 3, {"folding": {"voxels": 0}})
    lib.display.showSample(second)
    lib.display.setGridVisible(second, "contours")
    before = [facts(each) for each in lib.samples.samplesOf(volume)]
    path = scenes.saveScene(tmp_path / "säved", ending)
    scenes.openScene(path)
    volume = scenes.node("Größe 数")
    after = lib.samples.samplesOf(volume)
    assert [facts(each) for each in after] == before
    for sample in after:
        assert sample.volumeNode is volume
        assert sample.segmentationNode is scenes.node("Organe é")
        grid = lib.samples.gridTransformOf(sample.node)
        assert grid.GetInterpolationModeAsString() == "Linear"
        assert grid.GetDisplacementGrid().GetScalarTypeAsString() == "float"
    assert lib.display.shownSample(volume) is after[1].node
    assert not lib.samples.derivedNodes(after[1].node)  # what is drawn is made again
    lib.display.setGridVisible(after[1].node, "contours")
    assert lib.inputs.baseTransformOf(volume) is scenes.node("registration")
    organs = scenes.node("Organe é")
    assert not scenes.changed(lib, volume, organs, case.files.content)
    again = lib.inputs.writeInputs(volume, organs, tmp_path / "again")
    assert again.sha256 == case.files.sha256
    for each in after:
        lib.display.showSample(each.node)
    for read, drawn, node in (
        (case.field(), case.field(), after[0].node),
        (case.field(1, 2.0), case.field(1), after[1].node),
    ):
        lib.samples.fieldOf(node).write(tmp_path / "now.nrrd")
        lib.samples.baseFieldOf(node).write(tmp_path / "base.nrrd")
        assert numbers(tmp_path / "now.nrrd") == numbers(read)
        assert numbers(tmp_path / "base.nrrd") == numbers(drawn)
    lib.samples.removeSample(after[1].node)
    assert volume.GetParentTransformNode() is scenes.node("registration")
    assert first is not after[0].node


def facts(sample):
    """A sample without its nodes."""
    known = {each.name: getattr(sample, each.name) for each in dataclasses.fields(sample)}
    return {key: value for key, value in known.items() if not key.lower().endswith("node")}


@ALL
def test_landmarks_and_models_move_with_the_anatomy(lib, tmp_path, geometry, scene):
    import vtk

    parent = scenes.linearTransform()
    volume = scenes.volume(geometry=geometry)
    volume.SetAndObserveTransformNodeID(parent.GetID())
    case = scenes.Case(lib, tmp_path, volume)
    node = case.sample()
    vectors = sitk.GetArrayFromImage(sitk.ReadImage(str(case.field())))
    rng = np.random.default_rng(3)
    indices = rng.integers(2, np.array(scenes.SHAPE) - 2, (12, 3))
    shown = np.array([(scenes.fileMatrixOf(geometry) @ (i, j, k, 1))[:3] for k, j, i in indices])
    # The deformed image shows at `shown` what the original has at `drawn`.
    drawn = shown + vectors[tuple(indices.T)] * (-1, -1, 1)
    assert np.abs(drawn - shown).max() > 1
    marks = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    points = vtk.vtkPoints()
    for point in drawn:
        marks.AddControlPoint(vtk.vtkVector3d(*point))
        points.InsertNextPoint(point)
    surface = vtk.vtkPolyData()
    surface.SetPoints(points)
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    model.SetAndObservePolyData(surface)
    for each in (marks, model):
        each.SetAndObserveTransformNodeID(node.GetID())
    world = scenes.pointsThrough(parent, shown)
    positions = np.array([marks.GetNthControlPointPositionWorld(n) for n in range(len(drawn))])
    np.testing.assert_allclose(positions, world, atol=0.02)
    model.HardenTransform()
    hardened = np.array([model.GetPolyData().GetPoint(n) for n in range(len(drawn))])
    np.testing.assert_allclose(hardened, world, atol=0.02)


def test_the_core_makes_samples_that_land_in_the_scene(lib, tmp_path):
    """From nodes to files, through `drdm generate`, and back to nodes: hashes and warps agree."""
    from DRDMCore.pipelines.generate import GenerateJob, generate
    from DRDMCore.pipelines.settings import SamplingSettings

    volume = scenes.volume(geometry="oblique and flipped", name="Ärm")
    case = scenes.Case(lib, tmp_path, volume, scenes.segmentation(volume))
    manifest = generate(
        GenerateJob(
            image=case.files.image,
            labels=case.files.labels,
            out=tmp_path / "out",
            count=2,
            seed=7,
            sampling=SamplingSettings(mean_mm=1.0),
            image_format=".nrrd",
            report=False,
        )
    )
    assert manifest["input"]["image"]["sha256"] == case.files.sha256["image"]
    assert manifest["input"]["labels"]["sha256"] == case.files.sha256["labels"]
    reference = stillCopy(volume, None)
    order = slice(None, None, -1)
    for entry in manifest["samples"]:
        node = lib.samples.addSample(
            scenes.fieldIn(lib, tmp_path / "out" / entry["field"]),
            entry,
            volumeNode=volume,
            segmentationNode=case.segmentation,
            model=manifest["model"],
            settings=manifest["settings"],
            inputHashes=case.files.sha256,
            versions=manifest["versions"],
        )
        lib.display.showSample(node)
        made = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / entry["image"])))
        moved = resampled(volume, reference)[order]
        assert np.abs(moved.astype(float) - made)[INSIDE].max() <= 1  # whole numbers
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / entry["labels"])))
        exported = exportedSegments(case.segmentation, reference)[order]
        assert np.count_nonzero(exported != labels) <= 2
        lib.samples.fieldOf(node).write(tmp_path / "again.nrrd")
        assert pixels(tmp_path / "again.nrrd") == pixels(tmp_path / "out" / entry["field"])
    assert [each.seed for each in lib.samples.samplesOf(volume)] == [7, 8]
