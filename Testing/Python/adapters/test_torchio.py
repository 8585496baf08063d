"""`RandomDRDM` and `DRDM` inside TorchIO's own pipelines."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

tio = pytest.importorskip("torchio", reason="TorchIO is not installed: pip install -e '.[torchio]'")

from DRDMCore.adapters import DRDM, FieldSource, RandomDRDM  # noqa: E402
from DRDMCore.adapters.grids import volume_of  # noqa: E402
from DRDMCore.errors import InputError  # noqa: E402
from DRDMCore.fields import warp, warp_labels  # noqa: E402


@pytest.fixture
def subject(made):
    """Makes a subject with an image of two channels and a label map."""

    def make(dimension: int = 3, seed: int = 0):
        image, labels, affine = made(dimension, seed)
        if dimension == 2:
            image, labels = image[..., None], labels[..., None]
        return tio.Subject(
            scan=tio.ScalarImage(tensor=image, affine=affine),
            labels=tio.LabelMap(tensor=labels, affine=affine),
            name=f"p{seed}",
        )

    return make


@pytest.fixture(autouse=True)
def state():
    """TorchIO draws from the global generator of torch: put it back."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


def deformer(**given) -> RandomDRDM:
    return RandomDRDM(**{"level": 30, **given})


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_pair_is_what_the_core_makes_of_the_field(subject, same_geometry, dimension):
    given = subject(dimension)
    out = deformer()(given)
    (record,) = out.history
    ddf = torch.from_numpy(record.displacement)[None]
    assert isinstance(record, DRDM) and float(ddf.abs().max()) > 0.3
    assert torch.equal(out.scan.data, warp(given.scan.data[None], ddf)[0])
    assert torch.equal(out.labels.data, warp_labels(given.labels.data[None], ddf)[0])
    assert out.labels.data.dtype == given.labels.data.dtype and out["name"] == "p0"
    assert set(out.labels.data.unique().tolist()) == {0, 3, 7}
    assert not torch.equal(out.labels.data, given.labels.data)
    assert same_geometry(out.scan.affine, given.scan.affine)
    assert same_geometry(out.labels.affine, given.labels.affine)
    if dimension == 2:
        assert float(ddf[0, 2].abs().max()) < 1e-5  # nothing leaves the slice


def test_the_field_is_that_of_the_source(subject):
    given = subject()
    torch.manual_seed(3)
    out = deformer()(given)
    torch.manual_seed(3)
    torch.rand(1)  # whether to deform at all
    seed = RandomDRDM._get_random_seed()
    seen = volume_of(given.scan.data[0], given.scan.affine, "scan")
    assert np.array_equal(
        out.history[0].displacement, FieldSource.of(level=30).take(seen, seed)[0].numpy()
    )


def test_history_replays(subject):
    given = subject()
    both = tio.Compose([tio.RandomFlip(axes=(0, 1)), deformer(), tio.RandomNoise()])
    out = both(given)
    again = out.get_composed_history()(given)
    assert torch.equal(again.scan.data, out.scan.data)
    assert torch.equal(again.labels.data, out.labels.data)
    assert "DRDM" in [each.name for each in out.get_applied_transforms(ignore_intensity=True)]
    (record,) = [each for each in out.history if isinstance(each, DRDM)]
    assert repr(record) == "DRDM(displacement on 19x16x13 voxels)"


def test_history_takes_another_interpolation(subject):
    out = deformer()(subject())
    ddf = torch.from_numpy(out.history[0].displacement)[None]
    nearest = out.get_composed_history(image_interpolation="nearest")(subject())
    assert set(nearest.scan.data.unique().tolist()) <= set(subject().scan.data.unique().tolist())
    smooth = out.get_composed_history(image_interpolation="bspline")(subject())
    assert torch.equal(smooth.scan.data, warp(subject().scan.data[None], ddf, mode="cubic")[0])
    with pytest.raises(InputError, match="one of linear, nearest, bspline"):
        out.get_composed_history(image_interpolation="hamming")(subject())


def test_inverse(subject):
    given = subject()
    given.scan.data[0] = torch.linspace(0, 100, 19)[:, None, None]  # linear: interpolated exactly
    out = deformer()(given)
    back = out.apply_inverse_transform()
    assert back.history == []
    inner = (0, *[slice(4, -4)] * 3)
    moved = (out.scan.data - given.scan.data)[inner].abs().max()
    assert (back.scan.data - given.scan.data)[inner].abs().max() < 0.1 * moved
    agree = (back.labels.data == given.labels.data).float().mean()
    assert agree > 0.95 and agree > (out.labels.data == given.labels.data).float().mean()


def test_a_seed_gives_the_same_numbers_again(subject):
    def run() -> torch.Tensor:
        torch.manual_seed(11)
        transform = deformer(p=0.5)
        return torch.stack([transform(subject(2)).scan.data for _ in range(6)])

    first = run()
    assert torch.equal(first, run())
    changed = [not torch.equal(each, subject(2).scan.data) for each in first]
    assert any(changed) and not all(changed)


def test_configuration_makes_the_same_transform(subject):
    given = {"model": "phantom-heart-2d", "level": 20, "steps": 2, "amplitude": (0.5, 1.0)}
    transform = RandomDRDM(
        **given, p=0.8, include=["scan", "labels"], image_interpolation="nearest"
    )
    config = transform.to_hydra_config()
    assert config.pop("_target_") == "DRDMCore.adapters.torchio_transform.RandomDRDM"
    assert config["amplitude"] == [0.5, 1.0] and config["level"] == 20 and config["p"] == 0.8
    again = RandomDRDM(**config)
    assert again.source == transform.source
    assert repr(again) == repr(transform)
    assert "phantom-heart-2d" in repr(transform)
    record = deformer()(subject(2)).history[0].to_hydra_config()
    assert record["displacement"].shape == (3, 26, 21, 1)


def test_pickled_and_copied_it_does_the_same(subject):
    transform = deformer()
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        torch.manual_seed(2)
        expected = transform(subject(2)).scan.data
        torch.manual_seed(2)
        assert torch.equal(other(subject(2)).scan.data, expected)


def test_excluded_and_kept_images(subject):
    given = subject(2)
    out = deformer(exclude=["labels"], keep={"scan": "before"})(given)
    assert torch.equal(out.labels.data, given.labels.data)
    assert torch.equal(out.before.data, given.scan.data)
    assert not torch.equal(out.scan.data, given.scan.data)


def test_plain_tensors_and_dictionaries(made):
    image, labels, _ = made()
    assert deformer()(image).shape == image.shape
    data = {"a": image, "b": labels}
    out = deformer(include=["a", "b"], label_keys=["b"])(data)
    assert set(out["b"].unique().tolist()) == {0, 3, 7} and not torch.equal(out["a"], image)


def test_workers_with_stored_fields(subject, tmp_path):
    """Two workers of the loader: new fields in each epoch, the same when seeded."""
    subjects = [subject(2, seed=k) for k in range(4)]
    before = [tio.RescaleIntensity((0, 1))]
    stored = deformer(folder=str(tmp_path), count=3)
    assert stored.fill(tio.SubjectsDataset(subjects, transform=tio.Compose(before))) == 4
    assert len(list(tmp_path.iterdir())) == 4
    data = tio.SubjectsDataset(subjects, transform=tio.Compose([*before, stored]))

    def run() -> torch.Tensor:
        generator = torch.Generator().manual_seed(5)
        loader = tio.SubjectsLoader(data, batch_size=2, num_workers=2, generator=generator)
        return torch.stack([batch["scan"]["data"] for _ in range(2) for batch in loader])

    first = run()
    assert torch.equal(first, run())
    assert not torch.equal(first[:2], first[2:])


def test_patches_of_a_queue(subject):
    data = tio.SubjectsDataset([subject(seed=k) for k in range(2)], transform=deformer())
    queue = tio.Queue(
        data,
        max_length=4,
        samples_per_volume=2,
        sampler=tio.data.UniformSampler(8),
        num_workers=2,
    )
    patches = [batch for batch in tio.SubjectsLoader(queue, batch_size=2, num_workers=0)]
    assert len(patches) == 2
    assert patches[0]["scan"]["data"].shape == (2, 2, 8, 8, 8)
    assert set(patches[0]["labels"]["data"].unique().tolist()) <= {0, 3, 7}


def test_copies_and_patches_share_the_numbers_of_a_field(subject):
    out = deformer()(subject())
    patches = list(tio.data.UniformSampler(8)(out, num_patches=3))
    fields = [each.history[0].displacement for each in (*patches, copy.deepcopy(out))]
    assert all(np.shares_memory(field, fields[0]) for field in fields)


def test_history_is_replayed_by_another_program(subject, tmp_path):
    given = subject(2)
    out = deformer()(given)
    (tmp_path / "pair.pkl").write_bytes(pickle.dumps((given, out)))
    program = (
        "import pickle, sys, torch\n"
        "given, out = pickle.load(open(sys.argv[1], 'rb'))\n"
        "again = out.get_composed_history()(given)\n"
        "assert torch.equal(again.scan.data, out.scan.data)\n"
    )
    place = [sys.executable, "-c", program, str(tmp_path / "pair.pkl")]
    subprocess.run(place, check=True, cwd=Path(__file__).parents[3])


def test_changed_images_have_no_stored_fields(subject, tmp_path):
    stored = deformer(folder=tmp_path, count=1)
    stored.fill([subject(2)])
    with pytest.raises(InputError, match="before all that changes them at random"):
        stored(tio.RescaleIntensity((0, 1))(subject(2)))


def test_wrong_subjects_are_named(subject, made):
    given = subject()
    given.labels.set_data(given.labels.data[:, 1:])
    with pytest.raises(InputError, match="must have the grid of the field"):
        deformer()(given)
    given = subject()
    given.labels.affine[0, 3] += 5
    with pytest.raises(InputError, match="must have one affine"):
        deformer()(given)
    only_labels = tio.Subject(labels=subject().labels)
    with pytest.raises(InputError, match="`image_name` must name a scalar image"):
        deformer()(only_labels)
    with pytest.raises(InputError, match="'t2' and the images scan"):
        deformer(image_name="t2")(subject())
    with pytest.raises(InputError, match="3D model needs a volume"):
        deformer(model="phantom-torso-3d")(subject(2))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image_interpolation": "sinc"}, "`image_interpolation` must be one of linear"),
        ({"label_interpolation": "linear"}, "`label_interpolation` must be nearest"),
        ({"max_displacement": 7}, "max_displacement"),
    ],
)
def test_wrong_settings_are_named(given, words):
    with pytest.raises(InputError, match=words):
        RandomDRDM(**given)


def test_a_field_of_another_shape_is_named():
    with pytest.raises(InputError, match=r"\(3, W, H, D\)"):
        DRDM(np.zeros((2, 5, 5, 5)))
