"""Dialogs: shown to the test instead of a user."""

from __future__ import annotations

import pytest

from Testing.Harness.errors import UnansweredDialog


def test_a_message_is_recorded(harness):
    import slicer

    slicer.util.errorDisplay("It failed.", windowTitle="DRDM", detailedText="trace")
    (dialog,) = harness.dialogs.shown
    assert (dialog.text, dialog.icon, dialog.details) == ("It failed.", "critical", "trace")
    assert dialog.title.strip() == "DRDM" and dialog.buttons == ("Ok",)


@pytest.mark.parametrize(("button", "result"), [("Yes", True), ("No", False)])
def test_a_question_gets_the_answer_that_fits(button, result, harness):
    import slicer

    harness.dialogs.answer("Cancel", contains="another")
    harness.dialogs.answer(button, contains="Remove")
    assert slicer.util.confirmYesNoDisplay("Remove all?") is result
    assert harness.dialogs.unused() == [("another", "Cancel")]


def test_a_question_without_an_answer_fails(harness):
    import slicer

    with pytest.raises(UnansweredDialog, match="Remove all"):
        slicer.util.confirmYesNoDisplay("Remove all?")
    assert isinstance(harness.exceptions.take()[0], UnansweredDialog)  # also if it was caught
    harness.dialogs.answer("Perhaps")
    with pytest.raises(UnansweredDialog, match="no button"):
        slicer.util.confirmOkCancelDisplay("Go on?")


def test_testing_mode_shows_nothing(harness):
    import slicer

    harness.setTesting(True)
    slicer.util.infoDisplay("hello")
    assert slicer.util.confirmYesNoDisplay("Remove?") is not None
    assert not harness.dialogs.shown and slicer.app.testingEnabled()


def test_errors_are_shown_and_raised_again(harness):
    import slicer

    with pytest.raises(ValueError), slicer.util.tryWithErrorDisplay("No.", waitCursor=True):
        raise ValueError("because")
    assert harness.dialogs.texts == ["No.\n\nbecause"]


def test_boxes_of_qt(harness):
    import qt

    harness.dialogs.answer("Save")
    box = qt.QMessageBox()
    box.text = "Save it?"
    box.standardButtons = qt.QMessageBox.Save | qt.QMessageBox.Discard
    own = box.addButton("Other", qt.QMessageBox.ActionRole)
    assert box.exec_() == qt.QMessageBox.Save
    harness.dialogs.answer("Other")
    box.exec_()
    assert box.clickedButton() is own
    assert harness.dialogs.shown[0].buttons == ("Save", "Discard", "Other")
    harness.dialogs.answer("No")
    assert qt.QMessageBox.question(None, "DRDM", "Really?") == qt.QMessageBox.No


def test_files(harness, tmp_path):
    import qt

    harness.dialogs.answer(tmp_path, contains="folder")
    assert qt.QFileDialog.getExistingDirectory(None, "Choose a folder") == str(tmp_path)
    harness.dialogs.answer(["a", "b"])
    assert qt.QFileDialog.getOpenFileNames(None, "Files") == ["a", "b"]
    with pytest.raises(UnansweredDialog):
        qt.QFileDialog.getOpenFileName(None, "Model")
    harness.exceptions.take()
    with pytest.raises(AttributeError, match="QInputDialog"):
        qt.QInputDialog.getText(None, "Name", "Name:")


def test_menus_and_dialogs(harness):
    import qt

    done = []
    menu = qt.QMenu()
    menu.addAction("Add").triggered.connect(lambda *ignored: done.append("added"))
    menu.addAction("Never").enabled = False
    harness.dialogs.answer("Add")
    assert menu.exec_(qt.QPoint(0, 0)).text == "Add" and done == ["added"]
    harness.dialogs.answer("Never")
    with pytest.raises(UnansweredDialog, match="no enabled action"):
        menu.exec_(qt.QPoint(0, 0))
    harness.exceptions.take()
    dialog = qt.QDialog()
    harness.dialogs.answer(lambda shown: qt.QDialog.Accepted if shown.visible else 0)
    assert dialog.exec_() == qt.QDialog.Accepted
