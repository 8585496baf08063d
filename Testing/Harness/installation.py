"""Puts the stand-ins where `import` finds them."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path
from typing import Any

import slicer

from . import mrml_widgets
from .application import qSlicerApplication
from .ctk_widgets import make_ctk, not_made
from .dialogs import Dialogs
from .errors import NotInHarness
from .modules import (
    make_namespace,
    qSlicerScriptedLoadableModule,
    qSlicerScriptedLoadableModuleWidget,
)
from .packages import Packages
from .qt_module import StandInModule, make_qt
from .sample_data import make_sample_data
from .versions import Version


def _publish(name: str, module: types.ModuleType) -> None:
    sys.modules[name] = module
    if name.startswith("slicer."):
        setattr(slicer, name.removeprefix("slicer."), module)


def _from(source: types.ModuleType, name: str) -> StandInModule:
    """A module with the public names of one of ours."""
    module = StandInModule(name, source.__doc__)
    for each in source.__all__:
        setattr(module, each, getattr(source, each))
    module.__all__ = source.__all__  # type: ignore[attr-defined]
    return module


def _make_i18n() -> StandInModule:
    module = StandInModule("slicer.i18n", "Translation (a stand-in).")

    def translate(context: str, text: str) -> str:
        return str(slicer.app.translate(context, text))

    def tr(text: str) -> str:
        frame = inspect.currentframe()
        file = frame.f_back.f_code.co_filename if frame and frame.f_back else ""
        return translate(Path(file).stem, text)

    module.translate, module.tr = translate, tr  # type: ignore[attr-defined]
    return module


def install(
    app: qSlicerApplication, dialogs: Dialogs, packages: Packages, version: Version, source: Any
) -> None:
    """Make `slicer` complete, and `qt`, `ctk` and `SampleData` importable.

    Args:
        app: The application, not prepared yet.
        dialogs: Answers of the user.
        packages: Record of what is installed.
        version: The version to be.
        source: Folder of Slicer's sources, whose Python files then take the place of ours; or
            `None`.
    """
    slicer.app = app
    slicer.__getattr__ = _missing  # type: ignore[attr-defined]
    _publish("qt", make_qt(dialogs))
    _publish("ctk", make_ctk())
    for kind in mrml_widgets.WIDGETS:
        setattr(slicer, kind.__name__, kind)
    for name in mrml_widgets.NOT_MADE:
        setattr(slicer, name, not_made(name))
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    for name in ("modules", "moduleNames"):
        _publish(f"slicer.{name}", make_namespace(f"slicer.{name}"))
    app.prepare(version)
    _publish("slicer.packaging", packages.module())
    if source is None:
        _publish_ours()
    else:
        _publish_slicers(Path(source))


def _publish_ours() -> None:
    from . import parameter_node, scripted_module

    _publish("slicer.i18n", _make_i18n())
    name = "slicer.ScriptedLoadableModule"
    _publish(name, _from(scripted_module, name))
    name = "slicer.parameterNodeWrapper"
    _publish(name, _from(parameter_node, name))
    _publish("SampleData", make_sample_data())


def _publish_slicers(source: Path) -> None:
    """Import Slicer's own files; those of the wheel keep their place."""
    folder = source / "Base" / "Python" / "slicer"
    if not (folder / "ScriptedLoadableModule.py").is_file():
        raise FileNotFoundError(f"SLICER_SOURCE must be a checkout of Slicer, {source} is none.")
    slicer.__path__.append(str(folder))
    sys.path.append(str(source / "Modules" / "Scripted" / "SampleData"))


def _missing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise NotInHarness("slicer", name)
