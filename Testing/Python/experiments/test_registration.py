"""The registration experiment in small: network, made pairs, scores, a program that is killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DRDMCore.fields import (
    RandomFieldSettings,
    compose,
    exp_svf,
    folding_percent,
    invert,
    random_field_of_mean,
    resize_ddf,
    warp,
)
from DRDMCore.imaging import list_cases
from Testing.Experiments import planned
from Testing.Experiments.few_shot import matching
from Testing.Experiments.few_shot.fields import FieldCache
from Testing.Experiments.few_shot.study import HIPPOCAMPUS
from Testing.Experiments.few_shot.subjects import Example, Subjects
from Testing.Experiments.registration import arms, judging, numbers, plan, running
from Testing.Experiments.registration.losses import correlation, endpoint_misses, roughness
from Testing.Experiments.registration.network import RegistrationNetwork, correlations
from Testing.Experiments.registration.page import write_page
from Testing.Experiments.registration.pairs import MadePairs, RealPairs, joined
from Testing.Experiments.registration.pictures import draw_pairs
from Testing.Experiments.registration.records import Records
from Testing.Experiments.registration.study import Study, Training
from Testing.Experiments.registration.training import built, loss_of, registered, trained

SHAPE = (16, 24, 16)
CHOSEN = {name: arms.ARMS[name].grid[0] for name in arms.TUNED}


def hill(middle: tuple[float, ...], shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A smooth image with a slope everywhere."""
    squared = sum((axis - m) ** 2 for axis, m in zip(np.indices(shape), middle, strict=True))
    return (4 * np.exp(-squared / 40)).astype(np.float32)


def smooth_fields(count: int, mean_voxels: float) -> np.ndarray:
    settings = RandomFieldSettings(control_spacing=8.0)
    seeds = [torch.Generator().manual_seed(seed) for seed in range(count)]
    drawn = [random_field_of_mean(SHAPE, mean_voxels, seed, settings) for seed in seeds]
    return torch.cat(drawn).numpy()


def small_study(**training: object) -> Study:
    settings = Training(**{"features": (4, 4, 8), "iterations": 3, "fields": 2, **training})
    return Study(replace(HIPPOCAMPUS, shape=SHAPE), seeds=2, rings=(1,), training=settings)


def test_field_of_the_network_has_no_fold_and_an_inverse():
    torch.manual_seed(0)
    network = RegistrationNetwork(3, (4, 4, 8))
    for last in (network.coarse_velocity, network.fine_velocity):
        torch.nn.init.normal_(last.weight, std=0.03)
    images = torch.randn(2, 2, 1, *SHAPE)
    with torch.no_grad():
        forward, velocity = network(*images)
        back = resize_ddf(exp_svf(-velocity), SHAPE)
    lengths = forward.norm(dim=1)
    assert velocity.shape == (2, 3, *(side // 2 for side in SHAPE))
    assert forward.shape == (2, 3, *SHAPE) and 0.2 < lengths.mean() < 2
    assert folding_percent(forward).max() == 0
    assert compose(forward, back).norm(dim=1)[:, 2:-2, 2:-2, 2:-2].max() < 0.4 * lengths.max()
    assert invert(forward).residual.max() < 0.01


def test_untrained_network_hardly_moves_and_says_which_sides_it_needs():
    torch.manual_seed(0)
    network = RegistrationNetwork(2, (4, 4, 8))
    ddf, _ = network(*torch.randn(2, 1, 1, 16, 24))
    assert ddf.shape == (1, 2, 16, 24) and 0 < ddf.norm(dim=1).max() < 0.1
    with pytest.raises(ValueError, match=r"multiples of 8, got \(16, 18\)"):
        network(*torch.randn(2, 1, 1, 16, 18))


def test_correlations_point_to_where_the_features_went():
    features = torch.randn(1, 5, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    moved = torch.roll(features, (1, -2), (2, 4))
    found = correlations(features, moved, 2)[0].reshape(5, 5, 5, 6, 7, 8)
    assert found[3, 2, 0, 0:5, :, 2:].numpy() == pytest.approx(1.0)
    assert found.max() < 1.001 and found[3, 2, 0, 5].abs().max() == 0  # beyond the grid
    assert correlations(features, 3 * features, 1)[0, 13].numpy() == pytest.approx(1.0)


def test_true_field_of_a_made_pair_pulls_the_moving_onto_the_fixed_image():
    pairs = MadePairs([hill((8, 12, 8))], [smooth_fields(3, 1.0)], seed=0)
    for number in range(3):
        pair = pairs.pair(number)
        moving, fixed = pair.clean
        to_moving, to_fixed = pair.ways
        truth = compose(invert(to_moving).ddf, to_fixed)
        inner = (slice(None), slice(None), *[slice(4, -4)] * 3)
        before, after = (
            (warp(moving, ddf) - fixed)[inner].abs().mean() for ddf in (0 * truth, truth)
        )
        assert after < 0.2 * before
        assert (warp(moving, -truth) - fixed)[inner].abs().mean() > before
        missed = endpoint_misses(truth, to_moving, to_fixed)
        assert missed[:, 4:-4, 4:-4, 4:-4].max() < 0.05
        assert endpoint_misses(0 * truth, to_moving, to_fixed).mean() > 1


def test_endpoints_of_shifts_are_missed_by_what_the_shift_is_wrong():
    to_moving, to_fixed = torch.zeros(2, 1, 3, *SHAPE)
    to_moving[:, 0], to_fixed[:, 2] = 3.0, 4.0
    assert endpoint_misses(0 * to_moving, to_moving, to_fixed).numpy() == pytest.approx(5.0)
    assert endpoint_misses(to_fixed - to_moving, to_moving, to_fixed).max() < 0.01


def test_correlation_is_local_and_blind_to_contrast():
    image = torch.from_numpy(hill((8, 12, 8)))[None, None]
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    textured = image + noise
    assert correlation(textured, textured) > 0.95
    assert correlation(textured, 3 - 2 * textured) > 0.95
    assert correlation(textured, noise.flip(2)) < 0.1
    assert roughness(torch.ones(1, 3, *SHAPE)) == 0
    slope = torch.arange(24.0).reshape(1, 1, 1, 24, 1).expand(1, 3, *SHAPE)
    assert roughness(slope) == pytest.approx(1 / 3)


def test_made_pairs_differ_between_arms_in_their_fields_alone():
    images = [hill((8, 12, 8)), hill((7, 11, 9))]
    still = [np.zeros((2, 3, *SHAPE), dtype=np.float16)] * 2
    moved = [smooth_fields(2, 1.0)] * 2
    plain, other = (MadePairs(images, fields, seed=5) for fields in (still, moved))
    for number in range(4):
        poses, ways = plain.pair(number).ways, other.pair(number).ways
        for pose, way in zip(poses, ways, strict=True):
            field = way - pose
            assert 0.3 < field.norm(dim=1).mean() < 2
        assert not torch.equal(plain.pair(number).moving, plain.pair(number).clean[0])
    again = MadePairs(images, moved, seed=5).pairs(1, 2)
    assert torch.equal(again.moving, joined([other.pair(2), other.pair(3)]).moving)
    assert not torch.equal(again.moving, MadePairs(images, moved, seed=6).pairs(1, 2).moving)


def test_real_pairs_are_of_two_subjects_and_everyone_has_a_turn():
    images = [np.full(SHAPE, float(k), dtype=np.float32) for k in range(5)]
    pairs = [RealPairs(images, seed=1).pair(number) for number in range(10)]
    firsts = [int(pair.clean[0].mean()) for pair in pairs]
    seconds = [int(pair.clean[1].mean()) for pair in pairs]
    assert sorted(firsts) == sorted([*range(5), *range(5)])
    assert all(a != b for a, b in zip(firsts, seconds, strict=True))
    assert pairs[0].ways is None


def test_network_learns_which_way_the_image_went(monkeypatch):
    monkeypatch.setattr("Testing.Experiments.registration.pairs._POSED", 0.0)
    fields = np.zeros((2, 3, *SHAPE), dtype=np.float32)
    fields[0, 1], fields[1, 1] = -1.0, 1.0
    pairs = MadePairs([hill((8, 12, 8)), hill((7, 13, 8))], [fields] * 2, seed=0)
    study = small_study(learning_rate=1e-3, precision="fp32", similarity=1.0)
    network, loss = trained(study, [pairs], 100, seed=1)
    assert loss < 2  # the end-point error alone begins there
    nobody = np.zeros(SHAPE, dtype=np.uint8)
    images = hill((8, 11, 8)), hill((8, 13, 8))
    moving, fixed = (Example("", image, nobody, (1.0,) * 3) for image in images)
    assert -3 < registered(network, moving, fixed)[1, 8, 12, 8] < -0.7
    assert 0.7 < registered(network, fixed, moving)[1, 8, 12, 8] < 3


def test_likeness_alone_counts_for_real_pairs():
    pairs = RealPairs([hill((8, 12, 8)), hill((8, 10, 8))], seed=0).pairs(0, 1)
    still, velocity = torch.zeros(1, 3, *SHAPE), torch.ones(1, 3, *SHAPE)
    unlike = loss_of(pairs, still, velocity, similarity=7.0, smoothness=3.0)
    assert unlike == pytest.approx(float(1 - correlation(*pairs.clean)))
    velocity[:, :, 8:] = 0
    assert loss_of(pairs, still, velocity, similarity=7.0, smoothness=3.0) > unlike


def test_scores_of_a_known_shift():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[4:10, 6:18, 4:10] = 1
    image = labels.astype(np.float32)
    moving = Example("a", image, labels, (1.0, 2.0, 1.0))
    fixed = Example("b", np.roll(image, 2, 1), np.roll(labels, 2, 1), (1.0, 2.0, 1.0))
    shift = np.zeros((3, *SHAPE), dtype=np.float32)
    shift[1] = -2
    found = judging.judged(shift, moving, fixed, (1,))
    assert found["1"] == [100, 0, 0] and found[judging.FIELD] == [4, 0, 1]
    folded = np.zeros_like(shift)
    folded[1, :, 12] = 3
    assert judging.judged(folded, moving, fixed, (1,))[judging.FIELD][1] > 1
    assert judging.judged(0 * shift, moving, fixed, (1,))["1"][0] == pytest.approx(100 * 10 / 12)


def test_runs_of_the_plan():
    study = Study(HIPPOCAMPUS)
    tuning, runs = list(plan.tuning_runs(study)), plan.test_runs(study, CHOSEN)
    assert len({run.key for run in [*tuning, *runs]}) == len(tuning) + len(runs)
    assert {len(arms.ARMS[name].grid) for name in arms.TUNED} == {2}
    assert sum(run.arm == "drdm" for run in runs) == 3
    wanted = planned.as_text({"random": arms.MADE_GRID[1]})
    rows = [{"key": r.key, "dice": "71" if r.settings == wanted else "70"} for r in tuning]
    assert plan.best_settings(rows, study)["random"] == arms.MADE_GRID[1]
    assert "unsupervised" not in plan.best_settings(rows[:-1], study)
    pairs = plan.real_pairs([f"s{k}" for k in range(40)], study.rings)
    assert len(set(pairs)) == 80 and all(a != b for a, b in pairs)
    both = next(run for run in runs if run.arm == "drdm+unsupervised")
    assert both.by_kind == {"drdm": CHOSEN["drdm"], "real": CHOSEN["unsupervised"]}


def test_difference_of_known_scores_and_its_interval():
    pairs = tuple(plan.real_pairs([f"s{k}" for k in range(10)], (1, 3)))

    def cell(dice: float, seeds: tuple[int, ...]) -> numbers.Cell:
        scores = np.full((max(len(seeds), 1), 20, 2, 3), dice)
        scores += np.arange(20)[None, :, None, None]
        return numbers.Cell(seeds, pairs, scores, np.zeros((max(len(seeds), 1), 20, 3)))

    ours, theirs, none = cell(75, (0, 1, 2)), cell(73, (0, 2)), cell(60, ())
    assert numbers.paired(ours, theirs).by_seed.tolist() == [2, 2]
    assert numbers.paired(ours, theirs).interval == (2, 2)
    assert numbers.paired(ours, none).by_seed.tolist() == [15, 15, 15]
    assert numbers.paired(cell(1, (0,)), cell(1, (1,))) is None
    told = numbers.estimate(ours)
    assert told.mean == 84.5 and told.interval[0] < 83 and told.interval[1] > 86


def small_bench(folder: Path, data: Path) -> running.Bench:
    """Nine real subjects, a tiny network and few steps."""
    study = replace(small_study(), data=HIPPOCAMPUS)
    names = [case.name for case in list_cases(data / HIPPOCAMPUS.images)][:9]
    parts = {"training": names[:4], "validation": names[4:6], "test": names[6:]}
    subjects = Subjects(HIPPOCAMPUS, data, parts)
    records = Records(study.name, folder / "out", folder / "results")
    cache = FieldCache(subjects, folder / "fields", HIPPOCAMPUS.model)
    return running.Bench(study, subjects, cache, records, CHOSEN)


@pytest.fixture
def quick_matching(monkeypatch):
    """Match the random field on two recovered fields, and coarsely."""
    for name, value in (("SUBJECTS", 1), ("FIELDS", 2), ("_HALVINGS", 2)):
        monkeypatch.setattr(matching, name, value)


class KilledError(Exception):
    """What ends the program in the middle of a run."""


@pytest.mark.slow
@pytest.mark.usefixtures("quick_matching")
def test_small_study_from_tuning_to_page_with_a_kill(tmp_path, shared_data, monkeypatch):
    bench = small_bench(tmp_path, shared_data)
    shorter = {name: replace(arms.ARMS[name], grid=(CHOSEN[name],)) for name in arms.TUNED}
    monkeypatch.setattr(plan, "ARMS", {**arms.ARMS, **shorter})
    tuning = list(plan.tuning_runs(bench.study))
    assert running.make_runs(bench, tuning, limit=1) == 2
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KilledError

        patch.setattr(running, "judged", killed)
        with pytest.raises(KilledError):
            running.make_runs(bench, tuning)
    kept = bench.records.table.read_text(encoding="utf-8").splitlines()[1]
    claim = bench.records.folder / "claims" / tuning[1].key
    claim.write_text("999999999", encoding="utf-8")  # of a dead process
    assert running.make_runs(bench, tuning) == 0
    assert kept in bench.records.table.read_text(encoding="utf-8").splitlines()
    assert plan.best_settings(bench.records.rows(), bench.study) == CHOSEN

    runs = plan.test_runs(bench.study, CHOSEN)
    assert running.make_runs(bench, runs[:-1]) == 0
    fresh = Records(bench.study.name, tmp_path / "elsewhere", bench.records.results)
    rows = {row["key"]: row for row in fresh.rows()}  # the table alone says what is done
    assert set(rows) == {run.key for run in [*tuning, *runs[:-1]]}
    tested = {rows[run.key]["arm"]: rows[run.key] for run in runs[:-1]}
    assert len({row["dice"] for row in tested.values()}) == len(tested) == 6
    assert float(tested["none"]["displacement_mm"]) == 0
    assert float(tested["none"]["missed_drdm_voxels"]) > 1
    lines = bench.records.by_subject.read_text(encoding="utf-8").splitlines()
    assert len(json.loads(lines[0])["subjects"]) == 3  # the tested pairs come first

    running.describe_fields(bench)
    assert draw_pairs(bench, runs, bench.records.pictures, count=1)
    write_page(bench.study, bench.records)
    page = (bench.records.results / "registration-hippocampus.md").read_text(encoding="utf-8")
    assert "**missing: drdm+unsupervised (1)**" in page and "**chosen**" in page
    assert "| made pairs, DRDM | 2 |" in page and "| not registered | - |" in page
    assert "| random | level 48" in page and "registration-hippocampus-pairs.png" in page
    assert (bench.records.results / "registration-hippocampus.png").is_file()


@pytest.mark.slow
def test_kept_network_gives_the_field_of_the_trained_one(tmp_path, shared_data):
    bench = small_bench(tmp_path, shared_data)
    run = plan.test_runs(bench.study, CHOSEN)[4]
    assert run.arm == "unsupervised" and running.kept_method(bench, run) is None
    source = running.source(bench, run, "real", 0)
    method, _ = running._method(bench, run, [source], 3)
    pair = [bench.subjects.example(name) for name in bench.subjects.parts["test"][:2]]
    again = running.kept_method(bench, run)
    assert np.array_equal(again(*pair), method(*pair))
    assert not np.array_equal(registered(built(bench.study, 4), *pair), method(*pair))
