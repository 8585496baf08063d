"""`RandDRDMd` inside MONAI's own pipelines."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

monai = pytest.importorskip("monai", reason="MONAI is not installed: pip install -e '.[monai]'")

from monai.data import (  # noqa: E402
    CacheDataset,
    DataLoader,
    Dataset,
    MetaTensor,
    decollate_batch,
    set_track_meta,
)
from monai.transforms import (  # noqa: E402
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    RandFlipd,
    ScaleIntensityd,
)
from monai.utils import set_determinism  # noqa: E402

from DRDMCore.adapters import FieldSource, RandDRDMd  # noqa: E402
from DRDMCore.adapters.grids import volume_of  # noqa: E402
from DRDMCore.errors import InputError  # noqa: E402
from DRDMCore.fields import warp, warp_labels  # noqa: E402
from DRDMCore.imaging import phantom  # noqa: E402

KEYS, MODES = ("image", "label"), ("bilinear", "nearest")


def deformer(prob: float = 1.0, **given) -> RandDRDMd:
    return RandDRDMd(KEYS, mode=MODES, prob=prob, **{"level": 30, **given}).set_random_state(seed=5)


@pytest.fixture
def item(made):
    """Makes an item of one of the kinds of input that MONAI has."""

    def make(dimension: int = 3, kind: str = "meta", seed: int = 0) -> dict[str, object]:
        image, labels, affine = made(dimension, seed)
        if kind == "meta":
            given = [MetaTensor(each, affine=torch.from_numpy(affine)) for each in (image, labels)]
            given[0].meta["patient"] = f"p{seed}"
            return dict(zip(KEYS, given, strict=True), name=f"p{seed}")
        pair = (image, labels) if kind == "tensor" else (image.numpy(), labels.numpy())
        return dict(zip(KEYS, pair, strict=True), name=f"p{seed}")

    return make


@pytest.mark.parametrize("kind", ["numpy", "tensor", "meta"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_pair_is_what_the_core_makes_of_the_field(item, made, dimension, kind):
    transform = deformer()
    given = item(dimension, kind)
    out = transform(given)
    image, labels, affine = made(dimension)
    seen = volume_of(image[0], affine if kind == "meta" else None, "image")
    ddf = FieldSource.of(level=30).take(seen, transform._seed)
    assert float(ddf.abs().max()) > 0.3
    assert isinstance(out["image"], MetaTensor) and out["name"] == "p0"
    assert torch.equal(out["image"].as_tensor(), warp(image[None], ddf)[0])
    assert torch.equal(out["label"].as_tensor(), warp_labels(labels[None], ddf)[0])
    assert out["label"].dtype == labels.dtype
    again = item(dimension, kind)
    assert all(np.array_equal(given[key], again[key]) for key in KEYS), "the input was changed"


def test_affine_and_metadata_stay(item, same_geometry):
    given = item()
    out = deformer()(given)
    for key in KEYS:
        assert same_geometry(out[key].affine, given[key].affine)
    assert out["image"].meta["patient"] == "p0"
    assert given["image"].applied_operations == []
    assert [each["class"] for each in out["image"].applied_operations] == ["RandDRDMd"]


def test_without_tracking_plain_tensors_come_out(item):
    set_track_meta(False)
    try:
        out = deformer()(item(2))
        assert type(out["image"]) is torch.Tensor and type(out["label"]) is torch.Tensor
        assert not torch.equal(out["image"], item(2, "tensor")["image"])
    finally:
        set_track_meta(True)


def test_a_state_gives_the_same_numbers_again(item):
    transform = deformer(prob=0.5)
    first = [transform(item(2))["image"] for _ in range(6)]
    transform.set_random_state(seed=5)
    again = [transform(item(2))["image"] for _ in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    changed = [not torch.equal(each, first[0]) for each in first]
    assert any(changed) and not all(changed)
    transform.set_random_state(seed=6)
    other = [transform(item(2))["image"] for _ in range(6)]
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_probability_zero_leaves_all_as_it_is(item):
    out = deformer(prob=0.0)(item(2))
    assert torch.equal(out["image"], item(2)["image"])
    back = deformer(prob=0.0)
    assert torch.equal(back.inverse(back(item(2)))["label"], item(2)["label"])


def test_pickled_it_does_the_same(item):
    transform = deformer(model="phantom-heart-2d", steps=2)
    copy = pickle.loads(pickle.dumps(transform))
    assert torch.equal(copy(item(2))["image"], transform(item(2))["image"])


def test_determinism_in_a_composition(item):
    def run() -> torch.Tensor:
        set_determinism(seed=3)
        both = Compose([RandFlipd(KEYS, prob=0.5, spatial_axis=0), deformer(prob=0.7)])
        both.set_random_state(seed=3)
        return torch.stack([both(item(2))["image"].as_tensor() for _ in range(4)])

    try:
        assert torch.equal(run(), run())
    finally:
        set_determinism(seed=None)


def test_inverse(item):
    transform = deformer()
    given = item()
    given["image"][0] = torch.linspace(0, 100, 19)[:, None, None]  # linear: interpolated exactly
    out = transform(given)
    back = transform.inverse(out)
    assert back["image"].applied_operations == []
    inner = (0, *[slice(4, -4)] * 3)
    moved = (out["image"] - given["image"])[inner].abs().max()
    missed = (back["image"] - given["image"])[inner].abs().max()
    assert missed < 0.1 * moved
    assert set(back["label"].unique().tolist()) == {0, 3, 7}
    overlap = (back["label"] == given["label"]).float().mean()
    assert overlap > (out["label"] == given["label"]).float().mean() and overlap > 0.95


def test_invertd_brings_predictions_back(item):
    pre = Compose([ScaleIntensityd("image"), deformer()])
    data = Dataset([item(2, seed=k) for k in range(2)], pre)
    (batch,) = DataLoader(data, batch_size=2, num_workers=2)
    batch["pred"] = batch["label"].clone()
    post = Invertd("pred", transform=pre, orig_keys="image", nearest_interp=True, to_tensor=True)
    for number, each in enumerate(decollate_batch(batch)):
        pred = post(each)["pred"]
        assert set(pred.unique().tolist()) <= {0, 3, 7}
        assert (pred == item(2, seed=number)["label"]).float().mean() > 0.93


def test_without_tracing_there_is_no_record(item):
    transform = deformer()
    with transform.trace_transform(False):
        out = transform(item(2))
    assert out["image"].applied_operations == []
    assert not torch.equal(out["image"], item(2)["image"])


def read_by(workers: int, data) -> list[torch.Tensor]:
    loader = DataLoader(data, batch_size=2, num_workers=workers, shuffle=False)
    return [batch["image"].as_tensor() for _ in range(2) for batch in loader]


def test_workers_with_a_cache_of_images_and_stored_fields(item, tmp_path):
    """Two workers: new fields in each epoch, the same when seeded."""
    stored = deformer(folder=tmp_path, count=3, level=20)
    items = [item(2, seed=k) for k in range(4)]
    before = [ScaleIntensityd("image")]
    assert stored.fill(Dataset(items, Compose(before))) == 4
    assert len(list(tmp_path.iterdir())) == 4

    def run() -> torch.Tensor:
        set_determinism(seed=1)
        data = CacheDataset(items, Compose([*before, stored]), progress=False)
        return torch.stack(read_by(2, data))

    try:
        first = run()
        assert torch.equal(first, run())
    finally:
        set_determinism(seed=None)
    assert not torch.equal(first[:2], first[2:])


def test_files_from_disk_are_filled_and_found(made, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image, labels, affine = made()
    paths = {key: str(tmp_path / f"{key}.nii.gz") for key in KEYS}
    for key, each in zip(KEYS, (image, labels), strict=True):
        nibabel.save(nibabel.Nifti1Image(each[0].numpy(), affine), paths[key])
    load = [LoadImaged(KEYS), EnsureChannelFirstd(KEYS)]
    stored = deformer(folder=tmp_path / "fields", count=2, level=40)
    assert stored.fill(Dataset([paths], Compose(load))) == 1
    out = Compose([*load, stored])(paths)
    assert not np.array_equal(out["image"], image[:1])
    assert set(np.unique(out["label"])) == {0, 3, 7}


def test_changed_images_have_no_stored_fields(item, tmp_path):
    stored = deformer(folder=tmp_path, count=1)
    stored.fill([item(2)])
    with pytest.raises(InputError, match="before all that changes them at random"):
        stored(ScaleIntensityd("image")(item(2)))


def test_missing_keys(item):
    given = item(2)
    del given["label"]
    with pytest.raises(KeyError, match="label"):
        deformer()(given)
    assert set(deformer(allow_missing_keys=True)(given)) == {"image", "name"}
    del given["image"]
    assert set(deformer(allow_missing_keys=True)(given)) == {"name"}
    with pytest.raises(InputError, match="`image_key`"):
        deformer(allow_missing_keys=True, image_key="scan")(item(2))


def test_the_model_looks_at_the_first_image_that_is_there(item):
    given = item(2)
    given["t2"] = given.pop("image")
    deform = RandDRDMd(
        ("t1", "t2", "label"),
        mode=("bilinear", "bilinear", "nearest"),
        prob=1.0,
        level=30,
        allow_missing_keys=True,
    )
    out = deform.set_random_state(seed=5)(given)
    wanted = deformer()(item(2))
    assert torch.equal(out["t2"], wanted["image"]) and torch.equal(out["label"], wanted["label"])


def test_reversed_views_of_arrays(item):
    given = item(2, "numpy")
    whole = {**given, "image": given["image"][:, ::-1].copy()}
    out = deformer()({**given, "image": given["image"][:, ::-1]})
    assert torch.equal(out["image"], deformer()(whole)["image"])


@pytest.mark.parametrize("model", ["none", "phantom-heart-2d"])
def test_a_device_that_is_not_there_is_named(item, model):
    with pytest.raises(InputError, match="`device` must be one that is there"):
        deformer(model=model, device="gpu")(item(2))


def test_orientation_makes_no_other_anatomy():
    image, _ = phantom("torso-3d", 3)
    tensor = torch.from_numpy(image.array.T.astype(np.float32))[None]
    stored = MetaTensor(tensor, affine=torch.from_numpy(image.geometry.affine))
    moved = []
    for axes in ("LPS", "LIA"):
        turned = Orientationd("image", axcodes=axes, labels=None)({"image": stored})
        deform = RandDRDMd("image", model="phantom-torso-3d", prob=1.0, level=40, steps=2)
        out = deform.set_random_state(seed=5)(turned)
        moved.append(Orientationd("image", axcodes="LPS", labels=None)(out)["image"])
    spread = float(tensor.max() - tensor.min())
    assert float((moved[0] - stored).abs().max()) > 0.2 * spread
    assert torch.allclose(moved[0], moved[1], atol=0.01 * spread)


def test_wrong_images_are_named(item, made):
    given = item()
    given["label"] = given["label"][:, 1:]
    with pytest.raises(InputError, match=r"'label' must have the grid"):
        deformer()(given)
    given = item()
    given["label"].affine = 2 * given["label"].affine
    with pytest.raises(InputError, match="'label' must have the affine"):
        deformer()(given)
    given = item()
    given["image"] = given["image"][None]
    with pytest.raises(InputError, match="'image' must have shape"):
        deformer()(given)
    with pytest.raises(InputError, match="3D model needs a volume"):
        deformer(model="phantom-torso-3d")(item(2))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "bicubic"}, "`mode` must be one of bilinear, nearest"),
        ({"padding_mode": "reflection"}, "`padding_mode` must be one of border, zeros"),
        ({"sigma_range": (5, 8)}, "sigma_range"),
    ],
)
def test_wrong_settings_are_named(given, words):
    with pytest.raises(InputError, match=words):
        RandDRDMd("image", **given)


@pytest.mark.gpu
def test_a_pair_on_a_gpu_is_deformed_there(item):
    given = item()
    there = {key: given[key].cuda() for key in KEYS}
    out = deformer()(there)
    here = deformer()(given)
    assert out["image"].device.type == out["label"].device.type == "cuda"
    assert torch.allclose(out["image"].cpu(), here["image"], atol=0.05)
    assert (out["label"].cpu() == here["label"]).float().mean() > 0.999
    assert deformer(device="cuda")(there)["image"].device.type == "cuda"
    transform = deformer()
    assert transform.inverse(transform(there))["image"].device.type == "cuda"
