"""From a loaded scan to files that another program reads, by clicks alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.extension import panels

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")

REPOSITORY = Path(__file__).parents[3]


def headless(folder, image, labels, sample):
    """The same sample by `drdm generate`: image, labels and field."""
    arguments = ["--image", image, "--labels", labels, "--model", sample.model["name"]]
    arguments += ["--seed", str(sample.seed), "--count", "1", "--out", folder, "--device", "cpu"]
    subprocess.run(
        [sys.executable, "-m", "DRDMCore", "generate", *map(str, arguments), "--quiet"],
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    return {kind: array(next(folder.glob(f"*_{kind}*"))) for kind in ("image", "labels", "field")}


def array(path):
    """The voxels of a file."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("phantom-heart-2d", ".nrrd"),
        pytest.param("phantom-torso-3d", ".nii.gz", marks=pytest.mark.slow),
    ],
)
def test_load_generate_cancel_keep_export_and_compare(openPanel, tmp_path, kind, ending):
    import slicer

    panel = openPanel()
    image, labels = panels.lib("sampledata").filesOf(kind)
    panel.choose(
        *panels.lib("sampledata").loadSample(kind),
        model=kind,
        count=3,
        seed=40,
    )
    panel.click("generateButton")
    panel.finish()
    assert [each.seed for each in panel.samples()] == [40, 41, 42]

    panel.choose(panel.parameters.volume, panel.parameters.segmentation, count=50, seed=90)
    panel.click("generateButton")
    panel.wait(lambda: len(panel.samples()) >= 4)
    panel.click("generateButton")
    panel.finish()
    for row in range(1, len(panel.samples())):
        panel.tick(row, row == 2)

    panel.parameters.exportFormat = ending
    panel.parameters.exportFolder = str(tmp_path / "out")
    panel.ui.originalsCheckBox.click()
    assert panel.ui.exportButton.text == "Export 2 kept samples"
    panel.click("exportButton")
    panel.finish()
    manifest = json.loads((tmp_path / "out/manifest.json").read_text(encoding="utf-8"))
    assert [each["seed"] for each in manifest["samples"]] == [40, 42]

    original = panel.parameters.volume
    for sample in [panel.samples()[0], panel.samples()[2]]:
        path = tmp_path / "out/img" / f"{sample.name}{ending}"
        # Slicer would take slices with numbered names for one stack.
        again = slicer.util.loadVolume(str(path), {"singleFile": True})
        assert again.GetImageData().GetDimensions() == original.GetImageData().GetDimensions()
        assert again.GetOrigin() == pytest.approx(original.GetOrigin())
        assert again.GetSpacing() == pytest.approx(original.GetSpacing())
        made = headless(tmp_path / sample.name, image, labels, sample)
        assert np.array_equal(slicer.util.arrayFromVolume(again), made["image"])
        labelsAgain = array(tmp_path / "out/msk" / f"{sample.name}{ending}")
        assert np.array_equal(labelsAgain, made["labels"])
        assert np.array_equal(array(tmp_path / "out/ddf" / f"{sample.name}.nrrd"), made["field"])
        assert not np.array_equal(made["image"], slicer.util.arrayFromVolume(original))
