"""Progress events: one small record, told to a callback; the callback may stop the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from DRDMCore.errors import Cancelled


@dataclass(frozen=True)
class Event:
    """What a running job tells its caller.

    Attributes:
        kind: `start`, `read`, `step`, `sample`, `case`, `skip`, `reject`, `failure`, `note` or
            `done`; a `pulse` tells nothing and only asks whether to go on.
        message: One sentence for people.
        done: Units of work finished so far.
        total: Units of work in all (0 where unknown).
        data: Further numbers for programs, JSON-serialisable.
    """

    kind: str
    message: str = ""
    done: float = 0
    total: float = 0
    data: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The event as a flat dictionary for a JSON line."""
        flat = asdict(self)
        flat.update(flat.pop("data") or {})
        return flat


Callback = Callable[[Event], object]
"""Told each event; returning `False` stops the job with `Cancelled`."""


def pulse_of(callback: Callback | None) -> Callable[[], None]:
    """Asks `callback` whether to go on, in the middle of long work; raises `Cancelled` if not."""
    return lambda: tell(callback, Event("pulse"))


def tell(callback: Callback | None, event: Event) -> None:
    """Tell `callback` an event; raise `Cancelled` if it answers `False`."""
    if callback is not None and callback(event) is False:
        raise Cancelled(f"stopped by the caller at {event.kind!r}: {event.message}")
