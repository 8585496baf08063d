"""The few-shot experiment in small: plan, augmentation, scores, and a program that is killed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DRDMCore.fields import compose, warp, warp_labels
from DRDMCore.imaging import list_cases
from Testing.Experiments import planned
from Testing.Experiments.few_shot import arms, matching, measures, numbers, plan, running
from Testing.Experiments.few_shot.augmenting import Augmenter, Pool
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.longer import lengthened
from Testing.Experiments.few_shot.matching import inside, statistics
from Testing.Experiments.few_shot.network import built, trained
from Testing.Experiments.few_shot.page import write_page
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.registering import registered
from Testing.Experiments.few_shot.study import ACDC, ALL, HIPPOCAMPUS, Training
from Testing.Experiments.few_shot.subjects import Example, Subjects, fitted

CHOSEN = {"elastic": arms.ELASTIC_GRID[0], "drdm": arms.DRDM_GRID[0]}

needs_monai = pytest.mark.skipif(
    importlib.util.find_spec("monai") is None, reason="MONAI is not installed: extra `bench`"
)


def ball(middle: tuple[float, ...], radius: float, shape=(20, 24, 22)) -> np.ndarray:
    grid = np.indices(shape).astype(float)
    return sum((grid[a] - middle[a]) ** 2 for a in range(len(shape))) <= radius**2


def shell(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a neighbour outside it, found voxel by voxel."""
    steps = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    outside = [p for p in np.argwhere(mask) if not all(mask[tuple(p + s)] for s in steps)]
    found = np.zeros_like(mask)
    found[tuple(np.array(outside).T)] = True
    return found


def example(middle: tuple[float, ...] = (10, 12, 11), radius: float = 6) -> Example:
    inside = ball(middle, radius)
    image = inside.astype(np.float32) + 0.01 * np.indices(inside.shape).sum(axis=0)
    return Example("ball", image.astype(np.float32), inside.astype(np.uint8), (1.0, 1.0, 1.0))


def test_decisive_runs_come_first_on_the_same_subsets():
    runs = plan.test_runs(HIPPOCAMPUS, CHOSEN)
    assert len({run.key for run in runs}) == len(runs)
    first = runs[:32]
    assert [run.arm for run in first[:4]] == list(arms.DECISIVE)
    assert {run.n for run in first} == {5} and {run.subset for run in first} == set(range(8))
    assert {run.n for run in runs[32:64]} == {2}
    training = [f"subject_{k:03d}" for k in range(140)]
    subsets = {run.subset: plan.labelled(run, HIPPOCAMPUS, training) for run in first}
    for run in runs[:64]:
        assert plan.labelled(run, HIPPOCAMPUS, training) == subsets[run.subset][: run.n]
    assert len({name for names in subsets.values() for name in names}) == 40
    tuning = [
        name
        for run in plan.tuning_runs(HIPPOCAMPUS)
        for name in plan.labelled(run, HIPPOCAMPUS, training)
    ]
    assert len(set(tuning)) == 15
    tested = {n for run in runs if run.n != ALL for n in plan.labelled(run, HIPPOCAMPUS, training)}
    assert not tested & set(tuning)


def test_arms_that_a_study_can_have():
    assert set(HIPPOCAMPUS.possible) == set(arms.ARMS) - {"drdm-published", "random-published"}
    assert set(ACDC.possible) == set(arms.ARMS) - {"registration-all"}


def test_runs_keep_their_names():
    """Hours of finished runs are found again by these."""
    study = replace(HIPPOCAMPUS, generator="hippocampus-mr-3d 0123456789ab")
    chosen = {
        "elastic": {"sigma": 8, "mean_voxels": 1.0, "p": 0.5},
        "drdm": {"level": 48, "gain": 1.5, "border": "free", "p": 0.5},
    }
    runs = [run.key for run in plan.test_runs(study, chosen, ("drdm-own",))]
    assert runs[:4] == [
        "hippocampus-test-n5-s0-affine-7408141596",
        "hippocampus-test-n5-s0-elastic-94d36cc287",
        "hippocampus-test-n5-s0-random-7db462ccf4",
        "hippocampus-test-n5-s0-drdm-817638d769",
    ]
    assert len(runs) == 223
    whole = hashlib.sha256(" ".join(runs).encode()).hexdigest()
    assert whole[:16] == "5ff7174dd56bee04"
    tuning = arms.settings_of(arms.ARMS["elastic"], chosen)
    first = plan.run_of(study, plan.TUNING, 5, 0, "elastic", tuning)
    assert first.key == "hippocampus-tuning-n5-s0-elastic-264abbd017"


def test_tuned_arms_have_the_same_budget_and_the_best_mean_is_chosen():
    assert len({len(grid) for grid in HIPPOCAMPUS.grids.values()}) == 1
    runs = list(plan.tuning_runs(HIPPOCAMPUS))
    wanted = planned.as_text({"drdm": arms.DRDM_GRID[3]})
    rows = [{"key": r.key, "dice": "81" if r.settings == wanted else "80"} for r in runs]
    assert plan.best_settings(rows, HIPPOCAMPUS)["drdm"] == arms.DRDM_GRID[3]
    assert "drdm" not in plan.best_settings(rows[:-1], HIPPOCAMPUS)
    assert "elastic" in plan.best_settings(rows[:-1], HIPPOCAMPUS)


def test_scores_of_known_masks():
    first, second = ball((8, 10, 10), 5), ball((10, 10, 10), 5)
    dice, mean, hd95 = measures.score(first, second, (1.0, 1.0, 1.0))
    assert dice == pytest.approx(200 * (first & second).sum() / (2 * first.sum()))
    assert 0.5 < mean < 2 and 1 <= hd95 <= 2
    assert measures.score(first, first, (1.0, 2.0, 3.0)) == (100.0, 0.0, 0.0)
    assert measures.score(np.zeros_like(first), first, (1.0, 1.0, 1.0)) == (0.0, None, None)
    far = measures.score(first, np.roll(first, 4, axis=2), (1.0, 1.0, 2.0))
    points = [np.argwhere(each) * (1, 1, 2) for each in map(shell, (first, np.roll(first, 4, 2)))]
    gaps = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    assert far[1] == pytest.approx(np.concatenate([gaps.min(0), gaps.min(1)]).mean())
    assert far[2] == pytest.approx(max(np.percentile(gaps.min(k), 95) for k in (0, 1)))
    plane, apart = (np.zeros((9, 4, 4), dtype=bool) for _ in range(2))
    plane[2], apart[5] = True, True
    assert measures.score(plane, apart, (0.5, 1.0, 1.0)) == pytest.approx((0.0, 1.5, 1.5))


def test_arms_differ_in_their_field_alone_and_labels_follow_the_image():
    subject = example()
    field = np.zeros((1, 3, *subject.image.shape), dtype=np.float16)
    field[:, 1] = 2.0
    augmenters = [
        Augmenter([subject], pools, moves=False, seed=3)
        for pools in ([], [Pool([field], 1.0)], [Pool([field], 0.0)])
    ]
    plain, moved, never = (augmenter.sample(0) for augmenter in augmenters)
    assert torch.equal(plain[0][0, 0], torch.from_numpy(subject.image))
    assert torch.equal(never[0], plain[0])
    ddf = torch.from_numpy(field.astype(np.float32))
    assert torch.equal(moved[0], warp(plain[0], ddf))
    assert torch.equal(moved[1], warp_labels(plain[1], ddf))
    still = np.zeros_like(field)
    posed, same = (
        Augmenter([subject, subject], pools, moves=True, seed=3)
        for pools in ([], [Pool([still, still], 1.0)])
    )
    for number in range(8):
        assert torch.equal(posed.sample(number)[1], same.sample(number)[1])
        assert torch.allclose(posed.sample(number)[0], same.sample(number)[0], atol=1e-3)
    assert any(not torch.equal(posed.sample(number)[1], plain[1]) for number in range(8))


def blob(middle: tuple[float, ...]) -> Example:
    """A smooth hill, so that demons see a slope everywhere."""
    squared = sum((axis - m) ** 2 for axis, m in zip(np.indices((36, 40, 44)), middle, strict=True))
    hill = 4 * np.exp(-squared / 60)
    return Example("blob", hill.astype(np.float32), (hill > 1).astype(np.uint8), (1.0, 1.0, 1.0))


def test_registration_makes_one_subject_look_like_another():
    moving, fixed = blob((16, 19, 21)), blob((19, 21, 20))
    ddf = torch.from_numpy(registered(moving, fixed))[None]
    labels = torch.from_numpy(moving.labels).long()[None, None]
    after = warp_labels(labels, ddf)[0, 0].numpy() > 0
    assert measures.score(moving.labels > 0, fixed.labels > 0, fixed.spacing)[0] < 80
    assert measures.score(after, fixed.labels > 0, fixed.spacing)[0] > 95
    assert ddf[0, :, 19, 21, 20].numpy() == pytest.approx([-3, -2, 1], abs=0.5)


def test_what_fields_have_in_common():
    drawn = np.random.default_rng(0).normal(size=(20, 3, 12, 12, 12))
    assert matching.common(drawn) == pytest.approx(0, abs=0.02)
    assert matching.common(drawn + 1.0) == pytest.approx(0.5, abs=0.02)
    assert matching.common([drawn[0], drawn[0]]) == pytest.approx(1)
    assert np.isnan(matching.common(drawn[:1]))


def test_cut_and_padded_about_the_middle():
    array = np.arange(5)
    assert fitted(array, (3,)).tolist() == [1, 2, 3]
    assert fitted(array, (8,)).tolist() == [0, 0, 1, 2, 3, 4, 4, 4]
    assert fitted(array, (7,), mode="constant").tolist() == [0, 0, 1, 2, 3, 4, 0]
    assert fitted(np.stack([array, array]), (3,)).shape == (2, 3)


def test_difference_and_gap_of_known_scores():
    def cell(dice: float, runs: int = 3) -> numbers.Cell:
        scores = np.full((runs, 6, 2, 3), dice)
        return numbers.Cell(tuple(range(runs)), scores + np.arange(6)[None, :, None, None])

    found = {(5, "drdm"): cell(82.0), (5, "elastic"): cell(80.0), (5, "affine"): cell(79.0)}
    difference = numbers.paired(found[5, "drdm"], found[5, "elastic"])
    assert difference.mean == 2 and difference.over_both == (2, 2)
    assert difference.over_subsets == (2, 2)
    assert numbers.best_other(found, 5) == "elastic"
    unequal = {**found, (5, "affine"): cell(79.0, runs=5), (5, "random"): cell(81.0, runs=2)}
    assert numbers.best_other(unequal, 5) == "elastic"  # of those with runs on all subsets
    assert numbers.best_other({(5, "drdm"): cell(82.0)}, 5) is None
    assert numbers.gap_closed(found, 5) is None  # there is no run with all subjects
    found[ALL, "elastic"] = cell(84.0, runs=1)
    assert numbers.gap_closed(found, 5) == (0.5, (0.5, 0.5))


def small_bench(folder: Path, data: Path) -> running.Bench:
    """Nine real subjects, a tiny network and few steps."""
    training = Training(
        features=(4, 4, 4, 4, 4, 4),
        iterations=dict.fromkeys((1, 2, 5, 20, ALL), 4),
        fields=dict.fromkeys((1, 2, 5, 20, ALL), 2),
    )
    study = replace(HIPPOCAMPUS, subsets=1, tuning_subjects=2, tuning_subsets=1, training=training)
    shorter = {name: (setting,) for name, setting in CHOSEN.items()}
    study = replace(study, tuning_size=2, grids=shorter)
    names = [case.name for case in list_cases(data / study.images)][:9]
    parts = {"training": names[:6], "validation": names[6:7], "test": names[7:]}
    subjects = Subjects(study, data, parts)
    records = Records(study.name, folder / "out", folder / "results")
    return running.Bench(subjects, FieldCache(subjects, folder / "fields", study.model), records)


@pytest.fixture
def quick_matching(monkeypatch):
    """Match the random field on two recovered fields, and coarsely."""
    for name, value in (("SUBJECTS", 1), ("FIELDS", 2), ("_HALVINGS", 4)):
        monkeypatch.setattr(matching, name, value)


class KilledError(Exception):
    """What ends the program in the middle of a run."""


@needs_monai
@pytest.mark.parametrize("study", [HIPPOCAMPUS, ACDC], ids=lambda each: each.name)
def test_gradients_of_the_network_in_bf16_are_close_to_those_in_fp32(study):
    """Of the deepest convolutions too, whose images are two voxels deep in 3D."""
    image = torch.rand(2, 1, *study.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for reduced in (False, True):
        network = built(study, seed=0)
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            out = network(image)
        out.float().square().mean().backward()
        found.append({name: each.grad for name, each in network.named_parameters()})
    for name, wanted in found[0].items():
        if name.endswith("conv.weight"):
            got = found[1][name].flatten()
            assert torch.cosine_similarity(wanted.flatten(), got, dim=0) > 0.85, name


@needs_monai
def test_loss_that_is_no_number_ends_the_run():
    class Broken:
        def batch(self, step: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
            image = torch.full((size, 1, 32, 32, 32), float("nan"))
            return image, torch.zeros(image.shape, dtype=torch.long)

    with pytest.raises(FloatingPointError, match="must be a number, was nan after 1 steps"):
        trained(HIPPOCAMPUS, Broken(), 2, seed=0, device="cpu")


@needs_monai
@pytest.mark.slow
@pytest.mark.usefixtures("quick_matching")
def test_killed_program_goes_on_where_it_stopped(tmp_path, shared_data, monkeypatch):
    bench = small_bench(tmp_path, shared_data)
    runs = [r for r in plan.test_runs(bench.study, CHOSEN) if r.n == 2 and r.arm in arms.DECISIVE]
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KilledError

        assert running.make_runs(bench, runs, limit=1) == 3
        patch.setattr(running, "scores", killed)
        with pytest.raises(KilledError):
            running.make_runs(bench, runs)
    kept = bench.records.table.read_text(encoding="utf-8")
    assert len(bench.records.rows()) == 1
    claim = bench.records.folder / "claims" / runs[1].key
    claim.write_text("999999999", encoding="utf-8")  # of a dead process
    assert running.make_runs(bench, runs) == 0
    rows = {row["arm"]: row for row in bench.records.rows()}
    assert set(rows) == set(arms.DECISIVE)
    assert kept.splitlines()[1] in bench.records.table.read_text(encoding="utf-8").splitlines()
    assert len({row["labelled"] for row in rows.values()}) == 1
    assert len({row["seed"] for row in rows.values()}) == 1
    assert len({row["dice"] for row in rows.values()}) > 1
    lines = bench.records.by_subject.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4 and len(json.loads(lines[0])["subjects"]) == 2

    fresh = Records(bench.study.name, tmp_path / "elsewhere", bench.records.results)
    done = {row["key"] for row in fresh.rows()}
    assert done == {run.key for run in runs}  # the table alone says what is done
    setting = CHOSEN["drdm"]
    name = rows["drdm"]["labelled"].split()[0]
    shape = bench.subjects.volumes(name)[0].geometry.shape
    recovered, random = (
        statistics([inside(ddf, shape) for ddf in bench.cache.fields(kind, setting, name, 2)])
        for kind in ("drdm", "random")
    )
    assert random["mean_voxels"] == pytest.approx(recovered["mean_voxels"], rel=0.01)
    assert random["determinant_sd"] == pytest.approx(recovered["determinant_sd"], rel=0.3)
    first, second = bench.cache.fields("drdm", setting, name, 2).astype(np.float32)
    there, back = bench.cache.fields("between", setting, name, 2).astype(np.float32)
    for ddf, start, end in ((there, second, first), (back, first, second)):
        reached = compose(*(torch.from_numpy(each)[None] for each in (start, ddf)))[0].numpy()
        assert np.abs(reached - end).mean() < 0.02 < 0.1 < np.abs(start - end).mean()
    smooth = statistics(
        [inside(ddf, shape) for ddf in bench.cache.fields("smooth", setting, name, 2)]
    )
    assert smooth["gradient"] < 0.7 * recovered["gradient"]
    assert smooth["mean_voxels"] < recovered["mean_voxels"]


@needs_monai
@pytest.mark.slow
@pytest.mark.usefixtures("quick_matching")
def test_page_of_a_whole_small_plan(tmp_path, shared_data):
    bench = small_bench(tmp_path, shared_data)
    assert running.make_runs(bench, list(plan.tuning_runs(bench.study))) == 0
    chosen = plan.best_settings(bench.records.rows(), bench.study)
    assert chosen == CHOSEN
    runs = plan.test_runs(bench.study, chosen, ["registration-all"])
    arms_of = {2: ("affine", "drdm", "registration", "registration-all"), ALL: ("affine", "drdm")}
    wanted = [r for r in runs if r.arm in arms_of.get(r.n, ())]
    assert running.make_runs(bench, wanted) == 0
    training = bench.subjects.parts["training"]
    kept = sorted(path.stem for path in (bench.cache.folder / "registration").iterdir())
    labelled = plan.labelled(wanted[0], bench.study, training)
    pairs = {f"{name}-{other}" for name in labelled for other in training if other != name}
    assert set(kept) == pairs and len(kept) == 2 * 5  # labelled or not; never validation or test
    running.describe_fields(bench, chosen, plan.labelled(wanted[0], bench.study, training), 2)
    (longer,) = lengthened([r for r in wanted if r.n == 2 and r.arm == "affine"][:1], 5)
    assert running.make_runs(bench, [longer]) == 0
    write_page(bench.study, bench.records)
    page = (bench.records.results / "few-shot-hippocampus.md").read_text(encoding="utf-8")
    assert "| 2 | + DRDM, tuned | 1 |" in page and "| all | affine + intensity | 1 |" in page
    assert "n = 5 affine (1)" in page and "n = 2 drdm" not in page  # what is missing
    assert "| 2 | affine + intensity | 1 | 5 |" in page  # beside the planned length, not mixed in
    assert "**chosen**" in page and "| random |" in page and "| in common |" in page
    assert (bench.records.results / "few-shot-hippocampus.png").is_file()
