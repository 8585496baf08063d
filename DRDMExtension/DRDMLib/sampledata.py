"""Sample data that come with the extension: made-up subjects, each with its segmentation."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

FOLDER = Path(__file__).parents[1] / "Resources" / "SampleData"
CATEGORY = "DRDM"
KINDS = ("phantom-torso-3d", "phantom-heart-2d")
"""Names of the subjects, and of the models that know them."""


def titleOf(kind):
    """Name of a subject for people."""
    return {"phantom-torso-3d": _("Phantom chest"), "phantom-heart-2d": _("Phantom heart")}[kind]


def filesOf(kind):
    """Image and segmentation file of a subject."""
    return FOLDER / f"{kind}.nrrd", FOLDER / f"{kind}.seg.nrrd"


def loadSample(kind):
    """Load a subject.

    Args:
        kind: One of `KINDS`.

    Returns:
        Volume node and segmentation node.
    """
    image, labels = filesOf(kind)
    title = titleOf(kind)
    volume = slicer.util.loadVolume(str(image), {"name": title})
    segmentation = slicer.util.loadSegmentation(
        str(labels), {"name": _("{title} segmentation").format(title=title)}
    )
    return volume, segmentation


def registerSampleData():
    """Offer the subjects in the module Sample Data; one click loads image and segmentation."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("DRDM deformations"))
    for kind in KINDS:
        files, title = filesOf(kind), titleOf(kind)
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=title,
            thumbnailFileName=str(FOLDER / f"{kind}.png"),
            uris=[file.as_uri() for file in files],
            fileNames=[file.name for file in files],
            nodeNames=[title, _("{title} segmentation").format(title=title)],
            loadFileTypes=["VolumeFile", "SegmentationFile"],
        )
