"""What `generate` writes: files, manifest, fields that ITK applies with the same result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DRDMCore.errors import InputError
from DRDMCore.fields import folded
from DRDMCore.imaging import Volume, ddf_from_field, read_field, read_image, read_labels
from DRDMCore.imaging import write_volume as write
from DRDMCore.models import find_model, list_models
from DRDMCore.pipelines.generate import generate
from DRDMCore.progress import Event

HEART, TORSO = "phantom-heart-2d", "phantom-torso-3d"
HAS_TORSO = TORSO in {path.stem for path in list_models()}

CASES = {
    "2D none": (2, {"mean_mm": 3.0}),
    "2D none level": (2, {"level": 60}),
    "2D model": (2, {"model": HEART}),
    "2D model cubic": (2, {"model": HEART, "interpolation": "cubic"}),
    "3D none": (3, {"mean_mm": 2.5}),
    **{
        f"stack {stack} {axis}": (3, {"model": HEART, "stack": stack, "slice_axis": axis})
        for stack in ("shared", "per-slice")
        for axis in (0, 1, 2)
    },
    "stack none": (3, {"slice_axis": 1, "mean_mm": 2.0}),
    "stack none per-slice": (3, {"slice_axis": 2, "stack": "per-slice", "level": 40}),
}
if HAS_TORSO:
    CASES["3D model"] = (3, {"model": TORSO})


def itk_field(path: Path) -> sitk.Transform:
    """The field of a file as ITK itself reads it."""
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def applied(original: Path, field: Path, method: int) -> np.ndarray:
    """The original resampled by ITK through a field file, 0 outside."""
    image = sitk.ReadImage(str(original))
    if method != sitk.sitkNearestNeighbor:
        image = sitk.Cast(image, sitk.sitkFloat64)
    moved = sitk.Resample(image, image, itk_field(field), method, 0.0)
    return sitk.GetArrayFromImage(moved)


def border_of(ddf: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Vectors at the outermost voxels across the given array axes."""
    faces = [np.take(ddf, [0, -1], axis=1 + axis).ravel() for axis in axes]
    return np.concatenate(faces)


def require_good_field(path: Path, dimension: int, settings: dict) -> None:
    """Still at the border, free of folds, and along a stack still and shared or not."""
    ddf, across = ddf_from_field(read_field(path)), settings.get("slice_axis")
    axes = tuple(axis for axis in range(dimension) if axis != across)
    assert np.all(border_of(ddf, axes) == 0)
    assert not folded(torch.from_numpy(ddf)[None]).any()
    if across is not None:
        assert np.abs(ddf[across]).max() < 1e-5
        slices = np.moveaxis(ddf, 1 + across, 0)
        shared = settings.get("stack", "shared") == "shared"
        assert (np.abs(slices[1] - slices[-1]).max() < 1e-4) == shared


@pytest.mark.parametrize("name", CASES)
def test_written_field_makes_the_written_image_and_labels(name, make_job, digests):
    dimension, settings = CASES[name]
    job = make_job(dimension, **settings)
    before = digests(job.image.parent)
    entry = generate(job)["samples"][0]

    paths = {key: job.out / entry[key] for key in ("image", "labels", "field")}
    original, written = read_image(job.image), read_image(paths["image"])
    assert written.geometry.size == original.geometry.size
    assert np.abs(written.array.astype(float) - original.array).max() > 1
    if job.sampling.interpolation == "linear":
        again = applied(job.image, paths["field"], sitk.sitkLinear)
        span = float(np.ptp(original.array))
        assert np.abs(again - written.array).max() <= 1e-3 * span
    labels = read_labels(paths["labels"])
    again = applied(job.labels, paths["field"], sitk.sitkNearestNeighbor)
    assert np.array_equal(again, labels.array)
    assert set(labels.label_values) <= set(read_labels(job.labels).label_values)
    assert {p: h for p, h in digests(job.image.parent).items() if p in before} == before
    require_good_field(paths["field"], dimension, settings)
    assert entry["quality"]["folding"]["voxels"] == 0
    assert entry["quality"]["displacement_mm"]["mean"] > 0.05


def test_a_free_border_moves(make_job):
    job = make_job(3, level=60, border="free")
    entry = generate(job)["samples"][0]
    ddf = ddf_from_field(read_field(job.out / entry["field"]))
    assert np.abs(border_of(ddf, (0, 1, 2))).max() > 0.1


def test_manifest_says_all_that_a_sample_depends_on(make_job):
    job = make_job(2, model=HEART, count=2, report=True)
    events: list[Event] = []
    manifest = generate(job, events.append)

    stored = json.loads((job.out / "manifest.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(manifest))
    assert stored["command"] == "generate" and stored["complete"] is True
    for kind, path in (("image", job.image), ("labels", job.labels)):
        assert stored["input"][kind]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert Path(stored["input"][kind]["path"]) == path
    model = find_model(HEART)
    assert stored["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert stored["settings"]["steps"] == 2 and stored["settings"]["level"] == 48
    assert set(stored["settings"]) == {f.name for f in dataclasses.fields(job.sampling)}
    assert {"DRDMCore", "python", "torch", "numpy", "SimpleITK"} <= set(stored["versions"])

    assert [entry["seed"] for entry in stored["samples"]] == [5, 6]
    named = {entry[key] for entry in stored["samples"] for key in ("image", "labels", "field")}
    assert {path.name for path in job.out.iterdir()} == named | {"manifest.json", "report.html"}
    for entry in stored["samples"]:
        assert not Path(entry["image"]).is_absolute()
        quality = entry["quality"]
        assert quality["displacement_mm"]["mean"] > 0 and quality["jacobian"]["min"] > 0
        assert [row["value"] for row in quality["labels"]] == [3, 7]
        assert {"folding", "image", "repaired_voxels"} <= set(quality)
    kinds = [event.kind for event in events]
    assert kinds[0] == "start" and kinds[-1] == "done" and kinds.count("sample") == 2
    assert "GB of memory" in events[0].message
    assert all(0 <= event.done <= event.total for event in events if event.total)


def test_same_seed_same_bits_other_seed_other(make_job, digests, write_subject):
    files = write_subject(2)
    jobs = first, again, _, later = [
        make_job(2, files=files, model=HEART, out=out, seed=seed, count=count)
        for out, seed, count in (("a", 5, 2), ("b", 5, 2), ("c", 9, 1), ("d", 6, 1))
    ]
    made = [generate(job) for job in jobs]
    assert digests(first.out) == digests(again.out)
    fields = [read_field(jobs[i].out / made[i]["samples"][0]["field"]) for i in (0, 2)]
    assert np.abs(fields[0].vectors_mm_lps - fields[1].vectors_mm_lps).max() > 0.5
    # Sample 2 of seed 5 is sample 1 of seed 6: seeds are consecutive, samples independent.
    for key in ("image", "labels", "field"):
        both = (first.out / made[0]["samples"][1][key], later.out / made[3]["samples"][0][key])
        assert both[0].read_bytes() == both[1].read_bytes()


def test_samples_made_together_are_those_made_alone(make_job, write_subject):
    files = write_subject(2)
    fields = []
    for batch in (1, 3):
        job = make_job(2, files=files, model=HEART, out=f"by{batch}", seed=5, count=4, batch=batch)
        entries = generate(job)["samples"]
        assert [entry["seed"] for entry in entries] == [5, 6, 7, 8]
        fields.append([read_field(job.out / entry["field"]).vectors_mm_lps for entry in entries])
    for alone, together in zip(*fields, strict=True):
        assert np.abs(alone).max() > 1 and np.abs(alone - together).max() < 1e-3


def test_number_of_threads_changes_next_to_nothing(make_job, write_subject):
    files, threads = write_subject(3), torch.get_num_threads()
    fields = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            job = make_job(3, files=files, model=HEART, out=f"threads{count}", slice_axis=0)
            entry = generate(job)["samples"][0]
            fields.append(read_field(job.out / entry["field"]).vectors_mm_lps)
    finally:
        torch.set_num_threads(threads)
    assert np.abs(fields[0] - fields[1]).max() < 1e-3


@pytest.mark.parametrize(
    ("dimension", "mean_mm", "size"), [(2, 0.5, None), (2, 4.0, None), (3, 2.0, (46, 38, 32))]
)
def test_mean_displacement_is_as_asked(dimension, mean_mm, size, make_job, write_subject):
    job = make_job(dimension, files=write_subject(dimension, size=size), mean_mm=mean_mm)
    entry = generate(job)["samples"][0]
    assert entry["quality"]["displacement_mm"]["mean"] == pytest.approx(mean_mm, rel=0.03)


def test_a_seed_is_chosen_and_recorded(make_job, write_subject):
    files = write_subject(2)
    seeds = {generate(make_job(2, files=files, seed=None, out=o))["seed"] for o in "ab"}
    assert len(seeds) == 2


def test_image_without_labels(make_job):
    job = make_job(2, labels=None)
    manifest = generate(job)
    assert manifest["input"]["labels"] is None
    assert manifest["samples"][0]["labels"] is None
    assert not list(job.out.glob("*labels*"))


def test_labels_of_another_grid_are_refused_or_resampled_when_asked(make_job, write_subject):
    image, labels = write_subject(2)
    coarse = sitk.ReadImage(str(labels))[::2, ::2]
    sitk.WriteImage(coarse, str(labels))
    with pytest.raises(InputError, match="same grid") as caught:
        generate(make_job(2, files=(image, labels)))
    assert str(image) in str(caught.value) and str(labels) in str(caught.value)
    job = make_job(2, files=(image, labels), resample_labels_to_image=True)
    entry = generate(job)["samples"][0]
    moved = read_labels(job.out / entry["labels"])
    assert moved.geometry.size == read_image(image).geometry.size
    assert moved.label_values == (0, 3, 7)


def test_segmentation_names_reach_the_manifest(make_job, write_subject):
    files = write_subject(3, labels_ending=".seg.nrrd")
    entry = generate(make_job(3, files=files, mean_mm=1.0))["samples"][0]
    assert {row["value"]: row["name"] for row in entry["quality"]["labels"]} == {
        3: "wall",
        7: "pool",
    }


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        (np.uint8, np.float32),  # few grey values: rounding would show
        (np.int16, np.int16),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_pixel_types(dtype, written, make_job, write_subject):
    files = write_subject(2, dtype=dtype)
    job = make_job(2, files=files, mean_mm=2.0)
    entry = generate(job)["samples"][0]
    array = read_image(job.out / entry["image"]).array
    assert array.dtype == written
    again = applied(files[0], job.out / entry["field"], sitk.sitkLinear)
    rounding = 0.5 if np.dtype(written).kind == "i" else 0.0
    assert np.abs(again - array).max() <= rounding + 1e-3 * np.ptp(read_image(files[0]).array)


@pytest.mark.parametrize("field_format", [".nrrd", ".nii.gz", ".h5", ".mha"])
@pytest.mark.parametrize("image_format", [".nrrd", ".mha"])
def test_formats(field_format, image_format, make_job):
    job = make_job(2, field_format=field_format, image_format=image_format, mean_mm=1.0)
    entry = generate(job)["samples"][0]
    assert entry["field"].endswith(field_format) and entry["image"].endswith(image_format)
    field = read_field(job.out / entry["field"])
    assert np.abs(field.vectors_mm_lps).max() > 0.1
    assert read_labels(job.out / entry["labels"]).label_values == (0, 3, 7)


def test_dicom_series(tmp_path, make_job):
    folder = tmp_path / "series"
    folder.mkdir()
    array = np.random.default_rng(0).integers(0, 1500, (6, 22, 18)).astype(np.int16)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, plane in enumerate(array):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((1.5, 1.25, 3.0))
        tags = {
            "0020|000d": "1.2.3.1",
            "0020|000e": "1.2.3.2",
            "0008|0018": f"1.2.3.4.{index}",
            "0008|0060": "MR",
            "0020|0013": str(index + 1),
            "0020|0032": f"10\\20\\{3 * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Execute(image)
    job = make_job(3, files=(folder, None), mean_mm=1.0)
    manifest = generate(job)
    moved = read_image(job.out / manifest["samples"][0]["image"])
    assert moved.geometry.shape == (6, 22, 18)
    assert moved.geometry.spacing_mm == pytest.approx((1.5, 1.25, 3.0))
    assert manifest["samples"][0]["name"] == "series_0001"
    assert Path(manifest["input"]["image"]["path"]) == folder


def test_a_single_slice_of_three_axes(make_job, write_subject):
    files = write_subject(3, size=(30, 1, 26))
    job = make_job(3, files=files, model=HEART)
    entry = generate(job)["samples"][0]
    assert read_image(job.out / entry["image"]).geometry.size == (30, 1, 26)
    assert np.abs(read_field(job.out / entry["field"]).vectors_mm_lps).max() > 0.05


def test_unicode_and_spaces_in_names(tmp_path, make_job, write_subject):
    image, labels = write_subject(2)
    home = tmp_path / "Größe und Maß 図"
    home.mkdir()
    image, labels = image.rename(home / "Kopf 頭.nrrd"), labels.rename(home / "Umriß é.nrrd")
    job = make_job(2, files=(image, labels), out="Größe und Maß 図/neu", report=True)
    entry = generate(job)["samples"][0]
    assert (job.out / entry["image"]).name == "Kopf 頭_0001_image.nii.gz"
    assert (job.out / "report.html").stat().st_size > 1000


def test_big_and_negative_values(make_job, write_subject):
    image, labels = write_subject(2)
    volume = read_image(image)
    write(Volume((volume.array * 1e6 - 1e9).astype(np.float64), volume.geometry), image)
    entry = generate(make_job(2, files=(image, labels), model=HEART))["samples"][0]
    assert math.isfinite(entry["quality"]["image"]["ncc"])


def test_results_beside_the_originals(make_job, digests):
    job = make_job(2, model=HEART, out=".", report=True)
    before = digests(job.image.parent)
    generate(job)
    assert before.items() < digests(job.image.parent).items()
