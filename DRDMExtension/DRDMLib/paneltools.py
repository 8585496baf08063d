"""Small helps for the panels."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer


class StatusLine:
    """A label that says what hinders, else what was said last; hidden without a text."""

    def __init__(self, label):
        """Take over a label."""
        self._label = label
        self._message = self._reason = ""

    def say(self, text):
        """Show a sentence, unless something hinders."""
        self._message = text
        self._show()

    def showReason(self, reason):
        """Show what hinders; nothing does if it is empty."""
        self._reason = reason
        self._show()

    def _show(self):
        text = self._reason or self._message
        self._label.setText(text)
        self._label.setVisible(bool(text))


def explain(widget, reason, tooltip):
    """Enable a widget, or disable it and say why in its tooltip."""
    widget.setEnabled(not reason)
    widget.setToolTip(reason or tooltip)


def fillSelector(selector, items, data=None):
    """Put `(text, data, tooltip)` into a combo box and choose the item of `data`, if it is there.

    Nothing is told while it is filled: the choice is the parameter node's.
    """
    blocked = selector.blockSignals(True)
    selector.clear()
    for position, (text, value, tooltip) in enumerate(items):
        selector.addItem(text, value)
        selector.setItemData(position, tooltip, qt.Qt.ToolTipRole)
    selector.setCurrentIndex(max(selector.findData(data), 0))
    selector.blockSignals(blocked)


def setQuietly(widget, value):
    """Give a slider or spin box a value without telling."""
    if widget.value != value:
        blocked = widget.blockSignals(True)
        widget.setValue(value)
        widget.blockSignals(blocked)


def setChecked(button, checked):
    """Check a button or box without telling."""
    if button.checked != checked:
        blocked = button.blockSignals(True)
        button.setChecked(checked)
        button.blockSignals(blocked)


def askForFile(title, pattern):
    """A file that the user chooses, or `None`."""
    return _path(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", pattern))


def askForFolder(title):
    """A folder that the user chooses, or `None`."""
    return _path(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title))


def _path(answer):
    """What a file dialog answered, in either of Qt's ways for Python."""
    text = answer[0] if isinstance(answer, tuple) else answer
    return Path(text) if text else None
