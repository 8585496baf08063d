"""Plausibility and diversity by level: definitions by hand, and the whole command in small."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from DRDMCore.errors import InputError
from DRDMCore.models import load_model
from Testing.Experiments.by_level import __main__ as command
from Testing.Experiments.by_level import choice, coverage, numbers, plan, records
from Testing.Experiments.by_level.chart import Curve, Panel, draw_panels
from Testing.Experiments.by_level.conclusion import conclusion
from Testing.Experiments.by_level.measuring import EDGES, histogram_key
from Testing.Experiments.by_level.numbers import Measure
from Testing.Experiments.by_level.page import write_page
from Testing.Experiments.by_level.plan import MATCHED, RANDOM, REAL, RECOVERED, RIGID_FREE

MODEL = "phantom-heart-2d"
LEVELS, SEEDS = (20, 60), 2


def test_levels_spread_over_the_range_with_the_recommended_one():
    assert plan.spread_levels(80, 68) == (10, 20, 30, 40, 49, 59, 68, 79)
    assert plan.spread_levels(80, 79, count=4) == (20, 40, 59, 79)
    assert plan.spread_levels(10, 0, count=3) == (0, 6, 9)


def test_a_shape_covers_the_real_ones_in_whose_neighbourhood_it_lies():
    """Real shapes are points of a line; distances can be seen."""
    real = np.array([0.0, 1.0, 3.0, 7.0])
    between = abs(real[:, None] - real)
    reach = coverage.neighbourhoods(between, neighbours=1)
    assert reach.tolist() == [1, 1, 2, 4]
    assert coverage.neighbourhoods(between, neighbours=2).tolist() == [3, 2, 3, 6]
    assert coverage.neighbourhoods(between, neighbours=9).tolist() == [7, 6, 4, 7]
    assert coverage.within(abs(real - 2.0), reach).tolist() == [1, 2]
    assert coverage.within(abs(real - 20.0), reach).tolist() == []
    samples = np.array(
        [[p in coverage.within(abs(real - x), reach) for p in range(4)] for x in (2, 3)]
    )
    assert coverage.coverage(samples[:1]) == 0.5
    assert coverage.coverage(samples) == 0.75  # the second one also covers the last
    assert coverage.coverage(np.zeros((3, 4), dtype=bool)) == 0


def test_a_few_subjects_cover_what_can_be_expected_of_them():
    """Four subjects; how many of them cover each of three real shapes."""
    found = coverage.coverage_by_few(np.array([[1, 2, 0], [4, 4, 4]]), 4, 2)
    pairs = list(itertools.combinations(range(4), 2))
    hit = [np.mean([bool({*pair} & {*range(c)}) for pair in pairs]) for c in (1, 2, 0)]
    assert found.tolist() == pytest.approx([np.mean(hit), 1])
    assert coverage.coverage_by_few(np.array([1, 0]), 4, 9) == pytest.approx(0.5)


@pytest.fixture
def results() -> records.Results:
    """Six subjects a part, two samples each at two levels; real ones are 0.7 mm from others."""
    subjects = {part: tuple(f"{part}-{k}" for k in range(6)) for part in plan.PARTS}
    made = plan.Plan(
        *("made-up", "abc", (30, 60), 60, 1.5, 8, "fixed", SEEDS),
        training=tuple(f"t{k}" for k in range(10)),
        subjects=subjects,
    )
    distances = {RECOVERED: 0.8, RANDOM: 1.5, MATCHED: 1.1, RIGID_FREE: 1.2}
    rows = []
    for part, names in subjects.items():
        for number, name in enumerate(names):
            size = 100.0 + 10 * number
            place = {"part": part, "subject": name, "nearest": number, "beyond": 0}
            real = {"distance_mm": 0.7, "unlike_siblings": 0.4, "covered": f"{number} 6"}
            volumes = {"volume_all": size, "volume_1": size}
            rows.append({**place, **real, **volumes, "kind": REAL})
            for level in made.levels:
                for kind, distance in distances.items():
                    wanted = 1.0 - (level == 60) * (kind == RECOVERED) * 0.2
                    rows += [
                        {
                            **place,
                            **{"kind": kind, "level": level, "number": k, "seed": k},
                            **{"distance_mm": distance + 0.01 * k, "unlike_siblings": 0.1},
                            **{"unlike_original": 0.1, "beyond": int(k == 1), "nearest": k},
                            **{"covered": "" if kind == RANDOM else f"{number + k} 9"},
                            **{"volume_all": size * wanted, "volume_1": size * wanted},
                            **dict.fromkeys(("mean_voxels", "mean_mm", "kept", "ncc"), 0.5),
                            **dict.fromkeys(("det_p1", "det_p50", "det_p99"), 1.0),
                            **dict.fromkeys(("log_det_sd", "not_positive_before_percent"), 0.1),
                            **{"folded_percent": 0.0, "separability_1": 1.0},
                        }
                        for k in range(SEEDS)
                    ]
    counts = {histogram_key(kind, level): [1] * 80 for kind in plan.KINDS for level in made.levels}
    return records.Results(made, ["- made up"], rows, dict.fromkeys(plan.PARTS, counts))


def test_measures_of_a_table_made_by_hand(results):
    found = numbers.cells(results)
    ours = numbers.summary(found, ("test", RECOVERED, 60))
    assert ours["distance_mm"].value == pytest.approx(0.805)
    assert ours["excess"].value == pytest.approx((0.805 - 0.7) / (1.105 - 0.7))
    assert ours["rigid_free_excess"].value == pytest.approx((0.805 - 0.7) / (1.205 - 0.7))
    assert ours["excess"].interval == pytest.approx((ours["excess"].value,) * 2)
    assert ours["beyond"].value == pytest.approx(50)
    assert ours["diversity"].value == pytest.approx(0.25)
    assert ours["ratio_all"].value == pytest.approx(0.8) == ours["ratio_1"].value
    assert ours["ratio_sd_all"].value == pytest.approx(0)
    assert ours["spread_all"].value == pytest.approx(0.8)
    # Seed 0 covers shapes 0 .. 5 and 9, seed 1 shapes 1 .. 6 and 9; real ones 0 .. 5 and 6.
    assert ours["coverage"].value == pytest.approx(0.7)
    assert ours["coverage_gap"].value == pytest.approx(0)
    assert ours["nearest_coverage"].value == pytest.approx(0.1)
    assert ours["nearest_coverage_gap"].value == pytest.approx(0.1 - 0.6)
    low, high = ours["coverage"].interval
    assert low < 0.7 < high
    random = numbers.summary(found, ("test", RANDOM, 60))
    assert random["coverage"].value == 0 and "excess" not in random
    assert np.isnan(random["separability_16"].value) and random["separability_16"].interval is None
    real = numbers.summary(found, ("test", REAL, None))
    assert real["diversity"].value == 1 and real["coverage"].value == pytest.approx(0.7)


def test_a_level_fits_if_it_is_near_keeps_volumes_and_recovery_helps(results):
    found = numbers.cells(results)
    summaries = {place: numbers.summary(found, place) for place in found}
    low, high = choice.judge(results.plan, summaries)
    assert low.helps and high.helps and low.keeps_volume and not high.keeps_volume
    assert low.farther == pytest.approx(0.805 / 0.7) and not low.plausible
    near = [replace(each, farther=1.05) for each in (low, high)]
    assert [each.fits for each in near] == [True, False]
    assert choice.recommended(near) is near[0] and choice.recommended([low, high]) is None
    unsure = replace(near[0], nearer=Measure(-0.1, np.linspace(-0.3, 0.1, 100)))
    assert not unsure.helps and not unsure.fits
    better = replace(near[0], few=Measure(0.9, np.full(100, 0.9)))
    assert choice.recommended([*near, better]) is better
    uniform = replace(near[0], diversity=0.7, most_diverse=1.0)
    assert uniform.sound and not uniform.fits and replace(uniform, diversity=0.8).fits


def test_the_conclusion_says_which_levels_and_why_not_others(results):
    for row in results.rows:
        if row["kind"] == RECOVERED:
            row["distance_mm"] = 0.72
            row["covered"] = "0 1 2 3 4 5 6 7" if row["level"] == 60 else ""
            row["volume_all"] = 100.0 + 10 * int(row["subject"][-1])
            row["unlike_siblings"] = 0.1 if row["level"] == 60 else 0.05
    found = numbers.cells(results)
    summaries = {place: numbers.summary(found, place) for place in found}
    low, high = choice.judge(results.plan, summaries)
    assert high.fits and low.sound and not low.diverse
    # Of six subjects each covers shape 6 and one of its own; with five of them one is missing.
    assert low.few.value == pytest.approx((6 * 5 / 6 + 1) / 10)
    assert high.few.value == pytest.approx(0.8)
    text = "\n".join(conclusion(results.plan, summaries))
    assert "**Recommended: level 60; to start from: 60.** The card says 60, which fits." in text
    assert "At level 30 samples of a subject differ little" in text
    assert "label 1 0.80 [0.80, 0.80]" in text
    assert "Checked by the same rule on the test subjects: level 60 fits." in text
    told = {"levels": [60], "start": 60, "confirmed": [60]}
    assert choice.advice(results.plan, summaries) == told
    for row in results.rows:
        row["distance_mm"] += 0.1 * (row["part"] == "test" and row["kind"] == RECOVERED)
    found = numbers.cells(results)
    summaries = {place: numbers.summary(found, place) for place in found}
    assert choice.advice(results.plan, summaries) == {**told, "confirmed": []}
    text = "\n".join(conclusion(results.plan, summaries))
    assert "none of them fits, others are near the limits (60: distance 1.17 of real" in text


def test_tables_hold_what_the_page_needs(results, tmp_path):
    places = records.Places("made-up", tmp_path / "work", tmp_path)
    records.write_tables(results, places)
    again = records.read_tables(places)
    assert again.plan == results.plan and again.histograms == results.histograms
    assert [row["distance_mm"] for row in again.rows] == pytest.approx(
        [row["distance_mm"] for row in results.rows], rel=1e-4
    )
    assert [row["covered"] for row in again.rows] == [row["covered"] for row in results.rows]
    write_page(again, places)
    page = places.result(".md").read_text(encoding="utf-8")
    assert "**No level fits.**" in page
    told = json.loads(places.result("-advice.json").read_text(encoding="utf-8"))
    none = {"levels": [], "start": None, "confirmed": []}
    assert told == {"model": "made-up", "sha256": "abc", **none}
    assert "| 60 | recovered | 0.805 [0.805, 0.805] | 0.26 [0.26, 0.26] |" in page
    places.result(".csv").write_text("part\nelsewhere,1\n", encoding="utf-8")
    places.result(".json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        records.read_tables(places)


def test_curves_are_drawn_at_their_values(tmp_path):
    x = np.array([0.0, 1.0, 2.0])
    flat = Curve((255, 0, 0), x, np.full(3, 0.5), np.array([0.4, np.nan, 0.4]), np.full(3, 0.6))
    draw_panels(
        [Panel("half", [flat], ends=(0, 1))], [("red", (255, 0, 0))], "x", tmp_path / "a.png"
    )
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1:] < 90).all(axis=-1)
    rows = np.flatnonzero(red[60:].sum(axis=1) > 100) + 60
    top, bottom = 34 + 34, 34 + 250 - 34  # the axes of the panel
    assert rows.mean() == pytest.approx((top + bottom) / 2, abs=1.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The whole command on a few phantoms."""
    folder = tmp_path_factory.mktemp("by-level")
    with pytest.MonkeyPatch.context() as patch:
        few = plan.Phantoms("heart-2d", "0-11", "280-280", "300-301")
        patch.setitem(plan.SOURCES, MODEL, few)
        assert command.main(options(folder)) == 0
        unit = next((folder / "work" / "by_level").rglob("test-heart-2d-300.json"))
        first = table_of(folder)
        before = {path: path.stat().st_mtime_ns for path in unit.parent.iterdir()}
        unit.unlink()
        assert command.main(options(folder)) == 0
        assert table_of(folder) == first
        after = {path: path.stat().st_mtime_ns for path in unit.parent.iterdir()}
        assert {path for path in before if before[path] != after[path]} == {unit}
    return folder


def options(folder: Path) -> list[str]:
    text = f"run --model {MODEL} --levels 60,20 --out {folder / 'work'} --results {folder}"
    return text.split()


def table_of(folder: Path) -> list[dict]:
    """The rows, without the time that they took."""
    found = records.read_tables(records.Places(MODEL, folder, folder)).rows
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


def test_a_stopped_run_goes_on_and_every_kind_is_measured(finished):
    rows = table_of(finished)
    samples = [row for row in rows if row["kind"] != REAL]
    assert len(samples) == 3 * len(LEVELS) * len(plan.KINDS) * SEEDS and len(rows) == 3 + len(
        samples
    )
    by_place: dict = {}
    for row in samples:
        by_place.setdefault((row["subject"], row["level"], row["number"]), {})[row["kind"]] = row
    for kinds in by_place.values():
        ours, random, matched, free = (kinds[kind] for kind in plan.KINDS)
        assert len({row["seed"] for row in kinds.values()}) == 1
        assert random["kept"] == pytest.approx(1, abs=0.02) and ours["kept"] < 0.95
        assert matched["mean_mm"] == pytest.approx(ours["mean_mm"], rel=0.011)
        assert free["rigid_free_mm"] == pytest.approx(ours["rigid_free_mm"], rel=0.1)
        assert ours["det_p1"] < ours["det_p50"] < ours["det_p99"] and ours["folded_percent"] == 0
        assert ours["volume_all"] == pytest.approx(
            sum(ours[f"volume_{k}"] for k in (1, 2, 3)), rel=1e-3
        )


def test_the_command_writes_page_and_pictures(finished):
    places = records.Places(MODEL, finished / "work", finished)
    results = records.read_tables(places)
    voxels = {sum(counts) for counts in results.histograms["test"].values()}
    assert len(voxels) == 1 and voxels.pop() % (2 * SEEDS) == 0  # two subjects of one size
    assert len(results.histograms["test"][histogram_key(RECOVERED, 20)]) == len(EDGES) - 1
    for ending in (".png", "-det-j.png", "-samples.png"):
        with Image.open(places.result(ending)) as picture:
            assert picture.size[0] > 400
    page = places.result(".md").read_text(encoding="utf-8")
    assert "## Conclusion" in page and "its card recommends level 48" in page
    places.result(".md").unlink()
    assert command.main(["page", "--model", MODEL, "--results", str(finished)]) == 0
    assert places.result(".md").read_text(encoding="utf-8") == page


def test_what_cannot_be_measured_is_named(tmp_path, capsys):
    assert command.main(["page", "--results", str(tmp_path)]) == 1
    assert "`run` writes it" in capsys.readouterr().err
    assert command.main(["run", "--model", "none"]) == 1
    assert "must have a network" in capsys.readouterr().err
    with pytest.raises(InputError, match="lung-ct-3d"):
        plan.find_populations("lung-ct-3d", tmp_path)
    for limit in ("training=3", "test=0"):
        assert command.main(["run", "--model", MODEL, "--limit", limit]) == 1
        assert f"got {limit}" in capsys.readouterr().err
    model = load_model(MODEL)
    populations = plan.find_populations(MODEL, tmp_path, {"test": 2})
    assert [len(each.evaluated) for each in populations.values()] == [20, 2]
    with pytest.raises(InputError, match="`seeds` must be at least 2"):
        plan.make_plan(model, populations, None, 1, "fixed")
    known = replace(populations["test"], evaluated=populations["test"].training[:1])
    with pytest.raises(InputError, match="must not be trained on"):
        plan.make_plan(model, {"test": known}, None, 2, "fixed")


def test_plans_differ_by_what_numbers_depend_on(results):
    other = replace(results.plan, border="free")
    assert other.digest != results.plan.digest == replace(other, border="fixed").digest
    assert plan.plan_of(json.loads(json.dumps(results.plan.__dict__))) == results.plan


def test_hippocampus_subjects_are_those_of_the_training_split(shared_data):
    found = plan.find_populations("hippocampus-mr-3d", shared_data, {"test": 3})
    validation, test = found["validation"], found["test"]
    assert (len(validation.training), len(validation.evaluated), len(test.evaluated)) == (
        140,
        20,
        3,
    )
    assert not set(validation.training) & {*validation.evaluated, *test.evaluated}
    assert set(test.others) == set(validation.evaluated) and not validation.others
