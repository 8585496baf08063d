"""Settings made from the images fit the images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DRDMCore.errors import InputError
from DRDMCore.training.plan import plan_settings


def write(path: Path, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def test_volumes(tmp_path):
    for index, count in enumerate((36, 34, 35, 60)):
        write(tmp_path / f"{index}.nrrd", (count, 50, 30), (1.0, 1.0, 1.0))
    plan = plan_settings(str(tmp_path), "mine")
    assert (plan.grid.dimension, plan.grid.spacing_mm) == (3, 1.0)
    assert plan.shape == (48, 56, 32)  # three quarters: not for the one of 60
    assert plan.field.control_spacing == 2.0 and plan.name == "mine"
    assert plan.grid.orientation == "LPS"
    assert plan.card["data"] == "4 images" and str(tmp_path.parent) not in str(plan.card)


def test_large_volumes_get_coarser_voxels_not_smaller_views(tmp_path):
    write(tmp_path / "a.nrrd", (100, 120, 110), (0.9, 0.9, 0.9))
    write(tmp_path / "b.nrrd", (100, 120, 110), (0.9, 0.9, 0.9))
    plan = plan_settings(str(tmp_path), "mine")
    covered = [n * plan.grid.spacing_mm for n in plan.shape]
    assert math.prod(plan.shape) <= 64**3
    assert all(has >= 0.97 * n * 0.9 for has, n in zip(covered, (100, 120, 110), strict=True))
    assert math.prod(covered) < 1.5 * math.prod((90, 108, 99))


def test_stacks_of_thick_slices_are_for_2d(tmp_path):
    for index in range(3):
        write(tmp_path / f"{index}.nrrd", (14, 90, 100), (1.5, 1.5, 8.0))
    plan = plan_settings(str(tmp_path), "mine")
    assert (plan.grid.dimension, plan.grid.spacing_mm, plan.shape) == (2, 1.5, (96, 104))
    assert plan.field.control_spacing == 104 / 32


def test_one_single_slice_decides_for_2d(tmp_path):
    write(tmp_path / "a.nrrd", (40, 40, 40), (1.0, 1.0, 1.0))
    write(tmp_path / "b.nrrd", (40, 48), (1.0, 1.0))
    assert plan_settings(str(tmp_path), "mine").grid.dimension == 2


def test_bundled_settings_are_what_the_plan_finds(shared_data):
    plan = plan_settings(str(shared_data / "hippocampus" / "images"), "mine")
    assert (plan.grid.dimension, plan.grid.spacing_mm, plan.shape) == (3, 1.0, (40, 56, 40))


def test_a_bad_image_is_named(tmp_path):
    write(tmp_path / "a.nrrd", (40, 40, 40), (1.0, 1.0, 1.0))
    (tmp_path / "b.nrrd").write_bytes(b"no")
    with pytest.raises(InputError, match=r"b\.nrrd"):
        plan_settings(str(tmp_path), "mine")


def test_volumes_of_several_orientations_are_turned_to_that_of_most(tmp_path):
    write(tmp_path / "a.nrrd", (36, 50, 30), (1.0, 1.0, 1.0))
    for name, orientation in (("b", "SLA"), ("c", "SLA")):
        image = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "a.nrrd")), orientation)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    plan = plan_settings(str(tmp_path), "mine")
    assert plan.grid.orientation == "SLA"
    assert plan.shape == (56, 32, 40)  # the axes of all three alike
