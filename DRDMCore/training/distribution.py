"""Several processes, as `torchrun` starts them, that train one model together.

Each makes its own part of every step; gradients are averaged by torch's DistributedDataParallel
(gloo on CPUs, nccl on GPUs). Only the first process writes files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from DRDMCore.errors import InputError
from DRDMCore.sharding import Share, local_device, share_of


@dataclass(frozen=True)
class Workers:
    """The processes of a run, seen from one of them.

    Attributes:
        share: Which one this is, of how many.
        device: Where this one trains.
    """

    share: Share
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.share.rank == 0

    def together(self, module: nn.Module) -> nn.Module:
        """The module, with gradients averaged over the processes."""
        if self.share.world == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)

    def any(self, wish: bool) -> bool:
        """Whether any of the processes wishes it; all get the same answer."""
        if self.share.world == 1:
            return wish
        wishes = torch.tensor([float(wish)], device=self.device)
        dist.all_reduce(wishes)
        return bool(wishes > 0)

    def from_first(self, value: float) -> float:
        """The value of the first process."""
        if self.share.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.share.world > 1:
            dist.barrier()

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over all processes, name by name."""
        if self.share.world == 1:
            return values
        shared = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return dict(zip(values, (shared / self.share.world).tolist(), strict=True))


@contextlib.contextmanager
def workers(name: torch.device | str) -> Iterator[Workers]:
    """Join the other processes, if there are any, for the time of the run.

    Args:
        name: The device; plain `cuda` is this process's own GPU under `torchrun`.

    Raises:
        InputError: If the variables of `torchrun` are missing or contradict each other.
    """
    share, device = share_of(), torch.device(local_device(str(name)))
    if share.world == 1:
        yield Workers(share, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except ValueError as error:
        raise InputError(
            f"WORLD_SIZE is {share.world}, but the processes cannot meet ({error}): start them "
            "with torchrun, or unset WORLD_SIZE."
        ) from error
    try:
        yield Workers(share, device)
    finally:
        dist.destroy_process_group()
