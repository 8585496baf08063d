"""The table of samples: a row per transform node."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from DRDMLib.wording import number

KEEP, NAME, MEAN, MOST, LEAST_JACOBIAN, FOLDED, VOLUMES, SEED = range(8)


def _titles():
    """Title and tooltip of each column."""
    return (
        (_("Keep"), _("Ticked samples are exported.")),
        (_("No."), _("Number of the sample; its name is in the tooltip.")),
        (_("Mean\nmm"), _("Mean displacement, millimetres.")),
        (_("Max\nmm"), _("Largest displacement, millimetres.")),
        (
            _("Min\ndet J"),
            _("Smallest local change of volume: 1 is none, 0.5 half, below 0 folded."),
        ),
        (_("Folds"), _("Folded voxels, counted strictly; 0 is what you want.")),
        (
            _("Volume\nchange"),
            _("Change of the segments' volumes, least to most; each is in the tooltip."),
        ),
        (_("Seed"), _("The seed makes the sample again, with the same model and settings.")),
    )


class SamplesTable:
    """Shows samples, and tells which is selected and which are kept."""

    def __init__(self, table, onSelected, onKept):
        """Take over an empty table.

        Args:
            table: A `QTableWidget`.
            onSelected: Told the node of the row that the user selected.
            onKept: Told a node and whether it is kept.
        """
        self._table = table
        self._onSelected = onSelected
        self._onKept = onKept
        self._samples = []
        self._layOut()
        table.itemSelectionChanged.connect(self._selected)
        table.itemChanged.connect(self._changed)

    @property
    def samples(self):
        """The samples, in the order of the rows."""
        return list(self._samples)

    @property
    def node(self):
        """The node of the selected row, or `None`."""
        row = self._table.currentRow()
        chosen = bool(self._table.selectedItems()) and 0 <= row < len(self._samples)
        return self._samples[row].node if chosen else None

    def show(self, samples):
        """Show these samples; the selected one stays selected."""
        node = self.node
        self._samples = list(samples)
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(self._samples))
        for row, sample in enumerate(self._samples):
            self._write(row, sample)
        self._table.blockSignals(blocked)
        self.select(node)

    def select(self, node):
        """Select the row of a node without telling; no row for `None`."""
        rows = [row for row, sample in enumerate(self._samples) if sample.node is node]
        if node is self.node and rows:
            return
        blocked = self._table.blockSignals(True)
        if rows:
            self._table.selectRow(rows[0])
        else:
            self._table.clearSelection()
        self._table.blockSignals(blocked)

    def _layOut(self):
        """Make the columns."""
        titles = _titles()
        self._table.setColumnCount(len(titles))
        for column, (title, tooltip) in enumerate(titles):
            item = qt.QTableWidgetItem(title)
            item.setToolTip(tooltip)
            self._table.setHorizontalHeaderItem(column, item)
        self._table.verticalHeader().setVisible(False)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setMinimumSectionSize(30)
        header.setHighlightSections(False)
        header.setStretchLastSection(True)

    def _write(self, row, sample):
        """Fill a row."""
        quality = sample.quality or {}
        length = quality.get("displacement_mm", {})
        changes, details = _volumes(quality)
        texts = {
            NAME: sample.name.rpartition("_")[2].lstrip("0") or sample.name,
            MEAN: number(length.get("mean")),
            MOST: number(length.get("max")),
            LEAST_JACOBIAN: number(quality.get("jacobian", {}).get("min"), 2),
            FOLDED: number(quality.get("folding", {}).get("voxels"), 0),
            VOLUMES: changes,
            SEED: str(sample.seed),
        }
        self._item(row, KEEP).setCheckState(qt.Qt.Checked if sample.keep else qt.Qt.Unchecked)
        for column, text in texts.items():
            item = self._item(row, column)
            item.setText(text)
            item.setToolTip(_about(sample))
        self._item(row, VOLUMES).setToolTip(details)

    def _item(self, row, column):
        """The item of a cell, made where there is none."""
        item = self._table.item(row, column)
        if item is None:
            item = qt.QTableWidgetItem()
            if column == KEEP:
                item.setFlags(
                    qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable
                )
                item.setToolTip(_("Tick to export this sample."))
            elif column != VOLUMES:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            self._table.setItem(row, column, item)
        return item

    def _selected(self):
        """Tell of the row that the user selected."""
        if self.node is not None:
            self._onSelected(self.node)

    def _changed(self, item):
        """Tell of a box that the user ticked."""
        if item.column() == KEEP and item.row() < len(self._samples):
            node = self._samples[item.row()].node
            self._onKept(node, item.checkState() == qt.Qt.Checked)


def _about(sample):
    """Tooltip of a row."""
    text = _("{name}: model {model}, level {level}, seed {seed}, amplitude {percent} %")
    return text.format(
        name=sample.name,
        model=(sample.model or {}).get("name", "?"),
        level=sample.level,
        seed=sample.seed,
        percent=round(100 * sample.amplitude),
    )


def _volumes(quality):
    """Change of the segments' volumes: short for the cell, in full for the tooltip."""
    rows = quality.get("labels") or []
    changes = [row["change_percent"] for row in rows if row["change_percent"] is not None]
    if not changes:
        return "-", _("No segmentation was given.")
    unit = {"mm2": _("square mm")}.get(quality.get("volume_unit"), _("ml"))
    line = _("{name}: {before} to {after} {unit} ({change} %)")
    lines = [
        line.format(
            name=row["name"],
            before=number(row["before"]),
            after=number(row["after"]),
            unit=unit,
            change="-" if row["change_percent"] is None else f"{row['change_percent']:+.1f}",
        )
        for row in rows
    ]
    least, most = f"{min(changes):+.0f}", f"{max(changes):+.0f}"
    short = _("{percent} %").format(percent=least)
    if least != most:
        short = _("{least} to {most} %").format(least=least, most=most)
    return short, "\n".join(lines)
