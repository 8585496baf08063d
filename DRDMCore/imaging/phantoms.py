"""Procedural phantoms: a random population of anatomies, one subject per seed.

A subject is drawn as implicit shapes (distances in mm, positive inside) that are painted over one
another with soft edges. Shapes are ellipse-like with small smooth variation, because a network is
to learn from them what is plausible; the layers of the body wall, ribs, vertebrae and the texture
inside the tissues let it see a deformation everywhere. Nothing here is a model of a real person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from DRDMCore.errors import InputError
from DRDMCore.imaging.geometry import Geometry
from DRDMCore.imaging.phantom_shapes import (
    Array,
    Canvas,
    blob,
    cloud,
    posed,
    texture_of,
    threads,
    vary,
)
from DRDMCore.imaging.volume import Volume

HEART_LABELS = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
TORSO_LABELS = {1: "left lung", 2: "right lung", 3: "heart", 4: "liver", 5: "spine"}


@dataclass(frozen=True)
class Recipe:
    """How one kind of phantom is made.

    Attributes:
        shape: Default voxels per axis, array order.
        field_of_view_mm: Side lengths, array order; kept when another shape is asked for.
        label_names: Name of each label value.
        draw: Paints a subject on a canvas with the given random numbers.
    """

    shape: tuple[int, ...]
    field_of_view_mm: tuple[float, ...]
    label_names: dict[int, str]
    draw: Callable[[Canvas, np.random.Generator], Array]


def phantom(kind: str, seed: int, *, shape: tuple[int, ...] | None = None) -> tuple[Volume, Volume]:
    """Make one subject of a random population.

    The same kind, seed and shape give the same bits.

    Args:
        kind: One of `PHANTOMS`: `heart-2d` (like a cardiac short-axis MR slice, 128 x 128 of
            1.5 mm, 0 to about 1000) or `torso-3d` (like a chest CT, 64 x 80 x 80 of 4 mm, HU).
        seed: Number of the subject, >= 0.
        shape: Voxels per axis in array order, each >= 8. The field of view stays the same, so
            the spacing changes. Default: as above.

    Returns:
        Image (int16) and labels (uint8), in LPS with the centre of the field of view at 0.

    Raises:
        InputError: If the kind is unknown, the seed negative or the shape unsuitable.
    """
    recipe = _recipe(kind)
    shape = _checked_shape(recipe, shape)
    if seed < 0:
        raise InputError(f"seed must be 0 or more, got {seed}: choose another number.")
    rng = np.random.default_rng(seed)
    canvas, spacing = _blank(recipe, shape)
    image = np.rint(recipe.draw(canvas, rng)).astype(np.int16)
    labels = _without_crumbs(canvas.labels)
    geometry = Geometry(
        size=shape[::-1],
        spacing_mm=spacing[::-1],
        origin_mm=tuple(-(n - 1) / 2 * s for n, s in zip(shape[::-1], spacing[::-1], strict=True)),
        direction=tuple(np.eye(len(shape)).ravel().tolist()),
    )
    return (
        Volume(image, geometry, kind="image"),
        Volume(labels, geometry, kind="labels", label_names=dict(recipe.label_names)),
    )


def _recipe(kind: str) -> Recipe:
    """The recipe called `kind`."""
    if kind not in PHANTOMS:
        raise InputError(f"kind must be one of {', '.join(PHANTOMS)}, got {kind!r}: choose one.")
    return PHANTOMS[kind]


def _checked_shape(recipe: Recipe, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape asked for, or the default."""
    if shape is None:
        return recipe.shape
    if len(shape) != len(recipe.shape) or min(shape) < 8:
        raise InputError(
            f"shape must be {len(recipe.shape)} numbers of 8 or more, got {tuple(shape)}: "
            "give voxels per axis in array order."
        )
    return tuple(int(n) for n in shape)


def _blank(recipe: Recipe, shape: tuple[int, ...]) -> tuple[Canvas, tuple[float, ...]]:
    """An empty canvas over the field of view, and its spacing in mm (array order)."""
    spacing = tuple(f / n for f, n in zip(recipe.field_of_view_mm, shape, strict=True))
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    edge = 0.4 * float(np.mean(spacing))
    return (
        Canvas(points, np.zeros(shape, np.float32), np.zeros(shape, np.uint8), edge),
        spacing,
    )


def _without_crumbs(labels: Array) -> Array:
    """Keep the largest part of each label: the tip of a thin edge may come off in voxels."""
    kept = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        parts = sitk.ConnectedComponent(sitk.GetImageFromArray((labels == value).astype(np.uint8)))
        # A copy: a view of an image that nobody holds is memory given back.
        kept[sitk.GetArrayFromImage(sitk.RelabelComponent(parts)) == 1] = value
    return kept


# The heart --------------------------------------------------------------------------------------


def _draw_heart(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Paint a short-axis slice; returns the finished intensities."""
    shape = canvas.image.shape
    points = posed(rng, canvas.points, 3.0, 1.5)
    texture = texture_of(rng, shape)
    _draw_chest(canvas, rng, points, texture)
    _draw_ventricles(canvas, rng, points, texture)
    shading = 1 + 0.12 * cloud(rng, shape, 0.7 * shape[-1])
    return _rician(rng, canvas.image * np.clip(shading, 0.6, 1.5), 14.0)


def _draw_chest(canvas: Canvas, rng: np.random.Generator, points: Array, texture: Array) -> None:
    """Body wall in layers, lungs, liver, spine and aorta."""
    body = blob(rng, points, (2, 0), (vary(rng, 77, 2.0), vary(rng, 85, 2.0)), 0.012)
    fat, muscle = vary(rng, 7, 1.2), vary(rng, 7, 0.8)
    canvas.paint(body, 330.0)
    canvas.paint(body - 1.8, vary(rng, 860, 40) + 30 * texture)
    canvas.paint(body - fat, vary(rng, 300, 20) + 25 * texture)
    canvas.paint(body - fat - 0.5 * muscle, 420 + 25 * texture)
    canvas.paint(body - fat - muscle, 280 + 25 * texture)
    cavity = body - fat - muscle - 4
    spots = np.clip(cloud(rng, canvas.image.shape, canvas.image.shape[-1] / 32) - 1, 0, 1)
    for side in (-1, 1):
        lung = blob(rng, points, (6, side * 46), (vary(rng, 62, 3), vary(rng, 40, 2)), 0.03)
        canvas.paint(np.minimum(lung, cavity), 70 + 220 * spots + 15 * texture)
    liver = blob(rng, points, (vary(rng, 48, 2.5), -46), (28, vary(rng, 44, 2.5)), 0.03, -15)
    veins = threads(rng, canvas.image.shape, canvas.image.shape[-1] / 9, 0.02)
    canvas.paint(np.minimum(liver, cavity), vary(rng, 470, 25) + 35 * texture + 120 * veins)
    spine = blob(rng, points, (vary(rng, 58, 1.2), 0), (13, 16), 0.03)
    canvas.paint(spine + 3, 250.0)
    canvas.paint(spine, vary(rng, 520, 25) + 40 * texture)
    aorta = blob(rng, points, (42, vary(rng, 20, 1.5)), (9, 9), 0.02)
    canvas.paint(aorta + 2, 230.0)
    canvas.paint(aorta, 780 + 20 * texture)


def _draw_ventricles(
    canvas: Canvas, rng: np.random.Generator, points: Array, texture: Array
) -> None:
    """Both ventricles: a crescent that leans on an even ring around a round pool."""
    centre = np.array([vary(rng, -6, 2), vary(rng, 18, 2)])
    size = vary(rng, 1, 0.07)
    pool = vary(rng, 20, 1.8) * size
    wall = vary(rng, 9.0, 0.7) * size
    stretch = vary(rng, 1.0, 0.04)
    left = blob(rng, points, centre, (pool * stretch, pool / stretch), 0.02)
    ring = left + np.float32(wall)
    angle = np.deg2rad(vary(rng, 195, 7))
    toward = np.array([np.sin(angle), np.cos(angle)])
    middle = centre + toward * (pool + wall) * 0.82
    radii = (vary(rng, 32, 1.6) * size, vary(rng, 25, 1.4) * size)
    right = blob(rng, points, middle, radii, 0.025, vary(rng, 15, 5))
    muscle, blood = vary(rng, 300, 20), vary(rng, 850, 40)
    canvas.paint(np.maximum(right + 8, ring + 5), 700 + 40 * texture)
    canvas.paint(right + 3, muscle + 20 * texture)
    canvas.paint(right, 0.96 * blood + 30 * texture, 1)
    canvas.paint(ring, muscle + 25 * texture, 2)
    canvas.paint(left, blood + 30 * texture, 3)
    for degrees in (65, 140):
        at = centre + 0.62 * pool * np.array(
            [np.sin(np.deg2rad(degrees)), -np.cos(np.deg2rad(degrees))]
        )
        canvas.paint(blob(rng, points, at, (0.2 * pool, 0.16 * pool), 0.05), muscle + 60)


def _rician(rng: np.random.Generator, image: Array, sd: float) -> Array:
    """Magnitude of the image with complex Gaussian noise, as in MR."""
    first, second = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(sd)
    return np.hypot(image + first, second)


# The torso --------------------------------------------------------------------------------------


def _draw_torso(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Paint a chest; returns the finished intensities."""
    shape = canvas.image.shape
    points = posed(rng, canvas.points, 3.5, 2.5)
    texture = texture_of(rng, shape)
    canvas.image[...] = -1000
    cavity = _draw_wall(canvas, rng, points, texture)
    dome = _dome(rng, points)
    _draw_belly(canvas, rng, points, texture, np.minimum(cavity, -dome - 4))
    _draw_lungs(canvas, rng, points, texture, np.minimum(cavity, dome))
    _draw_middle(canvas, rng, points, texture)
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(14)
    return np.clip(canvas.image + noise, -1024, 1500)


def _draw_wall(canvas: Canvas, rng: np.random.Generator, points: Array, texture: Array) -> Array:
    """Skin, fat, muscle and ribs; returns the distance inside the body's cavity, mm."""
    z, y, x = points
    # The trunk narrows towards the neck: in-plane coordinates grow with height there.
    narrow = 1 + np.float32(0.28) * np.clip((z - 55) / 90, 0, 1) ** 2
    flat = np.stack([y * narrow, x * narrow])
    body = blob(rng, flat, (0, 0), (vary(rng, 102, 3.5), vary(rng, 138, 4)), 0.012)
    fat, muscle = vary(rng, 11, 1.5), vary(rng, 13, 1.0)
    canvas.paint(body, 20.0)
    canvas.paint(body - 3, -100 + 12 * texture)
    canvas.paint(body - fat, 55 + 12 * texture)
    cavity = body - np.float32(fat + muscle)
    canvas.paint(cavity, -40 + 20 * texture)
    # Ribs: a shell in the wall, cut into slanting bands (they fall from back to front).
    shell = 5 - np.abs(cavity + 6)
    pitch = vary(rng, 30, 1.0)
    bands = pitch / 5 * np.cos(2 * np.pi / pitch * (z - 0.35 * y)) - 1.5
    chest = z + 60 - 0.25 * y
    canvas.paint(np.minimum(np.minimum(shell, bands), chest), 420 + 40 * texture)
    return cavity


def _dome(rng: np.random.Generator, points: Array) -> Array:
    """Height above the diaphragm in mm: two rounded domes, the right one (x < 0) higher."""
    z, y, x = points
    height = vary(rng, -34, 5)
    surface = np.full_like(z, height - 30)
    for at, top in ((-62, vary(rng, 42, 3)), (66, vary(rng, 32, 3))):
        surface += np.float32(top) * np.exp(-(((x - at) / 52) ** 2) - ((y + 8) / 75) ** 2)
    return z - surface


def _draw_belly(
    canvas: Canvas, rng: np.random.Generator, points: Array, texture: Array, room: Array
) -> None:
    """Liver under the right dome; stomach, spleen and kidneys."""
    vessels = threads(rng, canvas.image.shape, 5.0, 0.06)
    stomach = blob(rng, points, (-66, -22, 44), (34, 34, 36), 0.04)
    canvas.paint(np.minimum(stomach, room - 3), vary(rng, 15, 10) + 10 * texture)
    spleen = blob(rng, points, (-62, 44, 82), (34, 26, 18), 0.04, 25)
    canvas.paint(np.minimum(spleen, room - 2), 120 + 10 * texture)
    for side in (-1, 1):
        kidney = blob(rng, points, (-104, 40, side * 50), (36, 17, 20), 0.03)
        canvas.paint(kidney, 150 + 15 * texture)
        canvas.paint(kidney - 8, 60.0)
    radii = (vary(rng, 66, 4), vary(rng, 72, 3), vary(rng, 82, 4))
    liver = blob(rng, points, (vary(rng, -72, 3), -8, -48), radii, 0.03)
    value = vary(rng, 105, 8) + 14 * texture + 70 * vessels
    canvas.paint(np.minimum(liver, room - 1), value, 4)


def _draw_lungs(
    canvas: Canvas, rng: np.random.Generator, points: Array, texture: Array, room: Array
) -> None:
    """Both lungs: tapering to the apex, cut by the domes, apart from each other."""
    vessels = threads(rng, canvas.image.shape, 4.0, 0.10)
    for label, side in ((1, 1), (2, -1)):
        height = vary(rng, 140, 5)
        lung = blob(
            rng,
            points,
            (vary(rng, -28, 3), 6, side * 64),
            (height, vary(rng, 82, 3), vary(rng, 56, 2)),
            0.02,
            side * 6,
        )
        inside = np.minimum(np.minimum(lung, room), side * points[2] - 9)
        canvas.paint(inside, vary(rng, -830, 20) + 30 * texture + 420 * vessels, label)


def _draw_middle(canvas: Canvas, rng: np.random.Generator, points: Array, texture: Array) -> None:
    """Heart, great vessels and spine."""
    z, y, x = points
    heart = blob(
        rng,
        points,
        (vary(rng, -4, 3), vary(rng, -22, 2), vary(rng, 18, 3)),
        (vary(rng, 46, 2.5), vary(rng, 42, 2), vary(rng, 54, 2.5)),
        0.03,
        -25,
    )
    arch = blob(rng, np.stack([y, x]), (-12, 6), (15, 17), 0.03)
    canvas.paint(np.minimum(arch, z - 20), 170 + 10 * texture, 0)
    canvas.paint(heart + 5, -70.0, 0)
    canvas.paint(heart, 60 + 12 * texture, 3)
    canvas.paint(np.minimum(heart - 11, 30 - np.abs(x - 18) * 0.5), 190 + 12 * texture)
    sway = 3 * np.sin(z / 50 + np.float32(rng.uniform(0, 2 * np.pi)))
    back = np.stack([y - vary(rng, 58, 2) + 4 * np.cos(z / 70), x - sway])
    width = vary(rng, 1, 0.05)
    column = blob(rng, back, (0, 0), (18 * width, 21 * width), 0.02)
    process = blob(rng, back, (27, 0), (15, 9), 0.02)
    spine = np.maximum(column, process)
    disc = np.cos(2 * np.pi / 30 * z + np.float32(rng.uniform(0, 2 * np.pi)))
    bone = 330 + 260 * np.tanh(3 * (disc + 0.4)) + 30 * texture
    canvas.paint(spine + 4, 45.0, 0)
    canvas.paint(spine, bone, 5)
    canvas.paint(blob(rng, back, (24, 0), (6, 7), 0.0), 30.0)
    canvas.paint(blob(rng, back, (-18, 24), (11, 11), 0.02), 190.0, 0)


PHANTOMS: dict[str, Recipe] = {
    "heart-2d": Recipe((128, 128), (192.0, 192.0), HEART_LABELS, _draw_heart),
    "torso-3d": Recipe((64, 80, 80), (256.0, 320.0, 320.0), TORSO_LABELS, _draw_torso),
}
"""The kinds of phantom that `phantom` can make."""
