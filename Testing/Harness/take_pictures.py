"""Take the pictures of the module for README and tutorial, as a user would see it.

python -m Testing.Harness.take_pictures   writes docs/pictures/module-*.png

It clicks the buttons of the panel on the sample data; the views are drawn by Slicer's own
displayable managers. Worth looking at after every change of the panel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from Testing.Harness import start

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = REPOSITORY / "docs" / "pictures"
PANEL_WIDTH, VIEW_SIZE, GAP, CAPTION = 470, (330, 330), 8, 24
SEED, SAMPLES = 7, 3


def main() -> None:
    """Open, load, generate, look; a picture at each stop."""
    harness = start()
    widget = harness.openModule(REPOSITORY / "DRDMExtension" / "DRDM.py")
    take_panel(harness, widget, "empty")
    widget.ui.sampleDataButton.click()
    parameters = widget.panel.parameters
    harness.wait(lambda: parameters.volume is not None)
    parameters.count, parameters.newSeed, parameters.seed = SAMPLES, False, SEED
    parameters.exportFolder = "/data/augmented"
    harness.wait(lambda: widget.ui.generateButton.enabled)
    widget.ui.generateButton.click()
    table = widget.ui.samplesTable
    harness.wait(lambda: table.rowCount == 1, 300)
    take_panel(harness, widget, "running")
    harness.wait(lambda: table.rowCount == SAMPLES and not widget.panel.generate.running, 300)
    table.selectRow(0)
    harness.processEvents()
    take_panel(harness, widget, "samples")
    take_views(harness, widget)
    harness.closeModules()


def take_panel(harness: Any, widget: Any, name: str) -> None:
    """The panel as it is."""
    harness.processEvents()
    harness.screenshot(widget, PICTURES / f"module-{name}.png", PANEL_WIDTH)


def take_views(harness: Any, widget: Any) -> None:
    """Slice and 3D view: original, deformed, deformed with its grid."""
    ui = widget.ui
    ui.volumeSelector.currentNode().GetDisplayNode().SetAutoWindowLevel(True)
    segmentation = ui.segmentationSelector.currentNode()
    segmentation.CreateClosedSurfaceRepresentation()
    segmentation.GetDisplayNode().SetOpacity3D(0.8)
    columns = []
    for caption, click, azimuth in (
        ("original", ui.originalButton.click, 20),
        ("deformed", ui.deformedButton.click, 0),  # the camera stays where it was
        ("deformed: grid (slice), arrows (3D)", lambda: choose_drawing(ui, "arrows"), 0),
    ):
        click()
        harness.processEvents()
        solid = harness.views.threeD(size=VIEW_SIZE, azimuth=azimuth, elevation=azimuth / 2)
        if "grid" in caption:
            choose_drawing(ui, "grid")
            harness.processEvents()
        columns.append((caption, [harness.views.slice("Green", size=VIEW_SIZE), solid]))
    mount(columns).save(PICTURES / "module-views.png", optimize=True)


def choose_drawing(ui: Any, text: str) -> None:
    """Choose how the deformation is drawn."""
    box = ui.gridSelector
    box.setCurrentIndex(box.findText(text))


def mount(columns: list[tuple[str, list[np.ndarray]]]) -> Image.Image:
    """The views side by side, with captions."""
    width, height = VIEW_SIZE
    rows = len(columns[0][1])
    size = (len(columns) * (width + GAP) - GAP, CAPTION + rows * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for k, (caption, views) in enumerate(columns):
        pen.text((k * (width + GAP) + 4, 2), caption, fill="black", font=font)
        for row, view in enumerate(views):
            place = (k * (width + GAP), CAPTION + row * (height + GAP))
            sheet.paste(Image.fromarray(np.ascontiguousarray(view)), place)
    return sheet


if __name__ == "__main__":
    main()
