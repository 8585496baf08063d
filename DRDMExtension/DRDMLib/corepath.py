"""Where DRDMCore lies: beside the module when built or installed, above it in a source checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_NAME = "DRDMCore"


def coreFolder():
    """The folder above DRDMCore, absolute.

    Raises:
        RuntimeError: If DRDMCore is nowhere to be found.
    """
    # Beside DRDMLib (installed, build tree), else beside DRDMExtension (checkout): the core that
    # belongs to this module goes before one that is installed elsewhere.
    for folder in Path(__file__).resolve().parents[1:3]:
        if (folder / _NAME / "__init__.py").is_file():
            return folder
    spec = importlib.util.find_spec(_NAME)  # does not import it
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "DRDMCore must lie beside DRDMExtension or be installed, but is not found: install the "
            "extension DRDM again, or take a whole checkout of it."
        )
    return Path(spec.origin).resolve().parents[1]


def addCoreToPath():
    """Make `import DRDMCore` work, with the core that belongs to this module."""
    folder = coreFolder()
    spec = importlib.util.find_spec(_NAME)
    if spec is None or spec.origin is None or Path(spec.origin).resolve().parents[1] != folder:
        sys.path.insert(0, str(folder))
