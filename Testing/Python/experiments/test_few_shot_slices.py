"""The few-shot experiment on slices: patients with stacks, their scores, a whole small study."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DRDMCore.errors import InputError
from DRDMCore.fields import warp, warp_labels
from DRDMCore.imaging import Geometry, Volume, write_volume
from DRDMCore.training.settings_file import read_yaml
from Testing.Experiments.few_shot import __main__ as program
from Testing.Experiments.few_shot import matching, measures, numbers, plan, study
from Testing.Experiments.few_shot.fields import elastic
from Testing.Experiments.few_shot.generators import Generators, require_unseen
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.registering import registered
from Testing.Experiments.few_shot.slices import SlicedSubjects, patient_of, subjects_of
from Testing.Experiments.few_shot.study import ACDC, ALL, HIPPOCAMPUS, Study, Training

needs_monai = pytest.mark.skipif(
    importlib.util.find_spec("monai") is None, reason="MONAI is not installed: extra `bench`"
)

GENERATOR = """
name: tiny
data: images
grid: {dimension: 2, mode: fov, side: 48}
shape: [32, 32]
widths: [4, 8, 8]
steps: 2
batch: 2
validate_every: 1
recoveries: 1
validation_share: 0.2
test_share: 0.2
"""
DRDM = ({"level": 30, "gain": 1.5, "steps": 3, "border": "free", "p": 0.5},)
ELASTIC = ({"sigma": 4, "mean_voxels": 1.0, "p": 0.5},)


def heart(shape: tuple[int, int, int], middle: tuple[float, float], size: float) -> np.ndarray:
    """Labels of a stack: a ring about a disc, and a third region beside; smaller to the end."""
    grid = np.indices(shape[1:]).astype(float)
    found = np.zeros(shape, dtype=np.uint8)
    for index in range(1, shape[0] - 1):  # the first and the last slice show no heart
        radius = size * (1 - 0.1 * index)
        away = np.hypot(grid[0] - middle[0], grid[1] - middle[1])
        beside = np.hypot(grid[0] - middle[0], grid[1] - middle[1] + 1.5 * radius)
        found[index][beside < 0.8 * radius] = 1
        found[index][away < radius] = 2
        found[index][away < 0.6 * radius] = 3
    return found


def write_stack(folder: Path, name: str, labels: np.ndarray) -> None:
    """A file of labels and an image that shows them, in pixels of 1.5 mm and slices of 10 mm."""
    z, y, x = labels.shape
    geometry = Geometry((x, y, z), (1.5, 1.5, 10.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    noise = np.random.default_rng(len(name) + z).normal(0, 5, labels.shape)
    grey = np.array([100, 160, 60, 220])[labels] + noise
    for part, volume in (
        ("images", Volume(grey.astype(np.int16), geometry)),
        ("labels", Volume(labels, geometry, "labels")),
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
        write_volume(volume, folder / part / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Ten patients, two stacks each, of several shapes."""
    folder = tmp_path_factory.mktemp("data")
    for patient in range(1, 11):
        shape = (4 + patient % 3, 64 + 4 * (patient % 2), 56)
        for frame, size in (("frame01", 8.0), ("frame12", 6.5)):
            middle = (shape[1] / 2 + patient % 4 - 2, 30 - patient % 3)
            labels = heart(shape, middle, size + 0.1 * patient)
            write_stack(folder / "tiny", f"patient{patient:03d}_{frame}", labels)
    return folder


@pytest.fixture
def tiny(tmp_path) -> study.Study:
    """A study of these, as small as can be."""
    (tmp_path / "tiny.yaml").write_text(GENERATOR, encoding="utf-8")
    training = Training(
        features=(4, 4, 4, 4, 4, 4),
        iterations={2: 4, ALL: 4},
        batch=2,
        fields={2: 1, ALL: 1},
    )
    return replace(
        ACDC,
        name="tiny",
        images="tiny/images",
        labels="tiny/labels",
        model="tiny",
        trained=tmp_path / "tiny.yaml",
        checkpoints={},
        shape=(32, 32),
        side=48,
        grids={"elastic": ELASTIC, "drdm": DRDM},
        decisive=("affine", "drdm"),
        later=(),
        order=(2, ALL),
        later_order=(),
        fewer={},
        everyone=6,
        subsets=1,
        all_runs=1,
        tuning_subjects=2,
        tuning_subsets=1,
        tuning_size=2,
        training=training,
    )


@pytest.fixture
def subjects(tiny, data) -> SlicedSubjects:
    names = [path.name[:-7] for path in sorted((data / "tiny" / "images").iterdir())]
    found = subjects_of(tiny, data, {"training": names[:12], "test": names[12:]})
    assert isinstance(found, SlicedSubjects)
    return found


def test_slices_of_a_patient_stay_together_and_stacks_are_put_together_again(subjects):
    assert subjects.parts["training"] == [f"patient{k:03d}" for k in range(1, 7)]
    stacks = subjects.stacks("patient002")
    assert list(stacks) == ["patient002_frame01", "patient002_frame12"]
    samples = subjects.samples("patient002")
    assert samples == [name for names in stacks.values() for name in names]
    assert len(samples) == 12
    assert samples[0] == "patient002_frame01_slice00" and subjects.shown("patient002") == samples[3]
    first = next(iter(stacks.values()))
    whole = subjects.joined([subjects.example(name).labels for name in first])
    assert whole.shape == (6, 32, 32) and set(np.unique(whole)) == {0, 1, 2, 3}
    assert subjects.spacing(first) == pytest.approx((10, 64 * 1.5 / 48, 64 * 1.5 / 48))
    images = np.stack([subjects.example(name).image for name in first])
    assert abs(images[whole == 3].mean() - images[whole == 2].mean()) > 1  # labels fit the image
    # the heart has the size in mm that it had
    mm = (whole > 0).sum() * np.prod(subjects.spacing(first))
    image, labels = subjects.volumes(first[2])
    assert image.array.shape == labels.array.shape == (1, 64, 56)
    real = sum((subjects.volumes(name)[1].array > 0).sum() for name in first) * 1.5 * 1.5 * 10
    assert mm == pytest.approx(real, rel=0.05)


def test_a_field_of_a_slice_moves_the_same_on_the_networks_grid(subjects):
    name = "patient002_frame01_slice02"
    ddf = np.zeros((3, *subjects.volumes(name)[0].array.shape), dtype=np.float32)
    ddf[1], ddf[2] = 4.0, -4.0  # pixels of the file; 3 on the networks' grid
    placed = subjects.placed(ddf, name)
    assert placed.shape == (2, 32, 32)
    assert placed[0] == pytest.approx(3.0) and placed[1] == pytest.approx(-3.0)
    assert subjects.own_shape(name) == (32, 32)
    example = subjects.example(name)
    moved = warp_labels(
        torch.from_numpy(example.labels).long()[None, None], torch.from_numpy(placed)[None]
    )[0, 0].numpy()
    before, after = (np.argwhere(each == 3).mean(axis=0) for each in (example.labels, moved))
    assert after - before == pytest.approx([-3, 3], abs=0.1)


def test_partners_are_of_other_patients_at_the_same_time_and_height(subjects):
    labelled = ["patient001", "patient002", "patient003"]
    found = subjects.partners("patient002_frame12_slice01", labelled)
    assert found == ["patient003_frame12_slice01", "patient001_frame12_slice01"]
    last = subjects.partners("patient002_frame01_slice04", labelled)  # of 6 slices; theirs: 4 and 5
    assert last == ["patient003_frame01_slice02", "patient001_frame01_slice03"]


def test_registration_of_slices_changes_the_shape_and_not_the_place(subjects):
    name, partner = "patient001_frame01_slice02", "patient002_frame01_slice02"
    target, still = subjects.target(name, partner), subjects.example(name)
    middle = [np.argwhere(each.labels == 3).mean(axis=0) for each in (target, still)]
    assert np.abs(middle[0] - middle[1]).max() < 1.5
    ddf = torch.from_numpy(registered(still, target))[None]
    assert ddf.shape == (1, 2, 32, 32)
    moved = warp(torch.from_numpy(still.image)[None, None], ddf)[0, 0].numpy()
    before, after = (np.abs(each - target.image).mean() for each in (still.image, moved))
    assert after < 0.9 * before


def test_generator_that_has_seen_a_test_patient_is_refused(subjects, tmp_path):
    model = tmp_path / "model.safetensors"
    require_unseen(model, subjects)  # nothing is known of it
    names = ["patient001_frame01", "patient006_frame12"]
    (tmp_path / "split.json").write_text(json.dumps({"training": names}), encoding="utf-8")
    require_unseen(model, subjects)
    names.append(f"{subjects.parts['test'][0]}_frame12")
    (tmp_path / "split.json").write_text(json.dumps({"training": names}), encoding="utf-8")
    with pytest.raises(InputError, match="has patient007"):
        require_unseen(model, subjects)


def test_heart_beyond_the_middle_is_refused(tiny, tmp_path):
    far = heart((4, 64, 56), (58, 30), 8)
    write_stack(tmp_path / "tiny", "patient099_frame01", far)
    found = subjects_of(tiny, tmp_path, {"training": ["patient099_frame01"]})
    with pytest.raises(InputError, match="patient099_frame01 must lie within"):
        found.samples("patient099")


def test_elastic_fields_of_both_dimensions_have_the_wanted_size():
    pytest.importorskip("monai", reason="MONAI is not installed: extra `bench`")
    for shape in ((96, 96), (24, 24, 24)):
        draws = elastic(shape, {"sigma": 4, "mean_voxels": 1.5}, "one")
        sizes = [np.linalg.norm(next(draws), axis=0).mean() for _ in range(8)]
        assert next(draws).shape == (len(shape), *shape)
        assert np.mean(sizes) == pytest.approx(1.5, rel=0.2)


def test_patients_are_drawn_anew_with_all_their_stacks():
    names = [f"patient{k:03d}_frame{f:02d}" for k in range(1, 9) for f in (1, 12)]
    rng = np.random.default_rng(0)
    difference = np.repeat(rng.normal(0, 4, 8), 2)  # both stacks of a patient alike

    def cells(patient_of):
        rows, scores = [], {}
        for arm, dice in (("drdm", 80 + difference), ("affine", np.full(16, 80.0))):
            for subset in range(3):
                key = f"{arm}-{subset}"
                row = {"stage": "test", "key": key, "n": "5", "subset": str(subset), "arm": arm}
                rows.append(row)
                scores[key] = {n: {"1": [d, 1.0, 2.0]} for n, d in zip(names, dice, strict=True)}
        return numbers.cells(rows, scores, list(scores), patient_of)

    by_patient = cells(lambda name: patient_of(ACDC, name))
    by_stack = cells(lambda name: patient_of(HIPPOCAMPUS, name))
    pairs = [
        numbers.paired(found[5, "drdm"], found[5, "affine"]) for found in (by_patient, by_stack)
    ]
    assert pairs[0].mean == pytest.approx(pairs[1].mean)
    widths = [pair.over_both[1] - pair.over_both[0] for pair in pairs]
    assert widths[0] == pytest.approx(2**0.5 * widths[1], rel=0.1)
    assert by_patient[5, "drdm"].by_patient.shape == (3, 8)
    assert by_stack[5, "drdm"].by_patient.shape == (3, 16)


def test_plan_of_the_slices():
    identified = replace(ACDC, generator="acdc-mr-2d 1", others={"published": "published 2"})
    assert len(ACDC.grids["elastic"]) == len(ACDC.grids["drdm"])  # the same budget
    tuning = list(plan.tuning_runs(identified))
    assert len(tuning) == 16
    assert {run.iterations for run in tuning} == {1800}
    assert {run.generator for run in tuning if run.arm == "drdm"} == {"acdc-mr-2d 1"}
    assert {run.generator for run in tuning if run.arm == "drdm-published"} == {"published 2"}
    assert {run.generator for run in tuning if run.arm == "elastic"} == {""}
    chosen = {name: grid[0] for name, grid in ACDC.grids.items()}
    runs = plan.test_runs(identified, chosen, ("random-published",))
    assert len({run.key for run in runs}) == len(runs)
    assert {run.iterations for run in runs if run.n in (2, 5)} == {3600}
    small = [run for run in runs if run.arm == "drdm-published" and run.n in (2, 5)]
    assert len(small) == 20
    first = [(run.n, run.arm) for run in runs[:5]]
    assert first == [(5, name) for name in ("affine", "elastic", "random", "drdm", small[0].arm)]
    assert [n for n in dict.fromkeys(run.n for run in runs)] == [5, 2, ALL, 20]
    matched = [run for run in runs if run.arm == "random-published"]
    assert {run.generator for run in matched} == {"published 2"}
    training = [f"patient{k:03d}" for k in range(50)]
    for run in runs:
        assert len(plan.labelled(run, identified, training)) == (run.n or 50)
    tuned = {name for run in tuning for name in plan.labelled(run, identified, training)}
    tested = {
        n: [set(plan.labelled(run, identified, training)) for run in small if run.n == n]
        for n in (2, 5)
    }
    assert len(tuned) == 10 and not tuned & set().union(*tested[2], *tested[5])
    for n, shared in ((2, 0), (5, 1)):
        pairs = [(a, b) for k, a in enumerate(tested[n]) for b in tested[n][:k]]
        assert max(len(a & b) for a, b in pairs) == shared


def test_split_is_that_of_the_generators_training(shared_data, tmp_path):
    """It depends on the names alone: small images of the same names stand for the real ones."""
    settings = read_yaml(ACDC.trained)
    assert settings["grid"]["side"] == ACDC.side and settings["name"] == ACDC.model
    names = [path.name[:-7] for path in sorted((shared_data / ACDC.images).iterdir())]
    for name in names:
        write_stack(tmp_path / "acdc", name, heart((3, 16, 16), (8, 8), 4))
    parts = subjects_of(ACDC, tmp_path).parts
    counts = {part: len(found) for part, found in parts.items()}
    assert counts == {"training": ACDC.everyone, "validation": 10, "test": 20}
    assert len({name for part in parts.values() for name in part}) == 80
    assert "patient001" in parts["training"]  # the one that is shipped with the published weights


def test_no_heart_is_cut_on_the_real_grid(shared_data):
    """The patient with the largest matrix, whose heart would be cut first."""
    cases = [f"patient057_frame{frame}" for frame in ("01", "09")]
    found = subjects_of(ACDC, shared_data, {"test": cases})
    examples = [found.example(name) for name in found.samples("patient057")]
    assert {each.image.shape for each in examples} == {ACDC.shape}
    assert {value for each in examples for value in np.unique(each.labels)} == {0, 1, 2, 3}


def test_published_weights_become_a_generator(shared_data, tmp_path, tiny):
    named = replace(tiny, checkpoints=ACDC.checkpoints, trained=None, model="phantom-heart-2d")
    records = Records("tiny", tmp_path / "out", tmp_path / "results")
    generators = Generators(named, records, shared_data)
    generators.make("cpu", lambda _: None)
    found = generators.identified()
    assert found.generator.startswith("phantom-heart-2d ")
    assert found.others["published"].startswith("published ")
    assert "there" not in found.others["published"]


def test_runs_know_a_trained_generator_by_its_settings(tmp_path, shared_data):
    """Trained anew elsewhere it has other weights, and the finished runs still count."""
    recipe = tmp_path / "recipe.yaml"
    assert ACDC.trained is not None
    text = ACDC.trained.read_text(encoding="utf-8")
    recipe.write_text(text + "# a remark\n", encoding="utf-8")
    records = Records("acdc", tmp_path / "out", tmp_path / "results")

    def named(study: Study, given: str | None = None) -> str:
        return Generators(study, records, shared_data, given).identified().generator

    ours = named(ACDC)
    assert named(replace(ACDC, trained=recipe)) == ours and ours.startswith("acdc-mr-2d, settings ")
    recipe.write_text(text.replace("steps: 2400", "steps: 2401"), encoding="utf-8")
    assert named(replace(ACDC, trained=recipe)) != ours
    given = named(ACDC, "phantom-heart-2d")  # another model: other runs
    assert given == named(replace(ACDC, trained=None, model="phantom-heart-2d")) != ours


def test_only_a_study_without_a_bundled_generator_is_trained(tmp_path, capsys):
    places = ["--out", str(tmp_path), "--results", str(tmp_path), "--data", str(tmp_path)]
    assert program.main(["train", *places]) == 1
    assert "not bundled" in capsys.readouterr().err
    assert program.main(["plan", "--study", "acdc", *places]) == 0  # needs no data and no generator
    assert "missing acdc-tuning-n5-s0-elastic" in capsys.readouterr().out
    assert program.main(["page", "--arms", "random-published", *places]) == 1
    assert "'random-published'" in capsys.readouterr().err


@needs_monai
@pytest.mark.slow
def test_whole_small_study_of_slices(tmp_path, data, tiny, monkeypatch, capsys):
    for name, value in (("SUBJECTS", 1), ("FIELDS", 2), ("_HALVINGS", 2)):
        monkeypatch.setattr(matching, name, value)
    monkeypatch.setitem(program.STUDIES, "tiny", tiny)
    places = ["--study", "tiny", "--data", str(data), "--out", str(tmp_path / "out")]
    places += ["--results", str(tmp_path / "results")]
    assert program.main(["run", *places, "--limit", "1"]) == 0
    made = tmp_path / "out" / "tiny" / "generators" / "tiny.safetensors"
    kept = made.read_bytes()
    assert "the tuning is not finished" in capsys.readouterr().err
    assert program.main(["run", *places]) == 0
    assert made.read_bytes() == kept
    page = (tmp_path / "results" / "few-shot-tiny.md").read_text(encoding="utf-8")
    assert "none is missing" in page
    assert "| 2 | + DRDM, tuned | 1 |" in page and "| all | affine + intensity | 1 |" in page
    assert "| 20 | 65.8 | 66.9 | 77.5 |" in page  # the paper's
    lines = (
        (tmp_path / "results" / "few-shot-tiny-subjects.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    scores = [json.loads(line) for line in lines]
    tested = next(each for each in scores if "-test-" in each["key"])
    assert len(tested["subjects"]) == 4  # stacks of two patients
    assert all(name.endswith(("_frame01", "_frame12")) for name in tested["subjects"])
    rows = Records("tiny", tmp_path / "elsewhere", tmp_path / "results").rows()
    assert {row["labelled"].count("patient") for row in rows} == {2, 6}
    digest = hashlib.sha256(kept).hexdigest()
    seen = {row["arm"]: (row["generator"], row["own_model_sha256"]) for row in rows}
    name, own = seen["drdm"]
    assert name.startswith("tiny, settings ") and own == digest and seen["affine"] == ("", "")
    assert f"where they differ: {digest[:12]}" in page
    assert program.main(["look", *places, "--pictures", str(tmp_path / "look")]) == 0
    drawn = {path.name for path in (tmp_path / "look").iterdir()}
    assert {"tiny-affine.png", "tiny-elastic.png", "tiny-drdm.png"} <= drawn
    made.unlink()  # without the generator the page is the same
    (tmp_path / "results" / "few-shot-tiny.md").unlink()
    assert program.main(["page", *places]) == 0
    assert (tmp_path / "results" / "few-shot-tiny.md").read_text(encoding="utf-8") == page


def test_scores_of_a_stack_are_in_mm():
    first = np.zeros((5, 20, 20), dtype=bool)
    first[1:4, 5:15, 5:15] = True
    second = np.roll(first, 1, axis=0)  # a slice of 10 mm away
    assert measures.score(first, second, (10.0, 2.0, 2.0))[2] == pytest.approx(10.0)
    assert measures.score(first, np.roll(first, 1, axis=1), (10.0, 2.0, 2.0))[2] == pytest.approx(2)
