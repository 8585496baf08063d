"""Dialogs: recorded, and answered by the test instead of a user."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .errors import ExceptionLog, NotInHarness, UnansweredDialog

Button = QtWidgets.QMessageBox.StandardButton

# Whatever the user clicks, nothing is decided.
_NO_CHOICE = (Button.Ok, Button.Close, Button.NoButton)


@dataclasses.dataclass
class Dialog:
    """What was shown.

    Attributes:
        kind: `message`, `dialog`, `menu`, or the name of a function of QFileDialog.
        text: The text, or the title where there is no other.
        title: Title of the window.
        details: Text behind "Show details".
        icon: `information`, `warning`, `critical`, `question` or empty.
        buttons: Names of the buttons.
        answer: What the test answered.
    """

    kind: str
    text: str
    title: str = ""
    details: str = ""
    icon: str = ""
    buttons: tuple[str, ...] = ()
    answer: Any = None


class Dialogs:
    """All dialogs of the application: what was shown, and the answers to come."""

    def __init__(self, exceptions: ExceptionLog) -> None:
        self.shown: list[Dialog] = []
        self._answers: list[tuple[str, Any]] = []
        self._exceptions = exceptions

    @property
    def texts(self) -> list[str]:
        """The texts that were shown."""
        return [each.text for each in self.shown]

    def answer(self, value: Any, contains: str = "") -> None:
        """Keep an answer for the next dialog whose text or title has `contains` in it.

        Args:
            value: A button name (`"Ok"`, `"No"`) for a message; a path, a list of paths, or ""
                (cancelled) for a file dialog; text of an action for a menu; for a QDialog a
                function that gets it and returns its result code.
            contains: Part of the text or title.
        """
        self._answers.append((contains, value))

    def clear(self) -> None:
        """Forget everything."""
        self.shown.clear()
        self._answers.clear()

    def unused(self) -> list[tuple[str, Any]]:
        """Answers that no dialog asked for."""
        return list(self._answers)

    def ask(self, dialog: Dialog, otherwise: Any = None) -> Any:
        """Record a dialog; its answer, or `otherwise` if there is one and none was given."""
        self.shown.append(dialog)
        for index, (contains, value) in enumerate(self._answers):
            if contains in dialog.text or contains in dialog.title:
                dialog.answer = self._answers.pop(index)[1]
                return value
        if otherwise is None:
            error = UnansweredDialog(f"no answer is ready for {dialog}")
            self._exceptions.add(error)
            raise error
        dialog.answer = otherwise
        return otherwise

    def install(self) -> None:
        """Take the place of everything in Qt that waits for a user."""
        for kind in (QtWidgets.QDialog, QtWidgets.QMessageBox):
            kind.exec = kind.exec_ = self._execute()  # type: ignore
        menu = QtWidgets.QMenu
        menu.exec = menu.exec_ = self._execute_menu()  # type: ignore
        for name in ("information", "warning", "critical", "question"):
            setattr(QtWidgets.QMessageBox, name, staticmethod(self._message(name)))
        for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
            setattr(QtWidgets.QFileDialog, name, staticmethod(self._files(name)))
        multiple = staticmethod(self._files("getOpenFileNames"))
        QtWidgets.QFileDialog.getOpenFileNames = multiple  # type: ignore[assignment]
        for name in ("getText", "getInt", "getDouble", "getItem", "getMultiLineText"):
            setattr(QtWidgets.QInputDialog, name, staticmethod(_refuse("QInputDialog", name)))

    def _execute(self) -> Callable[[QtWidgets.QDialog], Any]:
        def execute(dialog: QtWidgets.QDialog) -> Any:
            if isinstance(dialog, QtWidgets.QMessageBox):
                return self._run_message(dialog)
            dialog.show()
            try:
                value = self.ask(Dialog("dialog", dialog.windowTitle, dialog.windowTitle))
                return value(dialog) if callable(value) else value
            finally:
                dialog.hide()

        return execute

    def _run_message(self, box: Any) -> Any:
        icon = box.icon.name.lower() if box.icon.value else ""
        return self._show_message(
            Dialog("message", box.text, box.windowTitle, box.detailedText, icon),
            box.standardButtons,
            {
                button.text.replace("&", ""): button
                for button in box.buttons()
                if _is_own(box, button)
            },
            box,
        )

    def _show_message(self, dialog: Dialog, standard: Any, own: dict[str, Any], box: Any) -> Any:
        names = {each.name: each for each in Button if each.value and each in standard}
        names = names or ({} if own else {"Ok": Button.Ok})
        dialog.buttons = (*names, *(each for each in own if each not in names))
        only = len(dialog.buttons) == 1 and all(each in _NO_CHOICE for each in names.values())
        value = self.ask(dialog, dialog.buttons[0] if only else None)
        if value not in dialog.buttons:
            raise UnansweredDialog(f"'{value}' is no button of {dialog}")
        if box is not None and value in own:
            own[value].click()
        return names.get(value, value)

    def _message(self, icon: str) -> Callable[..., Any]:
        default = Button.Yes | Button.No if icon == "question" else Button.Ok

        def show(parent: Any, title: str, text: str, buttons: Any = default, *more: Any) -> Any:
            return self._show_message(Dialog("message", text, title, icon=icon), buttons, {}, None)

        return show

    def _files(self, name: str) -> Callable[..., Any]:
        def choose(parent: Any = None, caption: str = "", *more: Any) -> Any:
            value = self.ask(Dialog(name, caption, caption))
            # PythonQt gives the paths alone, PySide6 a pair with the filter.
            return [str(each) for each in value] if name.endswith("Names") else str(value)

        return choose

    def _execute_menu(self) -> Callable[..., QtGui.QAction | None]:
        def execute(menu: QtWidgets.QMenu, *position: QtCore.QPoint) -> QtGui.QAction | None:
            menu.aboutToShow.emit()
            texts = [each.text for each in menu.actions() if not each.isSeparator()]
            value = self.ask(Dialog("menu", ", ".join(texts), menu.title, buttons=tuple(texts)))
            chosen = [each for each in menu.actions() if each.text == value]
            if value and not (chosen and chosen[0].enabled):
                raise UnansweredDialog(f"'{value}' is no enabled action of the menu: {texts}")
            for each in chosen:
                each.trigger()
            return chosen[0] if chosen else None

        return execute


def _is_own(box: Any, button: Any) -> bool:
    """Whether a button was added by hand; "Show Details..." is Qt's."""
    standard = box.standardButton(button) != Button.NoButton
    return not standard and not button.text.endswith("Details...")


def _refuse(owner: str, name: str) -> Callable[..., None]:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise NotInHarness(owner, name)

    return refuse
