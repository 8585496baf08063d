"""The guide to training says what is so: its table of settings, and its commands."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from DRDMCore.cli.program import main
from DRDMCore.fields import RandomFieldSettings
from DRDMCore.imaging import GridPolicy
from DRDMCore.training.run import RunFolder
from DRDMCore.training.settings import InputAugmentation, TrainingSettings
from Testing.Python.docs.pages import blocks, run_page

REPOSITORY = Path(__file__).resolve().parents[3]
GUIDE = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)( no-test)?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
PARTS = {"grid": GridPolicy, "field": RandomFieldSettings, "augmentation": InputAugmentation}


def plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def defaults() -> dict[str, object]:
    """Every key with its default as YAML has it, or the word that stands for one."""
    made = TrainingSettings("x", "x", GridPolicy(2, side=16), (16, 16), steps=1)
    found: dict[str, object] = {}
    for kind, prefix, source in [
        (TrainingSettings, "", made),
        *((kind, f"{part}.", getattr(made, part)) for part, kind in PARTS.items()),
    ]:
        for field in dataclasses.fields(kind):
            needed = field.default is field.default_factory is dataclasses.MISSING
            value = getattr(source, field.name)
            if field.name in ("field", "augmentation"):
                value = "below"
            if (prefix, field.name) in (("", "steps"), ("grid.", "side")):
                value = field.default  # those that are given above
            found[prefix + field.name] = "required" if needed else plain(value)
    return found


def test_the_table_lists_every_setting_with_its_default():
    section = GUIDE.split("## Settings")[1].split("## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+) \|$", section, flags=re.MULTILINE)
    listed = {key: yaml.safe_load(default) for key, default, _ in rows}
    assert len(listed) == len(rows)
    assert listed == defaults()


def test_the_files_of_a_run_are_named_as_they_are():
    section = GUIDE.split("## The folder of a run")[1].split("## ")[0]
    run = RunFolder(Path("run"), "NAME")
    for path in (run.model, run.last, run.best, run.settings, run.split):
        assert f"`{path.name}`" in section
    for name in ("training.csv", "validation.csv", "loss.png", "tensorboard/", "cache/"):
        assert f"`{name}`" in section


def test_its_options_exist(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    for kind, _, text in BLOCK.findall(GUIDE):
        for line in text.replace("\\\n", "").splitlines() if kind != "yaml" else []:
            if " train " in line or "train_in_slicer.py" in line:
                options = re.split(r" train |train_in_slicer\.py", line)[1]
                assert set(re.findall(r"--[\w-]+", options)) <= known, line


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (REPOSITORY / "docs" / target).exists(), target


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_the_cluster_script_is_a_script(tmp_path):
    (script,) = [text for kind, _, text in BLOCK.findall(GUIDE) if kind == "bash"]
    done = subprocess.run(
        ["bash", "-n"], input=script, text=True, capture_output=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


STAND_INS = {
    "scontrol": 'case "$1" in show) echo node1;; requeue) echo "requeued $2" >>said;; esac\n',
    "srun": "trap 'sleep 0.3; echo saved >>said; exit 130' TERM\n"
    'echo "$@" >>said\ntouch up\nwhile true; do sleep 0.05; done\n',
}


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_the_cluster_script_waits_for_the_checkpoint_and_queues_again(tmp_path):
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (script,) = [text for kind, _, text in BLOCK.findall(GUIDE) if kind == "bash"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
    process = subprocess.Popen(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, **slurm, "PATH": path}
    )
    while not (tmp_path / "up").exists():
        assert process.poll() is None
    process.terminate()
    assert process.wait(30) == 0
    started, *then = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    assert "--rdzv-endpoint=node1:29500 -m DRDMCore train" in started
    assert then == ["saved", "requeued 7"]


@pytest.mark.slow
def test_the_first_run_works_as_it_stands(tmp_path):
    assert [kind for kind, _ in blocks("training.md")] == ["sh"]
    assert "going on after step 4" in run_page("training.md", tmp_path)
    assert list((tmp_path / "new").glob("*_field.nrrd"))
