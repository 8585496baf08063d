"""Fields between labelled subjects: a registration of their images by diffeomorphic demons."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from Testing.Experiments.few_shot.subjects import Example

_SHRINKS = (4, 2, 1)
_ITERATIONS = (60, 40, 20)
_SMOOTHING = 1.5  # voxels of each level


def registered(moving: Example, fixed: Example) -> np.ndarray:
    """The field that makes one subject look like another: `fixed(x)` is near `moving(x + u(x))`.

    Args:
        moving: The subject to be deformed.
        fixed: What it should look like.

    Returns:
        `(D, *S)` displacement, voxels of their common grid.
    """
    still, other = (sitk.GetImageFromArray(each.image) for each in (fixed, moving))
    other = sitk.HistogramMatching(other, still, 128, 7, True)
    field: sitk.Image | None = None
    for shrink, iterations in zip(_SHRINKS, _ITERATIONS, strict=True):
        coarse_still, coarse_other = (_shrunk(each, shrink) for each in (still, other))
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(_SMOOTHING)
        demons.SetNumberOfThreads(1)
        if field is None:
            field = demons.Execute(coarse_still, coarse_other)
        else:
            begin = sitk.Resample(field, coarse_still, sitk.Transform(), sitk.sitkLinear, 0.0)
            field = demons.Execute(coarse_still, coarse_other, begin)
    assert field is not None
    vectors = sitk.GetArrayFromImage(field)  # the grid has unit spacing: mm are voxels
    return np.moveaxis(vectors[..., ::-1], -1, 0).astype(np.float32)


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    """The image on a coarser grid, smoothed before."""
    if factor == 1:
        return image
    smooth = sitk.SmoothingRecursiveGaussian(image, 0.5 * factor)
    return sitk.Shrink(smooth, [factor] * image.GetDimension())
