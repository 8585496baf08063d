"""Requests to the real worker: answered, cancelled, survived by the application."""

from __future__ import annotations

import logging
import os
import random
import signal
import statistics
import time
from pathlib import Path

import pytest

from Testing.Python.extension.children import Family, application, turnUntil

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
SOON = 2.0
"""Seconds in which a cancel has to end: one, and as much again for a slow machine."""


@pytest.fixture
def lib():
    yield from application()


class Answer:
    """What was told of a request."""

    def __init__(self):
        self.events, self.finals = [], []

    def callbacks(self):
        return {
            "onEvent": self.events.append,
            "onResult": lambda result: self.finals.append(("result", result)),
            "onError": lambda *words: self.finals.append(("error", *words)),
            "onCancelled": lambda message: self.finals.append(("cancelled", message)),
        }

    @property
    def kind(self):
        return self.finals[0][0] if self.finals else None

    def samples(self):
        return [each for each in self.events if each["kind"] == "sample"]


class Office:
    """A client, its worker's family, and one scan."""

    def __init__(self, lib, family, folder):
        self.family, self.folder = family, folder
        self.log = []
        self.client = lib.workerclient.WorkerClient(
            onLog=self.log.append, environment={**family.environment, "OMP_NUM_THREADS": "1"}
        )

    def ask(self, job, arguments=None):
        answer = Answer()
        answer.number = self.client.request(job, arguments or {}, **answer.callbacks())
        return answer

    def generate(self, name, count=2, level=20):
        return self.ask(
            "generate",
            {
                "image": str(self.folder / "scan.nrrd"),
                "out": str(self.folder / name),
                "model": "none",
                "count": count,
                "seed": 1,
                "device": "cpu",
                "sampling": {"level": level},
                "fields_only": True,
            },
        )

    def wait(self, *answers, seconds=60.0):
        return turnUntil(lambda: all(each.finals for each in answers), seconds)

    def works(self):
        """Whether the next request is answered."""
        answer = self.ask("status")
        self.wait(answer)
        return answer.kind == "result"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A small image."""
    from DRDMCore.imaging import phantom, write_volume

    folder = tmp_path_factory.mktemp("scan with a space")
    write_volume(phantom("heart-2d", 0)[0], folder / "scan.nrrd")
    return folder


@pytest.fixture
def office(lib, scan, tmp_path):
    family = Family()
    (tmp_path / "scan.nrrd").write_bytes((scan / "scan.nrrd").read_bytes())
    office = Office(lib, family, tmp_path)
    yield office
    office.client.close()
    assert family.isGone(), "the worker outlived its client"


def test_a_worker_stays_warm_between_requests(office):
    assert not office.client.running and office.family.isGone()  # nothing before the first request
    first = office.ask("status")
    assert first.finals == [] and office.client.busy  # told later, not from within `request`
    cold = office.wait(first)
    assert first.kind == "result" and first.finals[0][1]["devices"][0]["name"] == "cpu"
    worker = office.family.members()
    times = []
    for _ in range(5):
        again = office.ask("status")
        times.append(office.wait(again))
        assert again.kind == "result"
    print(f"first answer {cold:.2f} s, warm {statistics.median(times):.3f} s (median of 5)")
    assert office.family.members() == worker and len(worker) == 1
    assert not office.client.busy and office.client.version


def test_samples_are_told_while_the_job_goes_on(office):
    answer = office.generate("new", count=40)  # they take more than a turn of the timer
    turnUntil(answer.samples)
    assert answer.finals == []
    office.wait(answer)
    assert [each["kind"] for each in answer.events if each["kind"] == "sample"] == ["sample"] * 40
    assert len(answer.finals) == 1 and answer.kind == "result"
    for event in answer.samples():
        assert (Path(event["folder"]) / event["sample"]["field"]).is_file()


def test_errors_are_sentences_of_the_core(office):
    unknown, missing = office.ask("dance"), office.ask("generate", {"image": "/nowhere.nrrd"})
    office.wait(unknown, missing)
    assert unknown.kind == missing.kind == "error"
    assert "`job` must be one of" in unknown.finals[0][1] and unknown.finals[0][2] == "InputError"
    assert office.works()


def test_requests_are_answered_in_order_and_one_can_be_taken_back(office):
    order = []
    answers = [office.generate(str(n), count=1) for n in range(4)]
    for answer in answers:
        answer.finals = type(
            "Told", (list,), {"append": lambda self, item: order.append(item[0])}
        )()
    office.client.cancel(answers[2].number)
    assert order == []  # not from within `cancel`
    turnUntil(lambda: len(order) == 4)
    assert sorted(order) == ["cancelled", "result", "result", "result"]
    assert order[0] == "cancelled"  # it was not even begun
    assert not (office.folder / "2").exists()


def test_cancel_stops_the_job_and_keeps_the_worker(office):
    assert office.works()
    worker = office.family.members()
    times = []
    for n in range(3):
        answer = office.generate(f"cancelled {n}", count=500)
        turnUntil(answer.samples)
        office.client.cancel(answer.number)
        before = len(answer.events)
        times.append(office.wait(answer))
        assert answer.kind == "cancelled" and len(answer.events) == before
    print(f"cancelled within {statistics.median(times):.2f} s (median of 3)")
    assert statistics.median(times) < SOON
    assert office.family.members() == worker and office.works()


def test_cancel_while_the_worker_starts(office):
    answer = office.generate("never")
    office.client.cancel(answer.number)
    office.client.cancel(answer.number)  # impatience changes nothing
    assert office.wait(answer) < SOON
    assert [each[0] for each in answer.finals] == ["cancelled"]
    assert office.works()


@posix
def test_cancel_of_a_hanging_worker_kills_it_and_asks_the_next_of_another(office):
    assert office.works()
    times = []
    for n in range(3):
        hanging, waiting = office.generate(f"hanging {n}", count=500), office.ask("status")
        turnUntil(hanging.samples)
        for number in office.family.members():
            os.kill(number, signal.SIGSTOP)
        stopped = office.family.members()
        office.client.cancel(hanging.number)
        times.append(office.wait(hanging))
        assert hanging.kind == "cancelled"
        office.wait(waiting)
        assert waiting.kind == "result"
        assert not set(stopped) & set(office.family.members())
    print(f"cancelled within {statistics.median(times):.2f} s (median of 3)")
    assert statistics.median(times) < SOON


def test_cancel_takes_grandchildren_along(lib, office, tmp_path):
    script = tmp_path / "hanging.py"
    script.write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        'print(\'{"kind": "step", "id": 1}\', flush=True)\n'
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    office.client = lib.workerclient.WorkerClient(
        [str(script)], environment=office.family.environment
    )
    answer = office.ask("anything")
    turnUntil(lambda: answer.events)
    assert len(office.family.members()) == 2
    office.client.cancel(answer.number)
    assert office.wait(answer) < SOON
    assert answer.kind == "cancelled" and office.family.isGone()


@posix
def test_a_worker_killed_at_random_moments(office):
    # Twenty times, and in the scene, in test_generate_panel.py.
    chance, outcomes = random.Random(3), []
    for n in range(3):
        answer = office.generate(f"killed {n}", count=10)
        # Some of them while the worker starts, some in the middle, some after the end.
        longest = 0.5 if n % 2 else 3.0
        if n % 2:
            turnUntil(lambda answer=answer: answer.events)
        moment = time.monotonic() + chance.uniform(0.0, longest)
        turnUntil(lambda moment=moment: time.monotonic() > moment)
        for number in office.family.members():
            os.kill(number, signal.SIGKILL)
        office.wait(answer)
        assert len(answer.finals) == 1
        outcomes.append(answer.kind)
        if answer.kind == "error":
            assert "memory was full" in answer.finals[0][1]
        turnUntil(lambda: not office.client.running)
        if n % 3 == 0:
            assert office.works()
            assert len(office.family.members()) == 1
    print({kind: outcomes.count(kind) for kind in set(outcomes)})
    assert office.works() and set(outcomes) <= {"error", "result"} and "error" in outcomes


@posix
def test_a_crash_concerns_one_request(office):
    first, second = office.generate("first", count=500), office.ask("status")
    turnUntil(first.samples)
    os.kill(office.family.members()[0], signal.SIGSEGV)
    office.wait(first, second)
    assert first.kind == "error" and "ended unexpectedly" in first.finals[0][1]
    assert second.kind == "result"


@posix
def test_a_worker_that_died_while_idle_is_not_noticed(office):
    assert office.works()
    for number in office.family.members():
        os.kill(number, signal.SIGKILL)
    turnUntil(lambda: not office.client.running)
    assert office.works()


def test_a_missing_package_is_named(office, tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    text = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    (blocked / "torch.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    answer = office.ask("status")
    office.wait(answer)
    assert answer.kind == "error" and "package torch is missing" in answer.finals[0][1]


def test_close_ends_everything_quietly(office):
    running, waiting = office.generate("closed", count=500), office.ask("status")
    turnUntil(running.samples)
    begun = time.monotonic()
    office.client.close()
    assert time.monotonic() - begun < 1 and office.family.isGone()
    assert not office.client.busy and not office.client.running
    assert running.finals == waiting.finals == []
    assert office.works()  # a closed client may be used again


def test_callbacks_may_do_what_they_like(office, caplog):
    told = []

    def onResult(result):
        told.append("result")
        office.client.request("status", {}, onResult=lambda again: told.append("again"))
        raise ZeroDivisionError("in a callback")

    with caplog.at_level(logging.ERROR):
        office.client.request("status", {}, onResult=onResult)
        turnUntil(lambda: len(told) == 2)
    assert told == ["result", "again"] and "in a callback" in caplog.text
    office.client.request("status", {}, onResult=lambda result: office.client.close())
    turnUntil(lambda: not office.client.running)
    assert office.works()


def test_a_crash_may_be_answered_by_another_request(lib, office, tmp_path):
    script = tmp_path / "crash.py"
    script.write_text("import sys; sys.stdin.readline(); sys.exit(7)", encoding="utf-8")
    office.client = lib.workerclient.WorkerClient(
        [str(script)], environment=office.family.environment
    )
    last = Answer()
    third = {}

    def onError(message, details):
        assert "exit code 7" in message
        office.client.cancel(third["number"])
        office.client.request("b", {}, **last.callbacks())

    office.client.request("a", {}, onError=onError)
    waiting = [Answer(), Answer()]
    for each in waiting:
        each.number = office.client.request("c", {}, **each.callbacks())
    third["number"] = waiting[1].number
    office.wait(last, *waiting)
    assert [each.kind for each in (last, *waiting)] == ["error", "error", "cancelled"]


def test_noise_on_stdout_is_no_answer(lib, office, tmp_path):
    script = tmp_path / "noise.py"
    script.write_text(
        "import json, sys\n"
        "number = json.loads(sys.stdin.readline())['id']\n"
        "lines = ['', 'noise', '[1]', 'null', '{}', json.dumps({'kind': 'result', 'id': 99})]\n"
        "lines += [json.dumps({'kind': 'result', 'id': number, 'result': {'a': 1}})]\n"
        "print(*lines, sep='\\n', flush=True)\n"
        "sys.stdin.read()\n",
        encoding="utf-8",
    )
    office.client = lib.workerclient.WorkerClient(
        [str(script)], environment=office.family.environment
    )
    answer = office.ask("x")
    office.wait(answer)
    assert answer.finals == [("result", {"a": 1})]


def test_wrong_calls_are_refused_at_once(office):
    import threading

    with pytest.raises(TypeError):
        office.client.request("status", {"path": Path("x")})
    caught = []

    def ask():
        try:
            office.client.request("status", {})
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert caught and "main thread" in caught[0]
    assert not office.client.busy and office.family.isGone()
    office.client.cancel(12345)  # of nobody


def test_scripts_can_wait_without_an_event_loop(office):
    answer = office.ask("status")
    office.client.wait(answer.number)
    assert answer.kind == "result"


def test_generating_does_not_stall_the_event_loop(office):
    import qt

    assert office.works()
    gaps, last = [], [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = qt.QTimer()
    timer.setInterval(2)
    timer.timeout.connect(tick)
    timer.start()
    answer = office.generate("smooth", count=60)
    last[0] = time.perf_counter()
    office.wait(answer)
    timer.stop()
    gaps.sort()
    print(
        f"{len(gaps)} turns, longest {gaps[-1] * 1000:.0f} ms, 99 % {gaps[-len(gaps) // 100]:.4f} s"
    )
    assert answer.kind == "result" and len(answer.samples()) == 60
    assert gaps[-max(len(gaps) // 100, 1)] < 0.1  # 99 %: other programs may take a turn of ours
