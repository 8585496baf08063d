"""What the machine has."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

SPINS = "10000"
"""About 0.4 ms. OpenMP's own 300000 are 12 ms."""


def wait_briefly() -> None:
    """Let threads that wait for each other give up the processor soon.

    OpenMP's threads wait by spinning. Where other programs use the same cores, that keeps these
    from working and every loop over threads waits for them: docs/results/benchmark-contention.md.
    Acts only before torch is imported, and where the user has not chosen otherwise.
    """
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ)
    if "torch" not in sys.modules and not chosen:
        os.environ["GOMP_SPINCOUNT"] = SPINS


def bytes_of_memory() -> int | None:
    """Memory of the machine, bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def processor() -> str:
    """Model of the processor, where the system tells, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
