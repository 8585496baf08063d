"""What is installed and what is not, for people, with what to do about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass

from slicer.i18n import tr as _

from DRDMLib.corepath import coreFolder
from DRDMLib.packages import (
    IMPORT_NAMES,
    OF_SLICER,
    Package,
    hasExtension,
    installedVersion,
    isSatisfied,
    requiredPackages,
)
from DRDMLib.workerprocess import childEnvironment, interpreter

_PROBE_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """A line of the check.

    Attributes:
        good: Whether all is well.
        text: What was found, and what to do.
    """

    good: bool
    text: str


def check(deep=False):
    """What is well and what is not, for people.

    Args:
        deep: Also import the packages in a process of their own, which takes seconds: a broken
            installation shows there only.

    Returns:
        Findings, in the order in which one would cure them.
    """
    findings = [_checkPython(), _checkCore()]
    findings += [_checkPackage(each) for each in requiredPackages()]
    if not all(each.good for each in findings):
        findings.append(_checkExtension())
    elif deep:
        findings.append(_checkImports())
    return findings


def checkText(findings):
    """The findings as a text."""
    return "\n".join(f"{_('ok') if each.good else _('TO DO')}: {each.text}" for each in findings)


def _checkPython():
    """The interpreter of the computing process."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 10) and shutil.which(interpreter()) is not None
    text = _("Python {version}, computing with {path}").format(version=version, path=interpreter())
    return Finding(good, text if good else text + _(": update 3D Slicer to 5.10 or later."))


def _checkCore():
    """The core."""
    try:
        return Finding(True, _("DRDMCore in {folder}").format(folder=coreFolder()))
    except RuntimeError as error:
        return Finding(False, str(error))


def _checkPackage(package):
    """A package."""
    version = installedVersion(package.name)
    if isSatisfied(Package(package.name, package.floor, version)):
        return Finding(True, f"{package.name} {version or _('(version unknown)')}")
    state = (
        _("is missing") if version is None else _("{version} is too old").format(version=version)
    )
    if package.name in OF_SLICER:
        cure = _("update 3D Slicer to 5.10 or later")
    else:
        cure = _("install it here, or from a folder of wheels")
    text = _("{name} {state}, {requirement} is needed: {cure}.")
    return Finding(
        False,
        text.format(name=package.name, state=state, requirement=package.requirement, cure=cure),
    )


def _checkExtension():
    """The extension that installs torch."""
    if hasExtension():
        return Finding(True, _("extension PyTorch"))
    return Finding(
        False,
        _(
            "The extension PyTorch is missing, which installs torch: get it in the Extensions "
            "Manager and start Slicer again."
        ),
    )


def _checkImports():
    """Whether everything can be imported together, in a process of its own."""
    names = [IMPORT_NAMES.get(each.name, each.name) for each in requiredPackages()]
    options = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
    try:
        done = subprocess.run(
            [interpreter(), "-c", f"import {', '.join(names)}"],
            env=childEnvironment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
            **options,
        )
        reason = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(error)
    if not reason:
        return Finding(True, _("all packages can be loaded"))
    text = _(
        "The packages are there but cannot be loaded ({reason}): uninstall PyTorch with the module "
        "PyTorch Utils, start Slicer again, and install it here."
    )
    return Finding(False, text.format(reason=reason))
