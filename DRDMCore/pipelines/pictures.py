"""Pictures of slices, deformed grids and determinants, with Pillow and NumPy only.

A picture is drawn to millimetres: `scale` is screen pixels per mm, so voxels that are not square
come out in true proportion. Rows of an array run down, columns to the right (`views.py` brings a
slice of a patient into that order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]

COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 190, 138),
    (240, 228, 66),
    (204, 121, 167),
    (230, 110, 30),
    (70, 130, 220),
)
"""Label colours that people with any colour vision can tell apart (after Okabe and Ito)."""

FOLDED_COLOUR: Colour = (20, 20, 20)
"""Marks voxels at which the field folds."""

_DIVERGING = np.array(
    [(33, 102, 172), (146, 197, 222), (248, 248, 248), (244, 165, 130), (178, 24, 43)], float
)
_DETERMINANT_DOUBLINGS = 1.0  # the ends of the colour scale: 1/2 and 2
_GRID_COLOUR = np.array((255, 196, 61), float)


def window_of(image: np.ndarray) -> tuple[float, float]:
    """Intensities to show as black and white: the 1st and 99.5th percentile."""
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (1, 99.5)))
    return (low, high) if high > low else (low, low + 1)


def label_colours(values: Sequence[int]) -> dict[int, Colour]:
    """A colour for each label value but 0; after seven they repeat."""
    kept = sorted({int(value) for value in values} - {0})
    return {value: COLOURS[i % len(COLOURS)] for i, value in enumerate(kept)}


def render_slice(
    image: np.ndarray,
    window: tuple[float, float],
    labels: np.ndarray | None = None,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    scale: float = 4.0,
    colours: Mapping[int, Colour] | None = None,
) -> Image.Image:
    """Draw a slice in grey, with the outlines of its labels in colour.

    Args:
        image: `(rows, columns)` intensities.
        window: Intensities shown as black and white.
        labels: `(rows, columns)` label map, or None.
        spacing: mm per row and column.
        scale: Screen pixels per mm.
        colours: Colour per label value; by default those of `label_colours`.

    Returns:
        RGB picture of the slice's size in mm times `scale`.

    Raises:
        ValueError: If `labels` does not have the shape of `image`.
    """
    if labels is not None and labels.shape != image.shape:
        raise ValueError(
            f"`labels` must have the shape of `image` {image.shape}, got {labels.shape}."
        )
    rgb = _grey(image, window, _size(image.shape, spacing, scale))
    if labels is not None:
        rgb = _outlined(rgb, labels, colours or label_colours(np.unique(labels).tolist()))
    return _picture(rgb)


def render_grid(
    ddf: np.ndarray,
    image: np.ndarray,
    window: tuple[float, float],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    scale: float = 4.0,
    step_mm: float | None = None,
) -> Image.Image:
    """Draw what a square grid on the original looks like after the deformation.

    Args:
        ddf: `(2, rows, columns)` in-plane displacement, voxels, pulling.
        image: `(rows, columns)` deformed image to lay under the grid, dimmed.
        window: Intensities shown as black and white.
        spacing: mm per row and column.
        scale: Screen pixels per mm.
        step_mm: Distance of the grid lines; by default a 20th of the longer side.

    Raises:
        ValueError: If `ddf` is not a 2D field on the grid of `image`.
    """
    if ddf.shape != (2, *image.shape):
        raise ValueError(f"`ddf` must have shape {(2, *image.shape)}, got {ddf.shape}.")
    size = _size(image.shape, spacing, scale)
    step = step_mm or max(n * s for n, s in zip(image.shape, spacing, strict=True)) / 20
    rgb = 0.55 * _grey(image, window, size)
    shown = np.zeros(size)
    for axis in (0, 1):
        sources = np.indices(image.shape)[axis] + ddf[axis]
        shown = np.maximum(shown, _lines(_enlarge(sources * (spacing[axis] / step), size)))
    return _picture(rgb + shown[..., None] * (_GRID_COLOUR - rgb))


def render_jacobian(
    determinant: np.ndarray,
    folded: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    scale: float = 4.0,
) -> Image.Image:
    """Draw det J: white at 1, blue below, red above (doubling scale, ends at 1/2 and 2).

    Args:
        determinant: `(rows, columns)` det J.
        folded: `(rows, columns)` booleans, marked dark; by default where det J <= 0.
        labels: `(rows, columns)` label map whose outlines are drawn in grey, or None.
        spacing: mm per row and column.
        scale: Screen pixels per mm.
    """
    size = _size(determinant.shape, spacing, scale)
    marked = determinant <= 0 if folded is None else folded
    smooth = _enlarge(np.log2(np.clip(determinant, 1e-3, 1e3)), size)
    rgb = _diverging(smooth / _DETERMINANT_DOUBLINGS)
    rgb[_enlarge(marked.astype(float), size, Image.Resampling.NEAREST) > 0.5] = FOLDED_COLOUR
    if labels is not None:
        for value in _shown(labels):
            edge = _edge(_region(labels, value, size), 1)
            rgb[edge] = 0.4 * rgb[edge]
    return _picture(rgb)


def render_bar(width: int, height: int) -> Image.Image:
    """The colour bar of `render_jacobian`, from 1/2 on the left to 2 on the right."""
    ramp = np.broadcast_to(np.linspace(-1, 1, width), (height, width))
    return _picture(_diverging(ramp))


def montage(
    pictures: Sequence[Image.Image],
    columns: int,
    gap: int = 6,
    background: Colour = (24, 24, 24),
) -> Image.Image:
    """Lay pictures out in rows, each centred in a cell of the largest size."""
    cell_w = max(picture.width for picture in pictures)
    cell_h = max(picture.height for picture in pictures)
    rows = -(-len(pictures) // columns)
    across = columns * (cell_w + gap) + gap
    sheet = Image.new("RGB", (across, rows * (cell_h + gap) + gap), background)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        left = gap + column * (cell_w + gap) + (cell_w - picture.width) // 2
        sheet.paste(picture, (left, gap + row * (cell_h + gap) + (cell_h - picture.height) // 2))
    return sheet


def _size(shape: tuple[int, ...], spacing: tuple[float, float], scale: float) -> tuple[int, int]:
    """Rows and columns of the picture."""
    rows, columns = (max(1, round(n * s * scale)) for n, s in zip(shape, spacing, strict=True))
    return rows, columns


def _enlarge(
    array: np.ndarray,
    size: tuple[int, int],
    how: Image.Resampling = Image.Resampling.BILINEAR,
) -> np.ndarray:
    """Resize over the same field of view: voxel borders stay voxel borders."""
    picture = Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(picture.resize(size[::-1], how), dtype=np.float64)


def _grey(image: np.ndarray, window: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """Grey `(rows, columns, 3)`, 0 to 255."""
    low, high = window
    level = np.clip((np.nan_to_num(image.astype(np.float64), nan=low) - low) / (high - low), 0, 1)
    grey = np.clip(255 * _enlarge(level, size, Image.Resampling.BICUBIC), 0, 255)
    return np.repeat(grey[..., None], 3, axis=-1)


def _outlined(rgb: np.ndarray, labels: np.ndarray, colours: Mapping[int, Colour]) -> np.ndarray:
    """Draw outlines two pixels wide inside each label, on a dark rim that sets them off."""
    regions = {v: _region(labels, v, rgb.shape[:2]) for v in _shown(labels) if v in colours}
    for region in regions.values():
        rgb[_edge(~region, 1)] *= 0.45
    for value, region in regions.items():
        rgb[_edge(region, 2)] = colours[value]
    return rgb


def _shown(labels: np.ndarray) -> list[int]:
    """Label values in a slice but 0."""
    return [int(value) for value in np.unique(labels) if value != 0]


def _region(labels: np.ndarray, value: int, size: tuple[int, ...]) -> np.ndarray:
    """The label on the screen; linear interpolation rounds the stairs of its voxels."""
    return _enlarge((labels == value).astype(np.float32), (size[0], size[1])) > 0.5


def _edge(region: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the region that lie at most `width` from its outside (not from the frame)."""
    core = region
    for _ in range(width):
        padded = np.pad(core, 1, mode="edge")
        core = (
            padded[1:-1, 1:-1]
            & padded[:-2, 1:-1]
            & padded[2:, 1:-1]
            & padded[1:-1, :-2]
            & padded[1:-1, 2:]
        )
    return region & ~core


def _lines(phase: np.ndarray) -> np.ndarray:
    """Opacity of smooth thin lines where `phase` is a whole number and a half."""
    slope = np.hypot(*np.gradient(phase)) if min(phase.shape) > 1 else np.ones_like(phase)
    distance = np.abs(phase - np.floor(phase) - 0.5) / np.maximum(slope, 1e-6)
    return np.clip(1.25 - distance, 0, 1)


def _diverging(value: np.ndarray) -> np.ndarray:
    """Colours `(..., 3)` from blue at -1 over white to red at 1."""
    stops = np.linspace(-1, 1, len(_DIVERGING))
    return np.stack([np.interp(value, stops, _DIVERGING[:, c]) for c in range(3)], axis=-1)


def _picture(rgb: np.ndarray) -> Image.Image:
    """Pillow's picture of `(rows, columns, 3)`, 0 to 255."""
    return Image.fromarray(np.rint(rgb).astype(np.uint8))
