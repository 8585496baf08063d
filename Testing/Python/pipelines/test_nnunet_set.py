"""A folder of `drdm augment` as a raw data set of nnU-Net: numbering, names, folds by patient."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DRDMCore.cli.program import main
from DRDMCore.errors import Cancelled, InputError
from DRDMCore.imaging import (
    list_cases,
    read_image,
    read_labels,
    require_same_geometry,
    write_volume,
)
from DRDMCore.imaging.phantoms import phantom
from DRDMCore.pipelines.augment import augment
from DRDMCore.pipelines.augment_plan import AugmentJob
from DRDMCore.pipelines.export_layouts import FOLDS, SPLITS, SetCase, patient_folds
from DRDMCore.pipelines.nnunet_set import NnunetJob, export_augmented

NAMES = [f"patient{n:03d}_frame{f:02d}" for n in (1, 2, 3) for f in (1, 9)]


@pytest.fixture(scope="module")
def augmented(tmp_path_factory) -> NnunetJob:
    """Two frames of each of three patients, and two versions of each; one frame lacks a label."""
    place = tmp_path_factory.mktemp("cohort")
    for seed, name in enumerate(NAMES):
        image, labels = phantom("heart-2d", seed, shape=(40, 36))
        array = np.where(labels.array == 3, 9, labels.array).astype(np.int16)
        if name == NAMES[2]:
            array[array == 2] = 0
        write_volume(image, place / "img" / f"{name}.nii.gz")
        write_volume(replace(labels, array=array), place / "seg" / f"{name}_gt.nii.gz")
    job = AugmentJob(
        images=place / "img", labels=place / "seg", out=place / "aug", count=2, seed=4, level=20
    )
    augment(job)
    return NnunetJob(job.out, job.images, place / "seg", place / "Dataset009_Hearts")


@pytest.fixture(scope="module")
def written(augmented) -> Path:
    export_augmented(augmented)
    return augmented.out


def stems(folder: Path, ending: str) -> list[str]:
    return sorted(path.name.removesuffix(ending) for path in folder.iterdir())


def test_the_data_set_is_as_nnunet_wants_it(written):
    dataset = json.loads((written / "dataset.json").read_text(encoding="utf-8"))
    assert dataset == {
        "name": "Dataset009_Hearts",
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "label_1": 1, "label_2": 2, "label_9": 3},
        "numTraining": 18,
        "file_ending": ".nii.gz",
    }
    cases = stems(written / "labelsTr", ".nii.gz")
    assert cases == sorted([*NAMES, *(f"{name}_aug{i:04d}" for name in NAMES for i in (1, 2))])
    assert stems(written / "imagesTr", "_0000.nii.gz") == cases
    for name in cases:
        image = read_image(written / "imagesTr" / f"{name}_0000.nii.gz")
        labels = read_labels(written / "labelsTr" / f"{name}.nii.gz")
        require_same_geometry(image, labels)
        assert set(labels.label_values) <= {0, 1, 2, 3}


def test_labels_have_one_number_in_all_cases(augmented, written):
    (lacking,) = (
        case for case in list_cases(augmented.images, augmented.labels) if case.name == NAMES[2]
    )
    before = read_labels(lacking.labels).array
    after = read_labels(written / "labelsTr" / f"{NAMES[2]}.nii.gz").array
    assert 2 not in before and np.array_equal(after == 3, before == 9)
    version = read_labels(augmented.augmented / "msk" / f"{NAMES[2]}_aug0001.nii.gz").array
    after = read_labels(written / "labelsTr" / f"{NAMES[2]}_aug0001.nii.gz").array
    assert np.array_equal(after == 3, version == 9)


def test_no_patient_is_on_both_sides_of_a_fold(written):
    folds = json.loads((written / SPLITS).read_text(encoding="utf-8"))
    assert len(folds) == 3  # as many as there are patients
    for fold in folds:
        trained, validated = ({name[:10] for name in fold[part]} for part in ("train", "val"))
        assert not trained & validated and len(trained | validated) == 3
        assert {name for name in fold["val"]} <= set(NAMES)  # scans, not versions
        versions = [name for name in fold["train"] if "_aug" in name]
        assert len(versions) == 2 * (len(fold["train"]) - len(versions))
    assert sorted(name for fold in folds for name in fold["val"]) == NAMES


@pytest.mark.parametrize("patients", [2, 5, 13])
def test_folds_are_even_and_every_patient_is_validated_once(patients):
    cases = [
        SetCase(f"p{n}{end}", f"p{n}", original=not end)
        for n in range(patients)
        for end in ("", "_aug1")
    ]
    folds = patient_folds(cases, 1)
    assert len(folds) == min(FOLDS, patients)
    sizes = [len(fold["val"]) for fold in folds]
    assert max(sizes) - min(sizes) <= 1 and sum(sizes) == patients
    assert folds == patient_folds(cases[::-1], 1)
    if patients == 13:
        assert folds != patient_folds(cases, 2)


def test_versions_without_their_original_are_validated_on():
    cases = [SetCase(name, name[0], original=False) for name in ("a1", "a2", "b1")]
    assert sorted(patient_folds(cases, 0), key=str) == [
        {"train": ["a1", "a2"], "val": ["b1"]},
        {"train": ["b1"], "val": ["a1", "a2"]},
    ]


def test_one_patient_makes_no_folds(augmented, tmp_path):
    with pytest.raises(InputError, match="at least 2 patients, got 1"):
        patient_folds([SetCase("a", "a", original=True)], 0)
    job = AugmentJob(
        images=augmented.images,
        labels=augmented.labels,
        out=tmp_path / "aug",
        patients=(2,),
        count=1,
        level=20,
    )
    augment(job)
    notes: list[str] = []
    export_augmented(
        replace(augmented, augmented=job.out, out=tmp_path / "set"),
        lambda event: notes.append(event.message) if event.kind == "note" else None,
    )
    assert not (tmp_path / "set" / SPLITS).exists()
    assert notes == ["cases of one patient make no folds: train with fold `all`"]


def cohort(place: Path, names: list[str]) -> NnunetJob:
    """One version of small hearts of these names."""
    for seed, name in enumerate(names):
        image, labels = phantom("heart-2d", seed, shape=(40, 36))
        write_volume(image, place / "img" / f"{name}.nii.gz")
        write_volume(labels, place / "seg" / f"{name}.nii.gz")
    job = AugmentJob(
        images=place / "img", labels=place / "seg", out=place / "aug", count=1, level=20
    )
    augment(job)
    return NnunetJob(job.out, job.images, place / "seg", place / "set")


def test_sessions_of_a_patient_stay_together(tmp_path):
    job = cohort(tmp_path, [f"sub-{n:02d}_ses-{s}" for n in (1, 2) for s in (1, 2)])
    told: list[str] = []
    export_augmented(job, lambda event: told.append(event.message))
    assert told[0].startswith("8 cases of 2 patients")
    for fold in json.loads((job.out / SPLITS).read_text(encoding="utf-8")):
        trained, validated = ({name[:6] for name in fold[part]} for part in ("train", "val"))
        assert not trained & validated


def test_a_scan_named_like_a_version_is_refused(tmp_path):
    job = cohort(tmp_path, ["a", "a_aug0001"])
    with pytest.raises(InputError, match="a_aug0001: rename"):
        export_augmented(job)
    assert not job.out.exists()


def test_stopped_and_run_again_is_as_in_one_go(augmented, written, tmp_path, digests):
    job = replace(augmented, out=tmp_path / written.name)
    with pytest.raises(Cancelled):
        export_augmented(job, lambda event: event.done < 5)
    assert not (job.out / SPLITS).exists()
    (job.out / "imagesTr" / ".0123.partial.nii.gz").write_bytes(b"half")
    export_augmented(job)
    assert digests(job.out) == digests(written)
    with pytest.raises(InputError, match="another data set"):
        export_augmented(replace(job, seed=5))


def test_other_scans_than_those_augmented_are_refused(augmented, tmp_path):
    shutil.copytree(augmented.images, tmp_path / "img")
    shutil.copyfile(
        tmp_path / "img" / f"{NAMES[0]}.nii.gz", tmp_path / "img" / f"{NAMES[3]}.nii.gz"
    )
    job = replace(augmented, images=tmp_path / "img", out=tmp_path / "set")
    with pytest.raises(InputError, match=f"{NAMES[3]}.nii.gz must be the file that"):
        export_augmented(job)
    assert not job.out.exists()


def test_a_folder_with_files_is_refused(augmented, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="empty folder"):
        export_augmented(replace(augmented, out=tmp_path))


def test_command_line(augmented, written, tmp_path, capsys, digests):
    out = tmp_path / written.name
    given = ["export", str(augmented.augmented), "--out", str(out), "--quiet"]
    assert main(given) != 0
    assert "`layout` must be nnunet" in capsys.readouterr().err
    given += ["--layout", "nnunet", "--images", str(augmented.images)]
    given += ["--labels", str(augmented.labels)]
    assert main([*given, "--keep", "1"]) != 0
    assert "`keep` must be left out" in capsys.readouterr().err
    assert main(given) == 0
    assert digests(out) == digests(written)
