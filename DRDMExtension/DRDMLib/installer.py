"""Installs the Python packages that computing needs, after asking once.

Nothing happens before the user agrees, and packages that come with Slicer are never replaced.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import tempfile
import threading
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from DRDMLib.packages import (
    OF_SLICER,
    TORCH,
    hasExtension,
    installedVersion,
    missingPackages,
)
from DRDMLib.selfcheck import check, checkText

__all__ = ["InstallProblem", "check", "checkText", "describe", "install", "missingPackages"]

_SIZES = {"Pillow": "7 MB", "PyYAML": "1 MB", "safetensors": "1 MB", "tqdm": "0.1 MB"}
_DONE, _DECLINED, _RESTART = "done", "declined", "restart"


class InstallProblem(RuntimeError):
    """The packages cannot be installed; the message is for the user."""


def describe(missing=None, wheels=None):
    """The text of the one dialog before an installation: what, how large, from where.

    Args:
        missing: Packages, as `missingPackages` gives them.
        wheels: Folder of wheels that they are taken from, or `None`.
    """
    missing = missingPackages() if missing is None else missing
    if not missing:
        return _("Everything that DRDM needs is installed.")
    lines = [_("DRDM computes with Python packages that 3D Slicer does not have:"), ""]
    lines += [f"- {_line(each, wheels)}" for each in missing]
    lines.append("")
    if wheels is not None:
        lines.append(
            _("They are taken from {folder}; nothing is downloaded.").format(folder=wheels)
        )
    elif any(each.name == TORCH for each in missing):
        lines.append(
            _(
                "PyTorch is chosen for this computer and downloaded by the extension PyTorch, the "
                "rest comes from the Python Package Index. On a slow line this can take an hour; "
                "the disk needs up to 7 GB for PyTorch with a GPU, 1 GB without."
            )
        )
    else:
        lines.append(_("They are downloaded from the Python Package Index."))
    lines.append(
        _("They are added to Slicer's Python; nothing else that it has is replaced. Go on?")
    )
    return "\n".join(lines)


def install(confirm=None, wheels=None):
    """Install what is missing, after asking once.

    Args:
        confirm: Asked with a text, answers yes or no; a dialog of Slicer by default.
        wheels: Folder of wheels, for computers without a network: nothing is downloaded then.

    Returns:
        `done`, `declined`, or `restart` where Slicer has to be started again first.

    Raises:
        InstallProblem: If it fails; the message says what to do.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InstallProblem(_("Packages must be installed on the main thread."))
    confirm = confirm or slicer.util.confirmOkCancelDisplay
    missing = missingPackages()
    if not missing:
        return _DONE
    _requireSlicersOwn(missing)
    if wheels is not None:
        _requireWheels(wheels)
    if not confirm(describe(missing, wheels)):
        return _DECLINED
    torch = [each for each in missing if each.name == TORCH]
    if wheels is not None:
        _pipFromFolder(missing, Path(wheels))
    else:
        _pip([each for each in missing if each not in torch])
        if torch and not _installTorch(torch[0], confirm):
            return _RESTART
    left = missingPackages()
    if left:
        names = ", ".join(each.requirement for each in left)
        text = _("{names} could not be installed: the messages in the Python console say why.")
        raise InstallProblem(text.format(names=names))
    return _DONE


def _line(package, wheels):
    """A package in a line of the dialog."""
    if package.name == TORCH:
        size = _("PyTorch, 200 MB to 3 GB, smallest without a GPU")
    else:
        size = _("about {size}").format(size=_SIZES.get(package.name, "10 MB"))
    there = _("; there is {version}").format(version=package.installed) if package.installed else ""
    return f"{package.requirement} ({size}{there})" if wheels is None else package.requirement


def _requireSlicersOwn(missing):
    """Refuse where Slicer's own packages are too old: they are not ours to replace."""
    wrong = [each for each in missing if each.name in OF_SLICER]
    if wrong:
        names = ", ".join(
            f"{each.requirement} ({each.installed or _('missing')})" for each in wrong
        )
        text = _(
            "3D Slicer must bring {names}, which must not be replaced inside Slicer: update 3D "
            "Slicer to 5.10 or later."
        )
        raise InstallProblem(text.format(names=names))


def _requireWheels(wheels):
    """Refuse a folder without wheels."""
    if not any(Path(wheels).glob("*.whl")):
        text = _(
            "{folder} must hold the wheels (.whl files) of the packages: choose another folder."
        )
        raise InstallProblem(text.format(folder=wheels))


def _pip(packages):
    """Install from the network as this Slicer does it."""
    if not packages:
        return
    names = [each.requirement for each in packages]
    packaging = _packagingOfSlicer()
    with _constraints() as constraints, _readable(names):
        if packaging is not None:
            packaging.pip_ensure(
                names, constraints=constraints, prompt_install=False, requester="DRDM"
            )
        else:
            slicer.util.pip_install(["--constraint", str(constraints), *names])


def _pipFromFolder(packages, folder):
    """Install from wheels; each argument stands by itself, so that the path may have spaces."""
    names = [each.requirement for each in packages]
    with _constraints() as constraints, _readable(names):
        slicer.util.pip_install(
            ["--no-index", "--find-links", str(folder), "--constraint", str(constraints), *names]
        )


def _packagingOfSlicer():
    """`slicer.packaging` of 5.12 and later, else `None`."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


@contextlib.contextmanager
def _constraints():
    """A file that keeps pip from replacing what must stay as it is."""
    new = {each.name for each in missingPackages()}
    kept = {name: installedVersion(name) for name in {*OF_SLICER, TORCH} - new}
    lines = "".join(f"{name}=={version}\n" for name, version in kept.items() if version)
    with tempfile.TemporaryDirectory(prefix="drdm_") as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text(lines, encoding="utf-8")
        yield path


@contextlib.contextmanager
def _readable(names):
    """Turn a failure of pip into a sentence."""
    try:
        yield
    except (subprocess.CalledProcessError, RuntimeError) as error:
        text = _(
            "{names} could not be installed ({reason}): see the messages in the Python console, "
            "check the network and the space on the disk, and try again."
        )
        raise InstallProblem(text.format(names=", ".join(names), reason=error)) from error


def _installTorch(package, confirm):
    """Install torch by the extension PyTorch; whether that was possible without a restart.

    The extension imports torch into Slicer when it has installed it; we never do.
    """
    try:
        utils = importlib.import_module("PyTorchUtils")
    except ImportError:
        _offerExtension(confirm)
        return False
    with _readable([package.requirement]):
        done = utils.PyTorchUtilsLogic().installTorch(
            askConfirmation=False, torchVersionRequirement=f">={package.floor}"
        )
    if done is None:
        raise InstallProblem(
            _("PyTorch was not installed: see the messages of the extension PyTorch.")
        )
    return True


def _offerExtension(confirm):
    """Install the extension PyTorch, if the user agrees.

    Raises:
        InstallProblem: If it is declined or fails, with what to do by hand.
    """
    byHand = _(
        "PyTorch comes with the extension PyTorch: install it in the Extensions Manager, start "
        "Slicer again, and try again."
    )
    if hasExtension():  # installed, but not loaded before the next start
        return
    question = _("{how}\n\nShall DRDM install the extension PyTorch now?").format(how=byHand)
    if not confirm(question):
        raise InstallProblem(byHand)
    manager = slicer.app.extensionsManagerModel()
    manager.interactive = False  # we have asked
    if not manager.installExtensionFromServer("PyTorch", False):  # False: no restart by itself
        raise InstallProblem(byHand)
