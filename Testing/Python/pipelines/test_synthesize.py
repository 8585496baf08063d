"""Registration pairs: the written field takes the written moving image to the fixed one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DRDMCore.errors import Cancelled, InputError
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import Volume, apply_field, read_field, read_image, read_labels, write_volume
from DRDMCore.imaging.phantoms import phantom
from DRDMCore.models import Model, random_field_model
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.pipelines.synthesize import SynthesizeJob, synthesize


def tiny_model() -> Model:
    model = random_field_model(2)
    field = RandomFieldSettings(control_spacing=2.0)
    return replace(model, grid=replace(model.grid, side=24), field=field)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b")):
        image, labels = phantom("heart-2d", seed, shape=(20, 24 + seed))
        turned = replace(image.geometry, direction=(0.8, -0.6, 0.6, 0.8), origin_mm=(1 / 3, -2 / 3))
        write_volume(replace(image, geometry=turned), tmp_path / "images" / f"{name}.nrrd")
        write_volume(replace(labels, geometry=turned), tmp_path / "labels" / f"{name}.nrrd")
    return tmp_path


def job_of(root: Path, out: str = "out", **more: object) -> SynthesizeJob:
    options = {
        "model": tiny_model(),
        "levels": ((20, 30), (40, 10)),
        "sampling": SamplingSettings(max_folding=100.0),
        **more,
    }
    return SynthesizeJob(root / "images", root / out, root / "labels", **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("image_format", [".nii.gz", ".nrrd", ".mha"])
def test_field_takes_moving_to_fixed_exactly(root: Path, image_format: str, interpolation: str):
    settings = SamplingSettings(max_folding=100.0, interpolation=interpolation)
    job = job_of(root, image_format=image_format, sampling=settings)
    summary = synthesize(job)
    assert summary["done"] == 4 and summary["complete"]
    for case in ("a", "b"):
        for number in (1, 2):
            stem = str(root / "out" / f"{case}_pair{number:04d}")
            field = read_field(f"{stem}_field.nrrd")
            assert field.vectors_mm_lps.any()
            for kind, read in (("", read_image), ("_labels", read_labels)):
                moving = read(f"{stem}_moving{kind}{image_format}")
                fixed = read(f"{stem}_fixed{kind}{image_format}")
                moved = apply_field(moving, field, interpolation=interpolation)
                np.testing.assert_array_equal(moved.array, fixed.array)
                assert moved.array.dtype == fixed.array.dtype


def test_moving_is_no_original_and_labels_stay_in_their_set(root: Path):
    synthesize(job_of(root))
    original = read_image(root / "images" / "a.nrrd")
    moving = read_image(root / "out" / "a_pair0001_moving.nii.gz")
    fixed = read_image(root / "out" / "a_pair0001_fixed.nii.gz")
    assert not np.array_equal(original.array, moving.array)
    assert not np.array_equal(moving.array, fixed.array)
    values = set(read_labels(root / "labels" / "a.nrrd").label_values)
    for kind in ("moving", "fixed"):
        labels = read_labels(root / "out" / f"a_pair0001_{kind}_labels.nii.gz")
        assert {0} < set(labels.label_values) <= values


def test_manifest_holds_both_seeds_and_levels(root: Path):
    synthesize(job_of(root))
    manifest = json.loads((root / "out" / "manifest.json").read_text(encoding="utf-8"))
    levels = [(entry["level_aug"], entry["level_syn"]) for entry in manifest["samples"]]
    assert manifest["complete"] and levels == [(20, 30), (40, 10)] * 2
    seeds = [entry[key] for entry in manifest["samples"] for key in ("seed_aug", "seed_syn")]
    assert len(set(seeds)) == len(seeds) == 8
    assert manifest["samples"][0]["files"]["field"]["path"] == "a_pair0001_field.nrrd"


def test_stopped_and_run_again_it_ends_with_the_same_bytes(root: Path):
    synthesize(job_of(root, out="whole", count=2))
    with pytest.raises(Cancelled):
        synthesize(job_of(root, count=2), lambda event: event.kind != "sample" or event.done < 3)
    (root / "out" / "a_pair0001_fixed.nii.gz").unlink()
    synthesize(job_of(root))
    summary = synthesize(job_of(root, count=2))
    assert (summary["done"], summary["skipped"]) == (3, 5)
    assert contents(root / "out") == contents(root / "whole")
    with pytest.raises(InputError, match="another job"):
        synthesize(job_of(root, seed=5))


def test_failures_are_listed_and_the_rest_goes_on(root: Path):
    image = read_image(root / "images" / "a.nrrd")
    shifted = replace(image.geometry, origin_mm=(50.0, 0.0))
    labels = Volume(np.zeros(image.array.shape, np.uint8), shifted, "labels")
    write_volume(labels, root / "labels" / "a.nrrd")
    summary = synthesize(job_of(root))
    assert summary["done"] == 2 and [each["case"] for each in summary["failed"]] == ["a"]
    assert "same grid" in summary["failed"][0]["reason"]


def test_rejection_rules_are_kept(root: Path):
    settings = SamplingSettings(max_mm=0.001, attempts=2)
    summary = synthesize(job_of(root, sampling=settings))
    assert len(summary["failed"]) == 4 and "2 seeds in a row" in summary["failed"][0]["reason"]


def test_one_image_without_labels_and_dry_run(root: Path):
    job = replace(job_of(root, levels=()), images=root / "images" / "a.nrrd", labels=None)
    told = synthesize(replace(job, dry_run=True))
    assert not job.out.exists() and len(told["units"]) == 1
    assert told["units"][0]["level_aug"] == told["units"][0]["level_syn"] == 30
    assert synthesize(job)["complete"]
    names = {path.name for path in job.out.iterdir() if path.is_file()}
    kinds = ("moving.nii.gz", "fixed.nii.gz", "field.nrrd")
    assert names == {"manifest.json", *(f"a_pair0001_{kind}" for kind in kinds)}


def test_bad_arguments_are_named(root: Path):
    with pytest.raises(InputError, match="levels"):
        synthesize(job_of(root, sampling=SamplingSettings(level=3)))
    with pytest.raises(InputError, match="level"):
        synthesize(job_of(root, levels=((3, 80),)))
    with pytest.raises(InputError, match="both read from and written to"):
        synthesize(job_of(root, out="images"))
