"""`drdm serve` as a program that another one talks to; `drdm export`."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DRDMCore.cli import main
from DRDMCore.imaging import phantom, read_field, read_image, write_volume
from DRDMCore.models import list_models
from DRDMCore.pipelines.generate import GenerateJob, generate
from DRDMCore.pipelines.settings import SamplingSettings

REPOSITORY = Path(__file__).resolve().parents[3]
MODEL = "hippocampus-mr-3d"
HAS_MODEL = MODEL in {path.stem for path in list_models()}
needs_model = pytest.mark.skipif(not HAS_MODEL, reason="no bundled 3D model")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]),
    "OMP_NUM_THREADS": "1",
}
FINAL = ("result", "error", "cancelled")


class Served:
    """A worker process and its pipes."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *(command or ("-m", "DRDMCore", "serve"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        self.ready = self.next()
        self._id = 0

    def send(self, message: object) -> None:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(text + b"\n")
        self.process.stdin.flush()

    def ask(self, job: str, **arguments: object) -> int:
        self._id += 1
        self.send({"id": self._id, "job": job, "arguments": arguments})
        return self._id

    def next(self) -> dict[str, Any]:
        """The next line, which must be strict JSON."""

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.process.stdout.readline(), parse_constant=refuse)

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """All lines up to the first of these kinds."""
        lines = [self.next()]
        while lines[-1]["kind"] not in kinds:
            lines.append(self.next())
        return lines

    def done(self, job: str, **arguments: object) -> list[dict[str, Any]]:
        """All answers to a request, the last its result."""
        id_ = self.ask(job, **arguments)
        lines = self.until(*FINAL)
        assert lines[-1]["kind"] == "result", lines[-1]
        assert {line["id"] for line in lines} == {id_}
        return lines

    def close(self) -> tuple[int, str]:
        """Go away; status and stderr of the worker."""
        self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        with self.process.stderr as stderr:
            return status, stderr.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    if served.process.poll() is None:
        served.process.kill()
        served.process.wait()
    for pipe in (served.process.stdin, served.process.stdout, served.process.stderr):
        pipe.close()


@pytest.fixture
def subject(tmp_path) -> dict[str, str]:
    """A small phantom with labels; its folder has blanks and umlauts."""
    image, labels = phantom("torso-3d", 5)
    folder = tmp_path / "Größe 図 of it"
    corner = (slice(10, 50, 2), slice(10, 66, 2), slice(12, 70, 2))
    paths = {}
    for kind, volume in (("image", image), ("labels", labels)):
        paths[kind] = folder / f"{kind}.nrrd"
        geometry = read_geometry(volume.array[corner].shape)
        cut = type(volume)(
            np.ascontiguousarray(volume.array[corner]), geometry, volume.kind, volume.label_names
        )
        write_volume(cut, paths[kind], compress=False)
    return {kind: str(path) for kind, path in paths.items()}


def read_geometry(shape: tuple[int, ...]):
    from DRDMCore.imaging import Geometry

    return Geometry(shape[::-1], (1.2, 1.0, 1.5), (3.0, 4.0, -5.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_first_line_says_who_is_there(served):
    assert served.ready == {"kind": "ready", "version": "0.1.0", "pid": served.process.pid}
    assert served.close() == (0, "")


def test_generate_scale_look_and_export(served, subject, tmp_path):
    out = tmp_path / "samples"
    given = {**subject, "model": "none", "count": 2, "device": "auto", "fields_only": True}
    *events, last = served.done("generate", **given, out=str(out), sampling={"mean_mm": 2.0})
    manifest = last["result"]["manifest"]
    assert manifest == json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert [event["kind"] for event in events] == ["start", "sample", "sample", "done"]
    samples = [event for event in events if event["kind"] == "sample"]
    for event, entry in zip(samples, manifest["samples"], strict=True):
        assert event["sample"] == entry and event["folder"] == str(out)
        for key in ("model", "settings", "input", "versions"):
            assert event[key] == manifest[key]
    fields = [out / entry["field"] for entry in manifest["samples"]]
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(f.name for f in fields)}
    assert b"encoding: raw" in fields[0].read_bytes()[:2000]

    scaled = tmp_path / "scaled.nrrd"
    facts = served.done("scale", **subject, field=str(fields[0]), amplitude=1.5, out=str(scaled))
    assert facts[-1]["result"]["quality"]["folding"]["voxels"] == 0
    det = served.done("jacobian", field=str(scaled), out=str(tmp_path / "det.nrrd"))[-1]["result"]
    assert 0 < det["minimum"] < 1 < det["maximum"]

    wanted = [
        {
            "field": str(field),
            "name": f"case {number}",
            "seed": entry["seed"],
            "amplitude": amplitude,
            "quality": entry["quality"],
            **{key: manifest[key] for key in ("model", "settings")},
        }
        for number, (field, entry, amplitude) in enumerate(
            zip(fields, manifest["samples"], (1, 0.6), strict=True)
        )
    ]
    formats = {"image_format": ".nii.gz", "field_format": ".nrrd"}
    data_set = tmp_path / "set"
    *events, last = served.done(
        "export",
        **subject,
        **formats,
        samples=wanted,
        out=str(data_set),
        layout="nnunet",
        originals=True,
        dataset_name="Torso",
    )
    assert last["result"]["folder"] == str(data_set)
    assert [e["sample"]["name"] for e in events if e["kind"] == "sample"] == ["case 0", "case 1"]
    assert (data_set / "imagesTr" / "image_original_0000.nii.gz").is_file()
    for number in ("1", "2"):
        assert main(["replay", str(data_set), "--sample", number, "--json"]) == 0


def test_exports_are_replayed_identically(served, subject, tmp_path, capsys):
    test_generate_scale_look_and_export(served, subject, tmp_path)
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finals = [each for each in results if each["kind"] == "result"]
    assert len(finals) == 2 and all(each["identical"] for each in finals)


@needs_model
def test_model_stays_warm_and_numbers_are_those_of_generate(served, subject, tmp_path):
    given = {**subject, "model": MODEL, "count": 1, "seed": 4, "device": "cpu"}
    first, second = (
        served.done("generate", **given, out=str(tmp_path / name), effort="fast", fields_only=True)
        for name in ("first", "second")
    )
    assert ["reads" in line for line in first].count(True) == 1
    assert not any("reads" in line for line in second)
    assert [line["kind"] for line in first].count("step") == 8
    assert served.done("needs", size=[64] * 3, spacing_mm=[1] * 3, model=MODEL, device="cpu")
    job = GenerateJob(
        image=Path(subject["image"]),
        labels=Path(subject["labels"]),
        out=tmp_path / "direct",
        model=MODEL,
        count=1,
        seed=4,
        report=False,
    )
    entry = generate(job)["samples"][0]
    wanted = read_field(job.out / entry["field"]).vectors_mm_lps
    for lines, name in ((first, "first"), (second, "second")):
        (made,) = lines[-1]["result"]["manifest"]["samples"]
        assert made["quality"] == entry["quality"]
        field = read_field(tmp_path / name / made["field"])
        assert np.array_equal(field.vectors_mm_lps, wanted)


@needs_model
def test_cancelled_within_a_second_while_computing(served, subject, tmp_path):
    seconds = []
    for number in range(3):
        id_ = served.ask(
            "generate",
            **subject,
            model=MODEL,
            count=4,
            seed=1,
            device="cpu",
            effort="full",
            out=str(tmp_path / str(number)),
        )
        lines = served.until("step")
        assert "of 32" in lines[-1]["message"]
        asked = time.monotonic()
        served.send({"cancel": id_})
        final = served.until(*FINAL)[-1]
        seconds.append(time.monotonic() - asked)
        assert (final["id"], final["kind"]) == (id_, "cancelled")
    assert statistics.median(seconds) < 1, seconds
    assert not list(tmp_path.rglob("*.partial*"))
    assert served.done("status")


@needs_model
def test_jobs_wait_for_their_turn_and_can_be_cancelled_there(served, subject, tmp_path):
    given = {**subject, "model": MODEL, "count": 1, "seed": 1, "device": "cpu"}
    first = served.ask("generate", **given, out=str(tmp_path / "first"), sampling={"steps": 6})
    served.until("step")
    second = served.ask("generate", **given, out=str(tmp_path / "second"))
    third = served.ask("status")
    served.send({"cancel": second})
    finals = []
    while len(finals) < 3:
        finals.append(served.until(*FINAL)[-1])
    assert [(each["id"], each["kind"]) for each in finals] == [
        (second, "cancelled"),
        (first, "result"),
        (third, "result"),
    ]
    assert not (tmp_path / "second").exists()


def test_nothing_kills_it(served, subject, tmp_path):
    given = {**subject, "model": "none", "count": 1, "device": "cpu", "out": str(tmp_path / "out")}
    (tmp_path / "bad.nrrd").write_bytes(b"NRRD0005\nno image")
    (tmp_path / "bad.safetensors").write_bytes((2**62).to_bytes(8, "little"))
    wrong = [
        ("generate", {**given, "image": str(tmp_path / "nowhere.nrrd")}, "MissingFileError"),
        ("generate", {**given, "image": str(tmp_path / "bad.nrrd")}, "InputError"),
        ("generate", {**given, "image": str(tmp_path / "nul\0l.nrrd")}, None),
        ("generate", {**given, "model": str(tmp_path / "bad.safetensors")}, "ModelError"),
        ("generate", {**given, "out": str(tmp_path / "bad.nrrd" / "out")}, "OutputError"),
        ("generate", {}, "InputError"),
        ("export", {**subject, "samples": [], "out": "x", "layout": "pairs"}, "InputError"),
        ("export", {**subject, "samples": [3], "out": "x", "layout": "pairs"}, "InputError"),
        ("check_model", {"path": subject["image"]}, "ModelError"),
        ("__init__", {}, "InputError"),
    ]
    for job, arguments, error in wrong:
        id_ = served.ask(job, **arguments)
        answer = served.until(*FINAL)[-1]
        assert (answer["id"], answer["kind"]) == (id_, "error")
        assert error in (None, answer["error"]), answer
        assert answer["message"]
    served.send(b"\xff\xfe garbage")
    assert served.next()["id"] is None
    assert served.done("generate", **given)
    assert served.close()[0] == 0


@needs_model
def test_ends_soon_when_stdin_is_closed(served, subject, tmp_path):
    given = {**subject, "model": MODEL, "count": 50, "seed": 1, "device": "cpu", "effort": "full"}
    served.ask("generate", **given, out=str(tmp_path / "out"))
    served.until("step")
    asked = time.monotonic()
    status, errors = served.close()
    assert (status, errors) == (0, "")
    assert time.monotonic() - asked < 5
    assert not list(tmp_path.rglob("*.partial*"))


CHATTY = """
import os, sys
from DRDMCore.pipelines import worker_jobs

def chatty(arguments, progress):
    print("from Python")
    sys.stdout.flush()
    os.write(1, b"from C\\n")
    assert sys.stdin.read() == "" and os.read(0, 10) == b""
    return {"quiet": True}

worker_jobs._status = chatty
from DRDMCore.cli import main
sys.exit(main(["serve"]))
"""


def test_what_libraries_print_is_no_answer():
    served = Served("-c", CHATTY)
    assert served.done("status")[-1]["result"] == {"quiet": True}
    status, errors = served.close()
    assert status == 0 and "from Python" in errors and "from C" in errors


BROKEN = """
import sys
sys.modules["torch"] = None
from DRDMCore.cli import main
sys.exit(main(["serve"]))
"""


def test_without_torch_it_says_so_and_lives():
    served = Served("-c", BROKEN)
    for _ in range(2):
        served.ask("status")
        answer = served.next()
        assert answer["kind"] == "error" and "torch" in answer["message"]
    assert served.close()[0] == 0


# `drdm export` ------------------------------------------------------------------------------------


@pytest.fixture
def generated(subject, tmp_path) -> Path:
    job = GenerateJob(
        image=Path(subject["image"]),
        labels=Path(subject["labels"]),
        out=tmp_path / "generated",
        count=4,
        seed=2,
        sampling=SamplingSettings(mean_mm=2.0),
        report=False,
    )
    generate(job)
    return job.out


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    return lambda folder: {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_export_of_a_folder(generated, tmp_path, capsys):
    out = tmp_path / "set"
    options = ["--layout", "flat", "--keep", "1,3,4", "--amplitude", "1.4", "--originals"]
    assert main(["export", str(generated), "--out", str(out), *options, "--quiet"]) == 0
    names = [f"image_000{n}" for n in (1, 3, 4)]
    assert {path.name for path in out.glob("*_image.nii.gz")} == {
        f"{name}_image.nii.gz" for name in (*names, "image_original")
    }
    assert main(["replay", str(out), "--sample", "2", "--quiet"]) == 0
    assert "image_0003 (seed 4): identical" in capsys.readouterr().out
    image = read_image(out / "image_0003_image.nii.gz")
    assert not np.array_equal(image.array, read_image(generated / "image_0003_image.nii.gz").array)
    for wrong, words in (
        (["--keep", "1,x"], "`keep`"),
        (["--keep", "9"], "1 .. 4"),
        (["--amplitude", "9"], "`amplitude`"),
        (["--layout", "bids"], "`layout`"),
    ):
        assert main(["export", str(generated), "--out", str(tmp_path / "no"), *wrong]) == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_export_killed_and_run_again_is_as_in_one_go(generated, tmp_path, tree):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["export", str(generated), "--out", str(whole), "--quiet"]) == 0
    command = [sys.executable, "-m", "DRDMCore", "export", str(generated), "--out", str(parts)]
    for delay in (0.0, 0.05):
        with subprocess.Popen(
            [*command, "--json"], stdout=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT
        ) as process:
            for line in process.stdout:
                if '"step"' in line:
                    break
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
    assert not json.loads((parts / "manifest.json").read_text(encoding="utf-8"))["complete"]
    subprocess.run([*command, "--quiet"], check=True, env=ENVIRONMENT)
    assert tree(parts) == tree(whole)
