"""Distillation: the student's examples are the teacher's recoveries, and it learns from them."""

from __future__ import annotations

import pytest
import torch

from DRDMCore.errors import InputError
from DRDMCore.fields import random_flows
from DRDMCore.models import Model, load_model, save_model
from DRDMCore.recovery import RecoverySettings, image_count, level_scale, recover
from DRDMCore.sharding import Share
from DRDMCore.training.draws import draw_step
from DRDMCore.training.objectives import as_model, new_objective
from DRDMCore.training.trainer import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def teacher(tiny, tmp_path_factory) -> Model:
    """A model that predicts something: half trained, with its last layer made strong."""
    path = tmp_path_factory.mktemp("teacher")
    model = train(tiny(), path)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.step.network.head.weight, std=0.5)
    save_model(model, path / "tiny.safetensors")
    return load_model(path / "tiny.safetensors")


@pytest.fixture
def distilled(tiny, teacher):
    """Settings of a student of it, with changes."""

    def settings(**changes):
        few = {"teacher_passes": 4, "passes": (2, 1, 4), "steps": 6, "gain": 1.5}
        named = {"objective": "distilled", "teacher": str(teacher.path)}
        return tiny(**(named | few | changes))

    return settings


def drawn_of(settings, subjects, objective):
    """The batch of a step, and once more for what is drawn next."""
    pair = [draw_step(subjects, settings, 1, objective.level_of, Share(0, 1)) for _ in range(2)]
    return pair[0], pair[1]


def test_examples_are_states_and_velocities_of_the_teacher(distilled, teacher, subjects):
    settings = distilled(passes=(4,))
    objective = new_objective(settings)
    drawn, again = drawn_of(settings, subjects((4, 16, 16), (4, 16, 16)), objective)
    example = objective.example(drawn, CPU)
    scales = level_scale(again.level)
    left = torch.round(1 / example.stride)  # passes that are left: 4 .. 1
    expected = scales.repeat_interleave(3) * left / 4
    torch.testing.assert_close(level_scale(example.level), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        seen = teacher.step.network(example.image, expected)
    torch.testing.assert_close(example.target, seen, rtol=1e-3, atol=1e-4)
    assert len(set(left.tolist())) > 1 and seen.abs().max() > 0.1


def test_states_are_those_of_a_recovery(distilled, teacher, subjects):
    still = distilled().augmentation.__class__(share=0.0, intensity_share=0.0)
    settings = distilled(augmentation=still)
    objective = new_objective(settings)
    drawn, again = drawn_of(settings, subjects((1, 16, 16), (1, 16, 16)), objective)
    start = random_flows(
        settings.shape, level_scale(again.level).tolist(), again.generators, settings.field,
        full_count=image_count(79), svf_shape=[8, 8],
    ).ddf  # fmt: skip
    states, velocities = objective._recovered(drawn, start, level_scale(drawn.level))
    images = []
    teacher.step.gain = settings.gain
    recover(
        teacher.step, again.image, start, again.level.tolist(), RecoverySettings(steps=4),
        callback=lambda info: images.append(info.image.clone()),
    )  # fmt: skip
    assert len(states) == len(velocities) == len(images) == 4
    for state, image in zip(states[1:], images[:-1], strict=True):
        torch.testing.assert_close(state[:, :1], image, rtol=1e-3, atol=1e-3)
    assert (images[0] - images[-1]).abs().max() > 1e-3


def test_a_student_begins_as_its_teacher_and_comes_closer(distilled, teacher, tmp_path):
    objective = new_objective(distilled())
    image, scale = torch.rand(2, 1, 16, 16), torch.tensor([0.2, 0.7])
    first = objective.network(image, scale, torch.tensor([1.0, 0.25]))
    torch.testing.assert_close(first, teacher.step.network(image, scale))
    losses = []
    settings = distilled(steps=60, validate_every=20, subjects=8)
    model = train(
        settings, tmp_path, progress=lambda e: losses.append(e.data) if e.kind == "step" else None
    )
    found = [each["val_loss"] for each in losses if "val_loss" in each]
    assert len(found) == 3 and found[-1] < found[0]
    assert model.recovery.steps == 2 and model.card.recommended["steps"] == 2
    assert model.architecture["strided"] is True
    assert model.card.training["teacher"] == f"tiny {teacher.sha256}"
    told = [model.step.network(image, scale, torch.full((2,), s)) for s in (0.25, 1.0)]
    assert not torch.equal(*told)
    below = model.step.network(image, scale, torch.full((2,), 0.01))
    assert torch.equal(below, model.step.network(image, scale))


def test_a_run_with_a_coarse_stem(tiny, tmp_path):
    model = train(tiny(stem=4, shape=(16, 16), steps=2, validate_every=2), tmp_path)
    assert model.architecture["stem"] == 4 and load_model(model.path).step.network.multiple == 8
    with pytest.raises(InputError, match="`stem` must be 2 or 4, got 3"):
        tiny(stem=3)


def test_another_width_begins_at_random(distilled, teacher):
    narrow = new_objective(distilled(widths=(8, 24)))
    model = as_model(narrow, teacher.card, distilled())
    assert model.architecture["widths"] == [8, 24]
    assert model.architecture["velocity_rms"] == teacher.architecture["velocity_rms"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": None}, "`teacher` must name"),
        ({"passes": (3,)}, r"`passes` must be divisors of `teacher_passes` \(4\), got \[3\]"),
        ({"passes": ()}, "`passes` must be divisors"),
        ({"objective": "velocity"}, "`teacher` is for the objective `distilled`"),
    ],
)
def test_what_cannot_be_distilled_is_refused(changes, message, distilled):
    with pytest.raises(InputError, match=message):
        distilled(**changes)


def test_a_teacher_of_another_kind_or_grid_is_refused(distilled, tiny, tmp_path, teacher):
    student = train(distilled(steps=1), tmp_path / "student")
    with pytest.raises(InputError, match="`teacher` must be a model of objective `velocity`"):
        new_objective(distilled(teacher=str(student.path)))
    other = tiny().grid.__class__(dimension=2, mode="fov", side=32)
    with pytest.raises(InputError, match="`grid` must be that of the teacher tiny"):
        new_objective(distilled(grid=other))
