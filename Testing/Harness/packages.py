"""`slicer.packaging`: what would be installed is recorded, nothing is installed."""

from __future__ import annotations

import importlib.metadata
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import InvalidRequirement, Requirement

from .qt_module import StandInModule


class Packages:
    """What a module did about Python packages.

    Attributes:
        installed: Requirements that were installed, as text.
        missing: Names of packages that `pip_check` takes for missing though they are there.
        onInstall: Called with each list of requirements; may raise what pip would.
    """

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.removed: list[str] = []
        self.missing: set[str] = set()
        self.onInstall: Callable[[list[str]], None] | None = None

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def check(self, requirement: Requirement) -> bool:
        if requirement.marker and not requirement.marker.evaluate():
            return True
        if requirement.name in self.missing:
            return False
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        return requirement.specifier.contains(version, prereleases=True)

    def install(self, requirements: Any, **options: Any) -> None:
        texts = requirements.split() if isinstance(requirements, str) else requirements
        texts = [str(each) for each in texts]
        if self.onInstall:
            self.onInstall(texts)
        self.installed += texts
        self.missing -= {_name_of(each) for each in texts}

    def module(self) -> types.ModuleType:
        """The module `slicer.packaging`."""
        module = StandInModule("slicer.packaging", "Python packages (a stand-in).")
        for function in (
            self.pip_check,
            self.pip_ensure,
            self.pip_install,
            self.pip_uninstall,
            load_requirements,
            load_pyproject_dependencies,
            isPipInstallInProgress,
        ):
            setattr(module, function.__name__, function)
        return module

    def pip_check(self, requirements: Any) -> bool:
        return all(self.check(each) for each in _requirements(requirements))

    def pip_install(
        self,
        requirements: Any,
        constraints: Any = None,
        no_deps_requirements: Any = None,
        skip_packages: Any = None,
        blocking: bool = True,
        show_progress: bool = True,
        requester: str | None = None,
        logCallback: Callable[[str], None] | None = None,
        completedCallback: Callable[[int], None] | None = None,
    ) -> None:
        self.install(requirements)
        if completedCallback and not blocking:
            completedCallback(0)

    def pip_uninstall(self, requirements: Any, **options: Any) -> None:
        self.removed += [str(each) for each in _requirements(requirements)]

    def pip_ensure(
        self,
        requirements: Any,
        constraints: Any = None,
        skip_packages: Any = None,
        prompt_install: bool = True,
        prompt_restart: bool = True,
        requester: str | None = None,
        skip_in_testing: bool = True,
        show_progress: bool = True,
    ) -> None:
        wanted = _requirements(requirements)
        missing = [str(each) for each in wanted if not self.check(each)]
        if not missing or (skip_in_testing and slicer.app.testingEnabled()):
            return
        text = f"{len(missing)} Python packages need to be installed. Continue?"
        details = "\n".join(missing)
        if prompt_install and not slicer.util.confirmOkCancelDisplay(
            text, f"{requester} - Install Python Packages", detailedText=details
        ):
            raise RuntimeError("User declined package installation")
        self.install(missing)


def _name_of(argument: str) -> str:
    """The package in an argument of pip; empty for options and their values, such as folders."""
    try:
        return Requirement(argument).name
    except InvalidRequirement:
        return ""


def _requirements(source: Any) -> list[Requirement]:
    if isinstance(source, Requirement):
        return [source]
    if isinstance(source, str):
        source = [source] if ";" in source else source.split()
    return [each if isinstance(each, Requirement) else Requirement(each) for each in source]


def load_requirements(path: Any) -> list[Requirement]:
    """The requirements of a file, without options and comments."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def load_pyproject_dependencies(path: Any) -> list[Requirement]:
    """The dependencies of a `pyproject.toml`."""
    import tomllib

    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return [Requirement(each) for each in data["project"].get("dependencies", [])]


def isPipInstallInProgress() -> bool:
    """Never here."""
    return False
