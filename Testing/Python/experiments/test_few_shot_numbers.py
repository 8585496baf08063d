"""Which rows count, and what is left without subjects whose other side was seen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from DRDMCore.atomic import write_text_whole
from Testing.Benchmarks.machine import RESULTS
from Testing.Experiments.few_shot import plan
from Testing.Experiments.few_shot.longer import longer_section
from Testing.Experiments.few_shot.numbers import Cell, cells, paired
from Testing.Experiments.few_shot.persons import alone, persons_section, restricted
from Testing.Experiments.few_shot.records import Records
from Testing.Experiments.few_shot.study import HIPPOCAMPUS, person_of_hippocampus


def row(**given) -> dict[str, str]:
    usual = {"stage": "test", "n": "5", "subset": "0", "arm": "affine", "settings": "{}"}
    usual |= {"batch": "2", "fields": "0", "network": "U", "generator": "", "dice": "80"}
    return usual | {"iterations": "1000"} | {name: str(value) for name, value in given.items()}


def test_two_runs_of_a_subset_are_refused():
    rows = [row(key="a"), row(key="b", iterations=2000)]
    scores = {key: {"x": {"1": [80.0, 1.0, 2.0]}} for key in "ab"}
    assert cells(rows, scores, ["b"])[5, "affine"].subsets == (0,)
    with pytest.raises(ValueError, match="one run per arm and subset, got b"):
        cells(rows, scores, ["a", "b"])


def test_rows_of_another_length_do_not_count():
    rows = Records("hippocampus", RESULTS, RESULTS).rows()
    rows += [{**row, "key": f"{row['key']}-longer", "iterations": "7"} for row in rows]
    generator = next(row["generator"] for row in rows if row["generator"])
    keys = plan.reported_keys(replace(HIPPOCAMPUS, generator=generator), rows)
    done = {row["key"] for row in rows} & set(keys)
    assert len(done) > 40 and not any(key.endswith("-longer") for key in done)
    assert not plan.reported_keys(HIPPOCAMPUS, [])


def test_lengths_are_compared_by_part():
    rows = [
        row(key="a", dice=80),
        row(key="b", iterations=2000, dice=83),
        row(key="c", stage="tuning", dice=70),
        row(key="d", stage="tuning", iterations=2000, dice=74),
    ]
    lines = longer_section(rows, ["a", "c"])
    assert "| test | 5 | affine + intensity | 1 | 2000 | 83.00 | 80.00 | +3.00 |" in lines
    assert "| validation | 5 | affine + intensity | 1 | 2000 | 74.00 | 70.00 | +4.00 |" in lines


def test_sides_of_a_person():
    names = [f"hippocampus_{k:03d}" for k in (1, 2, 3, 4, 36, 37)]
    persons = [person_of_hippocampus(name) for name in names]
    assert persons[0] == persons[1] != persons[2] == persons[3] and persons[4] != persons[5]
    split = {"training": names[:1], "validation": [], "test": names[1:]}
    assert alone(split, HIPPOCAMPUS) == names[2:]


def test_differences_without_the_other_sides(tmp_path):
    names = tuple(f"hippocampus_{k:03d}" for k in (2, 3, 5))
    dice = {"affine": [70.0, 80, 80], "drdm": [90.0, 81, 81]}
    found = {
        (5, arm): Cell((0,), np.array(each)[None, :, None, None].repeat(3, 3), names)
        for arm, each in dice.items()
    }
    part = restricted(found, list(names[1:]))
    assert paired(part[5, "drdm"], part[5, "affine"]).mean == pytest.approx(1)
    with pytest.raises(ValueError, match="`names`"):
        restricted(found, ["nobody"])
    records = Records("hippocampus", tmp_path, tmp_path)
    assert persons_section(HIPPOCAMPUS, records, found) == []
    split = {"training": ["hippocampus_001"], "validation": [], "test": list(names)}
    write_text_whole(records.split, json.dumps(split))
    lines = "\n".join(persons_section(HIPPOCAMPUS, records, found))
    assert "1 of the 3 test subjects" in lines
    assert "| 5 | affine + intensity | +7.33 | +1.00 | [+1.00, +1.00] |" in lines
