"""The worker's protocol over pipes, and its jobs called directly."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DRDMCore.errors import Cancelled, DRDMError, InputError, ModelError
from DRDMCore.imaging import field_from_ddf, read_field, read_image, write_field
from DRDMCore.models import find_model, import_published, load_model, save_model
from DRDMCore.pipelines.generate import generate
from DRDMCore.pipelines.worker import Worker, plain
from DRDMCore.pipelines.worker_jobs import Jobs, with_effort
from DRDMCore.progress import Event, tell
from DRDMCore.recovery import PublishedNetwork

HEART = "phantom-heart-2d"
REPOSITORY = Path(__file__).resolve().parents[3]


class Requests(io.FileIO):
    """Where a worker reads its requests; knows when the worker will read no more."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self.ended = threading.Event()

    def read(self, size: int = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            self.ended.set()
        return block


class Client:
    """The other end of a worker that runs in a thread, with jobs made for the test."""

    def __init__(self, run_job) -> None:
        read, write = os.pipe()
        self._requests, self._write = Requests(read), io.BufferedWriter(io.FileIO(write, "wb"))
        self._read, write = os.pipe()
        self._answers = io.FileIO(write, "wb")
        self.worker = Worker(self._requests, self._answers, run_job)
        self.thread = threading.Thread(target=self.worker.serve, daemon=True)
        self.thread.start()
        self._lines = io.BufferedReader(io.FileIO(self._read, "rb"))
        assert self.next()["kind"] == "ready"

    def send(self, *messages: object) -> None:
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode()
            self._write.write(line + b"\n")
            self._write.flush()

    def ask(self, id_: object, job: str = "job", **arguments: object) -> None:
        self.send({"id": id_, "job": job, "arguments": arguments})

    def next(self) -> dict[str, Any]:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self._lines.readline(), parse_constant=refuse)

    def stop_reading(self) -> None:
        self._lines.close()

    def close(self) -> None:
        """Go away; the worker must end, and its reader must be done before its file is closed:
        the next test's pipe may get the same number."""
        self._write.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        assert self._requests.ended.wait(10)
        for each in (self._requests, self._answers, self._lines):
            each.close()


class Gate:
    """A job that tells a step, waits until it may go on, and tells another."""

    def __init__(self) -> None:
        self.open, self.done = threading.Event(), []

    def run(self, job: str, arguments: Mapping[str, Any], progress) -> Mapping[str, Any]:
        if job == "wait":
            tell(progress, Event("step", "before", 1, 2))
            assert self.open.wait(10)
            tell(progress, Event("step", "after", 2, 2))
        if job == "fail":
            raise ZeroDivisionError("by nothing")
        if job == "refuse":
            raise ModelError("no such model")
        self.done.append(arguments.get("n"))
        return dict(arguments)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def client(gate) -> Iterator[Client]:
    client = Client(gate.run)
    yield client
    gate.open.set()
    client.close()


# The protocol -------------------------------------------------------------------------------------


def test_answers_carry_the_id_and_end_once(client, gate):
    gate.open.set()
    client.ask(7, "wait", n=1)
    client.ask("eight", n=2)
    assert [client.next() for _ in range(4)] == [
        {"id": 7, "kind": "step", "message": "before", "done": 1, "total": 2},
        {"id": 7, "kind": "step", "message": "after", "done": 2, "total": 2},
        {"id": 7, "kind": "result", "result": {"n": 1}},
        {"id": "eight", "kind": "result", "result": {"n": 2}},
    ]


def test_running_job_is_cancelled_at_its_next_event(client, gate):
    client.ask(1, "wait")
    assert client.next()["kind"] == "step"
    client.send({"cancel": 1})
    client.ask(2, n=2)
    client.send({"cancel": 99}, b"[]")  # the first is ignored, the second answered: it was read
    assert client.next()["id"] is None
    gate.open.set()
    assert [client.next()["kind"] for _ in range(2)] == ["step", "cancelled"]
    assert client.next() == {"id": 2, "kind": "result", "result": {"n": 2}}


def test_waiting_job_is_cancelled_at_once_and_never_begins(client, gate):
    client.ask(1, "wait", n=1)
    assert client.next()["kind"] == "step"
    client.ask(2, n=2)
    client.send({"cancel": 2})
    answer = client.next()
    assert (answer["id"], answer["kind"]) == (2, "cancelled")
    client.ask(2, n=22)  # the id is free again
    gate.open.set()
    assert [client.next()["kind"] for _ in range(2)] == ["step", "result"]
    assert client.next() == {"id": 2, "kind": "result", "result": {"n": 22}}
    assert gate.done == [1, 22]


def test_late_wish_to_stop_is_ignored(client):
    client.ask(1, n=1)
    assert client.next()["kind"] == "result"
    client.send({"cancel": 1})
    client.ask(1, n=2)
    assert client.next() == {"id": 1, "kind": "result", "result": {"n": 2}}


NO_REQUESTS = {
    "no JSON": b"generate!",
    "no UTF-8": b'{"id": 1, "job": "\xff"}',
    "deep": b"[" * 100_000,
    "list": [1],
    "number": 7,
    "empty": {},
    "no job": {"id": 1},
    "no id": {"job": "job"},
    "id of a list": {"id": [1], "job": "job"},
    "id of yes": {"id": True, "job": "job"},
    "arguments of a list": {"id": 1, "job": "job", "arguments": []},
    "job of a number": {"id": 1, "job": 3},
    "unknown key": {"id": 1, "job": "job", "priority": 3},
    "cancel of nothing": {"cancel": None},
    "cancel and job": {"cancel": 1, "job": "job"},
}


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_what_is_no_request_is_answered_and_survived(name, client):
    client.send(NO_REQUESTS[name])
    answer = client.next()
    assert (answer["id"], answer["kind"], answer["error"]) == (None, "error", "InputError")
    assert "must" in answer["message"] and "traceback" not in answer
    client.send(b"", b"   ")  # nothing at all is no error
    client.ask(1)
    assert client.next()["kind"] == "result"


def test_an_open_id_cannot_be_used_again(client, gate):
    client.ask(1, "wait", n=1)
    client.next()
    client.ask(1, n=2)
    answer = client.next()
    assert answer["id"] is None and "must be new" in answer["message"]
    gate.open.set()
    assert [client.next()["kind"] for _ in range(2)] == ["step", "result"]
    assert gate.done == [1]


def test_failures_foreseen_and_not(client):
    client.ask(1, "refuse")
    assert client.next() == {
        "id": 1,
        "kind": "error",
        "error": "ModelError",
        "message": "no such model",
    }
    client.ask(2, "fail")
    answer = client.next()
    assert (answer["error"], answer["message"]) == ("ZeroDivisionError", "by nothing")
    assert "in run" in answer["traceback"]
    client.ask(3)
    assert client.next()["kind"] == "result"


def test_results_are_json_whatever_they_hold():
    def odd(job, arguments, progress):
        tell(progress, Event("pulse"))
        tell(progress, Event("note", "a \ud800 and\nlines \u2028", data={"x": np.float32("inf")}))
        numbers = [np.float64("nan"), np.int64(3), np.float32(0.5), np.bool_(True), float("-inf")]
        return {"numbers": numbers, "path": Path("a/b"), "pair": (1, 2), 4: None}

    client = Client(odd)
    client.ask(1)
    assert client.next()["x"] is None
    assert client.next()["result"] == {
        "numbers": [None, 3, 0.5, True, None],
        "path": str(Path("a/b")),
        "pair": [1, 2],
        "4": None,
    }
    client.close()


def test_ends_when_the_other_program_goes(gate):
    client = Client(gate.run)
    client.ask(1, "wait")
    client.ask(2, n=2)
    client.next()
    threading.Timer(0.2, gate.open.set).start()
    client.close()  # the second step of the first job stops it
    assert gate.done == []


def test_ends_when_nobody_reads_the_answers(gate):
    client = Client(gate.run)
    client.stop_reading()
    client.ask(1, n=1)
    client.thread.join(10)
    assert not client.thread.is_alive()
    client.close()


def test_request_of_many_blocks(client):
    client.ask(1, text="x" * 300_000)
    assert len(client.next()["result"]["text"]) == 300_000


def test_plain_leaves_plain_values_alone():
    value = {"a": [1, 2.5, "x", None, True, {"b": []}]}
    assert plain(value) == value and plain(value)["a"][4] is True


# The jobs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    return Jobs()


def run(jobs: Jobs, name: str, **arguments: object) -> dict[str, Any]:
    """One job without a client; results must be JSON all the same."""
    result = plain(jobs.run(name, arguments, lambda event: None))
    json.dumps(result, allow_nan=False)
    return result


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("fly", {}, "`job` must be one of generate, scale"),
        ("status", {"of": "all"}, "of is unknown"),
        ("jacobian", {"field": "f.nrrd"}, "out is missing"),
        ("jacobian", {"field": None, "out": "o.nrrd"}, "field is missing"),
        ("jacobian", {"field": 7, "out": "o.nrrd"}, "`field` of 'jacobian' must be a text"),
        ("jacobian", {"field": "f.nrrd", "out": "o.nrrd"}, "f.nrrd does not exist"),
        ("needs", {"size": [9, 9, 9], "spacing_mm": [1, 1], "model": "none"}, "device is missing"),
        ("check_model", {"path": "nowhere.safetensors"}, "`model` must be a file"),
        ("import_weights", {"weights": "no.pth", "out": "x"}, r"no\.pth does not exist"),
        ("phantom", {"kind": "brain", "out": "x"}, "heart-2d"),
    ],
)
def test_wrong_arguments_are_refused_by_name(name, arguments, words, jobs):
    with pytest.raises(DRDMError, match=words):
        run(jobs, name, **arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 2.0}, "`count` of 'generate' must be a whole number"),
        ({"count": True}, "`count` of 'generate' must be a whole number"),
        ({"count": 0}, "`count` and `batch` must be at least 1, got 0, 1"),
        ({"fields_only": 1}, "`fields_only` of 'generate' must be a yes or no"),
        ({"effort": "some"}, "`effort` must be one of fast, full"),
        ({"sampling": {"levle": 3}}, "levle"),
        ({"sampling": {"level": "high"}}, "`level` must be a whole number"),
        ({"sampling": {"level": 40.5}}, "`level` must be a whole number"),
        ({"sampling": {"gain": "x"}}, "settings must be"),
        ({"sampling": {"repair": 1}}, "`repair` must be true or false"),
        ({"sampling": {"level": 90}}, "`level`"),
        ({"sampling": {"steps": "many"}}, "`steps`"),
        ({"model": "unheard-of"}, "unheard-of"),
        ({"device": "tpu"}, "`device`"),
        ({"image": "nowhere.nrrd"}, "does not exist"),
    ],
)
def test_wrong_generation_is_refused_by_name(change, words, jobs, make_job):
    job = make_job(2)
    given = {"image": str(job.image), "out": str(job.out), "model": "none", "device": "cpu"}
    with pytest.raises(DRDMError, match=words):
        run(jobs, "generate", **{"count": 1, "seed": 3, **given, **change})
    assert not job.out.exists()


def test_status_names_the_machine(jobs):
    facts = run(jobs, "status")
    first, *gpus = facts["devices"]
    assert first["name"] == "cpu" and first["title"] and facts["versions"]["torch"]
    assert first["memory_bytes"] is None or first["memory_bytes"] > 1e8
    assert [each["name"] for each in gpus] == [
        f"cuda:{n}" for n in range(torch.cuda.device_count())
    ]


def test_needs_equal_what_generate_states(jobs, make_job):
    for dimension, model in ((2, HEART), (3, HEART), (2, "none"), (3, "none")):
        job = make_job(dimension, model=model, out=f"{dimension}{model}")
        geometry = read_image(job.image).geometry
        facts = run(
            jobs,
            "needs",
            size=list(geometry.size),
            spacing_mm=list(geometry.spacing_mm),
            model=model,
            device="cpu",
        )
        told: list[Event] = []
        generate(job, told.append)
        (start,) = (event.message for event in told if event.kind == "start")
        assert facts["fits"] is True
        assert f"about {facts['bytes'] / 1e9:.1f} GB" in start
        assert f"about {facts['bytes'] / 1e9:.1f} GB" in facts["text"]


def test_needs_of_a_huge_volume_do_not_fit_and_take_no_memory(jobs):
    facts = run(
        jobs, "needs", size=[9000, 9000, 9000], spacing_mm=[1, 1, 1], model="none", device="auto"
    )
    assert facts["fits"] is False and facts["bytes"] > 1e14
    with pytest.raises(InputError, match="choose a 2D model"):
        run(
            jobs,
            "needs",
            size=[90, 90, 1],
            spacing_mm=[1, 1, 1],
            model="hippocampus-mr-3d",
            device="cpu",
        )
    for wrong in ([0, 9, 9], [9.5, 9, 9], [9], ["9", 9, 9]):
        with pytest.raises(InputError, match="`size` and `spacing_mm`"):
            run(jobs, "needs", size=wrong, spacing_mm=[1] * len(wrong), model="none", device="cpu")


def test_jacobian_of_a_stretch_is_its_volume(jobs, make_job, tmp_path):
    geometry = read_image(make_job(3).image).geometry
    grids = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    ddf = np.stack([0.1 * grids[0], 0.2 * grids[1], -0.25 * grids[2]]).astype(np.float32)
    write_field(field_from_ddf(ddf, geometry), tmp_path / "f.nrrd")
    out = tmp_path / "det.nrrd"
    facts = run(jobs, "jacobian", field=str(tmp_path / "f.nrrd"), out=str(out))
    assert facts["volume"] == str(out)
    assert facts["minimum"] == pytest.approx(1.1 * 1.2 * 0.75, abs=1e-4)
    assert facts["maximum"] == pytest.approx(facts["minimum"], abs=1e-4)
    header = out.read_bytes()[:2000]
    assert b"encoding: raw" in header and b"left-posterior-superior" in header


def test_scaled_field_is_written_and_measured(jobs, make_job, tmp_path):
    job = make_job(3, mean_mm=4.0)
    entry = generate(job)["samples"][0]
    given = {"field": str(job.out / entry["field"]), "image": str(job.image)}
    out = tmp_path / "scaled.nrrd"
    facts = run(jobs, "scale", **given, labels=str(job.labels), amplitude=0.5, out=str(out))
    before, after = read_field(job.out / entry["field"]), read_field(out)
    assert np.array_equal(after.vectors_mm_lps, before.vectors_mm_lps * np.float32(0.5))
    assert facts["amplitude"] == 0.5 and facts["field"] == str(out)
    quality, mean = facts["quality"], entry["quality"]["displacement_mm"]["mean"]
    assert quality["displacement_mm"]["mean"] == pytest.approx(mean / 2, rel=1e-4)
    assert [row["name"] for row in quality["labels"]] == ["label 3", "label 7"]
    strong = run(jobs, "scale", **given, amplitude=1.5, out=str(out))["quality"]
    assert strong["folding"]["voxels"] == 0 and strong["labels"] == []
    with pytest.raises(InputError, match="`amplitude`"):
        run(jobs, "scale", **given, amplitude=2, out=str(out))
    arguments = {**given, "amplitude": 1.5, "out": str(tmp_path / "stopped.nrrd")}
    with pytest.raises(Cancelled):
        jobs.run("scale", arguments, lambda event: event.kind != "pulse")
    assert not (tmp_path / "stopped.nrrd").exists()


def test_effort_means_passes(tmp_path, jobs, make_job):
    from DRDMCore.pipelines.settings import SamplingSettings

    generator = torch.Generator().manual_seed(0)
    network = PublishedNetwork(2, levels=80)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    weights = tmp_path / "000000_cmr_recresacnet.pth"
    torch.save(network.state_dict(), weights)
    imported = import_published(weights, name="mine", side=32)
    ours, steps = load_model(HEART), SamplingSettings(steps=3)
    wanted = [
        (imported, SamplingSettings(), {"fast": 16, "full": 80, None: None}),
        (ours, SamplingSettings(), {"fast": None, "full": 32, None: None}),
        (imported, steps, {"fast": 3, "full": 3}),
        (ours, steps, {"fast": 3, "full": 3}),
        ("none", SamplingSettings(), {"fast": None, "full": None}),
    ]
    for model, sampling, counts in wanted:
        for effort, count in counts.items():
            assert with_effort(sampling, model, effort).steps == count
    path = save_model(imported, tmp_path / "mine.safetensors")
    job = make_job(2)
    events: list[Event] = []
    given = {"image": str(job.image), "out": str(job.out), "model": str(path), "device": "cpu"}
    arguments = {**given, "count": 1, "seed": 1, "effort": "fast", "sampling": {"recursions": 1}}
    jobs.run("generate", arguments, events.append)
    assert [event.kind for event in events].count("step") == 16


def test_import_weights_with_and_without_a_configuration(tmp_path, jobs):
    weights = tmp_path / "000000_cmr_recresacnet.pth"
    torch.save(PublishedNetwork(2, levels=80).state_dict(), weights)
    facts = run(jobs, "import_weights", weights=str(weights), out=str(tmp_path / "models"))
    path = tmp_path / "models" / "000000_cmr_recresacnet.safetensors"
    assert facts["path"] == str(path) and facts["card"]["name"] == path.stem
    config = REPOSITORY / "Resources" / "Configurations" / "config_cmr.yaml"
    mine = tmp_path / "mine.safetensors"
    facts = run(jobs, "import_weights", weights=str(weights), config=str(config), out=str(mine))
    assert facts["path"] == str(mine) and facts["card"]["name"] == "mine"
    assert load_model(mine).grid.side == 256
    assert run(jobs, "check_model", path=str(mine))["card"] == facts["card"]
    lung = REPOSITORY / "Resources" / "Configurations" / "config_lct.yaml"
    with pytest.raises(ModelError, match="`ndims`"):
        run(jobs, "import_weights", weights=str(weights), config=str(lung), out=str(mine))


def test_check_model_refuses_damaged_weights(tmp_path, jobs):
    assert run(jobs, "check_model", path=str(find_model(HEART)))["card"]["name"] == HEART
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(find_model(HEART).read_bytes()[:-1000])
    with pytest.raises(ModelError, match="not a whole"):
        run(jobs, "check_model", path=str(damaged))


def test_models_stay_warm_until_their_file_changes(tmp_path, make_job):
    jobs, own = Jobs(), tmp_path / "own.safetensors"
    own.write_bytes(find_model(HEART).read_bytes())
    events: list[Event] = []

    def reads(number: int) -> int:
        job = make_job(2, out=f"out{number}")
        given = {"image": str(job.image), "out": str(job.out), "model": str(own), "device": "cpu"}
        before = len(events)
        arguments = {**given, "count": 1, "seed": 1, "sampling": {"steps": 1}}
        jobs.run("generate", arguments, events.append)
        return sum("reads" in (event.data or {}) for event in events[before:])

    assert [reads(n) for n in range(3)] == [1, 0, 0]
    os.utime(own, ns=(1, 1))
    assert [reads(n) for n in range(3, 5)] == [1, 0]
