"""Measures of shapes against bodies whose distances are known."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from DRDMCore.errors import InputError
from DRDMCore.imaging import Volume, field_from_ddf, phantom
from DRDMCore.imaging.geometry import Geometry
from Testing.Benchmarks import plausibility
from Testing.Benchmarks.plausibility_cases import from_files
from Testing.Benchmarks.plausibility_numbers import (
    excess,
    excess_interval,
    pairwise_distance,
    pairwise_unlikeness,
    rigid_free_mm,
    share_beyond,
    spread_ratios,
    volumes_mm,
)
from Testing.Benchmarks.shapes import ShapeBank, ShapeModes, grid_for, shape_of, unlikeness

SHAPE = (40, 44, 42)
RADII = np.array((7.0, 11.0, 8.0))
FLIP = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # x and y of the array swapped, y mirrored


def labelled(array, spacing=1.0, direction=None) -> Volume:
    count = array.ndim
    geometry = Geometry(
        size=array.shape[::-1],
        spacing_mm=(spacing,) * count if isinstance(spacing, float) else spacing,
        origin_mm=(5.0, -3.0, 9.0)[:count],
        direction=direction or tuple(np.eye(count).ravel()),
    )
    return Volume(array.astype(np.uint8), geometry, kind="labels")


def points(shape) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij"))


def ellipsoid(radii=RADII, shift=(0.0, 0.0, 0.0), shape=SHAPE, scale=1.0) -> np.ndarray:
    centre = ((np.array(shape) - 1) / 2 + np.array(shift)[: len(shape)]).reshape(
        -1, *[1] * len(shape)
    )
    radii = np.asarray(radii)[: len(shape)].reshape(centre.shape)
    return (((points(shape) - centre) * scale / radii) ** 2).sum(0) < 1


def distance(first: Volume, second: Volume) -> float:
    grid = grid_for([first, second])
    return ShapeBank([shape_of(first, grid)], ["a"]).nearest(shape_of(second, grid))


def test_a_shifted_copy_is_at_no_distance():
    whole = labelled(ellipsoid(shift=(3, -4, 2)))
    assert distance(labelled(ellipsoid()), whole) < 1e-4
    between = labelled(ellipsoid(shift=(2.4, -1.3, 0.7)))
    assert distance(labelled(ellipsoid()), between) < 0.15  # its voxels are others


@pytest.mark.parametrize("growth", [0.5, 1.0, 2.0])
def test_a_larger_body_is_as_far_as_its_radius_is_larger(growth):
    larger = labelled(ellipsoid((9 + growth,) * 3, shift=(0.3, 0.1, -0.4)))
    assert distance(labelled(ellipsoid((9,) * 3)), larger) == pytest.approx(growth, abs=0.1)


def test_distances_are_in_millimetres_and_in_2d_too():
    discs = [ellipsoid((r, r), shape=(60, 64)) for r in (20, 22)]
    small, large = (np.sqrt(disc.sum() / np.pi) for disc in discs)  # voxels make them a bit ragged
    got = distance(labelled(discs[0], 2.0), labelled(discs[1], 2.0))
    assert got == pytest.approx(2 * (large - small), abs=0.1)


def test_grids_of_subjects_may_differ_in_spacing_and_direction():
    small = labelled(ellipsoid(RADII / 2))
    fine = labelled(ellipsoid(RADII / 2, scale=0.6), 0.6)
    assert distance(small, fine) < 0.15
    turned = labelled(np.flip(ellipsoid().transpose(0, 2, 1), 1), direction=FLIP)
    assert distance(labelled(ellipsoid()), turned) < 1e-4
    askew = labelled(ellipsoid().transpose(0, 2, 1))  # the same array, but not turned back
    assert distance(labelled(ellipsoid()), askew) > 0.5


def test_the_nearest_of_several_shapes_is_found_and_one_can_be_left_out():
    radii = {"small": 8, "same": 10, "large": 13}
    volumes = {name: labelled(ellipsoid((r,) * 3)) for name, r in radii.items()}
    grid = grid_for(volumes.values())
    shapes = {name: shape_of(volume, grid) for name, volume in volumes.items()}
    bank = ShapeBank(list(shapes.values()), list(shapes))
    assert bank.distances(shapes["same"]).tolist() == pytest.approx([2, 0, 3], abs=0.15)
    assert bank.between()[1].tolist() == pytest.approx([2, 0, 3], abs=0.15)
    assert bank.nearest(shapes["same"]) < 1e-5
    assert bank.nearest(shapes["same"], but="same") == pytest.approx(2, abs=0.1)


def test_the_surface_is_weighed_by_its_area():
    """A flat box: its wide faces are 1 mm apart from the other's, its rim is in place."""
    flat, thick = np.zeros((24, 40, 40)), np.zeros((24, 40, 40))
    flat[8:16, 8:32, 8:32] = 1
    thick[7:17, 8:32, 8:32] = 1
    faces, rims = 2 * 24 * 24, 4 * 24 * (8 + 10) / 2
    expected = faces / (faces + rims)
    assert distance(labelled(flat), labelled(thick)) == pytest.approx(expected, abs=0.08)


def test_an_empty_label_map_is_named():
    with pytest.raises(InputError, match="empty"):
        grid_for([labelled(np.zeros(SHAPE))])
    with pytest.raises(InputError, match="at least one shape"):
        grid_for([])


@pytest.fixture(scope="module")
def population():
    """Ellipsoids that vary in two radii, 16 to fit modes to and 8 others."""
    generator = np.random.default_rng(0)
    stretch = [generator.normal(0, 1.2, 3) * (1, 1, 0) for _ in range(24)]
    volumes = [labelled(ellipsoid(RADII + s, generator.uniform(-1, 1, 3))) for s in stretch]
    cube = np.zeros(SHAPE)
    cube[12:28, 14:30, 13:29] = 1
    grid = grid_for([*volumes, labelled(cube)])
    shapes = [shape_of(volume, grid) for volume in volumes]
    return shapes[:16], shapes[16:], shape_of(labelled(cube), grid)


def test_a_training_shape_lies_in_the_modes_and_a_cube_beyond_the_real_ones(population):
    training, others, cube = population
    modes = ShapeModes(training, 40)
    assert modes.count == 15  # all that 16 shapes have
    assert max(modes.residual(shape) for shape in training) < 1e-3
    real = [modes.residual(shape) for shape in others]
    limit = float(np.percentile(real, 95))
    assert min(real) > 0.01
    assert modes.residual(cube) > 2 * limit
    assert share_beyond([*real, modes.residual(cube)], limit) == pytest.approx(100 * 2 / 9)


def test_fewer_modes_leave_more_of_a_training_shape(population):
    training = population[0]
    rest = [[ShapeModes(training, count).residual(s) for s in training] for count in (1, 2, 8)]
    assert all(np.mean(a) > np.mean(b) for a, b in itertools.pairwise(rest))


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_a_rigid_motion_leaves_nothing(angle):
    labels = labelled(ellipsoid(), (1.0, 2.0, 1.5))
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    spacing = np.array(labels.geometry.spacing_zyx).reshape(3, 1, 1, 1)
    places = points(SHAPE) * spacing
    moved = np.einsum("ij,jzyx->izyx", rotation, places) + np.array((3, -2, 1)).reshape(3, 1, 1, 1)
    field = field_from_ddf((moved - places) / spacing, labels.geometry)
    assert rigid_free_mm(field, labels) < 1e-4
    stretched = field_from_ddf((moved - places) / spacing + 0.1 * points(SHAPE), labels.geometry)
    assert rigid_free_mm(stretched, labels) > 0.5


def test_a_mirror_is_no_rigid_motion():
    labels = labelled(ellipsoid())
    ddf = np.zeros((3, *SHAPE))
    ddf[0] = SHAPE[0] - 1 - 2 * points(SHAPE)[0]
    # Half a turn brings the mirrored axis back, but turns another one round.
    assert rigid_free_mm(field_from_ddf(ddf, labels.geometry), labels) > 2


def test_excess_is_0_for_real_shapes_and_1_for_random_ones():
    floor, random = [0.7, 0.8, 0.6, 0.9, 0.7, 0.8], [1.0, 1.2, 0.9, 1.3, 1.1, 1.1]
    assert excess(floor, floor, random) == pytest.approx(0)
    assert excess(random, floor, random) == pytest.approx(1)
    assert excess([0.8] * 6, [0.7] * 6, [1.1] * 6) == pytest.approx(0.25)
    assert excess(floor, random, floor) is None
    assert excess([0.5], [0.7], [0.71]) is None
    middle = [(a + b) / 2 for a, b in zip(floor, random, strict=True)]
    low, high = excess_interval([*middle[:3], *random[3:]], floor, random)
    assert low < excess([*middle[:3], *random[3:]], floor, random) < high
    assert excess_interval(middle, floor, random) == pytest.approx((0.5, 0.5))
    assert excess_interval([0.8], [0.7], [1.1]) is None


def test_volumes_by_label_and_their_ratios():
    array = np.zeros((10, 10, 10))
    array[:2], array[2:3] = 1, 3
    assert volumes_mm(labelled(array, (1.0, 2.0, 0.5))) == {0: 300, 1: 200, 3: 100}
    real = [{0: 10.0, 1: 10.0}, {0: 12.0, 1: 8.0, 2: 4.0}, {0: 14.0, 1: 14.0}]
    made = [{0: 2 * each[0], 1: each[1]} for each in real]
    ratios = spread_ratios(made, real)
    assert ratios[0] == pytest.approx((2, 2))
    assert ratios[1] == pytest.approx((1, 1))
    assert ratios[2] == pytest.approx((0, 0))
    assert spread_ratios(made[:2], real)[0] == (pytest.approx(22 / 12), None)


def test_unlikeness_is_one_minus_dice_wherever_the_shapes_lie():
    first, second = np.zeros(SHAPE), np.zeros(SHAPE)
    first[10:26, 10:30, 10:30] = 1
    second[6:30, 8:28, 11:31] = 1  # half as long again
    volumes = [labelled(first), labelled(second)]
    grid = grid_for(volumes)
    a, b = (shape_of(volume, grid) for volume in volumes)
    assert unlikeness(a, a) == 0
    assert unlikeness(a, b) == pytest.approx(1 - 2 * 16 / (16 + 24), abs=0.01)
    assert pairwise_unlikeness([a, b, a]) == pytest.approx(2 / 3 * unlikeness(a, b))
    assert pairwise_unlikeness([a]) is None
    ddf = np.zeros((3, 4, 5, 6))
    away = ddf + np.array((2, 0, 1.5)).reshape(3, 1, 1, 1)
    assert pairwise_distance([ddf, away]) == pytest.approx(2.5)
    assert pairwise_distance([ddf]) is None


def test_a_split_that_names_strangers_is_refused(tmp_path):
    from DRDMCore.imaging import write_volume

    for kind, volume in zip(("images", "labels"), phantom("heart-2d", 0), strict=True):
        write_volume(volume, tmp_path / kind / "a.nrrd")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"training": ["a"], "test": ["a", "b"]}), encoding="utf-8")
    with pytest.raises(InputError, match="'b' is not there"):
        from_files(tmp_path / "images", tmp_path / "labels", split, "test")
    split.write_text(json.dumps({"training": ["a"], "test": ["a"]}), encoding="utf-8")
    known = from_files(tmp_path / "images", tmp_path / "labels", split, "test")
    assert (known.training, known.evaluated, known.others) == (["a"], ["a"], [])
    assert known.read("a")[1].kind == "labels"


def test_the_command_measures_phantoms(tmp_path):
    """The whole command; the random field alone moves as its start does."""
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"
    options = "--phantom heart-2d --training 0-9 --subjects 20-22 --seeds 2 --model none "
    options += f"--model phantom-heart-2d --levels 20 --steps 2 --out {page} --json {numbers} "
    options += f"--pictures {tmp_path / 'picture'}"
    assert plausibility.main(options.split()) == 0
    text = page.read_text(encoding="utf-8")
    assert "| none | 20 | none | none |" in text and "## Beyond the real shapes, %" in text
    assert len(list(tmp_path.glob("picture-*.png"))) == 3
    alone, recovered = json.loads(numbers.read_text(encoding="utf-8"))["settings"]
    assert [len(each["samples"]) for each in (alone, recovered)] == [6, 6]
    assert len({sample["seed"] for sample in alone["samples"]}) == 6
    for sample in alone["samples"]:
        assert sample["kept"] == pytest.approx(1)
        assert sample["recovered"]["distance"] == sample["start"]["distance"]
    for sample in recovered["samples"]:
        assert sample["kept"] < 1
        assert sample["random_mm"] == pytest.approx(sample["mean_mm"], rel=0.011)
        assert sample["random_rigid_free_mm"] == pytest.approx(sample["rigid_free_mm"], rel=0.1)
        assert sample["ncc"] > 0.5
