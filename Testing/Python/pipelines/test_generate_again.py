"""`generate` stopped, run again, limited, refused; and `replay`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from DRDMCore.errors import Cancelled, DRDMError, InputError, MissingFileError, ModelError
from DRDMCore.models import find_model
from DRDMCore.pipelines.generate import generate
from DRDMCore.pipelines.replay import replay
from DRDMCore.progress import Event
from DRDMCore.recovery import VelocityStep

HEART = "phantom-heart-2d"


def stop_at(kind: str, number: int, events: list[Event]):
    """A callback that asks to stop at the n-th event of a kind."""

    def told(event: Event) -> bool:
        events.append(event)
        return [each.kind for each in events].count(kind) < number

    return told


@pytest.mark.parametrize(
    ("kind", "number", "kept"), [("sample", 1, 1), ("step", 3, 1), ("step", 1, 0), ("start", 1, 0)]
)
def test_stopped_and_run_again_is_as_in_one_go(
    kind, number, kept, make_job, digests, write_subject
):
    files = write_subject(2)
    whole, parts = (
        make_job(2, files=files, model=HEART, count=2, out=out, report=True) for out in "ab"
    )
    generate(whole)
    events: list[Event] = []
    with pytest.raises(Cancelled, match="stopped"):
        generate(parts, stop_at(kind, number, events))
    assert len(list(parts.out.glob("*_image.*"))) == kept
    assert not list(parts.out.parent.rglob("*partial*"))
    if kept:
        stored = json.loads((parts.out / "manifest.json").read_text(encoding="utf-8"))
        assert len(stored["samples"]) == kept and stored["complete"] is False
    generate(parts)
    assert digests(whole.out) == digests(parts.out)


def test_run_again_when_done_changes_nothing(make_job, digests, write_subject):
    job = make_job(2, files=write_subject(2), count=2, mean_mm=2.0)
    generate(job)
    before, times = digests(job.out), [p.stat().st_mtime_ns for p in job.out.glob("*_*")]
    generate(job)
    assert digests(job.out) == before
    assert times == [p.stat().st_mtime_ns for p in job.out.glob("*_*")]


def test_run_again_makes_removed_files_again(make_job, digests, write_subject):
    job = make_job(2, files=write_subject(2), count=2, model=HEART, report=True)
    entry = generate(job)["samples"][0]
    before = digests(job.out)
    (job.out / entry["labels"]).unlink()
    (job.out / entry["field"]).unlink()
    events: list[Event] = []
    generate(job, events.append)
    assert digests(job.out) == before
    assert [event.kind for event in events if event.kind in ("note", "sample")] == ["note"]


def test_a_seed_of_the_programs_own_survives_a_stop(make_job, write_subject):
    job = make_job(2, files=write_subject(2), count=2, seed=None, mean_mm=2.0)
    with pytest.raises(Cancelled):
        generate(job, stop_at("sample", 1, []))
    begun = json.loads((job.out / "manifest.json").read_text(encoding="utf-8"))["seed"]
    done = generate(job)
    assert done["seed"] == begun
    assert [entry["seed"] for entry in done["samples"]] == [begun, begun + 1]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"mean_mm": 3.0},
        {"labels": None},
        {"model": HEART},
        {"field_format": ".mha"},
    ],
)
def test_another_job_in_the_same_folder_is_refused(change, make_job, digests, write_subject):
    files = write_subject(2)
    first = make_job(2, files=files, mean_mm=2.0)
    generate(first)
    before = digests(first.out)
    settings = {} if "model" in change else {"mean_mm": 2.0}
    with pytest.raises(InputError, match="another job") as caught:
        generate(make_job(2, files=files, **{**settings, **change}))
    assert str(first.out) in str(caught.value)
    assert digests(first.out) == before


def test_more_samples_are_added_to_those_that_are_there(make_job, digests, write_subject):
    files = write_subject(2)
    manifest = generate(make_job(2, files=files, mean_mm=2.0, count=2))
    first = make_job(2, files=files, mean_mm=2.0, count=2)
    names = [entry["image"] for entry in manifest["samples"]]
    before = {name: value for name, value in digests(first.out).items() if Path(name).name in names}
    more = generate(replace(first, count=4))
    after = digests(first.out)
    assert len(before) == 2 and before.items() <= after.items()
    assert [entry["seed"] for entry in more["samples"]] == [first.seed + i for i in range(4)]
    assert more["count"] == 4


def test_half_files_of_a_killed_run_are_removed(make_job):
    job = make_job(2, mean_mm=2.0)
    job.out.mkdir()
    (job.out / ".0123.partial.nii.gz").write_bytes(b"half")
    generate(job)
    assert list(job.out.glob(".*")) == []


def test_fewer_samples_than_are_there_keeps_them(make_job, write_subject):
    files = write_subject(2)
    generate(make_job(2, files=files, mean_mm=2.0, count=2))
    again = generate(make_job(2, files=files, mean_mm=2.0, count=1))
    assert again["count"] == len(again["samples"]) == 2


def test_a_damaged_manifest_is_refused(make_job):
    job = make_job(2, mean_mm=2.0)
    job.out.mkdir()
    (job.out / "manifest.json").write_text("{ no JSON", encoding="utf-8")
    for seed in (5, None):
        with pytest.raises(InputError, match="not JSON"):
            generate(replace(job, seed=seed))


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"max_mm": 1.0}, "at most 1 mm"), ({"min_mm": 90.0}, "at least 90 mm")],
)
def test_gives_up_after_the_attempts(limits, words, make_job):
    job = make_job(2, level=60, attempts=3, **limits)
    events: list[Event] = []
    with pytest.raises(InputError, match="3 seeds in a row"):
        generate(job, events.append)
    stored = json.loads((job.out / "manifest.json").read_text(encoding="utf-8"))
    assert [each["seed"] for each in stored["rejected"]] == [5, 6, 7]
    assert all(words in each["reason"] for each in stored["rejected"])
    kinds = [event.kind for event in events if event.kind != "pulse"]
    assert kinds == ["start", *["reject"] * 3]
    assert [path.name for path in job.out.iterdir()] == ["manifest.json"]


def test_rejected_seeds_are_recorded_and_the_next_are_tried(make_job, write_subject, digests):
    files = write_subject(2)
    free = generate(make_job(2, files=files, level=50, count=4, out="free"))
    means = [e["quality"]["displacement_mm"]["mean"] for e in free["samples"]]
    limit = sorted(means)[1] * 1.0001  # two of the four are good
    job = make_job(2, files=files, level=50, count=2, max_mm=limit)
    manifest = generate(job)
    good = [5 + i for i, mean in enumerate(means) if mean <= limit]
    assert [entry["seed"] for entry in manifest["samples"]] == good
    expected = [seed for seed in range(5, good[-1]) if seed not in good]
    assert [each["seed"] for each in manifest["rejected"]] == expected
    stopped = replace(job, out=job.out.with_name("stopped"))
    with pytest.raises(Cancelled):
        generate(stopped, stop_at("sample", 1, []))
    generate(stopped)
    assert digests(stopped.out) == digests(job.out)


def test_folding_samples_are_rejected(make_job, monkeypatch):
    """A network that tears the field apart, unrepaired: every sample folds."""

    def tearing(self, image, level, after, *, window=None, shared=False):
        return 6 * torch.sign(torch.randn(len(image), 2, *image.shape[2:])) * (window > 0)

    monkeypatch.setattr(VelocityStep, "forward", tearing)
    job = make_job(2, model=HEART, repair=False, attempts=2)
    with pytest.raises(InputError, match="2 seeds in a row"):
        generate(job)
    stored = json.loads((job.out / "manifest.json").read_text(encoding="utf-8"))
    assert all("folds at" in each["reason"] for each in stored["rejected"])


@pytest.mark.parametrize(
    ("dimension", "settings"),
    [
        (2, {"mean_mm": 2.0}),
        (2, {"model": HEART, "gain": 1.5, "field_format": ".nii.gz"}),
        (3, {"model": HEART, "stack": "per-slice", "slice_axis": 0, "size": (9, 8, 4)}),
        (3, {"level": 40, "image_format": ".mha", "field_format": ".h5"}),
    ],
)
def test_replay_is_identical(dimension, settings, make_job, write_subject):
    files = write_subject(dimension, size=settings.pop("size", None))
    job = make_job(dimension, files=files, count=2, **settings)
    generate(job)
    result = replay(job.out, 2, job.out.with_name("again"))
    assert result["identical"] and result["seed"] == 6
    assert result["field_max_difference_mm"] == result["labels_different_voxels"] == 0
    written = sorted(path.name for path in job.out.with_name("again").iterdir())
    assert written == sorted(path.name for path in job.out.glob("*_0002_*"))
    for name in written:
        if not name.endswith(".h5"):  # HDF5 files hold the time of writing
            again = job.out.with_name("again") / name
            assert again.read_bytes() == (job.out / name).read_bytes()


def test_replay_tells_the_difference(make_job, tmp_path):
    job = make_job(2, mean_mm=2.0, count=2)
    entries = generate(job)["samples"]
    for key in ("field", "image", "labels"):  # sample 2 in the place of sample 1
        (job.out / entries[0][key]).write_bytes((job.out / entries[1][key]).read_bytes())
    result = replay(job.out / "manifest.json", 1, job.out)  # compares before it writes
    assert not result["identical"]
    assert result["field_max_difference_mm"] > 0.5 and result["image_max_difference"] > 1
    assert result["labels_different_voxels"] > 0
    assert replay(job.out, 1)["identical"]


def test_replay_of_resampled_labels(make_job, write_subject):
    import SimpleITK as sitk

    image, labels = write_subject(2)
    sitk.WriteImage(sitk.ReadImage(str(labels))[::2, ::2], str(labels))
    job = make_job(2, files=(image, labels), resample_labels_to_image=True, mean_mm=1.0)
    generate(job)
    assert replay(job.out, 1)["identical"]


@pytest.mark.parametrize("which", ["image", "labels"])
def test_replay_refuses_a_changed_input(which, make_job):
    job = make_job(2, mean_mm=2.0)
    generate(job)
    path: Path = getattr(job, which)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(InputError, match="changed since") as caught:
        replay(job.out, 1)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match="not there"):
        replay(job.out, 1)


def test_replay_refuses_a_changed_model(make_job, tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(find_model(HEART).read_bytes())
    job = make_job(2, model=str(own))
    generate(job)
    assert replay(job.out, 1)["identical"]
    data = bytearray(own.read_bytes())
    data[-1] ^= 1  # the last bit of a weight
    own.write_bytes(data)
    with pytest.raises(ModelError, match="has changed"):
        replay(job.out, 1)


def test_replay_refuses_what_it_cannot_replay(make_job, tmp_path):
    job = make_job(2, mean_mm=2.0)
    generate(job)
    for number in (0, 2, -1):
        with pytest.raises(InputError, match=r"`sample` must be 1 \.\. 1"):
            replay(job.out, number)
    with pytest.raises(MissingFileError, match="manifest"):
        replay(tmp_path, 1)
    stored = json.loads((job.out / "manifest.json").read_text(encoding="utf-8"))
    bad = [
        {"format": 99},
        {**stored, "command": "augment"},
        {"format": stored["format"], "command": "generate"},
        {**stored, "settings": {**stored["settings"], "unheard_of": 1}},
        {**stored, "settings": {**stored["settings"], "attempts": 0}},
        [],
    ]
    for manifest in bad:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(DRDMError):
            replay(tmp_path, 1)
    with pytest.raises(Cancelled):
        job = make_job(2, model=HEART, out="heart")
        generate(job)
        replay(job.out, 1, progress=lambda event: False)


def test_stop_is_seen_between_passes_too(make_job, write_subject):
    """Resampling, smoothing of folds and measuring take seconds on a large volume."""
    job = make_job(3, files=write_subject(3), count=1, level=70)
    events: list[Event] = []
    with pytest.raises(Cancelled):
        generate(job, stop_at("pulse", 2, events))
    assert [event.kind for event in events] == ["start", "pulse", "pulse"]
    assert not list(job.out.rglob("*_field*"))
