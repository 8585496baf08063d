"""`slicer.app.coreIOManager()`: files to nodes and back, through the real storage nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import NotInHarness
from .scene import Scene

# The properties that `slicer.util` and the tests pass; others would be lost silently.
_KNOWN = {
    "center",
    "fileName",
    "labelmap",
    "name",
    "nodeID",
    "show",
    "singleFile",
    "fileFormat",
    "useCompression",
    "autoOpacities",
    "colorNodeID",
}
_FIELDS = (".nrrd", ".nii.gz", ".nii", ".mha", ".h5", ".tfm", ".mat", ".txt", ".nhdr", ".mhd")


class CoreIOManager:
    """Reads and writes the kinds of files that the module needs."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._readers = {
            "VolumeFile": self._read_volume,
            "SegmentationFile": self._read_segmentation,
            "TransformFile": self._read_transform,
            "ModelFile": self._read_model,
            "MarkupsFile": self._read_markups,
            "SceneFile": self._read_scene,
        }

    def fileType(self, path: Any) -> str:
        """As Slicer guesses it from the name."""
        name = Path(path).name.lower()
        if name.endswith((".mrb", ".mrml")):
            return "SceneFile"
        if name.endswith((".seg.nrrd", ".seg.nii.gz")):
            return "SegmentationFile"
        if name.endswith((".h5", ".tfm", ".mat")):
            return "TransformFile"
        if name.endswith((".vtk", ".vtp", ".stl", ".ply", ".obj")):
            return "ModelFile"
        if name.endswith((".mrk.json", ".fcsv")):
            return "MarkupsFile"
        return "VolumeFile"

    def loadNodes(
        self, kind: str, properties: dict[str, Any], nodes: Any = None, messages: Any = None
    ) -> bool:
        """Load a file; the node is added to the collection."""
        unknown = set(properties) - _KNOWN
        if kind not in self._readers or unknown:
            raise NotInHarness("coreIOManager().loadNodes", ", ".join({kind, *unknown}))
        node = self._readers[kind](properties["fileName"], properties)
        if isinstance(node, bool):
            return node
        if node is None:
            return False
        if properties.get("name"):
            node.SetName(properties["name"])
        if nodes is not None:
            nodes.AddItem(node)
        return True

    def _read_volume(self, path: str, properties: dict[str, Any]) -> Any:
        options = 0
        for bit, name in enumerate(("labelmap", "center", "singleFile")):
            options |= bool(properties.get(name)) << bit
        logic = self._scene.logics["Volumes"]
        node = logic.AddArchetypeVolume(path, _base_name(Path(path).name), options)
        if node is not None and properties.get("show", True):
            selection = self._scene.appLogic.GetSelectionNode()
            if properties.get("labelmap"):
                selection.SetActiveLabelVolumeID(node.GetID())
            else:
                selection.SetActiveVolumeID(node.GetID())
            self._scene.appLogic.PropagateVolumeSelection()
        return node

    def _read_segmentation(self, path: str, properties: dict[str, Any]) -> Any:
        logic = self._scene.logics["Segmentations"]
        return logic.LoadSegmentationFromFile(path, True, _base_name(Path(path).name))

    def _read_transform(self, path: str, properties: dict[str, Any]) -> Any:
        return self._scene.logics["Transforms"].AddTransform(path, self._scene.scene)

    def _read_model(self, path: str, properties: dict[str, Any]) -> Any:
        return self._scene.logics["Models"].AddModel(path)

    def _read_markups(self, path: str, properties: dict[str, Any]) -> Any:
        logic = self._scene.logics["Markups"]
        node = logic.LoadMarkups(path, _base_name(Path(path).name))
        return self._scene.scene.GetNodeByID(node) if node else None

    def _read_scene(self, path: str, properties: dict[str, Any]) -> bool:
        scene = self._scene.scene
        if path.lower().endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, True))
        scene.SetURL(path)
        return bool(scene.Connect())

    # Writing --------------------------------------------------------------------------------------

    def fileWriterFileType(self, node: Any) -> str:
        return "NodeFile"

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        """File formats of a node, e.g. `NRRD (.nrrd)`."""
        if node.IsA("vtkMRMLTransformNode"):
            return tuple(f"Transform ({each})" for each in _FIELDS)
        storage = node.CreateDefaultStorageNode()
        if storage is None:
            return ()
        storage.UnRegister(None)
        types = storage.GetSupportedWriteFileTypes()
        return tuple(types.GetValue(index) for index in range(types.GetNumberOfValues()))

    def extractKnownExtension(self, path: str, node: Any) -> str:
        from slicer import vtkDataFileFormatHelper as Helper

        known = (
            Helper.GetFileExtensionFromFormatString(each)
            for each in self.fileWriterExtensions(node)
        )
        fitting = [each for each in known if str(path).lower().endswith(each)]
        return max(fitting, key=len, default=Path(path).suffix.lower())

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path)
        node = self._scene.scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(properties["useCompression"])
        return bool(storage.WriteData(node))

    def _save_scene(self, path: str) -> bool:
        scene = self._scene.scene
        if path.lower().endswith(".mrb"):
            return bool(scene.WriteToMRB(path, None, None))
        if not path.lower().endswith(".mrml"):
            return bool(scene.SaveSceneToSlicerDataBundleDirectory(path))
        scene.SetURL(path)
        scene.SetRootDirectory(str(Path(path).parent))
        return bool(scene.Commit())

    def exportNodes(
        self,
        nodes: list[str],
        paths: list[str],
        properties: dict[str, Any],
        harden: bool,
        messages: Any,
    ) -> bool:
        """Write copies, so that the nodes keep their own file names."""
        if harden:
            raise NotInHarness("slicer.util.exportNode", "world=True")
        return all(self._export(*pair) for pair in zip(nodes, paths, strict=True))

    def _export(self, node_id: str, path: str) -> bool:
        node = self._scene.scene.GetNodeByID(node_id)
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        self._scene.scene.AddNode(storage)
        try:
            storage.SetFileName(str(path))
            return bool(storage.WriteData(node))
        finally:
            self._scene.scene.RemoveNode(storage)

    def __getattr__(self, name: str) -> Any:
        raise NotInHarness("slicer.app.coreIOManager()", name)


def _base_name(name: str) -> str:
    """Name of a node from that of its file."""
    for ending in (".seg.nrrd", ".seg.nii.gz", ".nii.gz", ".mrk.json"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name.rpartition(".")[0] or name
