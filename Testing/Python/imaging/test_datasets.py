"""Finding and pairing files."""

from __future__ import annotations

from pathlib import Path

import pytest

from DRDMCore.errors import InputError, MissingFileError
from DRDMCore.imaging import case_name, list_cases, list_images, patients_of


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_names_without_endings() -> None:
    assert case_name("a/b.c.nii.gz") == "b.c"
    assert case_name("x.seg.nrrd") == "x"
    assert case_name("ct folder") == "ct folder"


def test_images_are_sorted_and_others_left_out(tmp_path) -> None:
    touch(tmp_path, "b.nii", "a.nii.gz", ".hidden.nii", "notes.txt", "c.mha", "d.seg.nrrd")
    touch(tmp_path / "e", "slice.dcm")
    touch(tmp_path / "f", "readme.txt")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "1").write_bytes(bytes(128) + b"DICM")
    assert [path.name for path in list_images(tmp_path)] == [
        *("a.nii.gz", "b.nii", "c.mha", "d.seg.nrrd", "e", "g")
    ]
    assert list_images(tmp_path / "e") == [tmp_path / "e"]
    assert list_images(tmp_path / "b.nii") == [tmp_path / "b.nii"]


def test_pairs_by_name(tmp_path) -> None:
    images = touch(tmp_path / "images", "b.nii.gz", "a.nii.gz")
    labels = touch(tmp_path / "labels", "a.seg.nrrd", "b.nii.gz", "c.nii.gz")
    cases = list_cases(images, labels)
    assert [(c.name, c.labels.name) for c in cases] == [("a", "a.seg.nrrd"), ("b", "b.nii.gz")]


def test_pairs_by_order_and_patient_number(tmp_path) -> None:
    images = touch(tmp_path / "Tr", "patient002_frame01.nii.gz", "patient001_frame01.nii.gz")
    labels = touch(tmp_path / "Gt", "patient001_frame01_gt.nii.gz", "patient002_frame01_gt.nii.gz")
    cases = list_cases(images, labels)
    assert [case.patient for case in cases] == [1, 2]
    assert [case.labels.name[:10] for case in cases] == ["patient001", "patient002"]


def test_patient_number_is_before_the_first_underscore(tmp_path) -> None:
    touch(tmp_path, "patient0123_a.nii", "hippocampus_001.nii", "x12_345_.nii", "plain.nii")
    patients = {case.name: case.patient for case in list_cases(tmp_path)}
    assert patients == {
        "patient0123_a": 123,
        "hippocampus_001": None,
        "x12_345_": None,
        "plain": None,
    }


def test_what_cannot_be_paired_is_named(tmp_path) -> None:
    images = touch(tmp_path / "images", "a.nii", "b.nii", "c.nii")
    with pytest.raises(InputError, match=r"no partner: c\.nii"):
        list_cases(images, touch(tmp_path / "some", "a.nii", "b.nii", "d.nii"))
    with pytest.raises(InputError, match=r"3 images and 2 labels"):
        list_cases(images, touch(tmp_path / "few", "x.nii", "y.nii"))
    with pytest.raises(InputError, match=r"one image file per case"):
        list_cases(touch(tmp_path / "twice", "a.nii", "a.nii.gz"), images)


def test_missing_and_empty_folders(tmp_path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        list_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds none"):
        list_cases(tmp_path)


def test_patient_number_of_the_published_names(tmp_path) -> None:
    touch(tmp_path / "Tr", "patient001_frame01.nii.gz")
    touch(tmp_path / "Gt", "patient001_frame01_gt.nii.gz")
    case = list_cases(tmp_path / "Tr", tmp_path / "Gt")[0]
    assert (case.name, case.patient) == ("patient001_frame01", 1)


def test_real_sets(shared_data: Path) -> None:
    for folder, patient in (("hippocampus", None), ("acdc", 1), ("lung_ct", None)):
        cases = list_cases(shared_data / folder / "images", shared_data / folder / "labels")
        assert all(case.labels.name == case.image.name for case in cases)
        assert cases[0].patient == patient


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_a"], ["sub-01", "sub-01", "sub-02"]),
        (["patient001_f1", "patient1001_f1"], ["patient001", "patient1001"]),
        (["patient001_f1", "patient001_f2"], ["patient001", "patient001"]),
        (["T1_anna", "T1_bert"], ["T1_anna", "T1_bert"]),
        (["hippocampus_001", "hippocampus_003"], ["hippocampus_001", "hippocampus_003"]),
        (["12_a", "13"], ["12", "13"]),
        (["a1"], ["a1"]),
        ([], []),
    ],
)
def test_patients_are_told_by_what_names_begin_with(names, patients) -> None:
    assert patients_of(names) == patients
