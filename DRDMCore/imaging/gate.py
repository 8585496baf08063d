"""What a volume must be before anything is done with it; each refusal is named."""

from __future__ import annotations

import numpy as np

from DRDMCore.errors import InputError
from DRDMCore.imaging.geometry import Geometry, describe_defect

_LABEL_TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)


def require_usable_grid(geometry: Geometry, title: str) -> None:
    """Raise `InputError` for a sheared or singular grid, or one of a single line of voxels."""
    defect = describe_defect(geometry)
    if defect:
        raise InputError(
            f"The geometry of {title} cannot be used, {defect}: "
            "resample it to a grid with orthogonal axes first."
        )
    thin = sum(count == 1 for count in geometry.size)
    if thin > geometry.dimension - 2:
        raise InputError(
            f"{title} must have at least two axes of more than one voxel, got size "
            f"{geometry.size}: give a whole slice or volume."
        )


def require_image_values(array: np.ndarray, title: str) -> None:
    """Raise `InputError` for voxels that are not finite, or an image of one value."""
    require_finite(array, title)
    low, high = array.min(), array.max()
    if low == high:
        raise InputError(
            f"{title} must show something, but every voxel is {low}: choose another image."
        )


def require_finite(array: np.ndarray, title: str) -> None:
    """Raise `InputError` saying how many numbers are NaN or infinite, and where the first is."""
    if array.dtype.kind != "f":
        return
    wrong = ~np.isfinite(array)
    count = int(np.count_nonzero(wrong))
    if count:
        first = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), array.shape))
        raise InputError(
            f"{title} must hold finite numbers, but {count} of {array.size} are NaN or infinite, "
            f"the first at array index {first}: mask or fill them first."
        )


def whole_labels(array: np.ndarray, title: str) -> np.ndarray:
    """Labels as integers; floating-point labels are accepted if all are whole numbers.

    Raises:
        InputError: If a value is not a whole number.
    """
    if array.dtype.kind in "iu":
        return array
    require_finite(array, title)
    broken = array != np.round(array)
    if broken.any():
        example = array.reshape(-1)[int(broken.argmax())]
        raise InputError(
            f"Labels must be whole numbers, but {int(broken.sum())} voxels of {title} are not "
            f"(such as {example}): give a label map, not an image or a probability map."
        )
    return array.astype(_smallest_type(float(array.min()), float(array.max()), title))


def _smallest_type(low: float, high: float, title: str) -> type[np.integer]:
    """The smallest integer type that holds the range."""
    for kind in _LABEL_TYPES:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return kind
    raise InputError(f"Labels must fit 64-bit integers, but {title} has {low} to {high}.")
