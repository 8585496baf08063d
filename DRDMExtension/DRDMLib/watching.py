"""Notices when the volume or segmentation of a running job goes away or changes."""

from __future__ import annotations

import functools

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from DRDMLib import inputs
from DRDMLib.background import InThread


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
        self._times = self._comparison = None
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
        if self._comparison is not None:
            self._comparison.cancel()

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
        """Look whether the inputs are what is in the files.

        Nodes that were touched may hold the same as before: their voxels are compared in a thread,
        and it is told later if they do not.
        """
        files = self._preparation.files  # not there yet: the job looks when they are
        if files is None or self._onGone is None or self._comparison is not None:
            return
        if not inputs.mayHaveChanged(*self._inputs, self._times or files.times):
            return
        if not inputs.areThere(*self._inputs):
            self._tellChanged()
            return
        compare = functools.partial(self._compare, files.content)
        self._do(inputs.roomFor(self._inputs[0]), compare)

    def _compare(self, content, room):
        """Compare the nodes as they are now."""
        reading = inputs.readAgain(*self._inputs, room)
        if reading is None:
            self._tellChanged()
            return
        same = functools.partial(reading.isStill, content)
        self._do(same, functools.partial(self._compared, reading.times))

    def _do(self, work, then):
        """Do something in a thread, and then something here."""
        self._comparison = InThread(work, then, self._tellChanged)
        self._comparison.look()  # what is small needs no other turn

    def _compared(self, times, same):
        """Take how a comparison ended; the nodes may have been touched meanwhile."""
        self._comparison = None
        if same:
            self._times = times
            self.check()
        else:
            self._tellChanged()

    def _tellChanged(self, *ignored):
        self._tell(_("The volume or its segmentation was changed: the job was stopped."))

    def _dataChanged(self, caller, event):
        self.check()  # it may be a name, a colour or a transform

    def _tell(self, text):
        """Tell what happened, once."""
        onGone = self._onGone
        self.close()
        if onGone is not None:
            onGone(text)
