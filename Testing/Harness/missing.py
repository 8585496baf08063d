"""What this machine lacks to run the harness."""

from __future__ import annotations

import functools
import importlib
import os

# Each is the part of the package that fails first: Qt's widgets need system libraries.
NEEDED = {
    "slicer_core": "slicer-core",
    "PySide6.QtWidgets": "PySide6-Essentials",
    "PySide6.QtUiTools": "PySide6-Essentials",
}


@functools.cache
def missing() -> str:
    """Why the harness cannot start here, in a sentence; empty where it can."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    for module, package in NEEDED.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            return (
                f"the tests of the Slicer module need the package {package}, which cannot be "
                f'imported ({error}): pip install "DRDMCore[harness]"'
            )
    return ""
