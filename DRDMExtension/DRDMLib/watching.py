"""Notices when the volume or segmentation of a running job goes away or changes."""

from __future__ import annotations

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from DRDMLib import inputs


class InputWatch(VTKObservationMixin):
    """Tells once, in a sentence, what happened to the inputs of a job."""

    def __init__(self, volumeNode, segmentationNode, preparation, onGone):
        """Begin to watch.

        Args:
            volumeNode: The scan.
            segmentationNode: Its segmentation or label map, or `None`.
            preparation: The two on their way to files, which tell what they held.
            onGone: Told one sentence, at most once.
        """
        VTKObservationMixin.__init__(self)
        self._inputs, self._preparation = (volumeNode, segmentationNode), preparation
        self._nodes = [node for node in (volumeNode, segmentationNode) if node is not None]
        self._onGone = onGone
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._sceneCloses)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._nodeLeaves)
        self.addObserver(scene, scene.NodeRemovedEvent, self._nodeLeft)
        for node in self._nodes:
            self._watchData(node)

    def close(self):
        """Stop watching."""
        self._onGone = None
        self.removeObservers()

    def _watchData(self, node):
        """Be told when what a job reads of a node may have changed."""
        if node.IsA("vtkMRMLVolumeNode"):
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._dataChanged)
            self.addObserver(node, node.ImageDataModifiedEvent, self._dataChanged)
            return
        segmentation = node.GetSegmentation()
        for event in (
            segmentation.SourceRepresentationModified,
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
        ):
            self.addObserver(segmentation, event, self._dataChanged)

    def _sceneCloses(self, caller, event):
        self._tell(_("The scene was closed: the job was stopped."))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _nodeLeaves(self, caller, event, node):
        if node in self._nodes:
            text = _("{name} was removed from the scene: the job was stopped.")
            self._tell(text.format(name=node.GetName()))

    def _nodeLeft(self, caller, event):
        if any(node.GetScene() is None for node in self._nodes):
            self._tell(_("An input was removed from the scene: the job was stopped."))

    def check(self):
        """Look whether the inputs are what is in the files."""
        files = self._preparation.files  # not there yet: the job looks when they are
        if files is not None and inputs.inputChanged(*self._inputs, files):
            self._tell(_("The volume or its segmentation was changed: the job was stopped."))

    def _dataChanged(self, caller, event):
        self.check()  # it may be a name, a colour or a transform

    def _tell(self, text):
        """Tell what happened, once."""
        onGone = self._onGone
        self.close()
        if onGone is not None:
            onGone(text)
