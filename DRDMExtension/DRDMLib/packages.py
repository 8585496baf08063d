"""The Python packages that computing needs, and which are there; none is imported to find out."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import slicer

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
IMPORT_NAMES = {"Pillow": "PIL", "PyYAML": "yaml"}
OF_SLICER = ("numpy", "SimpleITK")
"""Replacing these by pip has broken Slicer."""
TORCH = "torch"


@dataclass(frozen=True)
class Package:
    """A package that is missing or too old.

    Attributes:
        name: Its name.
        floor: The oldest version that will do.
        installed: The version that is there, or `None`.
    """

    name: str
    floor: str
    installed: str | None = None

    @property
    def requirement(self):
        """As pip wants it."""
        return f"{self.name}>={self.floor}"


def requiredPackages():
    """All packages with their floors, from `Resources/requirements.txt`."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").split()
    return [Package(*line.split(">=")) for line in lines]


def missingPackages():
    """Packages that are missing or too old; nothing is imported."""
    importlib.invalidate_caches()
    found = [
        Package(each.name, each.floor, installedVersion(each.name)) for each in requiredPackages()
    ]
    return [each for each in found if not isSatisfied(each)]


def installedVersion(name):
    """The installed version; empty where it is there without one, `None` where it is not."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name) or ""
    spec = importlib.util.find_spec(IMPORT_NAMES.get(name, name))
    return None if spec is None or spec.origin is None else ""


def isSatisfied(package):
    """Whether the installed version will do; one that does not say its number will."""
    if package.installed is None:
        return False
    return not package.installed or _numbers(package.installed) >= _numbers(package.floor)


def _numbers(version):
    """`2.13.0+cpu` as (2, 13, 0)."""
    return tuple(int(each) for each in re.match(r"[\d.]*", version).group().split(".") if each)


def hasExtension():
    """Whether the extension PyTorch is installed, loaded or not."""
    if importlib.util.find_spec("PyTorchUtils") is not None:
        return True
    manager = slicer.app.extensionsManagerModel()
    return manager is not None and manager.isExtensionInstalled("PyTorch")
