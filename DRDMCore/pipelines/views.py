"""Which slices of a patient to show, and which way up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from DRDMCore.imaging.geometry import Geometry

_STACK_RATIO = 2.0  # slices thicker than this many pixels are shown one by one


@dataclass(frozen=True)
class View:
    """Which slice of a volume to show, and how to turn it.

    Attributes:
        name: `axial`, `coronal`, `sagittal`, or `image` in 2D.
        normal: Array axis across the slice; -1 in 2D.
        index: Number of the slice along `normal`.
        axes: Array axes that run down and to the right.
        flips: Whether each of them is turned round.
        top: Side of the patient at the top, one of L R P A S I.
        left: Side of the patient at the left.
        box: First and last-but-one row and column to show, after turning; None shows all.
    """

    name: str
    normal: int
    index: int
    axes: tuple[int, int]
    flips: tuple[bool, bool]
    top: str
    left: str
    box: tuple[tuple[int, int], tuple[int, int]] | None = None

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The slice `(rows, columns)` of a `(*S)` array."""
        plane = array if self.normal < 0 else np.take(array, self.index, axis=self.normal)
        if self.axes[0] > self.axes[1]:
            plane = plane.T
        flipped = tuple(axis for axis in (0, 1) if self.flips[axis])
        turned = np.flip(plane, flipped)
        if self.box is not None:
            turned = turned[slice(*self.box[0]), slice(*self.box[1])]
        return np.ascontiguousarray(turned)

    def cut_field(self, ddf: np.ndarray) -> np.ndarray:
        """The in-plane part `(2, rows, columns)` of a `(D, *S)` field, turned along with it."""
        signs = [-1 if flip else 1 for flip in self.flips]
        return np.stack([s * self.cut(ddf[a]) for s, a in zip(signs, self.axes, strict=True)])

    def spacing(self, geometry: Geometry) -> tuple[float, float]:
        """Voxel size down and to the right, mm."""
        return geometry.spacing_zyx[self.axes[0]], geometry.spacing_zyx[self.axes[1]]

    def extent_mm(self, geometry: Geometry) -> tuple[float, float]:
        """Height and width of what is shown, mm."""
        rows, columns = (geometry.shape[axis] for axis in self.axes)
        if self.box is not None:
            rows, columns = (stop - start for start, stop in self.box)
        spacing = self.spacing(geometry)
        return rows * spacing[0], columns * spacing[1]


def choose_views(geometry: Geometry, labels: np.ndarray | None = None) -> list[View]:
    """Slices that show a volume best, as radiologists look at them.

    Nearly isotropic volumes: axial, coronal and sagittal through the centre of the labels (of the
    image without). Stacks of thick slices: up to three slices. 2D: the image. Where the labels
    are small, the views show them and as much around them.

    Args:
        geometry: The grid.
        labels: `(*S)` label map, or None.

    Returns:
        One to three views; the head, or else the front of the patient, is up, and the patient's
        right on the left, as far as the geometry knows.
    """
    if labels is None or not np.any(labels):
        return _whole_views(geometry, None)
    mask = labels != 0
    return [_zoomed(view, geometry, mask) for view in _whole_views(geometry, mask)]


def _whole_views(geometry: Geometry, mask: np.ndarray | None) -> list[View]:
    """The slices to show, uncut."""
    if geometry.dimension == 2:
        return [_view(geometry, -1, 0)]
    axis = _stack_axis(geometry)
    if axis is not None:
        return [_view(geometry, axis, index) for index in _spread(geometry.shape[axis], axis, mask)]
    order = [int(axis) for axis in np.argsort(_patient_axes(geometry))[::-1]]
    return [_view(geometry, axis, _centre(geometry.shape[axis], axis, mask)) for axis in order]


def _zoomed(view: View, geometry: Geometry, mask: np.ndarray) -> View:
    """Show twice the extent of the mask over all slices, if that is much less than the slice."""
    if view.normal < 0:
        shadow = view.cut(mask)
    else:
        flat = np.max(mask, axis=view.normal, keepdims=True)
        shadow = replace(view, index=0).cut(flat)
    spacing = view.spacing(geometry)
    found = [np.flatnonzero(shadow.any(axis)) for axis in (1, 0)]
    sides = [(f[-1] + 1 - f[0]) * s for f, s in zip(found, spacing, strict=True)]
    wanted = 2 * max(sides)
    if wanted > 0.75 * max(view.extent_mm(geometry)):
        return view
    rows, columns = (
        _interval(f, round(wanted / s), n)
        for f, s, n in zip(found, spacing, shadow.shape, strict=True)
    )
    return replace(view, box=(rows, columns))


def _interval(found: np.ndarray, wanted: int, count: int) -> tuple[int, int]:
    """`wanted` voxels around those found, moved into `0 .. count`."""
    wanted = min(wanted, count)
    start = int(found[0] + found[-1] + 1 - wanted) // 2
    start = min(max(start, 0), count - wanted)
    return start, start + wanted


def _stack_axis(geometry: Geometry) -> int | None:
    """The array axis across thick or very few slices, or None."""
    spacing, shape = np.array(geometry.spacing_zyx), np.array(geometry.shape)
    if spacing.max() > _STACK_RATIO * np.median(spacing):
        return int(np.argmax(spacing))
    return int(np.argmin(shape)) if shape.min() < 8 else None


def _patient_axes(geometry: Geometry) -> list[int]:
    """For each array axis the axis of the patient (0 L, 1 P, 2 S) that it follows most."""
    size = np.abs(geometry.matrix[:, ::-1]).copy()
    order = [0] * geometry.dimension
    for _ in order:
        patient, axis = np.unravel_index(np.argmax(size), size.shape)
        order[int(axis)] = int(patient)
        size[patient, :] = size[:, axis] = -1
    return order


def _view(geometry: Geometry, normal: int, index: int) -> View:
    """Turn a slice so that S (or A) is up and R (or A) is left."""
    order = _patient_axes(geometry)
    free = [axis for axis in range(geometry.dimension) if axis != normal]
    # Down: S before P before L; so the axis left over for the columns is L, or P in sagittal.
    down, right = sorted(free, key=lambda axis: order[axis], reverse=True)
    signs = [geometry.matrix[order[a], geometry.dimension - 1 - a] < 0 for a in (down, right)]
    # Patient axes point to L, P and S: rows shall run to P and to I, columns to L and to P.
    flips = (bool(signs[0]) != (order[down] == 2), bool(signs[1]))
    name = "image" if normal < 0 else ("sagittal", "coronal", "axial")[order[normal]]
    top, left = ("R", "A", "S")[order[down]], ("R", "A")[order[right]]
    return View(name, normal, index, (down, right), flips, top, left)


def _centre(count: int, axis: int, mask: np.ndarray | None) -> int:
    """The slice at the centre of the mask, or the nearest one that meets it."""
    if mask is None:
        return count // 2
    area = mask.sum(tuple(a for a in range(mask.ndim) if a != axis))
    centre = float(area @ np.arange(count) / area.sum())
    filled = np.flatnonzero(area)
    return int(filled[np.argmin(np.abs(filled - centre))])


def _spread(count: int, axis: int, mask: np.ndarray | None) -> list[int]:
    """Up to three slices at the quarters of the mask's extent."""
    filled = np.arange(count)
    if mask is not None:
        filled = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
    picks = np.quantile(filled, (0.25, 0.5, 0.75), method="nearest")
    return sorted({int(pick) for pick in picks})
