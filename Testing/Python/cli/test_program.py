"""The command line: help, statuses, JSON lines, and a stop that keeps what is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DRDMCore.cli import main
from DRDMCore.cli.program import COMMANDS
from DRDMCore.models import find_model, list_models, load_model
from DRDMCore.recovery import PublishedNetwork

REPOSITORY = Path(__file__).resolve().parents[3]
HEART = "phantom-heart-2d"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]),
    "OMP_NUM_THREADS": "1",
}


def drdm(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    command = [sys.executable, "-W", "error", "-m", "DRDMCore", *map(str, arguments)]
    options = {
        "capture_output": True,
        "encoding": "utf-8",
        "timeout": 120,
        "env": ENVIRONMENT,
        **options,
    }
    return subprocess.run(command, check=False, **options)


def json_lines(text: str) -> list[dict[str, Any]]:
    """Events of strict JSON (no NaN), one a line."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


@pytest.fixture
def scan(tmp_path) -> Path:
    """A folder with `scan.nrrd` and `labels.nrrd`; its name has blanks and umlauts."""
    folder = tmp_path / "Größe 図 of it"
    folder.mkdir()
    axes = np.meshgrid(np.linspace(-1, 1, 26), np.linspace(-1, 1, 30), indexing="ij")
    image = (100 + 100 * np.cos(4 * sum(axes))).astype(np.float32)
    labels = (axes[0] ** 2 + axes[1] ** 2 < 0.5).astype(np.uint8)
    for name, array in (("scan", image), ("labels", labels)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nrrd"))
    return folder


@pytest.fixture
def generate(scan) -> Callable[..., list[str]]:
    """Arguments of a quick `generate`."""

    def arguments(*more: object, model: str = "none", count: int = 1) -> list[str]:
        named = {"image": scan / "scan.nrrd", "labels": scan / "labels.nrrd", "model": model}
        named |= {"out": scan / "out", "count": count, "seed": 3, "device": "cpu"}
        texts = [text for k, v in named.items() for text in (f"--{k}", str(v))]
        return ["generate", *texts, *map(str, more)]

    return arguments


# Help ---------------------------------------------------------------------------------------------

HELPS = """
import contextlib, io, sys, time
begun = time.perf_counter()
from DRDMCore.cli.program import COMMANDS, main
for command in ("", *COMMANDS):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main([*filter(None, [command.replace("_", "-")]), "--help"])
        except SystemExit as end:
            assert end.code == 0, end.code
    assert len(out.getvalue()) > 200, command
heavy = {"torch", "numpy", "SimpleITK", "yaml"} & set(sys.modules)
assert not heavy, heavy
print(time.perf_counter() - begun)
"""


def test_help_of_every_command_is_quick_and_light():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HELPS],
        capture_output=True,
        encoding="utf-8",
        env=ENVIRONMENT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.0  # 0.1 s on an idle machine


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command.replace("_", "-"), "--help"])
    assert end.value.code == 0
    assert f"drdm {command.replace('_', '-')}" in capsys.readouterr().out


def test_module_version_and_usage():
    done = drdm("--version")
    assert done.returncode == 0 and done.stdout.startswith("drdm ")
    done = drdm("generate", "--image", "x")
    assert done.returncode == 2 and "--model" in done.stderr and not done.stdout


# Statuses and events ------------------------------------------------------------------------------


def test_json_lines_are_one_event_each_on_stdout_only(generate, scan):
    done = drdm(*generate("--json", "--steps", 2, model=HEART, count=2))
    assert done.returncode == 0 and done.stderr == ""
    events = json_lines(done.stdout)
    kinds = [event["kind"] for event in events]
    assert kinds == ["start", *["step", "step", "sample"] * 2, "done"]
    assert all({"kind", "message", "done", "total"} <= event.keys() for event in events)
    assert [e["sample"]["seed"] for e in events if e["kind"] == "sample"] == [3, 4]
    assert all(Path(e["folder"]) == scan / "out" for e in events if e["kind"] == "sample")


def test_people_see_sentences_on_stderr(generate, capfd):
    assert main(generate("--mean-mm", 1)) == 0
    shown = capfd.readouterr()
    assert shown.out == "" and "mean displacement" in shown.err
    assert main(generate("--mean-mm", 1, "--quiet")) == 0
    assert capfd.readouterr() == ("", "")


def test_failure_is_told_in_both_tongues(generate, capfd):
    assert main(generate("--level", 99, "--json")) == 1
    shown = capfd.readouterr()
    (event,) = json_lines(shown.out)
    assert event["kind"] == "error" and event["status"] == 1 and "`level`" in event["message"]
    assert shown.err.startswith("drdm generate: `level`")


def test_a_file_that_may_not_be_read_is_a_failure_not_a_traceback(generate, capfd, monkeypatch):
    def refused(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("DRDMCore.pipelines.generate.list_images", refused)
    assert main(generate()) == 1
    assert "Permission denied" in capfd.readouterr().err


def test_signals_are_as_before_after_a_run(generate):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(generate("--quiet", "--no-report")) == 0
    assert main(generate("--quiet", "--level", 99)) == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_reader_that_goes_away(generate):
    command = [sys.executable, "-m", "DRDMCore", *generate("--json", model=HEART, count=3)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(60) == 1
    assert "Traceback" not in errors and "Exception ignored" not in errors


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_within_a_pass_and_keeps_what_is_done(number, generate, scan):
    arguments = generate("--json", "--steps", 200, model=HEART, count=2)
    command = [sys.executable, "-W", "error", "-m", "DRDMCore", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if '"sample"' in line:
                break
        lines.append(process.stdout.readline())  # the first pass of the second sample
        asked = time.monotonic()
        process.send_signal(number)
        lines += process.stdout.readlines()
        errors = process.stderr.read()
        assert process.wait(60) == 130
    assert time.monotonic() - asked < 5
    events = json_lines("".join(lines))
    assert events[-1]["kind"] == "error" and "1 of 2 samples" in events[-1]["message"]
    assert len([event for event in events if event["kind"] == "step"]) < 350
    assert "stopping after this pass" in errors and "Traceback" not in errors
    assert not list(scan.rglob("*partial*"))
    stored = json.loads((scan / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert stored["complete"] is False and len(stored["samples"]) == 1
    for key in ("image", "labels", "field"):
        assert (scan / "out" / stored["samples"][0][key]).is_file()


def test_status_3_if_some_cases_failed(scan, capfd):
    images = scan / "images"
    images.mkdir()
    (images / "good.nrrd").write_bytes((scan / "scan.nrrd").read_bytes())
    (images / "bad.nrrd").write_bytes(b"no image")
    arguments = ["augment", "--images", str(images), "--model", "none", "--count", "1", "--level"]
    assert main([*arguments, "20", "--out", str(scan / "out"), "--json", "--device", "cpu"]) == 3
    events = json_lines(capfd.readouterr().out)
    assert any("bad" in e["message"] for e in events if e["kind"] == "failure")
    assert list((scan / "out").rglob("*good*.nii.gz"))


# Commands -----------------------------------------------------------------------------------------


def test_generate_replay_and_measure(generate, scan, capsys):
    assert main(generate("--mean-mm", 2, "--quiet", count=2)) == 0
    assert (scan / "out" / "report.html").is_file()
    assert main(["replay", str(scan / "out"), "--sample", "2", "--quiet"]) == 0
    assert "scan_0002 (seed 4): identical" in capsys.readouterr().out
    manifest = str(scan / "out" / "manifest.json")
    again = scan / "again"
    replay = ["replay", manifest, "--sample", "1", "--out", str(again), "--json"]
    assert main(replay) == 0
    (*_, result) = json_lines(capsys.readouterr().out)
    assert result["kind"] == "result" and result["identical"] is True
    assert len(list(again.iterdir())) == 3

    field = scan / "out" / "scan_0001_field.nrrd"
    assert main(["measure", str(field), "--labels", str(scan / "labels.nrrd")]) == 0
    quality = json.loads(capsys.readouterr().out)
    assert quality["displacement_mm"]["mean"] == pytest.approx(2, rel=0.1)
    assert quality["folding"]["voxels"] == 0 and quality["labels"][0]["value"] == 1
    assert main(["measure", str(scan / "scan.nrrd")]) == 1
    assert "give a field, not an image" in capsys.readouterr().err


def test_phantom(scan, capsys):
    out = scan / "phantoms"
    arguments = ["phantom", "heart-2d", "--count", "2", "--seed", "4", "--out", str(out)]
    assert main(arguments) == 0
    assert sorted(p.name for p in (out / "images").iterdir()) == [
        "heart-2d_0004.nii.gz",
        "heart-2d_0005.nii.gz",
    ]
    assert len(list((out / "labels").iterdir())) == 2
    for wrong, words in (("brain", "heart-2d"), ("heart-2d --count 0", "`count`")):
        assert main(["phantom", *wrong.split(), "--out", str(out)]) == 1
        assert words in capsys.readouterr().err
    assert main(["phantom", "heart-2d", "--seed", "-1", "--out", str(out)]) == 1


def test_info(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path))
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {path.stem for path in list_models()} < set(facts["models"])
    assert "cannot be used" in facts["models"]["broken"] and "none" in facts["models"]
    assert main(["info"]) == 0
    assert HEART in capsys.readouterr().out
    assert main(["info", HEART, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["licence"] and card["sha256"] == load_model(HEART).sha256
    assert main(["info", "none"]) == 0
    assert "knows no anatomy" in capsys.readouterr().out
    assert main(["info", "unheard-of"]) == 1
    assert "unheard-of" in capsys.readouterr().err


def test_import_weights_and_use_them(tmp_path, generate, scan, capsys, monkeypatch):
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path / "models"))
    torch.manual_seed(0)
    network = PublishedNetwork(2, levels=80)
    torch.save(network.state_dict(), scan / "000000_cmr_recresacnet.pth")
    checkpoint = str(scan / "000000_cmr_recresacnet.pth")
    assert main(["import-weights", checkpoint, "--name", "mine", "--side", "32"]) == 0
    assert "mine.safetensors" in capsys.readouterr().out
    assert main(generate("--steps", 2, "--level", 10, "--quiet", model="mine")) == 0
    assert main(["info", "mine"]) == 0
    assert main(["import-weights", checkpoint, "--name", "bad", "--side", "0"]) == 1
    assert "`side`" in capsys.readouterr().err
    for wrong in (scan / "scan.nrrd", scan / "missing.pth", find_model(HEART)):
        assert main(["import-weights", str(wrong), "--name", "bad"]) == 1
    assert not (tmp_path / "models" / "bad.safetensors").exists()
    assert main(generate("--quiet", model=checkpoint)) == 1
    assert "drdm import-weights" in capsys.readouterr().err


TRAINING = """\
name: tiny
data: phantom:heart-2d
subjects: 4
grid: {dimension: 2, mode: fov, side: 32}
shape: [32, 32]
field: {control_spacing: 2.0}
widths: [4, 8]
steps: 3
batch: 2
card: {title: A tiny model}
"""


def test_train_and_use_the_model(scan, generate, capsys):
    config, out = scan / "train.yaml", scan / "run"
    config.write_text(TRAINING, encoding="utf-8")
    assert main(["train", "--config", str(config), "--out", str(out), "--json"]) == 0
    *events, result = json_lines(capsys.readouterr().out)
    assert [event["done"] for event in events if event["kind"] == "step"] == [1, 2, 3]
    assert result == {"kind": "result", "model": str(out / "tiny.safetensors")}
    assert load_model(result["model"]).card.title == "A tiny model"
    assert main(generate("--quiet", model=result["model"])) == 0
    arguments = ["train", "--config", str(config), "--out", str(scan / "other")]
    for wrong, words in (
        (["--steps", "0"], "`steps`"),
        (["--device", "tpu"], "`device`"),
        (["--data", "phantom:brain"], "heart-2d"),
        (["--data", str(scan / "nowhere")], "does not exist"),
    ):
        assert main([*arguments, *wrong]) == 1
        assert words in capsys.readouterr().err


def test_demo_with_a_quick_model(scan, capsys, monkeypatch):
    monkeypatch.setattr("DRDMCore.pipelines.demo.KIND", "heart-2d")
    monkeypatch.setattr("DRDMCore.pipelines.demo.MODEL", HEART)
    assert main(["demo", "--out", str(scan / "demo"), "--count", "1", "--device", "cpu"]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (scan / "demo" / "subject" / "chest.seg.nrrd").is_file()
    assert (scan / "demo" / "samples" / "report.html").is_file()
    assert main(["demo", "--out", str(scan / "demo"), "--count", "1", "--device", "cpu"]) == 0


@pytest.mark.slow
@pytest.mark.skipif(
    "phantom-torso-3d" not in {path.stem for path in list_models()}, reason="no bundled 3D model"
)
def test_demo_as_it_is(scan):
    done = drdm("demo", "--out", scan / "demo", "--count", 1, timeout=600)
    assert done.returncode == 0 and "report.html" in done.stdout


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE")],
)
def test_threads_wait_briefly_unless_the_user_wants_otherwise(given, expected):
    told = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    plain = {key: value for key, value in ENVIRONMENT.items() if key not in told}
    code = (
        "import os; from DRDMCore.cli import main; main(['info']);"
        f"print(*[os.environ.get(key) for key in {told}])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        env={**plain, **given},
        check=True,
    )
    assert answer.stdout.splitlines()[-1] == expected
