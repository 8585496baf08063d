"""Field files: written, read by SimpleITK alone, and applied again by its resampler."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from DRDMCore.fields import random_field_of_mean
from DRDMCore.fields.random_field import RandomFieldSettings
from DRDMCore.imaging import Geometry, Volume, apply_field, field_from_ddf, to_sitk, write_field
from Testing.Benchmarks.accuracy_row import Row, at_most

FORMATS = (".nrrd", ".h5", ".nii.gz", ".mha")
SEEDS = range(3)


def roundtrip_rows() -> Iterator[Row]:
    """Worst error per format over random oblique, anisotropic geometries."""
    for ending in FORMATS:
        image_error, mismatches = 0.0, 0
        for seed in SEEDS:
            one, wrong = _roundtrip(seed, ending)
            image_error, mismatches = max(image_error, one), mismatches + wrong
        what = f"`{ending}` field applied by SimpleITK"
        yield at_most(f"{what}: image error / range, max of {len(SEEDS)}", image_error, 1e-3)
        yield at_most(f"{what}: labels that differ", mismatches, 0)


def _geometry(generator: np.random.Generator) -> Geometry:
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Geometry(
        size=tuple(int(n) for n in generator.integers(18, 34, 3)),
        spacing_mm=tuple(float(s) for s in generator.uniform(0.7, 3.0, 3)),
        origin_mm=tuple(float(o) for o in generator.uniform(-200, 200, 3)),
        direction=tuple(float(d) for d in rotation.ravel()),
    )


def _roundtrip(seed: int, ending: str) -> tuple[float, int]:
    """Error of the image over its range, and labels that differ."""
    generator = np.random.default_rng(seed)
    geometry = _geometry(generator)
    array = generator.normal(size=geometry.shape).astype(np.float32)
    image = Volume(array, geometry, "image")
    labels = Volume(generator.integers(0, 5, geometry.shape).astype(np.uint8), geometry, "labels")
    ddf = random_field_of_mean(
        geometry.shape,
        3.0,
        torch.Generator().manual_seed(seed),
        RandomFieldSettings(),
        spacing=geometry.spacing_zyx,
    )
    field = field_from_ddf(ddf[0].numpy(), geometry)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"field{ending}"
        write_field(field, path)
        transform = _read_by_itk(path)
    errors = []
    for volume, method in ((image, sitk.sitkLinear), (labels, sitk.sitkNearestNeighbor)):
        moved = _apply_by_itk(volume, transform, method)
        errors.append(np.abs(moved.astype(float) - apply_field(volume, field).array))
    return float(errors[0].max() / np.ptp(array)), int((errors[1] > 0).sum())


def _read_by_itk(path: Path) -> sitk.Transform:
    if path.suffix == ".h5":
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def _apply_by_itk(volume: Volume, transform: sitk.Transform, method: int) -> np.ndarray:
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(to_sitk(volume))
    resampler.SetTransform(transform)
    resampler.SetInterpolator(method)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(resampler.Execute(to_sitk(volume)))
