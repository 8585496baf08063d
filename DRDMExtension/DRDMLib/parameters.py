"""What the user chose, kept in the scene: a saved scene reopens with it."""

from __future__ import annotations

from typing import Annotated, Union

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

GREATEST_SEED = 2**31 - 1


# `connectGui` gives the selectors of nodes these types, whatever the form says.
@parameterNodeWrapper
class DRDMParameters:
    """The choices of the panel.

    Attributes:
        volume: The scan to be deformed.
        segmentation: Segmentation or label map of it, or none.
        model: Name or path of a model; `none` for the random field alone.
        count: Samples wanted at a click.
        level: Deformation level, where `recommendedLevel` is off.
        recommendedLevel: Whether the model's own level is used.
        seed: Seed of the first sample.
        newSeed: Whether every click draws another seed.
        effort: `fast` or `full`.
        sliceAxis: Array axis across the slices of a 2D model; -1 finds it from the spacing.
        device: `auto`, `cpu`, `cuda:0`, ...
        grid: How the deformation is drawn: `none`, `grid`, `arrows` or `contours`.
        jacobian: Whether the local change of volume is overlaid.
        exportFolder: Where samples are exported to.
        exportLayout: `pairs`, `nnunet` or `flat`.
        exportFormat: File ending of images and labels.
        exportOriginals: Whether the original is one more case.
        trainSource: `folder` or `scene`.
        trainFolder: Scans to learn from.
        trainVolumes: Node ids of the volumes to learn from.
        preset: Settings of training: the name of a preset, or empty for those made from the scans.
        trainSteps: Steps of training; 0 for those of the settings.
        runFolder: Folder of the training run.
    """

    volume: vtkMRMLScalarVolumeNode
    segmentation: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    model: str = "none"
    count: Annotated[int, WithinRange(1, 1000)] = 4
    level: Annotated[int, WithinRange(0, 79)] = 48
    recommendedLevel: bool = True
    seed: Annotated[int, WithinRange(0, GREATEST_SEED)] = 1
    newSeed: bool = True
    effort: str = "fast"
    sliceAxis: int = -1
    device: str = "auto"
    grid: str = "none"
    jacobian: bool = False
    exportFolder: str = ""
    exportLayout: str = "pairs"
    exportFormat: str = ".nii.gz"
    exportOriginals: bool = True
    trainSource: str = "folder"
    trainFolder: str = ""
    trainVolumes: list[str]
    preset: str = ""
    trainSteps: Annotated[int, WithinRange(0, 1000000)] = 0
    runFolder: str = ""
