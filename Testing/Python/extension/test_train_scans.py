"""Volumes of the scene become scans to learn from, beside the event loop, wholly or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.extension import panels, scenes
from Testing.Python.extension.children import turnUntil

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")

LONGEST_TURN_MS = 100


class Written:
    """Volumes on their way to a folder, and what was told."""

    def __init__(self, volumes, folder, onScan=None):
        self.told, self.done, self.problem = [], False, None
        self.writing = panels.lib("trainscans").ScanWriting(volumes, folder)
        self._onScan = onScan
        self.writing.begin(self._scan, self._end, self._fail)

    def _scan(self, *told):
        self.told.append(told)
        if self._onScan is not None:
            self._onScan(*told)

    def _end(self):
        self.done = True

    def _fail(self, problem):
        self.problem = problem

    def wait(self):
        turnUntil(lambda: self.done or self.problem is not None)
        return self


@pytest.fixture
def volumes(lib):
    """Three small volumes."""
    return [scenes.volume(scenes.imageArray((4, 12, 10)) + n, name="ABC"[n]) for n in range(3)]


def filesIn(folder):
    """Names of all files below a folder."""
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.nrrd"))


def test_each_volume_is_a_patient_of_its_own(volumes, tmp_path):
    from DRDMCore.imaging import read_image

    written = Written(volumes, tmp_path / "new" / "scans").wait()
    assert written.done and written.writing.folder == tmp_path / "new" / "scans"
    assert written.told == [("A", 1, 3), ("B", 2, 3), ("C", 3, 3)]
    assert filesIn(tmp_path) == [f"new/scans/case00{n + 1}/{'ABC'[n]}.nrrd" for n in range(3)]
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["scans"]
    array = read_image(tmp_path / "new/scans/case002/B.nrrd").array
    np.testing.assert_array_equal(array, scenes.imageArray((4, 12, 10)) + 1)


def test_scans_of_before_are_replaced_not_mixed(volumes, tmp_path):
    Written(volumes, tmp_path / "scans").wait()
    again = Written(volumes[1:], tmp_path / "scans").wait()
    assert again.done and filesIn(tmp_path) == ["scans/case001/B.nrrd", "scans/case002/C.nrrd"]


def test_a_folder_of_the_user_is_left_alone(volumes, tmp_path):
    Written(volumes[:1], tmp_path / "scans").wait()
    (tmp_path / "scans" / "case001" / "mine.nrrd").write_text("mine", encoding="utf-8")
    other = Written(volumes[1:], tmp_path / "scans").wait()
    assert other.done and other.writing.folder == tmp_path / "scans-2"
    assert filesIn(tmp_path / "scans") == ["case001/A.nrrd", "case001/mine.nrrd"]
    assert filesIn(tmp_path / "scans-2") == ["case001/B.nrrd", "case002/C.nrrd"]
    (tmp_path / "empty").mkdir()
    assert Written(volumes, tmp_path / "empty").wait().writing.folder == tmp_path / "empty"


def test_cancelled_scans_leave_those_of_before(volumes, tmp_path):
    Written(volumes, tmp_path / "scans").wait()
    again = Written(volumes[:2], tmp_path / "scans")
    turnUntil(lambda: len(again.told) == 2)
    again.writing.cancel()
    turnUntil(lambda: [each.name for each in tmp_path.iterdir()] == ["scans"])
    assert len(filesIn(tmp_path / "scans")) == 3
    assert not again.done and again.problem is None


def test_who_is_told_of_a_volume_may_cancel(volumes, tmp_path):
    written = Written(
        volumes, tmp_path / "scans", lambda name, *more: name == "B" and written.writing.cancel()
    )
    turnUntil(lambda: not panels.lib("background")._going)
    assert written.told == [("A", 1, 3), ("B", 2, 3)]
    assert not written.done and written.problem is None and list(tmp_path.iterdir()) == []


def test_a_volume_that_goes_meanwhile_is_named(volumes, tmp_path, scene):
    def removeNext(name, number, count):
        if number == 1:
            scene.RemoveNode(volumes[1])

    written = Written(volumes, tmp_path / "scans", removeNext).wait()
    assert "'B' was removed from the scene" in str(written.problem)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(volumes, tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    written = Written(volumes, tmp_path / "file" / "scans").wait()
    assert str(tmp_path / "file" / "scans") in str(written.problem)
    assert "choose another folder" in str(written.problem)


def test_unfit_volumes_are_refused_at_once(volumes, lib, tmp_path):
    colours = scenes.volume(className="vtkMRMLLabelMapVolumeNode", name="map")
    with pytest.raises(lib.inputs.InputProblem, match="label map"):
        Written([*volumes, colours], tmp_path / "scans")


def test_large_volumes_do_not_stop_the_window(openPanel, tmp_path, record_property):
    """Three volumes of 256 x 256 x 200; the calmest of up to three runs counts."""
    panel, array = openPanel(), scenes.imageArray((200, 256, 256)).astype(np.float32)
    volumes = [scenes.volume(array, name=f"CT{n}") for n in range(3)]
    runs = []
    while len(runs) < 3 and min(runs, default=LONGEST_TURN_MS + 1) > LONGEST_TURN_MS:
        with panel.heartbeat() as beats:
            panel.spin(0.1)
            assert Written(volumes, tmp_path / "scans").wait().done
        runs.append(max(beats))
    record_property("longest_turn_ms", round(min(runs), 1))
    print(f"event loop while scans are written: longest turn {min(runs):.0f} ms")
    assert min(runs) <= LONGEST_TURN_MS
