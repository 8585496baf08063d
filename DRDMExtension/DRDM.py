"""DRDM in 3D Slicer: from one scan, new and plausible anatomy, as deformations."""

import qt
import slicer
import vtk
from DRDMLib import sampledata
from DRDMLib.logic import DRDMLogic
from DRDMLib.mainpanel import MainPanel
from DRDMLib.reloading import reloadLibrary
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

__all__ = ["DRDM", "DRDMLogic", "DRDMTest", "DRDMWidget"]

HOMEPAGE = "https://doi.org/10.1016/j.media.2026.103987"


class DRDM(ScriptedLoadableModule):
    """The module as the application lists it."""

    def __init__(self, parent):
        """Describe the module."""
        super().__init__(parent)
        parent.title = _("DRDM Deformations")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = []
        parent.contributors = ["DRDM for 3D Slicer contributors"]
        parent.helpText = _(
            "Makes deformed versions of a scan and its segmentation that are plausible for the "
            "anatomy: choose a volume, press Generate deformations, look, keep, export. "
            "Synthetic images are for research, not for diagnosis. "
            '<a href="{link}">The method</a>.'
        ).format(link=HOMEPAGE)
        parent.acknowledgementText = _(
            "The method is the Deformation-Recovery Diffusion Model (DRDM) of Zheng et al., "
            "Medical Image Analysis 2026."
        )
        slicer.app.connect("startupCompleted()", sampledata.registerSampleData)


class DRDMWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: it loads the form and follows the scene; the work is in `MainPanel`."""

    def __init__(self, parent=None):
        """Prepare; `setup` makes the widgets."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameters = None
        self._guiTag = None
        # The nodes of an opened scene find each other some events later than we are told of it.
        self._rejoin = qt.QTimer()
        self._rejoin.setSingleShot(True)
        self._rejoin.setInterval(0)
        self._rejoin.timeout.connect(self.rejoinScene)

    def setup(self):
        """Load the form and join it to the scene."""
        super().setup()
        form = slicer.util.loadUI(self.resourcePath("UI/DRDM.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = DRDMLogic()
        self.panel = MainPanel(self.ui, self.logic)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneCloses)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneClosed)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneImported)
        self.addObserver(scene, scene.NodeAddedEvent, self.onSceneChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onSceneChanged)
        self.joinScene()

    def cleanup(self):
        """End what runs, and the processes behind it."""
        self._rejoin.stop()
        self.leaveScene()
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.close()

    def enter(self):
        """Show the choices of the scene when the user comes to the module."""
        self.joinScene()

    def exit(self):
        """Go on with what runs when the user goes to another module, with no use of the form."""
        self.disconnectForm()

    def onReload(self):
        """Reload all that the module is made of."""
        reloadLibrary()
        super().onReload()

    def onSceneCloses(self, caller, event):
        """Let go of the choices of a scene that is closed."""
        self.leaveScene()

    def onSceneClosed(self, caller, event):
        """Begin anew with an empty scene, if the module is open."""
        if self.parent.isEntered:
            self.joinScene()

    def onSceneImported(self, caller, event):
        """Show the choices of a scene that was opened."""
        self._rejoin.start()

    def onSceneChanged(self, caller, event):
        """Show what has come or gone, once for many nodes."""
        self.panel.updateSoon()

    def joinScene(self):
        """Show the choices that the scene keeps."""
        self.disconnectForm()
        if self._parameters is None:
            self._parameters = self.logic.getParameterNode()
            modified = vtk.vtkCommand.ModifiedEvent
            self.addObserver(self._parameters, modified, self.onParametersChanged)
        self._guiTag = self._parameters.connectGui(self.ui)
        self.panel.setParameters(self._parameters)

    def rejoinScene(self):
        """Read the choices of the scene anew."""
        self.leaveScene()
        self.joinScene()

    def leaveScene(self):
        """Let go of the choices of the scene."""
        self.disconnectForm()
        if self._parameters is not None:
            modified = vtk.vtkCommand.ModifiedEvent
            self.removeObserver(self._parameters, modified, self.onParametersChanged)
        self._parameters = None
        if self.panel is not None:
            self.panel.setParameters(None)

    def disconnectForm(self):
        """Let the form and the choices go apart."""
        if self._guiTag is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._guiTag = None

    def onParametersChanged(self, caller, event):
        """Follow a choice, made in the form or by a script."""
        self.panel.update()


class DRDMTest(ScriptedLoadableModuleTest):
    """A short test for inside the application: Reload and Test."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run all tests."""
        self.setUp()
        self.test_sampleDataAndGenerate()

    def test_sampleDataAndGenerate(self):
        """Load the phantom heart; make, show and remove a sample where the packages are there."""
        from DRDMLib import display, installer, samples

        volume, segmentation = sampledata.loadSample("phantom-heart-2d")
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 3)
        if installer.missingPackages():
            self.delayDisplay(_("Python packages are missing: generating was not tested."))
            return
        logic = DRDMLogic()
        try:
            (node,) = logic.generate(
                volume, segmentation, "phantom-heart-2d", 1, seed=1, waitForCompletion=True
            )
        finally:
            logic.close()
        display.showSample(node)
        self.assertIs(display.shownSample(volume), node)
        samples.removeSample(node)
        self.assertIsNone(volume.GetParentTransformNode())
        self.delayDisplay(_("Test passed"))
