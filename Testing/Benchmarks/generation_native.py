"""A field applied to an image and its labels at native resolution, against SimpleITK alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from DRDMCore.fields import RandomFieldSettings, random_fields
from DRDMCore.imaging import DisplacementField, Volume, field_from_ddf, field_transform
from DRDMCore.imaging.geometry import Geometry
from DRDMCore.pipelines.moving import pulled
from DRDMCore.pipelines.settings import SamplingSettings
from Testing.Benchmarks.generation_cases import volumes

SHAPE = (200, 256, 256)
_SPACING_MM = 1.0


def inputs(shape: tuple[int, ...], seed: int) -> tuple[Volume, Volume, DisplacementField]:
    """An image with its labels and a smooth field on their grid."""
    import torch

    image, labels = volumes("torso-3d", shape, _SPACING_MM)
    generator = torch.Generator().manual_seed(seed)
    settings = RandomFieldSettings(control_spacing=8.0)
    ddf = random_fields(shape, [60], [generator], settings).ddf
    return image, labels, field_from_ddf(ddf[0].numpy(), image.geometry)


def jobs(
    image: Volume, labels: Volume, field: DisplacementField
) -> dict[str, Callable[[], tuple[np.ndarray, ...]]]:
    """The same work twice: our way, and as a program with SimpleITK alone does it."""
    settings = SamplingSettings()

    def ours() -> tuple[np.ndarray, ...]:
        transform = field_transform(field)
        return tuple(pulled(each, field, settings, transform).array for each in (image, labels))

    return {"ours": ours, "SimpleITK alone": lambda: with_itk_alone(image, labels, field)}


def with_itk_alone(
    image: Volume, labels: Volume, field: DisplacementField
) -> tuple[np.ndarray, np.ndarray]:
    """Arrays in, arrays out: one transform, then image and labels through one resampler each."""
    vectors = sitk.GetImageFromArray(field.vectors_mm_lps.astype(np.float64), isVector=True)
    transform = sitk.DisplacementFieldTransform(_placed(vectors, field.geometry))
    moved = []
    for volume, method in ((image, sitk.sitkLinear), (labels, sitk.sitkNearestNeighbor)):
        source = volume.array.astype(np.float32) if volume.kind == "image" else volume.array
        still = _placed(sitk.GetImageFromArray(source), volume.geometry)
        resampler = sitk.ResampleImageFilter()
        resampler.SetReferenceImage(still)
        resampler.SetTransform(transform)
        resampler.SetInterpolator(method)
        resampler.SetUseNearestNeighborExtrapolator(True)
        array = sitk.GetArrayFromImage(resampler.Execute(still))
        moved.append(np.rint(array).astype(volume.array.dtype))
    return moved[0], moved[1]


def _placed(image: sitk.Image, geometry: Geometry) -> sitk.Image:
    """The image at its place."""
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    return image
