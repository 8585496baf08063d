"""The widgets of CTK that scripted modules use."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property

from .ctk_folding import ctkCollapsibleButton, ctkCollapsibleGroupBox, kept
from .ctk_paths import ctkPathLineEdit
from .ctk_values import ctkRangeWidget, ctkSliderWidget
from .qt_module import StandInModule


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box that shows a hint while nothing is selected."""

    stand_in = True

    def _set_default(self, text: str) -> None:
        self.setPlaceholderText(text)

    defaultText = Property(str, lambda self: self.placeholderText, _set_default)
    forceDefault = kept(bool, "forceDefault", False)


class ctkMessageBox(QtWidgets.QMessageBox):
    """A message with "don't show again"; that box is not made here."""

    stand_in = True
    dontShowAgainVisible = kept(bool, "dontShowAgainVisible", False)
    dontShowAgain = kept(bool, "dontShowAgain", False)
    dontShowAgainSettingsKey = kept(str, "dontShowAgainSettingsKey", "")


class _NotMade(QtWidgets.QWidget):
    """A class that Slicer's own files name; nothing can be made of it."""

    def __init__(self, *arguments: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} is not in Testing/Harness: write it there to use it."
        )


NOT_MADE = (
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkColorPickerButton",
    "ctkDirectoryButton",
    "ctkDoubleRangeSlider",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
)
WIDGETS = (
    ctkCollapsibleButton,
    ctkCollapsibleGroupBox,
    ctkComboBox,
    ctkMessageBox,
    ctkPathLineEdit,
    ctkRangeWidget,
    ctkSliderWidget,
)


def not_made(name: str) -> type:
    """A class of that name that cannot be instantiated."""
    return type(name, (_NotMade,), {})


def make_ctk() -> StandInModule:
    """The module `ctk`."""
    module = StandInModule("ctk", "CTK as Slicer's Python sees it (a stand-in).")
    for kind in WIDGETS:
        setattr(module, kind.__name__, kind)
    for name in NOT_MADE:
        setattr(module, name, not_made(name))
    return module
