"""Shares of a job for several processes, as `torchrun` starts them; they never talk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from DRDMCore.errors import InputError

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's.

    Attributes:
        rank: Number of the process, from 0.
        world: Number of processes.
    """

    rank: int = 0
    world: int = 1

    def mine(self, items: Sequence[_Item]) -> list[_Item]:
        """Every `world`-th item, beginning with number `rank`."""
        return list(items[self.rank :: self.world])


def share_of(environment: Mapping[str, str] | None = None) -> Share:
    """The share that `RANK` and `WORLD_SIZE` name; everything where they are not set.

    Raises:
        InputError: If they are no numbers, or `RANK` is not below `WORLD_SIZE`.
    """
    environment = os.environ if environment is None else environment
    texts = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
    try:
        rank, world = (int(text) for text in texts)
    except ValueError:
        rank, world = -1, 0
    if not 0 <= rank < world:
        raise InputError(
            "The environment variables RANK and WORLD_SIZE must be numbers with 0 <= RANK < "
            f"WORLD_SIZE, got {texts[0]!r} and {texts[1]!r}: start with torchrun, or unset them."
        )
    return Share(rank, world)


def local_device(name: str, environment: Mapping[str, str] | None = None) -> str:
    """The device of this process: plain `cuda` becomes `cuda:LOCAL_RANK` under `torchrun`."""
    environment = os.environ if environment is None else environment
    local = environment.get("LOCAL_RANK")
    return f"cuda:{local}" if name == "cuda" and local is not None else name
