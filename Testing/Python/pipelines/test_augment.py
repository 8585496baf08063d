"""Augmentation of folders: names, seeds, resuming, failures, shares, and what the files hold."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DRDMCore.errors import Cancelled, InputError, OutputError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import (
    Volume,
    apply_field,
    describe_difference,
    read_field,
    read_image,
    read_labels,
    slice_geometry,
    write_volume,
)
from DRDMCore.imaging.phantoms import phantom
from DRDMCore.models import Model, random_field_model
from DRDMCore.pipelines import augment as augment_module
from DRDMCore.pipelines.augment import AugmentJob, augment
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.progress import Event

REPOSITORY = Path(__file__).resolve().parents[3]
SHAPES = {"a": (20, 24), "b": (24, 20), "c": (22, 22)}


def tiny_model() -> Model:
    """The random field on a small grid, to be quick."""
    model = random_field_model(2)
    field = RandomFieldSettings(control_spacing=2.0)
    return replace(model, grid=replace(model.grid, side=24), field=field)


def write_case(root: Path, name: str, shape: tuple[int, ...], seed: int = 0) -> None:
    kind = "torso-3d" if len(shape) == 3 else "heart-2d"
    image, labels = phantom(kind, seed, shape=shape)
    write_volume(image, root / "images" / f"{name}.nii.gz")
    write_volume(labels, root / "labels" / f"{name}.nii.gz")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (name, shape) in enumerate(SHAPES.items()):
        write_case(tmp_path, name, shape, seed)
    return tmp_path


def job_of(root: Path, out: str = "out", **more: object) -> AugmentJob:
    settings = SamplingSettings(max_folding=100.0)
    options = {"count": 2, "sampling": settings, "model": tiny_model(), **more}
    return AugmentJob(root / "images", root / out, root / "labels", **options)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def record_of(out: Path, name: str) -> dict:
    return json.loads((out / "records" / f"{name}.json").read_text(encoding="utf-8"))


def subprocess_of(root: Path, out: str, count: int, **environment: str) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from DRDMCore.pipelines.augment import AugmentJob, augment\n"
        "from DRDMCore.pipelines.settings import SamplingSettings\n"
        "root = Path(sys.argv[1])\n"
        "from DRDMCore.fields import RandomFieldSettings\n"
        "from DRDMCore.models import random_field_model\n"
        "from dataclasses import replace\n"
        "settings = SamplingSettings(max_folding=100.0)\n"
        "model = random_field_model(2)\n"
        "model = replace(model, grid=replace(model.grid, side=24),"
        " field=RandomFieldSettings(control_spacing=2.0))\n"
        "augment(AugmentJob(root / 'images', root / sys.argv[2], root / 'labels',"
        " count=int(sys.argv[3]), sampling=settings, model=model))\n"
    )
    arguments = [sys.executable, "-c", code, str(root), out, str(count)]
    return subprocess.Popen(arguments, cwd=REPOSITORY, env={**os.environ, **environment})


def test_pairs_have_the_same_name_in_three_folders(root: Path):
    summary = augment(job_of(root))
    assert summary["done"] == 6 and summary["complete"] and not summary["failed"]
    names = {f"{case}_aug{number:04d}" for case in SHAPES for number in (1, 2)}
    for folder, ending in (("img", ".nii.gz"), ("msk", ".nii.gz"), ("ddf", ".nrrd")):
        found = {path.name for path in (root / "out" / folder).iterdir()}
        assert found == {name + ending for name in names}
    manifest = json.loads((root / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in manifest["samples"]] == sorted(names)
    assert manifest["complete"] and not (root / "out" / "failures.json").exists()


def test_written_mask_is_the_mask(root: Path):
    augment(job_of(root))
    for name in SHAPES:
        moved = read_labels(root / "out" / "msk" / f"{name}_aug0001.nii.gz")
        image = read_image(root / "out" / "img" / f"{name}_aug0001.nii.gz")
        assert moved.array.dtype == np.uint8 and len(np.unique(image.array)) > 20
        assert not np.array_equal(moved.array, image.array)


def test_labels_stay_in_label_set_and_geometry_is_kept(root: Path):
    augment(job_of(root))
    for name in SHAPES:
        original = read_labels(root / "labels" / f"{name}.nii.gz")
        moved = read_labels(root / "out" / "msk" / f"{name}_aug0002.nii.gz")
        assert set(moved.label_values) <= set(original.label_values)
        assert len(moved.label_values) > 1
        assert describe_difference(moved.geometry, original.geometry) is None


@pytest.mark.parametrize("flips", [False, True])
def test_ddf_file_reproduces_warped_image(root: Path, flips: bool):
    augment(job_of(root, random_flips=flips))
    mirrored = False
    for name in SHAPES:
        for number in (1, 2):
            stem = f"{name}_aug{number:04d}"
            field = read_field(root / "out" / "ddf" / f"{stem}.nrrd")
            for kind, read, folder in (
                ("images", read_image, "img"),
                ("labels", read_labels, "msk"),
            ):
                again = apply_field(read(root / kind / f"{name}.nii.gz"), field)
                written = read(root / "out" / folder / f"{stem}.nii.gz")
                np.testing.assert_array_equal(again.array, written.array)
            mirrored |= bool(record_of(root / "out", stem)["flips"])
    assert mirrored == flips


def test_flips_do_not_pile_up(root: Path):
    augment(job_of(root, out="plain"))
    augment(job_of(root, out="flipped", random_flips=True))
    seen = set()
    for name in SHAPES:
        for number in (1, 2):
            stem = f"{name}_aug{number:04d}"
            axes = record_of(root / "flipped", stem)["flips"]
            plain = read_image(root / "plain" / "img" / f"{stem}.nii.gz")
            flipped = read_image(root / "flipped" / "img" / f"{stem}.nii.gz")
            expected = np.flip(plain.array, tuple(axes)) if axes else plain.array
            np.testing.assert_allclose(flipped.array, expected, atol=1)
            seen.add(tuple(axes))
    assert len(seen) > 1


def test_permutations_are_refused_with_the_reason(root: Path):
    with pytest.raises(InputError, match="geometry"):
        augment(job_of(root, random_permutations=True))


def test_different_cases_get_different_seeds(tmp_path: Path):
    for name in ("p", "q"):
        write_case(tmp_path, name, (16, 16), seed=3)
    augment(job_of(tmp_path))
    fields = [read_field(path).vectors_mm_lps for path in sorted((tmp_path / "out/ddf").iterdir())]
    assert len(fields) == 4
    for index, first in enumerate(fields):
        assert not any(np.array_equal(first, other) for other in fields[index + 1 :])


def test_adding_cases_and_raising_the_count_change_nothing_made_before(root: Path):
    augment(job_of(root))
    before = {k: v for k, v in hashes(root / "out").items() if k != "manifest.json"}
    write_case(root, "0_first", (20, 20), seed=9)
    summary = augment(job_of(root, count=3))
    assert (summary["done"], summary["skipped"]) == (3 + 3, 6)
    after = hashes(root / "out")
    assert before.items() <= after.items()
    fresh = augment(job_of(root, out="fresh", count=3))
    assert fresh["done"] == 12 and hashes(root / "fresh") == after


def test_dry_run_writes_nothing_and_knows_what_is_done(root: Path):
    job = job_of(root, dry_run=True)
    told = augment(job)
    assert not job.out.exists()
    assert told["cases"] == list(SHAPES) and len(told["units"]) == 6 and told["done"] == 0
    augment(replace(job, dry_run=False, patients=(1,)))
    before = hashes(job.out)
    told = augment(job)
    assert hashes(job.out) == before
    assert [unit["done"] for unit in told["units"]] == [True] * 2 + [False] * 4
    assert all(Path(path).exists() == u["done"] for u in told["units"] for path in u["files"])


def test_failing_cases_are_listed_and_tried_again(root: Path):
    good = (root / "images" / "b.nii.gz").read_bytes()
    (root / "images" / "b.nii.gz").write_bytes(good[:200])
    write_case(root, "d", (20, 21))
    other = phantom("heart-2d", 0, shape=(20, 22))[1]
    write_volume(other, root / "labels" / "d.nii.gz")
    events: list[Event] = []
    summary = augment(job_of(root), events.append)
    assert summary["done"] == 4 and not summary["complete"]
    assert [each["case"] for each in summary["failed"]] == ["b", "d"]
    assert "incomplete" in summary["failed"][0]["reason"]
    assert "same grid" in summary["failed"][1]["reason"]
    assert (
        json.loads((root / "out" / "failures.json").read_text(encoding="utf-8"))
        == summary["failed"]
    )
    assert [event.kind for event in events].count("failure") == 2
    assert events[-1].kind == "done" and events[-1].done == events[-1].total == 8
    (root / "images" / "b.nii.gz").write_bytes(good)
    summary = augment(job_of(root))
    assert (summary["done"], summary["skipped"]) == (2, 4)
    assert [each["case"] for each in summary["failed"]] == ["d"]


def test_too_many_rejections_fail_one_sample_only(root: Path):
    settings = SamplingSettings(max_mm=0.001, attempts=2)
    summary = augment(job_of(root, sampling=settings, patients=(1,)))
    assert [each["unit"] for each in summary["failed"]] == ["a_aug0001", "a_aug0002"]
    assert "2 seeds in a row" in summary["failed"][0]["reason"]


def test_another_job_in_the_same_folder_is_refused(root: Path):
    augment(job_of(root))
    before = hashes(root / "out")
    with pytest.raises(InputError, match=r"differs in seed.*choose another folder"):
        augment(job_of(root, seed=1))
    (root / "out" / "records" / "job.json").unlink()
    with pytest.raises(InputError, match="of another job"):
        augment(job_of(root, seed=1))
    augment(job_of(root))
    assert hashes(root / "out") == before


def test_a_changed_input_is_a_failure_of_that_case(root: Path):
    augment(job_of(root))
    write_case(root, "a", SHAPES["a"], seed=77)
    summary = augment(job_of(root))
    assert summary["skipped"] == 4 and "other files" in summary["failed"][0]["reason"]


def test_a_damaged_file_is_made_again(root: Path):
    augment(job_of(root))
    before = hashes(root / "out")
    (root / "out" / "img" / "b_aug0001.nii.gz").write_bytes(b"")
    (root / "out" / "msk" / "c_aug0002.nii.gz").unlink()
    (root / "out" / "ddf" / ".abc.partial.nii.gz").write_bytes(b"half")
    assert augment(job_of(root))["done"] == 2
    assert hashes(root / "out") == before


def test_levels_are_drawn_within_the_range(root: Path):
    settings = SamplingSettings(max_folding=100.0)
    job = job_of(root, sampling=settings, level=(5, 9), count=4, dry_run=True)
    levels = [unit["level"] for unit in augment(job)["units"]]
    assert set(levels) <= set(range(5, 10)) and len(set(levels)) > 1
    with pytest.raises(InputError, match="level"):
        augment(replace(job, level=(9, 5)))
    with pytest.raises(InputError, match="level"):
        augment(replace(job, level=(5, 80)))


def test_patients_are_chosen_and_unknown_ones_named(root: Path):
    assert augment(job_of(root, patients=(2,), dry_run=True))["cases"] == ["b"]
    with pytest.raises(InputError, match=r"\[7\]"):
        augment(job_of(root, patients=(2, 7)))


def test_without_labels(root: Path):
    augment(replace(job_of(root), labels=None))
    assert not (root / "out" / "msk").exists()
    assert len(list((root / "out" / "ddf").iterdir())) == 6


def test_the_caller_can_stop_and_go_on(root: Path):
    augment(job_of(root, out="whole"))
    with pytest.raises(Cancelled):
        augment(job_of(root), lambda event: event.kind != "sample" or event.done < 3)
    assert len(list((root / "out" / "img").iterdir())) == 3
    summary = augment(job_of(root))
    assert (summary["done"], summary["skipped"]) == (3, 3)
    assert hashes(root / "out") == hashes(root / "whole")


def test_killed_at_any_moment_it_ends_with_the_same_bytes(root: Path):
    count = 12
    whole = subprocess_of(root, "whole", count)
    dice = random.Random(0)
    for wanted in (1, 8, 15):
        process = subprocess_of(root, "out", count)
        while process.poll() is None and len(list((root / "out").glob("*/*aug*"))) < wanted:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.05))
        process.kill()
        process.wait()
    assert not (root / "out" / "manifest.json").exists(), "killed too late to test anything"
    assert subprocess_of(root, "out", count).wait() == 0 and whole.wait() == 0
    assert len(hashes(root / "whole")) == 4 * 3 * count + 2
    assert hashes(root / "out") == hashes(root / "whole")


def test_two_ranks_make_what_one_process_makes(root: Path):
    write_case(root, "d", (20, 21))
    (root / "images" / "d.nii.gz").write_bytes(b"broken")
    augment(job_of(root, out="whole"))
    processes = [
        subprocess_of(root, "out", 2, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
        for rank in (0, 1)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    kept = {k: v for k, v in hashes(root / "out").items() if "failures_rank" not in k}
    whole = {k: v for k, v in hashes(root / "whole").items() if "failures_rank" not in k}
    assert kept == whole and "failures.json" in kept and "manifest.json" in kept


def test_bad_ranks_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK"):
        augment(job_of(root))


def test_published_layout_of_a_stack_with_a_2d_field(tmp_path: Path):
    write_case(tmp_path, "patient007_frame01", (8, 16, 20))
    write_case(tmp_path, "patient009_frame01", (9, 16, 16))
    settings = SamplingSettings(max_folding=100.0, slice_axis=0)
    job = job_of(tmp_path, layout="published", sampling=settings, slices=(3, 10))
    augment(job)
    image = read_image(tmp_path / "images" / "patient007_frame01.nii.gz")
    for folder, suffix in (("img", ""), ("msk", "_GT")):
        names = {path.name for path in (tmp_path / "out" / folder).iterdir()}
        stems = ("Patient0007_Slice000003", "Patient0009_Slice000010")
        assert names == {
            f"{stem}_{what}{suffix}.nii.gz"
            for stem in stems
            for what in (
                "ORG_NA",
                *(f"{k}Img{r:04d}_NoiseStep0030" for k in ("Aug", "Noise") for r in (0, 1)),
            )
        }
    original = read_image(tmp_path / "out" / "img" / "Patient0007_Slice000003_ORG_NA.nii.gz")
    np.testing.assert_array_equal(original.array, image.array[3:4])
    expected = slice_geometry(image.geometry, 0, 3)
    for path in sorted((tmp_path / "out" / "img").glob("Patient0007*")):
        assert describe_difference(read_image(path).geometry, expected) is None
    first = read_field(tmp_path / "out/ddf/Patient0007_Slice000003_AugImg0000_NoiseStep0030.nrrd")
    assert not np.array_equal(
        first.vectors_mm_lps,
        read_field(
            tmp_path / "out/ddf/Patient0007_Slice000003_AugImg0001_NoiseStep0030.nrrd"
        ).vectors_mm_lps,
    )
    with pytest.raises(InputError, match=r"0 \.\. 16"):
        augment(replace(job, slices=(17,)))


def test_slices_keep_their_numbers_when_patients_are_chosen_or_broken(tmp_path: Path):
    write_case(tmp_path, "patient001_x", (8, 16, 20))
    write_case(tmp_path, "patient002_x", (9, 16, 16))
    settings = SamplingSettings(slice_axis=0)
    job = job_of(
        tmp_path, layout="published", sampling=settings, patients=(2,), dry_run=True, count=1
    )
    names = [unit["name"] for unit in augment(job)["units"]]
    assert names[0] == "Patient0002_Slice000008_ORG_NA" and len(names) == 18
    (tmp_path / "images" / "patient001_x.nii.gz").write_bytes(b"broken")
    assert [unit["name"] for unit in augment(job)["units"]] == names


def test_a_stack_is_one_subject_in_pairs(tmp_path: Path):
    write_case(tmp_path, "stack", (8, 16, 20))
    settings = SamplingSettings(max_folding=100.0, slice_axis=0)
    augment(job_of(tmp_path, sampling=settings, count=1))
    vectors = read_field(tmp_path / "out" / "ddf" / "stack_aug0001.nrrd").vectors_mm_lps
    assert vectors.shape[:3] == (8, 16, 20) and not vectors[..., 2].any()
    np.testing.assert_array_equal(vectors[0], vectors[-1])


def test_empty_slices_are_no_obstacle(tmp_path: Path):
    image, labels = phantom("torso-3d", 0, shape=(8, 16, 16))
    array, mask = image.array.copy(), labels.array.copy()
    array[0], mask[0] = 0, 0
    write_volume(Volume(array, image.geometry), tmp_path / "images" / "s.nii.gz")
    write_volume(Volume(mask, image.geometry, "labels"), tmp_path / "labels" / "s.nii.gz")
    settings = SamplingSettings(max_folding=100.0, slice_axis=0)
    job = job_of(tmp_path, layout="published", sampling=settings, slices=(0,), count=1)
    assert augment(job)["complete"]


def test_results_never_go_among_the_inputs(root: Path):
    folders = (root / "images", root / "msk", root / "ddf")
    with pytest.raises(InputError, match="both read from and written to"):
        augment(job_of(root, folders=folders))


def test_random_field_by_name_suits_2d_images_and_volumes(tmp_path: Path):
    write_case(tmp_path, "flat", (20, 24))
    write_case(tmp_path, "deep", (8, 9, 10))
    settings = SamplingSettings(max_folding=100.0)
    summary = augment(job_of(tmp_path, model="none", count=1, sampling=settings))
    assert summary["done"] == 2
    sizes = {case: 2 + (case == "deep") for case in ("flat", "deep")}
    for case, dimension in sizes.items():
        field = read_field(tmp_path / "out" / "ddf" / f"{case}_aug0001.nrrd")
        assert field.geometry.dimension == dimension and field.vectors_mm_lps.any()


@pytest.mark.parametrize("field_format", [".nii.gz", ".mha"])
def test_other_field_formats(root: Path, field_format: str):
    augment(job_of(root, field_format=field_format, count=1))
    field = read_field(root / "out" / "ddf" / f"a_aug0001{field_format}")
    again = apply_field(read_image(root / "images" / "a.nii.gz"), field)
    written = read_image(root / "out" / "img" / "a_aug0001.nii.gz")
    np.testing.assert_allclose(again.array, written.array, atol=0.01)


def test_fields_that_cannot_be_read_back_are_refused(tmp_path: Path):
    write_case(tmp_path, "stack", (8, 16, 20))
    settings = SamplingSettings(slice_axis=0)
    job = job_of(tmp_path, layout="published", sampling=settings, slices=(0,))
    summary = augment(replace(job, field_format=".nii.gz"))
    assert "choose .nrrd" in summary["failed"][0]["reason"]
    with pytest.raises(InputError, match=r"\.nrrd"):
        augment(replace(job, field_format=".h5"))


def test_errors_that_nobody_foresaw_stop_one_case_only(root: Path, monkeypatch: pytest.MonkeyPatch):
    see = augment_module.see

    def fails_for_b(model, image, *rest):
        if image.source.name.startswith("b"):
            raise RuntimeError("boom")
        return see(model, image, *rest)

    monkeypatch.setattr(augment_module, "see", fails_for_b)
    summary = augment(job_of(root))
    assert summary["done"] == 4
    assert {(e["case"], e["reason"]) for e in summary["failed"]} == {("b", "RuntimeError: boom")}


def test_a_full_disk_stops_the_job(root: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_):
        raise OutputError("no space")

    monkeypatch.setattr(augment_module, "write_field", full)
    with pytest.raises(OutputError):
        augment(job_of(root))
    assert not (root / "out" / "manifest.json").exists()
    monkeypatch.undo()
    assert augment(job_of(root))["complete"]
