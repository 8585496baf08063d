"""Sliders of CTK that show their numbers."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property, Qt, Signal, Slot

STEPS = 1000


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show the same number."""

    stand_in = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, STEPS)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._tracking = True
        self._moving = False
        self._page_step = 10.0
        self._box.valueChanged.connect(self._box_changed)
        self._slider.valueChanged.connect(self._slider_changed)

    def _box_changed(self, value: float) -> None:
        self._moving = True
        span = self.maximum - self.minimum
        self._slider.setValue(round((value - self.minimum) / span * STEPS) if span else 0)
        self._moving = False
        self.valueChanged.emit(value)

    def _slider_changed(self, position: int) -> None:
        if not self._moving:
            value = self.minimum + position / STEPS * (self.maximum - self.minimum)
            self.valueIsChanging.emit(value)
            self._box.setValue(value)

    @Slot(float)
    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._box.setRange(minimum, maximum)
        self._box_changed_quietly()

    def _box_changed_quietly(self) -> None:
        """The slider's place follows the limits."""
        self.blockSignals(True)
        self._box_changed(self._box.value)
        self.blockSignals(False)

    def _set_minimum(self, value: float) -> None:
        self.setRange(value, max(value, self.maximum))

    def _set_maximum(self, value: float) -> None:
        self.setRange(min(value, self.minimum), value)

    def slider(self) -> QtWidgets.QSlider:
        return self._slider

    def spinBox(self) -> QtWidgets.QDoubleSpinBox:
        return self._box

    def setMinimum(self, value: float) -> None:
        self._set_minimum(value)

    def setMaximum(self, value: float) -> None:
        self._set_maximum(value)

    def setDecimals(self, value: int) -> None:
        self._box.setDecimals(value)

    value = Property(float, lambda self: self._box.value, setValue)
    minimum = Property(float, lambda self: self._box.minimum, _set_minimum)
    maximum = Property(float, lambda self: self._box.maximum, _set_maximum)
    singleStep = Property(
        float, lambda self: self._box.singleStep, lambda self, value: self._box.setSingleStep(value)
    )
    pageStep = Property(
        float, lambda self: self._page_step, lambda self, value: setattr(self, "_page_step", value)
    )
    decimals = Property(
        int, lambda self: self._box.decimals, lambda self, value: self._box.setDecimals(value)
    )
    suffix = Property(
        str, lambda self: self._box.suffix, lambda self, value: self._box.setSuffix(value)
    )
    prefix = Property(
        str, lambda self: self._box.prefix, lambda self, value: self._box.setPrefix(value)
    )
    spinBoxVisible = Property(
        bool,
        lambda self: not self._box.isHidden(),
        lambda self, value: self._box.setVisible(value),
    )
    tracking = Property(
        bool, lambda self: self._tracking, lambda self, value: self._set_tracking(value)
    )

    def _set_tracking(self, value: bool) -> None:
        self._tracking = value
        self._slider.setTracking(value)
        self._box.setKeyboardTracking(value)


class ctkRangeWidget(QtWidgets.QWidget):
    """Two spin boxes: the ends of a range (the slider between them is not made here)."""

    stand_in = True
    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._ends = (QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for each in self._ends:
            layout.addWidget(each)
            each.valueChanged.connect(self._changed)
        self.setRange(0.0, 99.0)

    def _changed(self, value: float) -> None:
        low, high = (each.value for each in self._ends)
        if low > high:  # the end that was moved takes the other one along
            self._ends[1 if value == low else 0].setValue(value)
            return
        self.valuesChanged.emit(low, high)

    def setRange(self, minimum: float, maximum: float) -> None:
        for each in self._ends:
            each.setRange(minimum, maximum)

    def setValues(self, minimum: float, maximum: float) -> None:
        if (minimum, maximum) == tuple(each.value for each in self._ends):
            return
        for each, value in zip(self._ends, (minimum, maximum), strict=True):
            each.blockSignals(True)
            each.setValue(value)
            each.blockSignals(False)
        self.valuesChanged.emit(*(each.value for each in self._ends))

    def _set_both(self, name: str, value: Any) -> None:
        for each in self._ends:
            each.setProperty(name, value)

    minimum = Property(
        float,
        lambda self: self._ends[0].minimum,
        lambda self, value: self.setRange(value, self._ends[0].maximum),
    )
    maximum = Property(
        float,
        lambda self: self._ends[0].maximum,
        lambda self, value: self.setRange(self._ends[0].minimum, value),
    )
    minimumValue = Property(
        float, lambda self: self._ends[0].value, lambda self, value: self._ends[0].setValue(value)
    )
    maximumValue = Property(
        float, lambda self: self._ends[1].value, lambda self, value: self._ends[1].setValue(value)
    )
    singleStep = Property(
        float,
        lambda self: self._ends[0].singleStep,
        lambda self, value: self._set_both("singleStep", value),
    )
    decimals = Property(
        int,
        lambda self: self._ends[0].decimals,
        lambda self, value: self._set_both("decimals", value),
    )
