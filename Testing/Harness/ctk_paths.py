"""The path editor of CTK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal, Slot


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line for a path, with a button to browse."""

    stand_in = True
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    # As in CTK: the values of QDir's filters.
    Dirs, Files, Drives, NoSymLinks = 0x001, 0x002, 0x004, 0x008
    Readable, Writable, Executable, Hidden = 0x010, 0x020, 0x040, 0x100

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._filters = self.Files | self.Readable
        self._label, self._setting_key = "", ""
        self._name_filters: list[str] = []
        self._minimum_length = 20
        self._box = QtWidgets.QComboBox(self)
        self._box.setEditable(True)
        self._box.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        policy = QtWidgets.QSizePolicy.Policy
        self._box.setSizePolicy(policy.Expanding, policy.Fixed)
        self._button = QtWidgets.QToolButton(self)
        self._button.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        layout.addWidget(self._button)
        self._box.editTextChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    @Slot(str)
    def setCurrentPath(self, path: str) -> None:
        if not isinstance(path, str):
            raise TypeError(f"currentPath must be text, not {path!r}")
        self._box.setEditText(path)

    @Slot()
    def browse(self) -> None:
        """Ask for a file or folder, as the filters say."""
        dialog = QtWidgets.QFileDialog
        if not self._filters & self.Files:
            path = dialog.getExistingDirectory(self, self._label)
        elif self._filters & self.Writable:
            path = dialog.getSaveFileName(self, self._label)
        else:
            path = dialog.getOpenFileName(self, self._label)
        if path:
            self.setCurrentPath(path)  # type: ignore[arg-type]

    @Slot()
    def addCurrentPathToHistory(self) -> None:
        path = self._box.currentText
        if path and self._box.findText(path) < 0:
            self._box.insertItem(0, path)
            self._box.setEditText(path)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._box

    def setFilters(self, filters: int) -> None:
        self._filters = int(getattr(filters, "value", filters))

    def _keep(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    currentPath = Property(str, lambda self: self._box.currentText, setCurrentPath)
    filters = Property(int, lambda self: self._filters, setFilters)
    label = Property(str, lambda self: self._label, lambda self, v: self._keep("_label", v))
    settingKey = Property(
        str, lambda self: self._setting_key, lambda self, v: self._keep("_setting_key", v)
    )
    nameFilters = Property(
        "QStringList",
        lambda self: tuple(self._name_filters),
        lambda self, v: self._keep("_name_filters", list(v)),
    )
    minimumContentsLength = Property(
        int,
        lambda self: self._box.minimumContentsLength,
        lambda self, v: self._box.setMinimumContentsLength(v),
    )
    showBrowseButton = Property(
        bool, lambda self: not self._button.isHidden(), lambda self, v: self._button.setVisible(v)
    )
    sizeAdjustPolicy = Property(
        int,
        lambda self: self._box.sizeAdjustPolicy.value,
        lambda self, v: self._box.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy(getattr(v, "value", v))
        ),
    )

    def isValid(self) -> bool:
        """Whether the path exists and is of the wanted kind."""
        path = Path(self._box.currentText)
        if not self._box.currentText:
            return False
        wanted = (self._filters & self.Dirs and path.is_dir()) or (
            self._filters & self.Files and path.is_file()
        )
        return bool(wanted)

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(80, super().minimumSizeHint().height())
