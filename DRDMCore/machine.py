"""What the machine has."""

from __future__ import annotations

import os


def bytes_of_memory() -> int | None:
    """Memory of the machine, bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
