"""What a training step draws: sample by sample, evenly, changed as asked for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from DRDMCore.fields import identity_coordinates
from DRDMCore.sharding import Share
from DRDMCore.training.draws import Drawn, deformed, draw_step, draw_validation
from DRDMCore.training.input_augmentation import Pose, draw_pose, vary_intensity
from DRDMCore.training.objectives import new_objective
from DRDMCore.training.settings import InputAugmentation

NOTHING = InputAugmentation(
    rotation_deg=0, scaling=0, shift=0, gain=0, offset=0, gamma=0, noise=0, intensity_share=0
)
CPU = torch.device("cpu")


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + index) for index in range(count)]


def same(level: float) -> float:
    return level


def posed(image: Tensor, pose: Pose | None) -> Tensor:
    drawn = Drawn(image, torch.ones_like(image), torch.zeros(len(image)), pose, [])
    return deformed(drawn, torch.zeros(len(image), image.ndim - 2, *image.shape[2:]))[0]


@pytest.mark.parametrize("objective", ["velocity", "published"])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_sample_is_the_same_alone_or_in_a_batch(objective, world, tiny, subjects):
    data = subjects((5, 20, 13), (3, 16, 16), (4, 11, 30))
    whole = tiny(objective=objective, batch=4, augmentation=InputAugmentation(bend=0.03))
    part = tiny(objective=objective, batch=4 // world, augmentation=whole.augmentation)
    learner = new_objective(whole)
    wanted = learner.example(draw_step(data, whole, 3, learner.level_of, Share()), CPU)
    shares = [Share(rank, world) for rank in range(world)]
    parts = [
        learner.example(draw_step(data, part, 3, learner.level_of, share), CPU) for share in shares
    ]
    for name in ("image", "inside", "level", "target"):
        together = torch.cat([getattr(each, name) for each in parts])
        # Equal but for the rounding of matrix products of other sizes.
        torch.testing.assert_close(together, getattr(wanted, name), rtol=0, atol=2e-5)


def test_each_subject_comes_once_before_any_comes_twice(tiny, subjects):
    data = [
        type(each)(each.name, torch.full_like(each.images, index / 8))
        for index, each in enumerate(subjects(*[(2, 16, 16)] * 7))
    ]
    settings = tiny(batch=3, augmentation=NOTHING)
    seen = [
        value
        for step in range(1, 15)
        for value in draw_step(data, settings, step, same, Share()).image[:, 0, 8, 8].tolist()
    ]
    passes = [seen[low : low + 7] for low in range(0, 42, 7)]
    assert all(sorted(each) == [index / 8 for index in range(7)] for each in passes)
    assert len({tuple(each) for each in passes}) > 1  # each in an order of its own


def test_levels_of_a_step_are_spread_evenly(tiny, subjects):
    data, settings = subjects((2, 16, 16)), tiny(batch=5)
    amounts = []
    for step in range(1, 41):
        levels = draw_step(data, settings, step, same, Share()).level.tolist()
        assert [int(5 * each) for each in levels] == [0, 1, 2, 3, 4]
        amounts += [5 * each % 1 for each in levels]
    assert 0.45 < sum(amounts) / len(amounts) < 0.55  # uniform within each part


@pytest.mark.parametrize("levels", [80, 7])
def test_published_levels_are_whole_and_uniform(levels, tiny):
    objective = new_objective(tiny(objective="published", levels=levels))
    got = [objective.level_of((index + 0.5) / (10 * levels)) for index in range(10 * levels)]
    assert got == [float(index // 10) for index in range(10 * levels)]
    assert objective.level_of(1.0) == levels - 1


def test_inside_tells_padding(tiny, subjects):
    data = subjects((2, 10, 40))  # narrower than 16 along the first axis, wider along the second
    drawn = draw_step(data, tiny(batch=1, augmentation=NOTHING), 1, same, Share())
    expected = torch.zeros(1, 1, 16, 16)
    expected[:, :, 3:13] = 1
    assert torch.equal(drawn.inside, expected)
    assert torch.equal(drawn.image[:, :, :3], drawn.image[:, :, 3:4].expand(-1, -1, 3, -1))
    window = drawn.image[0, 0, 3:13]
    starts = range(40 - 16 + 1)
    assert any(
        torch.equal(window, each[0, :, s : s + 16]) for each in data[0].images for s in starts
    )
    up = torch.zeros(1, 2, 16, 16)
    up[:, 0] = 3  # reads three rows further down
    image, inside = deformed(drawn, up)
    torch.testing.assert_close(inside[:, :, :10], torch.ones(1, 1, 10, 16))
    assert float(inside[:, :, 10:].abs().max()) < 1e-4
    torch.testing.assert_close(image[:, :, :10], drawn.image[:, :, 3:13])


def test_validation_draws_the_same_each_time(tiny, subjects):
    data = subjects((5, 16, 16), (3, 16, 16))
    first, second = (draw_validation(data, tiny(), 48.0, 5) for _ in range(2))
    assert torch.equal(first.image, second.image) and first.pose is None
    assert first.level.tolist() == [48.0] * 5


@pytest.mark.parametrize("shape", [(12, 9), (7, 10, 8)])
def test_share_zero_gives_the_identity(shape):
    everything = InputAugmentation(0.0, 30, 0.2, 0.2, 0.2, 0.2, 0.6, 0.0, (0,), intensity_share=0)
    pose = draw_pose(shape, everything, generators(3))
    image = torch.rand(3, 1, *shape, generator=generators(1)[0])
    torch.testing.assert_close(posed(image, pose), image, rtol=0, atol=1e-5)
    assert torch.equal(vary_intensity(image, everything, generators(3)), image)
    assert draw_pose(shape, NOTHING, generators(3)) is None


@pytest.mark.parametrize("shape", [(12, 9), (7, 10, 8)])
@pytest.mark.parametrize("axis", [0, 1])
def test_flip_mirrors_half_of_the_images_along_its_axis(shape, axis):
    settings = InputAugmentation(rotation_deg=0, scaling=0, shift=0, flips=(axis,))
    image = torch.rand(1, 1, *shape, generator=generators(1)[0]).expand(40, -1, *shape)
    got = posed(image, draw_pose(shape, settings, generators(40)))
    near = [
        torch.allclose(got[i], image[i], atol=1e-5)
        - torch.allclose(got[i], image[i].flip(axis + 1), atol=1e-5)
        for i in range(40)
    ]
    assert set(near) == {1, -1} and 10 <= near.count(-1) <= 30


@pytest.mark.parametrize("shape", [(12, 9), (7, 10, 8)])
def test_crop_enlarges_a_part_that_lies_within(shape):
    settings = InputAugmentation(rotation_deg=0, scaling=0, shift=0, crop=0.5)
    pose = draw_pose(shape, settings, generators(200))
    assert pose is not None
    size = pose.matrix[:, 0, 0]
    assert torch.equal(pose.matrix, size[:, None, None] * torch.eye(len(shape)))
    assert 0.5 <= float(size.min()) < 0.53 and 0.97 < float(size.max()) <= 1
    whole = pose(identity_coordinates(shape).expand(200, -1, *shape)).flatten(2)
    last = torch.tensor(shape) - 1.0
    # Edges of voxels, not their centres, bound the image.
    assert float((whole.amin(2) - 0.5 * size[:, None] + 0.5).min()) > -1e-4
    assert float((whole.amax(2) + 0.5 * size[:, None] - 0.5 - last).max()) < 1e-4


def test_half_a_crop_about_the_centre_reads_the_middle_half():
    side = 16
    centre = torch.full((1, 2, 1), (side - 1) / 2)
    pose = Pose(0.5 * torch.eye(2)[None], centre - 0.5 * centre, None)
    ramp = identity_coordinates((side, side))[:1][None]
    got = posed(ramp, pose)[0, 0, :, 0]
    torch.testing.assert_close(got, 3.75 + 0.5 * torch.arange(side), rtol=0, atol=1e-4)


def test_rotation_turns_about_the_centre():
    settings = InputAugmentation(rotation_deg=30, scaling=0, shift=0)
    for shape in ((11, 11), (9, 9, 9)):
        pose = draw_pose(shape, settings, generators(100))
        assert pose is not None
        unit = torch.eye(len(shape)).expand(100, -1, -1)
        torch.testing.assert_close(pose.matrix @ pose.matrix.mT, unit, rtol=0, atol=1e-5)
        middle = torch.tensor(shape)[:, None] / 2 - 0.5
        torch.testing.assert_close(pose.matrix @ middle + pose.offset, middle.expand(100, -1, 1))
    flat = draw_pose((11, 11), settings, generators(100))
    assert flat is not None
    angles = torch.atan2(flat.matrix[:, 1, 0], flat.matrix[:, 0, 0]).rad2deg()
    assert 25 < float(angles.max()) <= 30 and -30 <= float(angles.min()) < -25


def test_quarter_turn_of_an_image():
    turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    centre = torch.full((1, 2, 1), 4.0)
    image = torch.rand(1, 1, 9, 9, generator=generators(1)[0])
    got = posed(image, Pose(turn, centre - turn @ centre, None))
    # Voxel (y, x) reads (8 - x, y).
    torch.testing.assert_close(got, image.flip(2).mT, rtol=0, atol=1e-5)


def test_scaling_stretch_shear_and_shift_stay_within_their_amounts():
    shape, many = (20, 10), generators(300)
    still = {"rotation_deg": 0, "scaling": 0, "shift": 0}
    unit = torch.eye(2)

    def matrices(**amounts: float) -> tuple[Tensor, Tensor]:
        pose = draw_pose(shape, InputAugmentation(**{**still, **amounts}), many)
        assert pose is not None
        return pose.matrix, pose.offset[..., 0]

    scaled, _ = matrices(scaling=0.2)
    size = scaled[:, 0, 0]
    assert torch.equal(scaled, size[:, None, None] * unit)
    assert 1.15 < float(size.max()) <= 1.2 and 0.8 <= float(size.min()) < 0.85
    stretched, _ = matrices(stretch=0.2)
    assert float((stretched * (1 - unit)).abs().max()) == 0
    assert float((stretched[:, 0, 0] - stretched[:, 1, 1]).abs().max()) > 0.2
    sheared, _ = matrices(shear=0.3)
    assert torch.equal(sheared[:, [0, 1], [0, 1]], torch.ones(300, 2))
    assert 0.2 < float(sheared.abs().triu(1).max()) <= 0.3
    _, offset = matrices(shift=0.1)
    assert float(offset[:, 0].abs().max()) <= 2 and float(offset[:, 1].abs().max()) <= 1
    assert float(offset[:, 0].abs().max()) > 1.8


def test_bend_has_the_deviation_that_was_asked_for_and_is_smooth():
    shape = (24, 16)
    settings = InputAugmentation(rotation_deg=0, scaling=0, shift=0, bend=0.02)
    pose = draw_pose(shape, settings, generators(400))
    assert pose is not None and pose.bend is not None
    deviations = pose.bend.square().mean(dim=(0, 2, 3)).sqrt() / torch.tensor(shape)
    torch.testing.assert_close(deviations, torch.full((2,), 0.02), rtol=0.1, atol=0)
    curvature = pose.bend.diff(n=2, dim=2).abs().max()
    assert float(curvature) < 0.05 * float(pose.bend.abs().max())
    at = identity_coordinates(shape).expand(400, -1, *shape)
    torch.testing.assert_close(pose(at) - at, pose.bend, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "formula"),
    [
        ({"gain": 0.2}, lambda x, d: x * (1 + 0.2 * d["gain"])),
        ({"offset": 0.1}, lambda x, d: x + 0.1 * d["offset"]),
        ({"gamma": 0.3}, lambda x, d: x ** math.exp(0.3 * d["gamma"])),
        ({"floor": 0.5}, lambda x, d: torch.where(x < 0.5 * d["floor"], 0.0, x)),
        ({"autocontrast": 1.0}, lambda x, d: (x - x.min()) / (x.max() - x.min())),
        ({"noise": 0.05}, lambda x, d: x + 0.05 * d["level"] * d["noise"]),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_grey_values(changes, formula):
    image = 0.2 + 0.6 * torch.rand(1, 1, 8, 8, generator=generators(1)[0])
    plain = {"gain": 0, "offset": 0, "gamma": 0, "noise": 0}
    settings = InputAugmentation(**{**plain, **changes})
    got = vary_intensity(image, settings, generators(1, seed=5))
    twin = generators(1, seed=5)[0]
    _, floor, _, level = torch.rand(4, generator=twin).tolist()
    gamma, gain, offset = torch.randn(3, generator=twin).tolist()
    drawn = {"floor": floor, "level": level, "gamma": gamma, "gain": gain, "offset": offset}
    drawn["noise"] = torch.randn(1, 1, 8, 8, generator=twin)
    wanted = formula(image, drawn)
    wanted = wanted if "noise" in changes else wanted.clamp(0, 1)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert not torch.equal(got, image)
