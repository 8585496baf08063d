"""Sections of CTK that can be folded."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal, Slot

HEADER = 24
UNLIMITED = 16777215  # QWIDGETSIZE_MAX
WANTED = "visibilityToParent"


def kept(kind: Any, name: str, start: Any) -> Any:
    """A property that is only kept: the look follows it in Slicer alone."""
    key = f"_{name}"
    return Property(
        kind,
        lambda self: self.__dict__.get(key, start),
        lambda self, value: self.__dict__.__setitem__(key, value),
    )


class Folding:
    """Hides the contents of a folded section, also those that are shown meanwhile."""

    _forcing = False

    def fold(self, folded: bool) -> None:
        """Hide the widgets inside, or show those that ought to be visible."""
        self._forcing = True
        for each in self.children():  # type: ignore[attr-defined]
            if isinstance(each, QtWidgets.QWidget):
                each.setVisible(not folded and _wanted(each))
        self._forcing = False
        self.updateGeometry()  # type: ignore[attr-defined]

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        if event.added() and event.child().isWidgetType():
            event.child().installEventFilter(self)  # type: ignore[arg-type]
        super().childEvent(event)  # type: ignore[misc]

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        shown = event.type() == QtCore.QEvent.Type.ShowToParent
        if not self._forcing and (shown or event.type() == QtCore.QEvent.Type.HideToParent):
            child.setProperty(WANTED, shown)
            if shown and self.isCollapsed():  # type: ignore[attr-defined]
                self._forcing = True
                child.setVisible(False)  # type: ignore[attr-defined]
                self._forcing = False
        return False


def _wanted(widget: QtWidgets.QWidget) -> bool:
    """Whether a widget would be visible in an open section."""
    said = widget.property(WANTED)
    if said is None:
        explicit = widget.testAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide)
        said = not (explicit and widget.isHidden())
        widget.setProperty(WANTED, said)
    return bool(said)


class ctkCollapsibleButton(Folding, QtWidgets.QAbstractButton):
    """A section with a title; a click folds it."""

    stand_in = True
    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parents = [each for each in arguments if isinstance(each, QtWidgets.QWidget)]
        super().__init__(*parents[:1])
        self._collapsed = False
        self.text = text
        self.setContentsMargins(0, HEADER, 0, 0)
        policy = QtWidgets.QSizePolicy.Policy
        self.setSizePolicy(policy.Preferred, policy.Preferred)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda opened: self.setCollapsed(not opened))

    def isCollapsed(self) -> bool:
        return self._collapsed

    @Slot(bool)
    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        if not collapsed:
            self._collapsed = False
        self.fold(collapsed)
        self._collapsed = collapsed
        self.setMaximumHeight(HEADER if collapsed else UNLIMITED)
        self.setChecked(not collapsed)
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, isCollapsed, setCollapsed)
    flat = kept(bool, "flat", False)
    collapsedHeight = kept(int, "collapsedHeight", 10)
    contentsLineWidth = kept(int, "contentsLineWidth", 1)

    def sizeHint(self) -> QtCore.QSize:
        inner = self.layout().totalSizeHint() if self.layout() else QtCore.QSize(0, HEADER)
        width = max(inner.width(), self.fontMetrics().horizontalAdvance(self.text) + 40)
        return QtCore.QSize(width, HEADER if self._collapsed else max(inner.height(), HEADER))

    def minimumSizeHint(self) -> QtCore.QSize:
        if self._collapsed or self.layout() is None:
            return QtCore.QSize(0, HEADER)
        return self.layout().totalMinimumSize()

    def hitButton(self, point: QtCore.QPoint) -> bool:
        return point.y() < HEADER

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, HEADER)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 6, 12, 12)
        kinds = QtWidgets.QStyle.PrimitiveElement
        closed, opened = kinds.PE_IndicatorArrowRight, kinds.PE_IndicatorArrowDown
        painter.drawPrimitive(closed if self._collapsed else opened, arrow)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextShowMnemonic
        painter.drawText(option.rect.adjusted(24, 0, 0, 0), flags, self.text)


class ctkCollapsibleGroupBox(Folding, QtWidgets.QGroupBox):
    """A group whose title folds it."""

    stand_in = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._toggle)

    def _toggle(self, opened: bool) -> None:
        self.fold(not opened)
        self.setMaximumHeight(UNLIMITED if opened else HEADER)

    def isCollapsed(self) -> bool:
        return not self.isChecked()

    @Slot(bool)
    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, isCollapsed, setCollapsed)
    collapsedHeight = kept(int, "collapsedHeight", 14)
