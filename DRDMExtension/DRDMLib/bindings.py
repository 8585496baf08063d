"""Widgets and parameters that `connectGui` does not join: combo boxes, radio buttons, paths."""

from __future__ import annotations


class Bindings:
    """Keeps widgets and the parameter node equal, in both directions."""

    def __init__(self):
        """Begin without any."""
        self.parameters = None
        self._writers = []
        self._writing = False

    def bind(self, name, signal, read, write):
        """Join a parameter to a widget.

        Args:
            name: Name of the parameter.
            signal: Emitted when the user changed the widget.
            read: The widget's value; `None` where it has none to offer.
            write: Shows a value in the widget.
        """
        self._writers.append((name, read, write))
        signal.connect(lambda *ignored: self._store(name, read))

    def bindSelector(self, name, selector):
        """Join a parameter to the data of a combo box's items."""

        def read():
            return selector.itemData(selector.currentIndex)

        def write(value):
            index = selector.findData(value)
            if index >= 0:
                selector.setCurrentIndex(index)

        self.bind(name, selector.currentIndexChanged, read, write)

    def bindPath(self, name, edit):
        """Join a parameter to a path editor."""

        def write(value):
            edit.currentPath = value

        self.bind(name, edit.currentPathChanged, lambda: edit.currentPath, write)

    def show(self):
        """Bring the parameters' values to the widgets."""
        if self.parameters is None or self._writing:
            return
        self._writing = True
        try:
            for name, read, write in self._writers:
                value = getattr(self.parameters, name)
                if read() != value:
                    write(value)
        finally:
            self._writing = False

    def _store(self, name, read):
        """Bring a widget's value to the parameters."""
        if self.parameters is None or self._writing:
            return
        value = read()
        if value is not None and value != getattr(self.parameters, name):
            setattr(self.parameters, name, value)
