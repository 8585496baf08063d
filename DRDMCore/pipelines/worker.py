"""The worker that serves a program with a window: requests and answers as lines of JSON.

One job runs at a time, in the order of the requests. A thread reads the requests, so that a wish
to stop is seen while a job computes; the job learns of it from its progress callback.

Request: `{"id": 7, "job": "generate", "arguments": {...}}`; wish to stop: `{"cancel": 7}`.
Answers carry the id: events (`progress.Event`), then exactly one of the kinds `result`, `error`
and `cancelled`. A line that is no request is answered by an error whose id is null. This module
knows the protocol alone; `worker_jobs` knows the jobs.
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from DRDMCore import __version__
from DRDMCore.errors import Cancelled, DRDMError, InputError
from DRDMCore.progress import Callback, Event

_BLOCK = 1 << 16
_GRACE_SECONDS = 10.0
"""A job that is not at a pass by then, after the other program has gone, is ended hard."""

Id = int | str
RunJob = Callable[[str, Mapping[str, Any], Callback], Mapping[str, Any]]
"""Does a job by name: its arguments, its progress, its result."""


class ByteSource(Protocol):
    """What requests are read from: `io.FileIO`, for example."""

    def read(self, size: int, /) -> bytes | None:
        """At most so many bytes, as soon as there are some; none at the end."""


class ByteSink(Protocol):
    """What answers are written to."""

    def write(self, data: bytes, /) -> int | None:
        """Write some of it and say how much."""


@dataclass(frozen=True)
class Request:
    """A job that is wanted."""

    id: Id
    job: str
    arguments: Mapping[str, Any]


class Worker:
    """Serves one program until it closes its end."""

    def __init__(self, source: ByteSource, sink: ByteSink, run_job: RunJob) -> None:
        """Take what to read from, what to write to, and what does the jobs."""
        self._source, self._sink, self._run_job = source, sink, run_job
        self._waiting: queue.Queue[Request | None] = queue.Queue()
        self._lock = threading.Lock()  # guards the two sets below
        self._open: dict[Id, Request] = {}
        self._unwanted: set[Id] = set()
        self._writing = threading.Lock()
        self._gone, self._ended = threading.Event(), threading.Event()

    def serve(self, prepare: Callable[[], object] = lambda: None) -> None:
        """Answer requests until the other program has gone.

        Args:
            prepare: Called once the first requests can arrive, to load what takes seconds.
        """
        self._tell({"kind": "ready", "version": __version__, "pid": os.getpid()})
        threading.Thread(target=self._read, daemon=True).start()
        try:
            prepare()
            while (request := self._waiting.get()) is not None and not self._gone.is_set():
                self._serve_one(request)
        finally:
            self._ended.set()

    def _serve_one(self, request: Request) -> None:
        """Do one job, unless it was unwanted before its turn, and tell its end."""
        with self._lock:
            if self._open.get(request.id) is not request:
                return
        try:
            if request.id in self._unwanted:
                raise Cancelled("stopped before it began.")
            result = self._run_job(request.job, request.arguments, self._progress_of(request.id))
            final = {"kind": "result", "result": result}
        except Cancelled as error:
            final = {"kind": "cancelled", "message": str(error)}
        except Exception as error:  # nothing that a job does may end the worker
            final = describe_error(error)
        with self._lock:
            del self._open[request.id]
            self._unwanted.discard(request.id)
        self._tell({"id": request.id, **final})

    def _progress_of(self, id_: Id) -> Callback:
        """Tells the events of a job, and the job whether to stop."""

        def progress(event: Event) -> bool:
            if event.kind != "pulse":
                self._tell({"id": id_, **event.as_dict()})
            return not self._gone.is_set() and id_ not in self._unwanted

        return progress

    def _read(self) -> None:
        """Take requests in until the other program closes its end."""
        for line in _lines(self._source):
            if line.strip():
                self._take(line)
        self._gone.set()
        self._waiting.put(None)
        if not self._ended.wait(_GRACE_SECONDS):
            os._exit(1)

    def _take(self, line: bytes) -> None:
        """Take one line in: a request, a wish to stop, or neither."""
        try:
            wish = _parsed(line)
            if isinstance(wish, Request):
                self._enqueue(wish)
                return
        except InputError as error:
            self._tell({"id": None, **describe_error(error)})
            return
        self._cancel(wish)

    def _enqueue(self, request: Request) -> None:
        """Let a request wait for its turn."""
        with self._lock:
            if request.id in self._open:
                raise InputError(
                    f"`id` must be new, got {request.id!r}, which is not yet answered."
                )
            self._open[request.id] = request
        self._waiting.put(request)

    def _cancel(self, id_: Id) -> None:
        """Stop a job at its next event; one that waits is taken from the queue at once."""
        with self._lock:
            request = self._open.get(id_)
            if request is None:
                return  # it has ended in the meantime
            waits = any(each is request for each in list(self._waiting.queue))
            if waits:
                del self._open[id_]
            else:
                self._unwanted.add(id_)
        if waits:
            self._tell({"id": id_, "kind": "cancelled", "message": "stopped before it began."})

    def _tell(self, message: Mapping[str, Any]) -> None:
        """Write one line; a reader that has gone stops everything."""
        line = json.dumps(plain(message), allow_nan=False).encode("ascii") + b"\n"
        try:
            with self._writing:
                while line:
                    line = line[self._sink.write(line) or 0 :]
        except OSError:
            self._gone.set()
            self._waiting.put(None)


def describe_error(error: Exception) -> dict[str, Any]:
    """The final answer for an error; one that was not foreseen comes with its traceback."""
    answer = {"kind": "error", "error": type(error).__name__, "message": str(error)}
    if not isinstance(error, DRDMError):
        answer["message"] = answer["message"] or type(error).__name__
        answer["traceback"] = "".join(traceback.format_exception(error))
    return answer


def plain(value: Any) -> Any:
    """The value in terms of JSON: paths and the like as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return plain(value.item()) if hasattr(value, "item") else str(value)


def _lines(source: ByteSource) -> Iterator[bytes]:
    """Whole lines, as soon as they are there."""
    rest = b""
    while block := source.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _parsed(line: bytes) -> Request | Id:
    """The request of a line, or the id of the job that is to stop.

    Raises:
        InputError: If it is neither.
    """
    try:
        given = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"a request must be one line of JSON in UTF-8, got {error}.") from error
    if not isinstance(given, dict):
        raise InputError(f"a request must be a JSON object, got {type(given).__name__}.")
    if given.keys() == {"cancel"} and _is_id(given["cancel"]):
        id_: Id = given["cancel"]
        return id_
    if not {"id", "job"} <= given.keys() <= {"id", "job", "arguments"}:
        raise InputError(
            "a request must have `id`, `job` and `arguments`, or `cancel` alone, got "
            f"{', '.join(map(str, given)) or 'nothing'}."
        )
    arguments = given.get("arguments", {})
    if not (_is_id(given["id"]) and isinstance(given["job"], str) and isinstance(arguments, dict)):
        raise InputError(
            "`id` must be a whole number or text, `job` text, and `arguments` an object, got "
            f"{given['id']!r}, {given['job']!r} and {type(arguments).__name__}."
        )
    return Request(given["id"], given["job"], arguments)


def _is_id(value: Any) -> bool:
    """Whether it can name a request."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)
