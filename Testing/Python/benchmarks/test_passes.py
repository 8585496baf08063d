"""Few passes beside many, on numbers that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from Testing.Benchmarks import passes_study


def entry(passes: int, distances: dict[str, list[float]]) -> dict:
    """What `plausibility.py --json` writes of a setting, as far as it is read."""
    samples = [
        {"subject": name, "recovered": {"distance": value}}
        for name, values in distances.items()
        for value in values
    ]
    summary = {"samples": len(samples), "excess": 1 / passes, "excess_interval": [0.0, 1.0]}
    summary |= {"rigid_free_excess": 0.5, "beyond": {"recovered": 10.0}, "ncc": 0.9, "kept": 0.4}
    summary |= {"mean_voxels": 2.0, "diversity": 0.5, "folded_worst": 0.0}
    summary |= {"folded_before_percent": 0.01}
    return {
        **{"model": "known", "level": 48, "gain": 2.0, "steps": passes},
        **{"samples": samples, "summary": summary},
    }


def test_differences_are_paired_by_subject():
    one = np.array([[1.0, 3.0], [11.0, 13.0], [21.0, 23.0]])
    mean, low, high = passes_study.paired_interval(one + 0.5, one)
    assert (mean, low, high) == pytest.approx((0.5, 0.5, 0.5))
    wide = passes_study.paired_interval(one, one[::-1])
    assert wide[1] < -10 and wide[2] > 10


def test_page_and_picture_of_two_settings(tmp_path):
    many = {"b": [0.5, 0.7], "a": [0.6, 0.6]}
    few = {"a": [0.7, 0.7], "b": [0.6, 0.8]}
    settings = [entry(1, few), entry(2, many)]
    numbers = tmp_path / "numbers.json"
    numbers.write_text(json.dumps({"settings": settings}), encoding="utf-8")
    page = tmp_path / "page.md"
    assert passes_study.main(["--of", str(numbers), "hippocampus-mr-3d", "--out", str(page)]) == 0
    rows = [
        line.split(" | ")
        for line in page.read_text(encoding="utf-8").splitlines()
        if "| known" in line
    ]
    assert [row[1] for row in rows] == ["1", "2"]
    assert rows[0][7] == "+0.100 [+0.100, +0.100]" and rows[1][7] == "is the reference"
    assert rows[1][6] == "0.600 ± 0.071"
    assert float(rows[0][2].split()[0]) < float(rows[1][2].split()[0])  # ms
    with Image.open(tmp_path / "page.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10
