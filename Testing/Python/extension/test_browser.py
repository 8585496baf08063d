"""A sequence browser of samples: its steps show them, and it leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.extension import scenes

UNDER = pytest.mark.parametrize("under", [False, True], ids=["in the world", "under a transform"])


@pytest.fixture
def case(lib, tmp_path):
    """A volume and a segmentation with three samples."""
    volume = scenes.volume(geometry="oblique and flipped")
    case = scenes.Case(lib, tmp_path, volume, scenes.segmentation(volume))
    case.samples = [case.sample(seed) for seed in range(3)]
    return case


def fieldOf(lib, node):
    """The numbers of the field of a transform."""
    grid = lib.samples.gridTransformOf(node).GetDisplacementGrid()
    return lib.nodegeometry.displacementsArray(grid).copy()


def put(case, parent):
    """Put volume and segmentation under a transform."""
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(parent.GetID() if parent else None)


@UNDER
def test_stepping_steps_the_deformation(lib, case, under):
    parent = scenes.linearTransform() if under else None
    put(case, parent)
    originals = [fieldOf(lib, each) for each in case.samples]
    before = scenes.fingerprint(case.volume, case.segmentation)
    browser = lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
    assert browser.GetNumberOfItems() == 3
    assert lib.browser.browserOf(case.volume) is browser
    for number in (2, 0, 1, 2):
        browser.SetSelectedItemNumber(number)
        proxy = case.volume.GetParentTransformNode()
        assert case.segmentation.GetParentTransformNode() is proxy
        assert proxy.GetParentTransformNode() is parent
        np.testing.assert_array_equal(fieldOf(lib, proxy), originals[number])
        assert lib.samples.gridTransformOf(proxy).GetInterpolationModeAsString() == "Linear"
        assert lib.display.shownSample(case.volume) is case.samples[number]
        assert lib.inputs.baseTransformOf(case.volume) is parent
    for node, original in zip(case.samples, originals, strict=True):
        np.testing.assert_array_equal(fieldOf(lib, node), original)
    assert scenes.fingerprint(case.volume, case.segmentation) == before
    assert [each.node for each in lib.samples.samplesOf()] == case.samples


def test_items_have_the_names_of_the_samples(lib, case):
    browser = lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume)[1:])
    sequence = browser.GetMasterSequenceNode()
    assert [sequence.GetNthIndexValue(i) for i in range(2)] == ["CT_0002", "CT_0003"]
    assert sequence.GetIndexName() == "sample"


@UNDER
@pytest.mark.parametrize("shown", [False, True], ids=["original", "sample"])
def test_removed_it_leaves_no_trace(lib, case, scene, under, shown):
    put(case, scenes.linearTransform() if under else None)
    if shown:
        lib.display.showSample(case.samples[1])
    nodes = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    parents = [scenes.parentOf(each) for each in (case.volume, case.segmentation)]
    for _ in range(2):
        browser = lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
        browser.SetSelectedItemNumber(2)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1
    lib.browser.removeBrowser(case.volume)
    assert [scenes.parentOf(each) for each in (case.volume, case.segmentation)] == parents
    assert {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())} == nodes
    lib.browser.removeBrowser(case.volume)


def test_sample_and_original_can_be_shown_while_there_is_a_browser(lib, case):
    parent = scenes.linearTransform()
    put(case, parent)
    lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
    lib.display.showSample(case.samples[1])
    assert case.volume.GetParentTransformNode() is case.samples[1]
    lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
    lib.display.showOriginal(case.volume)
    for node in (case.volume, case.segmentation):
        assert node.GetParentTransformNode() is parent


def test_a_removed_sample_takes_the_browser_along(lib, case, scene):
    browser = lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
    browser.SetSelectedItemNumber(1)
    lib.samples.removeSample(case.samples[1])
    assert lib.browser.browserOf(case.volume) is None
    assert (
        case.volume.GetParentTransformNode() is case.segmentation.GetParentTransformNode() is None
    )
    lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume)[:1])
    lib.samples.removeSample(case.samples[2])
    assert lib.browser.browserOf(case.volume) is not None


def test_a_browser_that_the_user_removed_does_no_harm(lib, case, scene):
    browser = lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
    scene.RemoveNode(browser)
    assert lib.browser.browserOf(case.volume) is None
    lib.display.showSample(case.samples[0])
    assert case.volume.GetParentTransformNode() is case.samples[0]
    lib.display.showOriginal(case.volume)
    assert case.volume.GetParentTransformNode() is None


def test_no_samples_or_those_of_another_volume_are_refused(lib, case):
    other = scenes.volume(name="other")
    with pytest.raises(lib.inputs.InputProblem, match="there is none"):
        lib.browser.makeBrowser(case.volume, [])
    with pytest.raises(lib.inputs.InputProblem, match="'CT_0001' must be a sample of 'other'"):
        lib.browser.makeBrowser(other, lib.samples.samplesOf())
    assert lib.browser.browserOf(other) is lib.browser.browserOf(case.volume) is None


@pytest.mark.parametrize("under", [False, True])
def test_it_survives_saving_and_opening_the_scene(lib, case, tmp_path, under):
    put(case, scenes.linearTransform() if under else None)
    fields = [fieldOf(lib, each) for each in case.samples]
    browser = lib.browser.makeBrowser(case.volume, lib.samples.samplesOf(case.volume))
    browser.SetSelectedItemNumber(1)
    scenes.openScene(scenes.saveScene(tmp_path / "scene", "nrrd"))
    volume = scenes.node("CT")
    found = [each.node for each in lib.samples.samplesOf(volume)]
    browser = lib.browser.browserOf(volume)
    assert lib.display.shownSample(volume) is found[1]
    for number in (2, 0):
        browser.SetSelectedItemNumber(number)
        proxy = volume.GetParentTransformNode()
        np.testing.assert_array_equal(fieldOf(lib, proxy), fields[number])
        assert lib.samples.gridTransformOf(proxy).GetInterpolationModeAsString() == "Linear"
        assert lib.display.shownSample(volume) is found[number]
        assert (scenes.parentOf(proxy) == "registration") == under
    assert [each.node for each in lib.samples.samplesOf()] == found
    lib.browser.removeBrowser(volume)
    assert scenes.parentOf(volume) == ("registration" if under else None)
