"""Samples made stronger or weaker: exact where nothing folds, free of folds where it would."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from DRDMCore.errors import InputError
from DRDMCore.fields import RandomFieldSettings, folded, unfold
from DRDMCore.imaging import (
    DisplacementField,
    Geometry,
    Volume,
    ddf_from_field,
    field_from_ddf,
    read_field,
    read_image,
    write_field,
)
from DRDMCore.pipelines.amplitude import LARGEST, on_grid_of, scaled
from DRDMCore.pipelines.generate import generate
from DRDMCore.pipelines.model_fields import border_window
from DRDMCore.pipelines.moving import moved
from DRDMCore.pipelines.quality import measure
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.recovery import deform


def geometry_of_shape(shape: tuple[int, ...]) -> Geometry:
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    return Geometry(shape[::-1], (1.5, 2.0, 3.0), (5.0, -7.0, 11.0), tuple(turn.ravel().tolist()))


def folds(field: DisplacementField) -> int:
    return int(folded(torch.from_numpy(ddf_from_field(field))[None]).sum())


def wave(shape: tuple[int, ...], steepness: float, *, axes=(0, 1, 2)) -> DisplacementField:
    """A wave along each axis whose slope is `-steepness` at its steepest; 0 at the border."""
    grids = np.meshgrid(*(np.linspace(0, np.pi, n) for n in shape), indexing="ij")
    window = np.prod([np.sin(grid) for grid in grids], axis=0)
    ddf = np.zeros((3, *shape), dtype=np.float32)
    for axis in axes:
        step = np.pi / (shape[axis] - 1)
        ddf[axis] = steepness / (4 * step) * np.sin(4 * grids[axis]) * window
    for axis in range(3):
        for index in (0, -1):
            np.moveaxis(ddf, axis + 1, 1)[:, index] = 0
    return field_from_ddf(ddf, geometry_of_shape(shape))


def test_where_nothing_folds_it_is_the_plain_product():
    field = wave((20, 18, 16), 0.4)
    for amplitude in (0.0, 0.6, 1.4):
        result, changed = scaled(field, amplitude)
        assert changed == 0 and result.geometry == field.geometry
        wanted = field.vectors_mm_lps * np.float32(amplitude)
        assert np.array_equal(result.vectors_mm_lps, wanted)
    assert scaled(field, 1)[0] is field


@pytest.mark.parametrize("steepness", [0.9, 1.5, 3.0])
def test_no_folds_at_any_amplitude(steepness):
    field = wave((24, 20, 18), steepness)
    plain = DisplacementField(field.vectors_mm_lps * np.float32(LARGEST), field.geometry)
    assert folds(plain) > 0
    result, changed = scaled(field, LARGEST)
    assert folds(result) == 0 and changed > 0
    inner = tuple(slice(1, -1) for _ in range(3))
    border = np.ones(field.geometry.shape, bool)
    border[inner] = False
    assert not result.vectors_mm_lps[border].any()
    # Smoothing takes away what folds, not the deformation.
    assert np.abs(result.vectors_mm_lps).mean() > 0.3 * np.abs(field.vectors_mm_lps).mean()


@pytest.mark.parametrize("seed", range(3))
def test_strong_random_fields_at_150_percent_do_not_fold(seed):
    shape = (30, 26, 22)
    generator = torch.Generator().manual_seed(seed)
    settings = RandomFieldSettings(control_spacing=3.0, velocity_sd=0.1)
    window = border_window(shape, SamplingSettings())
    ddf = deform(torch.zeros(1, 1, *shape), 79, generator, settings, window=window).ddf
    repaired = field_from_ddf(unfold(ddf).ddf[0].numpy(), geometry_of_shape(shape))
    assert folds(repaired) == 0
    field = repaired
    result, _ = scaled(field, LARGEST)
    assert folds(result) == 0


def test_a_stack_of_slices_stays_one():
    field = wave((12, 24, 20), 3.0, axes=(1, 2))
    steps = np.float32([1] * 12)
    steps[6:] = 0  # neighbouring slices move differently, which is no fold
    vectors = field.vectors_mm_lps * steps[:, None, None, None]
    result, changed = scaled(DisplacementField(vectors, field.geometry), LARGEST)
    assert changed > 0 and folds(result) == 0
    assert not result.vectors_mm_lps[6:].any()
    assert np.abs(ddf_from_field(result)[0]).max() < 1e-5


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha", ".h5"])
def test_from_a_file_it_is_the_same_bit_for_bit(ending, tmp_path):
    field = wave((22, 20, 18), 1.5)
    image = Volume(np.zeros(field.geometry.shape, np.float32), field.geometry)
    path = tmp_path / f"field{ending}"
    write_field(field, path)
    read = on_grid_of(image, read_field(path), path.name)
    for amplitude in (0.6, 1.4):
        a, b = scaled(field, amplitude)[0], scaled(read, amplitude)[0]
        assert np.array_equal(a.vectors_mm_lps, b.vectors_mm_lps) and a.geometry == b.geometry


@pytest.mark.parametrize("amplitude", [-0.1, 1.51, float("nan"), float("inf")])
def test_other_amplitudes_are_refused(amplitude):
    with pytest.raises(InputError, match=r"`amplitude` must lie in 0 \.\. 1\.5"):
        scaled(wave((8, 8, 8), 0.1), amplitude)


def test_field_of_another_grid_is_refused():
    field = wave((10, 9, 8), 0.2)
    other = geometry_of_shape((10, 9, 9))
    with pytest.raises(InputError, match=r"same grid, but have size \(9, 9, 10\)"):
        on_grid_of(Volume(np.zeros(other.shape, np.float32), other), field, "f.nrrd")
    flat = Geometry((8, 9), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    with pytest.raises(InputError, match="2 and 3 axes"):
        on_grid_of(Volume(np.zeros(flat.shape, np.float32), flat), field, "f.nrrd")


def test_quality_of_nothing_moved_is_json(make_job):
    job = make_job(3, mean_mm=2.0)
    entry = generate(job)["samples"][0]
    image = read_image(job.image)
    field, _ = scaled(on_grid_of(image, read_field(job.out / entry["field"]), ""), 0)
    result = moved(image, None, field, SamplingSettings())
    assert np.array_equal(result.image.array, image.array)
    text = json.dumps(result.quality, allow_nan=False)
    assert json.loads(text)["displacement_mm"]["max"] == 0
    still = measure(np.zeros((3, 6, 5, 4), np.float32), (1.0, 1.0, 1.0))
    json.dumps(still, allow_nan=False)
