"""The folder of the samples of a volume in the subject hierarchy."""

import slicer
from slicer.i18n import tr as _

from DRDMLib.sceneroles import FOLDER


def putIntoFolder(node, volumeNode, neighbours):
    """Put a node into the folder of its volume, which is made if there is none.

    Args:
        node: A sample, or what was computed from one.
        volumeNode: The volume of the sample.
        neighbours: Samples of the same volume, which know the folder.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = _folderAmong(hierarchy, neighbours) or _newFolder(hierarchy, volumeNode)
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        hierarchy.CreateItem(folder, node)
    else:
        hierarchy.SetItemParent(item, folder)


def leaveFolder(node):
    """Take a node out of the subject hierarchy, and its folder too if that was the last in it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = _folderAmong(hierarchy, [node])
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)
    if folder is not None and not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder)


def _folderAmong(hierarchy, nodes):
    """The first folder of ours that one of the nodes lies in, or `None`."""
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        parent = hierarchy.GetItemParent(item) if item else 0
        if parent and hierarchy.GetItemAttribute(parent, FOLDER) == "1":
            return parent
    return None


def _newFolder(hierarchy, volumeNode):
    """A new folder beside the volume."""
    item = hierarchy.GetItemByDataNode(volumeNode)
    parent = (hierarchy.GetItemParent(item) if item else 0) or hierarchy.GetSceneItemID()
    name = _("DRDM samples of {name}").format(name=volumeNode.GetName())
    folder = hierarchy.CreateFolderItem(parent, name)
    hierarchy.SetItemAttribute(folder, FOLDER, "1")
    return folder
