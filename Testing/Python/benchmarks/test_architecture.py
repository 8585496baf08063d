"""The comparison of networks, on runs whose numbers are known."""

from __future__ import annotations

import json
import shutil

import pytest

from DRDMCore.models import find_model
from Testing.Benchmarks import architecture_study
from Testing.Benchmarks.architecture_study import CANDIDATES
from Testing.Python.benchmarks.test_passes import entry

ONE, OTHER = CANDIDATES[:2]


@pytest.fixture
def work(tmp_path):
    """Two finished runs; both have the bundled model."""
    for candidate, distance in ((ONE, 0.5), (OTHER, 0.8)):
        folder = tmp_path / candidate.name
        folder.mkdir()
        shutil.copy(find_model("hippocampus-mr-3d"), folder / f"{candidate.name}.safetensors")
        (folder / "training.csv").write_text("step,seconds\n1,3\n2,5\n", encoding="utf-8")
        (folder / "validation.csv").write_text(
            "step,val_explained_32,val_loss_32\n2,0.456,1\n", encoding="utf-8"
        )
        distances = {"a": [distance, distance], "b": [0.6, 0.8]}
        settings = [{**entry(n, distances), "model": f"{candidate.name} 0a1b2c3d"} for n in (2, 4)]
        (tmp_path / f"{candidate.name}.json").write_text(
            json.dumps({"settings": settings}), encoding="utf-8"
        )
    return tmp_path


def test_networks_are_compared_with_the_first(work, monkeypatch):
    monkeypatch.setattr(architecture_study, "drdm", lambda options: 0)  # the runs are finished
    page = work / "architecture.md"
    options = ["--work", str(work), "--only", ONE.name, OTHER.name, "--out", str(page)]
    assert architecture_study.main(options) == 0
    rows = [line.split(" | ") for line in page.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row[0] in (f"| {ONE.name}", f"| {OTHER.name}")]
    assert rows[0][1:3] == ["16 32 64", "2"] and rows[0][4:] == ["2", "46 |"]
    assert [row[1] for row in rows[2:]] == ["2", "4", "2", "4"]
    assert "is the reference" in rows[3][7] and rows[5][7].startswith("+0.150")
    assert page.with_suffix(".png").stat().st_size > 10000


def test_a_command_that_fails_stops_the_comparison(tmp_path, capsys):
    options = ["--work", str(tmp_path), "--data", str(tmp_path), "--only", ONE.name]
    assert architecture_study.main([*options, "--out", str(tmp_path / "page.md")]) == 1
    assert "train --config hippocampus-mr-3d --steps 600" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
