"""Data sets: the numbers of `generate`, replayed bit for bit; layouts, refusals, resuming."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DRDMCore.errors import Cancelled, InputError
from DRDMCore.fields import folded
from DRDMCore.imaging import (
    Volume,
    read_field,
    read_image,
    read_labels,
    write_field,
    write_volume,
)
from DRDMCore.models import list_models
from DRDMCore.pipelines.export import ExportJob, export
from DRDMCore.pipelines.export_layouts import DATASET
from DRDMCore.pipelines.export_samples import sample_from, samples_of_folder
from DRDMCore.pipelines.generate import generate
from DRDMCore.pipelines.quality import measure_file
from DRDMCore.pipelines.replay import replay
from DRDMCore.progress import Event

HEART, TORSO = "phantom-heart-2d", "phantom-torso-3d"
HAS_TORSO = TORSO in {path.stem for path in list_models()}


def job_of(generated, out: Path, *, amplitude: float = 1.0, keep=None, **given) -> ExportJob:
    samples = samples_of_folder(generated.out, amplitude=amplitude, keep=keep)
    originals = {"image": generated.image, "labels": generated.labels}
    return ExportJob(**{**originals, "out": out, "samples": tuple(samples), **given})


@pytest.fixture
def generated(make_job):
    """Two samples of a 2D image with labels, made by a model."""
    job = make_job(2, model=HEART, count=2)
    generate(job)
    return job


CASES = {
    "2D model": (2, {"model": HEART}),
    "2D none": (2, {"mean_mm": 3.0}),
    "stack": (3, {"model": HEART, "slice_axis": 1}),
    "stack per slice": (3, {"model": HEART, "stack": "per-slice"}),
    "3D none, cubic": (3, {"mean_mm": 2.5, "interpolation": "cubic", "padding": "minimum"}),
}
if HAS_TORSO:
    CASES["3D model"] = (3, {"model": TORSO, "label_interpolation": "linear"})


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_generate(case, make_job, tmp_path):
    dimension, given = CASES[case]
    made = make_job(dimension, count=2, **given)
    wanted = generate(made)
    manifest = export(job_of(made, tmp_path / "set"))
    assert manifest["complete"] and manifest["command"] == "generate"
    for entry, before in zip(manifest["samples"], wanted["samples"], strict=True):
        assert entry["quality"] == before["quality"]
        for kind, read in (("image", read_image), ("labels", read_labels)):
            a, b = read(tmp_path / "set" / entry[kind]), read(made.out / before[kind])
            assert a.geometry == b.geometry and a.array.dtype == b.array.dtype
            assert np.array_equal(a.array, b.array)
        fields = [
            read_field(place / each["field"])
            for place, each in ((tmp_path / "set", entry), (made.out, before))
        ]
        assert np.array_equal(fields[0].vectors_mm_lps, fields[1].vectors_mm_lps)


@pytest.mark.parametrize("layout", ["pairs", "nnunet", "flat"])
@pytest.mark.parametrize("amplitude", [1.0, 0.6, 1.4])
def test_replay_makes_it_again(amplitude, layout, generated, tmp_path):
    out = tmp_path / "set"
    manifest = export(job_of(generated, out, amplitude=amplitude, layout=layout))
    shutil.rmtree(generated.out)  # the data set stands for itself
    for number, entry in enumerate(manifest["samples"], start=1):
        result = replay(out, number, tmp_path / "again")
        assert result["identical"] is True, result
        for kind in ("image", "labels", "field"):
            first, second = (folder / entry[kind] for folder in (out, tmp_path / "again"))
            assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_replay_of_scaled_samples_of_all_kinds(case, make_job, tmp_path):
    dimension, given = CASES[case]
    made = make_job(dimension, **given)
    generate(made)
    for amplitude in (0.6, 1.4):
        out = tmp_path / str(amplitude)
        (entry,) = export(job_of(made, out, amplitude=amplitude))["samples"]
        assert entry["quality"]["folding"]["voxels"] == 0 and entry["amplitude"] == amplitude
        assert replay(out, 1)["identical"] is True


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".h5"])
def test_replay_of_fields_in_other_formats(ending, make_job, tmp_path):
    made = make_job(3, mean_mm=3.0, field_format=ending)
    generate(made)
    out = tmp_path / "set"
    export(job_of(made, out, amplitude=1.4, field_format=ending, image_format=".nrrd"))
    assert replay(out, 1)["identical"] is True


def test_samples_of_many_models_and_settings_are_replayed_each_by_its_own(make_job, tmp_path):
    files, samples = None, []
    for number, given in enumerate(({"model": HEART}, {"mean_mm": 2.0, "padding": "zeros"})):
        made = make_job(2, out=f"from{number}", files=files, **given)
        files = (made.image, made.labels)
        generate(made)
        (sample,) = samples_of_folder(made.out, amplitude=1 + 0.3 * number)
        samples.append(replace(sample, name=f"case {number}"))
    manifest = export(ExportJob(*files[:1], tmp_path / "set", tuple(samples), labels=files[1]))
    assert [entry["model"]["name"] for entry in manifest["samples"]] == [HEART, "none"]
    assert [entry["settings"]["padding"] for entry in manifest["samples"]] == ["border", "zeros"]
    for number in (1, 2):
        assert replay(tmp_path / "set", number)["identical"] is True


def test_pictures_agree_with_the_written_field(generated, tmp_path):
    entry = export(job_of(generated, tmp_path / "set", amplitude=1.4))["samples"][0]
    quality = measure_file(tmp_path / "set" / entry["field"], labels=generated.labels)
    assert quality["labels"] == entry["quality"]["labels"]
    assert quality["displacement_mm"]["max"] == entry["quality"]["displacement_mm"]["max"]


def test_the_folder_can_be_moved(generated, tmp_path):
    export(job_of(generated, tmp_path / "set", labels=generated.image.parent / "outlines.nrrd"))
    generated.image.unlink()
    generated.labels.unlink()
    (tmp_path / "set").rename(tmp_path / "moved")
    assert replay(tmp_path / "moved", 2)["identical"] is True


# Layouts ------------------------------------------------------------------------------------------


def relative_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pairs_and_flat(generated, tmp_path):
    common = {"manifest.json", "input/scan.nrrd", "input/outlines.nrrd"}
    export(job_of(generated, tmp_path / "pairs", originals=True, case="liver"))
    names = ("scan_0001", "scan_0002")
    assert relative_files(tmp_path / "pairs") == common | {
        *(
            f"{kind}/{name}.nii.gz"
            for name in (*names, "liver_original")
            for kind in ("img", "msk")
        ),
        *(f"ddf/{name}.nrrd" for name in names),
    }
    job = job_of(generated, tmp_path / "flat", layout="flat", image_format=".mha", keep=[2])
    export(replace(job, labels=None, field_format=".mha"))
    assert relative_files(tmp_path / "flat") == {
        *("manifest.json", "input/scan.nrrd"),
        *(f"scan_0002_{kind}.mha" for kind in ("image", "field")),
    }


def test_the_original_is_the_input(generated, tmp_path):
    out = tmp_path / "set"
    manifest = export(job_of(generated, out, originals=True, layout="nnunet"))
    (entry,) = manifest["originals"]
    assert entry["name"] == "scan_original" and entry["field"] is None
    image, given = read_image(out / entry["image"]), read_image(generated.image)
    assert np.array_equal(image.array, given.array)
    labels, given = read_labels(out / entry["labels"]), read_labels(generated.labels)
    assert np.array_equal(labels.array != 0, given.array != 0)


def test_nnunet(make_job, write_subject, tmp_path):
    files = write_subject(3, labels_ending=".seg.nrrd")
    made = make_job(3, files=files, mean_mm=2.0, count=2)
    generate(made)
    out = tmp_path / "Dataset007_Pool"
    job = job_of(made, out, layout="nnunet", dataset_name="Pool", originals=True)
    manifest = export(job)
    dataset = json.loads((out / DATASET).read_text(encoding="utf-8"))
    assert dataset == {
        "name": "Pool",
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "wall": 1, "pool": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    assert manifest["label_mapping"] == [
        {"original": 3, "written": 1, "name": "wall"},
        {"original": 7, "written": 2, "name": "pool"},
    ]
    assert len(list((out / "imagesTr").iterdir())) == dataset["numTraining"]
    for entry in manifest["samples"]:
        assert entry["image"] == f"imagesTr/{entry['name']}_0000.nii.gz"
        assert entry["labels"] == f"labelsTr/{entry['name']}.nii.gz"
        labels = read_labels(out / entry["labels"])
        assert labels.label_values == (0, 1, 2) and labels.array.dtype == np.uint8
        original = read_labels(made.out / f"{entry['name']}_labels.nii.gz").array
        assert np.array_equal(labels.array, np.select([original == 3, original == 7], [1, 2], 0))


def test_nnunet_names_are_unique_and_there(make_job, write_subject, tmp_path):
    image, _ = files = write_subject(2)
    array = np.zeros(read_image(image).geometry.shape, np.int16)
    array[4:9, 4:9], array[12:20, 4:9], array[4:9, 12:20], array[20:25, 20:25] = 4, 300, 9, 11
    names = {4: "vein", 300: "vein", 9: "background"}
    labels = image.parent / "many.seg.nrrd"
    write_volume(Volume(array, read_image(image).geometry, "labels", names), labels)
    made = make_job(2, files=(files[0], labels), mean_mm=1.0)
    generate(made)
    export(job_of(made, tmp_path / "set", layout="nnunet"))
    found = json.loads((tmp_path / "set" / DATASET).read_text(encoding="utf-8"))["labels"]
    assert found == {
        "background": 0,
        "vein (4)": 1,
        "background (9)": 2,
        "Segment_11": 3,
        "vein (300)": 4,
    }
    assert replay(tmp_path / "set", 1)["identical"] is True


@pytest.mark.skipif(not HAS_TORSO, reason="no bundled 3D model")
@pytest.mark.parametrize(
    ("model", "channel"),
    [(TORSO, "image"), ("hippocampus-mr-3d", "MRI")],
)
def test_nnunet_channel_is_that_of_the_models_card(model, channel, make_job, tmp_path):
    made = make_job(3, model=model)
    generate(made)
    export(job_of(made, tmp_path / "set", layout="nnunet"))
    dataset = json.loads((tmp_path / "set" / DATASET).read_text(encoding="utf-8"))
    assert dataset["channel_names"] == {"0": channel} and dataset["name"] == "set"


def test_fields_alone_are_enough(make_job, write_subject, tmp_path, digests):
    files = write_subject(3)
    whole, fields = (
        make_job(3, files=files, out=out, mean_mm=2.0, fields_only=only)
        for out, only in (("whole", False), ("fields", True))
    )
    manifest = generate(whole)
    alone = generate(fields)
    assert relative_files(fields.out) == {"manifest.json", alone["samples"][0]["field"]}
    assert alone["samples"][0]["quality"] == manifest["samples"][0]["quality"]
    assert replay(fields.out, 1)["identical"] is True
    before = digests(fields.out)
    assert generate(fields)["samples"] == alone["samples"] and digests(fields.out) == before
    sets = [digests(export_to(job, tmp_path / job.out.name / "set")) for job in (whole, fields)]
    assert sets[0] == sets[1]


def export_to(generated, out: Path) -> Path:
    export(job_of(generated, out))
    (out / "manifest.json").unlink()
    return out


# Refusals -----------------------------------------------------------------------------------------


def test_labels_of_another_grid_are_refused(generated, tmp_path):
    labels = read_labels(generated.labels)
    cut = replace(labels.geometry, size=(labels.geometry.size[0], labels.geometry.size[1] - 1))
    other = tmp_path / "other.nrrd"
    write_volume(Volume(labels.array[:-1].copy(), cut, "labels"), other)
    with pytest.raises(InputError, match="same grid, but have size"):
        export(job_of(generated, tmp_path / "set", labels=other))
    assert not (tmp_path / "set").exists()


def test_overlapping_segments_are_refused_by_name(make_job, write_subject, tmp_path):
    import SimpleITK as sitk

    image, _ = write_subject(3)
    made = make_job(3, files=(image, None), mean_mm=1.0)
    generate(made)
    layers = np.zeros((*read_image(image).geometry.shape, 2), np.uint8)
    layers[2:9, 2:9, 2:9, 0] = layers[6:12, 6:12, 6:12, 1] = 1
    picture = sitk.GetImageFromArray(layers, isVector=True)
    picture.CopyInformation(sitk.ReadImage(str(image)))
    for number, name in enumerate(("liver", "tumour")):
        keys = {"ID": f"S{number}", "Name": name, "LabelValue": "1", "Layer": str(number)}
        for key, text in keys.items():
            picture.SetMetaData(f"Segment{number}_{key}", text)
    both = tmp_path / "both.seg.nrrd"
    sitk.WriteImage(picture, str(both))
    with pytest.raises(InputError, match="'tumour' and 'liver' share"):
        export(job_of(made, tmp_path / "set", labels=both))


def test_field_of_another_image_is_refused(generated, make_job, write_subject, tmp_path):
    other = write_subject(2, size=(30, 25))
    with pytest.raises(InputError, match="same grid, but have size"):
        export(job_of(generated, tmp_path / "set", image=other[0], labels=other[1]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layout": "bids"}, "`layout` must be one of pairs, nnunet, flat, got 'bids'"),
        ({"image_format": ".png"}, "`image_format`"),
        ({"field_format": ".txt"}, "`field_format`"),
        ({"samples": ()}, "at least one sample"),
        ({"layout": "nnunet", "labels": None}, "needs labels"),
    ],
)
def test_wrong_jobs_are_refused(given, words, generated, tmp_path):
    with pytest.raises(InputError, match=words):
        export(replace(job_of(generated, tmp_path / "set"), **given))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a/b"}, "file name"),
        ({"name": "..\\up"}, "file name"),
        ({"name": ""}, "file name"),
        ({"name": "ends."}, "file name"),
        ({"name": "SCAN_0002"}, "twice"),
        ({"name": "scan_Original"}, "twice"),
        ({"amplitude": 1.6}, "`amplitude`"),
        ({"seed": -1}, "`seed`"),
        ({"model": {"name": "none"}}, "`model`"),
        ({"settings": {"levle": 3}}, "levle"),
        ({"settings": {"padding": "mirror"}}, "`padding`"),
    ],
)
def test_wrong_samples_are_refused(change, words, generated, tmp_path):
    job = job_of(generated, tmp_path / "set", originals=True)
    samples = (replace(job.samples[0], **change), job.samples[1])
    with pytest.raises(InputError, match=words):
        export(replace(job, samples=samples))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "given",
    [7, {}, {"field": "f.nrrd"}, {"field": 1, "name": "n", "seed": 0, "amplitude": 1}],
)
def test_samples_of_another_program_are_checked(given):
    with pytest.raises(InputError, match="sample 3 of export"):
        sample_from(given, 3)


def test_a_folder_with_something_else_is_refused(generated, tmp_path, digests):
    out = tmp_path / "set"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="empty folder"):
        export(job_of(generated, out))
    assert relative_files(out) == {"mine.txt"}
    before = digests(generated.out)
    with pytest.raises(InputError, match="other results"):
        export(job_of(generated, generated.out))
    assert digests(generated.out) == before
    export(job_of(generated, tmp_path / "first"))
    before = digests(tmp_path / "first")
    for change in ({"amplitude": 0.5}, {"layout": "flat"}, {"keep": [1]}, {"originals": True}):
        with pytest.raises(InputError, match="another export"):
            export(job_of(generated, tmp_path / "first", **change))
    assert digests(tmp_path / "first") == before


def test_scaled_samples_are_not_scaled_again(generated, tmp_path):
    export(job_of(generated, tmp_path / "weak", amplitude=0.5))
    with pytest.raises(InputError, match=r"scaled by 0\.5 already"):
        samples_of_folder(tmp_path / "weak")
    export(job_of(generated, tmp_path / "plain"))
    assert len(samples_of_folder(tmp_path / "plain", keep=[2])) == 1
    for keep in ([3], [0], []):
        with pytest.raises(InputError, match="`keep`"):
            samples_of_folder(tmp_path / "plain", keep=keep)


# Stopped and run again ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "number"), [("start", 1), ("step", 1), ("pulse", 2), ("sample", 1), ("step", 2)]
)
def test_stopped_and_run_again_is_as_in_one_go(kind, number, generated, tmp_path, digests):
    given = {"layout": "nnunet", "originals": True, "dataset_name": "Twice"}
    jobs = [job_of(generated, tmp_path / out, **given) for out in "ab"]
    export(jobs[0])
    kinds: list[str] = []

    def stop(event: Event) -> bool:
        kinds.append(event.kind)
        return kinds.count(kind) < number

    with pytest.raises(Cancelled):
        export(jobs[1], stop)
    export(jobs[1])
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    export(jobs[1])
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_lost_and_half_files_are_made_again(generated, tmp_path, digests):
    out = tmp_path / "set"
    manifest = export(job_of(generated, out))
    before = digests(out)
    (out / manifest["samples"][0]["labels"]).unlink()
    (out / "input" / "scan.nrrd").write_bytes(b"half")
    (out / "img" / ".0123.partial.nii.gz").write_bytes(b"half")
    events: list[Event] = []
    export(job_of(generated, out), events.append)
    assert digests(out) == before
    kinds = [event.kind for event in events if event.kind != "pulse"]
    assert kinds == ["start", "step", "sample", "sample", "done"]


def test_a_folder_of_half_files_counts_as_empty(generated, tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    (out / ".0123.partial.json").write_bytes(b"half")
    assert export(job_of(generated, out))["complete"]
    assert not list(out.rglob("*.partial*"))


def test_field_from_a_scene_has_rounded_numbers_of_its_grid(generated, tmp_path):
    """Another program may write the same vectors on a grid that differs in the last digits."""
    field = read_field(generated.out / "scan_0001_field.nrrd")
    near = replace(field.geometry, origin_mm=tuple(x + 1e-7 for x in field.geometry.origin_mm))
    write_field(replace(field, geometry=near), tmp_path / "near.nrrd")
    job = job_of(generated, tmp_path / "set", keep=[1], amplitude=1.4)
    export(replace(job, samples=(replace(job.samples[0], field=tmp_path / "near.nrrd"),)))
    assert replay(tmp_path / "set", 1)["identical"] is True
    assert not bool(folded_of(tmp_path / "set" / "ddf" / "scan_0001.nrrd"))


def folded_of(path: Path) -> int:
    import torch

    from DRDMCore.imaging import ddf_from_field

    return int(folded(torch.from_numpy(ddf_from_field(read_field(path)))[None]).sum())
