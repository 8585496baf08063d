"""Pictures: outlines where the labels are, true proportions, the patient the right way up."""

from __future__ import annotations

import numpy as np
import pytest

from DRDMCore.imaging.geometry import Geometry
from DRDMCore.pipelines import pictures
from DRDMCore.pipelines.pictures import (
    COLOURS,
    FOLDED_COLOUR,
    label_colours,
    montage,
    render_bar,
    render_grid,
    render_jacobian,
    render_slice,
    window_of,
)
from DRDMCore.pipelines.views import choose_views

IDENTITY = tuple(np.eye(3).ravel().tolist())


def geometry(size, spacing=(1.0, 1.0, 1.0), direction=IDENTITY) -> Geometry:
    return Geometry(size, spacing, (0.0, 0.0, 0.0), direction)


def where(picture, colour) -> np.ndarray:
    return np.all(np.asarray(picture) == colour, axis=-1)


def box(mask: np.ndarray) -> tuple[int, ...]:
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (3.0, 1.0), (1.0, 2.0)])
def test_outline_of_a_square_label_is_at_its_border(spacing):
    labels = np.zeros((20, 30), np.uint8)
    labels[5:12, 8:20] = 1
    picture = render_slice(np.zeros((20, 30)), (0, 1), labels, spacing=spacing, scale=4)
    rows, columns = (int(4 * s) for s in spacing)
    drawn = where(picture, COLOURS[0])
    assert box(drawn) == (5 * rows, 12 * rows, 8 * columns, 20 * columns)
    assert not drawn[5 * rows + 3 : 12 * rows - 3, 8 * columns + 3 : 20 * columns - 3].any()
    assert drawn[5 * rows, 8 * columns + 8 : 20 * columns - 8].all()  # unbroken


def test_picture_has_the_proportions_of_the_patient():
    picture = render_slice(np.zeros((10, 40)), (0, 1), spacing=(8.0, 1.5), scale=2)
    assert picture.size == (120, 160)


def test_window_maps_to_black_and_white_and_survives_nan():
    image = np.array([[0.0, 50, 100, np.nan]]).repeat(4, 0)
    shown = np.asarray(render_slice(image, (0, 100), scale=9))
    assert shown[18, 2, 0] < 8 and 100 < shown[18, 13, 0] < 155 and shown[18, 22, 0] > 240
    assert window_of(np.full((3, 3), 7.0)) == (7.0, 8.0)
    assert window_of(np.full((3, 3), np.nan)) == (0.0, 1.0)


def test_grid_of_no_deformation_is_regular_and_follows_a_shift():
    image = np.zeros((40, 40))
    still = np.zeros((2, 40, 40))
    moved = still.copy()
    moved[1] = 2  # pulls from the right: the grid moves 2 voxels = 8 pixels to the left
    first, second = (
        np.asarray(render_grid(u, image, (0, 1), step_mm=8.0)).astype(int)[..., 0]
        for u in (still, moved)
    )
    columns = np.flatnonzero(first[2] > 150)
    assert len(columns) and np.all(np.isin(np.diff(columns), (1, 31)))
    assert np.array_equal(first[:, 8:-8], second[:, :-16])


def test_determinant_is_white_at_one_and_folds_are_marked():
    determinant = np.ones((8, 8))
    determinant[:, 4:] = 2
    folds = np.zeros((8, 8), bool)
    folds[0, 0] = True
    shown = np.asarray(render_jacobian(determinant, folds, scale=4)).astype(int)
    assert tuple(shown[2, 2]) == FOLDED_COLOUR
    assert shown[20, 4].min() > 240
    red, _, blue = shown[20, 30]
    assert red > 150 > 60 > blue
    assert where(render_jacobian(-determinant), FOLDED_COLOUR).all()


def test_bar_runs_from_blue_over_white_to_red():
    bar = np.asarray(render_bar(101, 3)).astype(int)
    assert bar.shape == (3, 101, 3)
    assert bar[0, 0, 2] > bar[0, 0, 0] and bar[0, 50].min() > 240 and bar[0, -1, 0] > bar[0, -1, 2]


def test_labels_get_colours_of_their_own():
    colours = label_colours([0, 5, 1, 3])
    assert list(colours) == [1, 3, 5]
    assert len(set(colours.values())) == 3
    assert len(label_colours(range(40))) == 39


def test_isotropic_volume_is_shown_from_three_sides_with_the_head_up():
    array = np.zeros((12, 14, 16))
    array[-1] = 1  # head
    array[:, 0] += 2  # front
    array[:, :, 0] += 4  # right
    axial, coronal, sagittal = choose_views(geometry((16, 14, 12)))
    assert [v.name for v in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    assert axial.cut(array)[0, 5] == 2 and axial.cut(array)[5, 0] == 4
    assert coronal.cut(array)[0, 5] == 1 and coronal.cut(array)[5, 0] == 4
    assert sagittal.cut(array)[0, 5] == 1 and sagittal.cut(array)[5, 0] == 2
    assert (sagittal.top, sagittal.left) == ("S", "A")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_views_and_fields_do_not_depend_on_how_the_array_is_stored(order, signs):
    rng = np.random.default_rng(0)
    array, ddf = rng.random((12, 14, 16)), rng.random((3, 12, 14, 16))
    labels = np.zeros(array.shape, int)
    labels[2:4, 3:5, 4:6] = labels[5, 6, 7] = 1
    wanted = choose_views(geometry((16, 14, 12)), labels)
    assert all(view.box for view in wanted)
    # Store the same patient with permuted and reversed axes.
    reverse = tuple(a for a in range(3) if signs[order[a]] < 0)
    stored = np.flip(np.transpose(array, order), reverse)
    field = np.stack([signs[a] * np.flip(np.transpose(ddf[a], order), reverse) for a in order])
    matrix = np.zeros((3, 3))
    for axis, original in enumerate(order):
        matrix[2 - original, 2 - axis] = signs[original]
    grid = geometry(stored.shape[::-1], direction=tuple(matrix.ravel().tolist()))
    found = choose_views(grid, np.flip(np.transpose(labels, order), reverse))
    for a, b in zip(wanted, found, strict=True):
        assert (a.name, a.top, a.left) == (b.name, b.top, b.left)
        assert np.array_equal(a.cut(array), b.cut(stored))
        assert np.array_equal(a.cut_field(ddf), b.cut_field(field))


def test_views_go_through_the_centre_of_the_labels():
    labels = np.zeros((12, 14, 16), int)
    labels[2:5, 9, 1] = 3
    labels[3, 7:12, 0:3] = 3
    assert [v.index for v in choose_views(geometry((16, 14, 12)), labels)] == [3, 9, 1]
    apart = np.zeros((12, 14, 16), int)
    apart[:, :, (0, 15)] = 1  # nothing at the centre itself
    assert choose_views(geometry((16, 14, 12)), apart)[2].index in (0, 15)


def test_small_labels_are_shown_larger():
    labels = np.zeros((60, 40, 40), int)
    labels[20:30, 2:8, 20:30] = 1
    views = choose_views(geometry((40, 40, 60), (1.0, 1.0, 1.0)), labels)
    assert [v.box for v in views] == [
        ((0, 20), (15, 35)),  # moved into the image
        ((25, 45), (15, 35)),  # counted from the head
        ((25, 45), (0, 20)),
    ]
    assert all(v.cut(labels).shape == (20, 20) for v in views)
    assert views[1].cut(labels).sum() == labels[:, 4].sum()
    assert views[0].extent_mm(geometry((40, 40, 60), (2.0, 1.0, 1.0))) == (20, 40)
    assert views[1].cut_field(np.zeros((3, *labels.shape))).shape == (2, 20, 20)


def test_thick_slices_are_shown_one_by_one():
    labels = np.zeros((10, 30, 30), int)
    labels[4:9, 5, 5] = 1
    views = choose_views(geometry((30, 30, 10), (1.5, 1.5, 8.0)), labels)
    assert [(v.name, v.index) for v in views] == [("axial", 5), ("axial", 6), ("axial", 7)]
    assert [v.index for v in choose_views(geometry((30, 30, 1)))] == [0]


def test_flat_image_is_shown_as_it_is():
    array = np.arange(12).reshape(3, 4)
    (view,) = choose_views(Geometry((4, 3), (1.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)))
    assert np.array_equal(view.cut(array), array)
    assert view.spacing(Geometry((4, 3), (1.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))) == (2, 1)


def test_montage_centres_pictures_in_cells():
    sheet = montage([render_bar(10, 4), render_bar(4, 10), render_bar(10, 10)], 2, gap=2)
    assert sheet.size == (2 * 12 + 2, 2 * 12 + 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: render_slice(np.zeros((4, 4)), (0, 1), np.zeros((4, 5), int)),
        lambda: render_grid(np.zeros((3, 4, 4)), np.zeros((4, 4)), (0, 1)),
    ],
)
def test_wrong_shapes_are_refused(call):
    with pytest.raises(ValueError, match="shape"):
        call()


def test_one_voxel_thin_slices_can_be_drawn():
    picture = render_grid(np.zeros((2, 1, 9)), np.zeros((1, 9)), (0, 1), scale=1)
    assert picture.size == (9, 1)
    assert pictures.render_jacobian(np.ones((1, 9)), scale=0.1).size == (1, 1)
