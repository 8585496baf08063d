"""Volumes, segmentations and fields for tests of the scene."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

EXTENSION = Path(__file__).resolve().parents[3] / "DRDMExtension"
MODULES = (
    "browser",
    "display",
    "griddrawing",
    "gridfiles",
    "inputs",
    "jacobianoverlay",
    "nodegeometry",
    "samples",
    "sceneroles",
)

SHAPE = (12, 20, 16)

_TILT = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
_NOD = np.array([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])

GEOMETRIES = {
    "plain": ((1.0, 1.0, 1.0), np.eye(3)),
    "dicom": ((0.7, 0.7, 2.5), np.diag([-1.0, -1.0, 1.0])),
    "anisotropic": ((0.7, 1.3, 2.9), np.eye(3)),
    "oblique": ((1.1, 0.9, 2.0), _TILT @ _NOD),
    "flipped": ((1.1, 0.9, 2.0), np.diag([-1.0, 1.0, 1.0])),
    "oblique and flipped": ((0.8, 1.4, 2.2), _TILT @ _NOD @ np.diag([1.0, 1.0, -1.0])),
    "sagittal": ((1.2, 0.9, 1.5), np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])),
}
"""Spacing, and direction cosines in RAS (columns are the axes i, j, k)."""

ORIGIN = (-31.25, 17.5, -8.75)


@pytest.fixture
def scene(harness):
    """The scene of the application, empty."""
    return harness.scene


@pytest.fixture
def lib(scene, monkeypatch):
    """The modules of DRDMLib that work on the scene, by name."""
    monkeypatch.setattr(sys, "path", [str(EXTENSION), *sys.path])
    return SimpleNamespace(**{n: importlib.import_module(f"DRDMLib.{n}") for n in MODULES})


def ball(shape, centre, radius):
    """Voxels of an ellipsoid, by parts of the sides of the array."""
    axes = [(np.arange(n) / n - c) / r for n, c, r in zip(shape, centre, radius, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    return sum(part**2 for part in grid) <= 1


def labelsArray(shape=SHAPE):
    """Two balls, 1 and 2."""
    labels = np.zeros(shape, np.uint8)
    labels[ball(shape, (0.5, 0.4, 0.35), (0.35, 0.25, 0.22))] = 1
    labels[ball(shape, (0.5, 0.65, 0.7), (0.3, 0.2, 0.2)) & (labels == 0)] = 2
    return labels


def imageArray(shape=SHAPE, dtype=np.int16):
    """A smooth picture of the labels with texture."""
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij")
    wave = np.sin(9 * x + 2 * y) + np.cos(7 * y - 3 * z) + 0.5 * np.sin(8 * z + 4 * x)
    return (1000 * wave + 900 * labelsArray(shape).astype(float) + 3000).astype(dtype)


def matrixOf(geometry):
    """IJK to RAS of a geometry of the table, as a numpy matrix."""
    spacing, direction = GEOMETRIES[geometry]
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.array(spacing)
    matrix[:3, 3] = ORIGIN
    return matrix


def inFiles(array, geometry):
    """An array as it is in files: slices of left-handed volumes are reversed."""
    return array[::-1] if np.linalg.det(matrixOf(geometry)[:3, :3]) < 0 else array


def fileMatrixOf(geometry, shape=SHAPE):
    """IJK to RAS of a geometry of the table, as it is in files."""
    matrix = matrixOf(geometry)
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 3] += matrix[:3, 2] * (shape[0] - 1)
        matrix[:3, 2] *= -1
    return matrix


def volume(array=None, geometry="plain", name="CT", className=None):
    """A volume node."""
    import slicer

    array = imageArray() if array is None else array
    node = slicer.mrmlScene.AddNewNodeByClass(className or "vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrixOf(geometry)))
    node.CreateDefaultDisplayNodes()
    return node


def segmentation(volumeNode, masks=None, name="Organs"):
    """A segmentation node on the grid of a volume; `masks` by name may overlap."""
    import slicer

    if masks is None:
        labels = labelsArray(slicer.util.arrayFromVolume(volumeNode).shape)
        masks = {"Liver": labels == 1, "Spleen": labels == 2}
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for title, mask in masks.items():
        identifier = node.GetSegmentation().AddEmptySegment("", title)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask.astype(np.uint8), node, identifier, volumeNode
        )
    return node


def linearTransform(name="registration"):
    """A transform that turns and shifts."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    matrix = np.eye(4)
    matrix[:3, :3] = _NOD @ _TILT
    matrix[:3, 3] = (13.0, -7.0, 29.0)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def smoothField(image, folder: Path, amplitude=3.0, seed=0, name="field.nrrd") -> Path:
    """Write a smooth random field without folds, zero at the border, on the grid of a file."""
    from DRDMCore.imaging import DisplacementField, read_image, write_field

    geometry = read_image(image).geometry
    rng = np.random.default_rng(seed)
    parts = [np.linspace(0, 1, n) if n > 1 else np.full(1, 0.5) for n in geometry.shape]
    z, y, x = np.meshgrid(*parts, indexing="ij")
    window = np.ones(geometry.shape)
    for n, part in zip(geometry.shape, (z, y, x), strict=True):
        if n > 1:
            window *= np.sin(np.pi * part) ** 2
    vectors = np.zeros((*geometry.shape, 3), np.float32)
    for axis in range(3):
        a, b, c, d = rng.uniform(0.5, 2.5, 4)
        vectors[..., axis] = amplitude * window * np.sin(a * x + b * y + c * z + d)
    if 1 in geometry.shape:  # a slice stays in its plane
        normal = geometry.matrix[:, 2 - geometry.shape.index(1)]
        vectors -= (vectors @ normal)[..., None] * normal
    path = folder / name
    write_field(DisplacementField(vectors.astype(np.float32), geometry), path)
    return path


def fieldIn(lib, path):
    """The field of a file as a grid transform."""
    return lib.gridfiles.FieldReading(path).read()


QUALITY = {
    "displacement_mm": {"mean": 1.5, "p95": 2.5, "max": 3.0, "foreground_mean": None},
    "jacobian": {"min": 0.5, "p1": 0.6, "p99": 1.5, "max": 1.6},
    "folding": {"voxels": 0, "percent": 0.0},
    "labels": [{"value": 1, "name": "Größe: a;b\"<'", "before": 1.0, "after": 1.1}],
}
MODEL = {"name": "none", "path": "none", "sha256": "0" * 64, "title": "Zufälliges Feld: a;b"}
SETTINGS = {"level": 30, "steps": None, "border": "fixed"}
VERSIONS = {"DRDMCore": "0.1.0"}


def changed(lib, volumeNode, segmentationNode, content):
    """Whether nodes are gone or hold something else than what was written."""
    reading = lib.inputs.readAgain(volumeNode, segmentationNode)
    return reading is None or not reading.isStill(content)


class Case:
    """A volume, its segmentation, their files, and samples of them."""

    def __init__(self, lib, folder: Path, volumeNode, segmentationNode=None) -> None:
        self.lib, self.folder = lib, folder
        self.volume, self.segmentation = volumeNode, segmentationNode
        self.files = lib.inputs.writeInputs(volumeNode, segmentationNode, folder / "inputs")

    def field(self, seed=0, amplitude=3.0) -> Path:
        """The file of the field with this seed."""
        name = f"field_{seed}_{amplitude}.nrrd"
        return smoothField(self.files.image, self.folder, amplitude, seed, name)

    def sample(self, seed=0, amplitude=3.0):
        """The node of a new sample."""
        return self.lib.samples.addSample(
            fieldIn(self.lib, self.field(seed, amplitude)),
            {"name": "image_0001", "seed": seed, "quality": QUALITY, "field": "x.nrrd"},
            volumeNode=self.volume,
            segmentationNode=self.segmentation,
            model=MODEL,
            settings=SETTINGS,
            inputHashes=self.files.sha256,
            versions=VERSIONS,
        )


def fingerprint(*nodes) -> str:
    """Hash of numbers, type and place of volumes and of all representations of segmentations."""
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    digest = hashlib.sha256()
    for node in nodes:
        if node.IsA("vtkMRMLVolumeNode"):
            array = slicer.util.arrayFromVolume(node)
            matrix = slicer.util.vtkMatrixFromArray(np.eye(4))
            node.GetIJKToRASMatrix(matrix)
            digest.update(repr((array.dtype, array.shape)).encode())
            digest.update(slicer.util.arrayFromVTKMatrix(matrix).tobytes() + array.tobytes())
            continue
        segments = node.GetSegmentation()
        for identifier in segments.GetSegmentIDs():
            segment = segments.GetSegment(identifier)
            digest.update(repr((identifier, segment.GetName(), segment.GetLabelValue())).encode())
            names: list[str] = []
            segment.GetContainedRepresentationNames(names)
            for name in sorted(names):
                shape = segment.GetRepresentation(name)
                digest.update(name.encode())
                if shape.IsA("vtkImageData"):
                    digest.update(repr(shape.GetExtent()).encode())
                    digest.update(vtk_to_numpy(shape.GetPointData().GetScalars()).tobytes())
                else:
                    digest.update(vtk_to_numpy(shape.GetPoints().GetData()).tobytes())
    return digest.hexdigest()


def parentOf(node):
    """Name of the parent transform, or `None`."""
    parent = node.GetParentTransformNode()
    return None if parent is None else parent.GetName()


def pointsThrough(transformNode, points, fromParent=False):
    """World points that points of a node are moved to."""
    transform = (
        transformNode.GetTransformFromParent()
        if fromParent
        else transformNode.GetTransformToParent()
    )
    return np.array([transform.TransformPoint(point) for point in points])


def saveScene(folder: Path, fieldEnding: str) -> Path:
    """Save the scene and its data as Slicer does: each node by its own storage node."""
    import slicer

    scene = slicer.mrmlScene
    folder.mkdir(parents=True, exist_ok=True)
    scene.SetRootDirectory(str(folder))
    nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    for node in nodes:
        storable = node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene()
        if not storable or node.GetSingletonTag():
            continue
        if not node.AddDefaultStorageNode() or node.GetStorageNode() is None:
            continue
        storage = node.GetStorageNode()
        ending = storage.GetDefaultWriteFileExtension()
        if node.IsA("vtkMRMLTransformNode") and not node.IsLinear():
            ending = fieldEnding
        storage.SetFileName(str(folder / f"{node.GetID()}.{ending}"))
        assert storage.WriteData(node), node.GetName()
    path = folder / "scene.mrml"
    scene.SetURL(str(path))
    assert scene.Commit(str(path))
    return path


def openScene(path: Path) -> None:
    """Close the scene and open another."""
    import slicer

    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Connect()


def node(name: str):
    """The node of a name; names are unique in a test."""
    import slicer

    found = slicer.mrmlScene.GetNodesByName(name)
    assert found.GetNumberOfItems() == 1, (name, found.GetNumberOfItems())
    return found.GetItemAsObject(0)
