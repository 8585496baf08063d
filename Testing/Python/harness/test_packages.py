"""Packages, sample data, and versions of Slicer."""

from __future__ import annotations

import hashlib
import importlib

import numpy as np
import pytest


def test_what_is_missing_is_asked_for_and_recorded(harness):
    import slicer.packaging

    harness.packages.missing.add("numpy")
    assert not slicer.packaging.pip_check("numpy>=1")
    harness.dialogs.answer("Cancel", contains="Python packages")
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure(["numpy>=1", "pytest"], requester="DRDM")
    assert harness.packages.installed == []
    harness.dialogs.answer("Ok", contains="DRDM")
    slicer.packaging.pip_ensure(["numpy>=1", "pytest"], requester="DRDM")
    assert harness.packages.installed == ["numpy>=1"]
    assert harness.dialogs.shown[-1].details == "numpy>=1"
    assert slicer.packaging.pip_check(["numpy>=1", "pytest"])
    assert not slicer.packaging.pip_check("numpy>=999")


def test_a_failing_installation(harness):
    import slicer

    def fail(requirements):
        raise RuntimeError(f"no wheel for {requirements}")

    harness.packages.onInstall = fail
    with pytest.raises(RuntimeError, match="no wheel"):
        slicer.util.pip_install("tqdm>=4")
    assert harness.packages.installed == []


def test_requirements_are_read(harness, tmp_path):
    import slicer.packaging

    path = tmp_path / "requirements.txt"
    path.write_text("# comment\n\nnumpy>=1.26\n-r other.txt\n", encoding="utf-8")
    assert [str(each) for each in slicer.packaging.load_requirements(path)] == ["numpy>=1.26"]


def test_slicer_5_10_has_no_packaging(harness):
    import SampleData
    import slicer

    harness.version.set(5, 10)
    assert (slicer.app.majorVersion, slicer.app.minorVersion) == (5, 10)
    with pytest.raises(ImportError):
        importlib.import_module("slicer.packaging")
    assert not hasattr(slicer, "packaging")
    assert not hasattr(slicer.util, "executePythonModule")
    assert not hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory")
    slicer.util.pip_install(["tqdm>=4"])
    assert harness.packages.installed == ["tqdm>=4"]
    harness.version.reset()
    assert importlib.import_module("slicer.packaging") is slicer.packaging
    assert slicer.app.minorVersion >= 12 and hasattr(slicer.util, "executePythonModule")


def test_extensions_are_recorded(harness):
    import slicer

    model = slicer.app.extensionsManagerModel()
    assert not model.isExtensionInstalled("PyTorch")
    model.installExtensionFromServer("PyTorch")
    assert model.asked == ["PyTorch"] and model.isExtensionInstalled("PyTorch")
    harness.reset()
    assert not model.isExtensionInstalled("PyTorch")


@pytest.fixture
def stored(harness, tmp_path):
    """A volume in a file, and the fields of a sample made of it."""
    import slicer

    volume = slicer.util.addVolumeFromArray(np.ones((3, 4, 5)))
    path = tmp_path / "one.nrrd"
    slicer.util.saveNode(volume, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    harness.clearScene()
    return {
        "uris": path.as_uri(),
        "fileNames": "one.nrrd",
        "nodeNames": "one",
        "checksums": f"SHA256:{digest}",
    }


def test_sample_data_are_registered_and_loaded(stored):
    import SampleData
    import slicer

    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    for _again in range(2):  # registered once
        register("DRDM", sampleName="One", **stored)
    assert len(slicer.modules.sampleDataSources["DRDM"]) == 1
    assert SampleData.downloadSample("One").GetName() == "one"
    with pytest.raises(ValueError, match="same length"):
        register("DRDM", sampleName="Bad", uris=["a", "b"], fileNames=["a"])


def test_sample_data_that_cannot_be_loaded_are_told(harness, stored):
    import SampleData

    if harness.source:
        pytest.skip("Slicer's own files are in use: its SampleData logs, and tries again")
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    register("DRDM", sampleName="Two", **{**stored, "checksums": "SHA256:00"})
    with pytest.raises(ValueError, match="checksum"):
        SampleData.downloadSample("Two")
    register("DRDM", sampleName="Three", **{**stored, "uris": "https://example.org/one.nrrd"})
    with pytest.raises(RuntimeError, match="network"):
        SampleData.downloadSample("Three")
    register("DRDM", sampleName="Made", customDownloader=lambda source: [source.sampleName])
    assert SampleData.downloadSample("Made") == "Made"
    with pytest.raises(ValueError, match="No sample data"):
        SampleData.downloadSample("Four")
