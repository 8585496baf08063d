"""The source of fields: what `drdm generate` makes, on the axes of the libraries; stored fields."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DRDMCore.adapters import FieldSource
from DRDMCore.adapters.grids import ddf_for_tensor, volume_of
from DRDMCore.adapters.pulling import inverted, pull
from DRDMCore.adapters.stored_fields import StoredFields
from DRDMCore.adapters.variation import Variation, mirrored, taken
from DRDMCore.errors import Cancelled, InputError, ModelError
from DRDMCore.fields import folded, warp, warp_labels
from DRDMCore.imaging import apply_field, read_field, write_volume
from DRDMCore.pipelines.generate import GenerateJob, generate
from DRDMCore.pipelines.settings import SamplingSettings

HEART = "phantom-heart-2d"
TIGHT = {"rtol": 0, "atol": 2e-5}


@pytest.fixture
def source(tmp_path):
    """A source with a folder of three fields."""
    return FieldSource.of(folder=tmp_path / "fields", count=3, seed=4, level=30)


def test_the_grid_is_where_nibabel_puts_the_voxels(made, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image, _, affine = made()
    nibabel.save(nibabel.Nifti1Image(image[0].numpy(), affine), tmp_path / "scan.nii")
    read = sitk.ReadImage(str(tmp_path / "scan.nii"))
    volume = volume_of(image[0], torch.from_numpy(affine), "scan")
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(read))
    assert volume.geometry.size == read.GetSize()
    for ours, itk in (
        (volume.geometry.spacing_mm, read.GetSpacing()),
        (volume.geometry.origin_mm, read.GetOrigin()),
        (volume.geometry.direction, read.GetDirection()),
    ):
        assert np.allclose(ours, itk, atol=1e-5)


@pytest.mark.parametrize("model", ["none", HEART])
def test_a_field_is_the_one_that_generate_writes(made, tmp_path, model):
    image, _, affine = made(3, shape=(24, 20, 2))
    volume = volume_of(image[0], affine, "scan")
    source = FieldSource.of(model=model, level=25, slice_axis=2)  # axis 0 of the array
    ddf = source.take(volume, 11)
    first_seed = int(torch.randint(2**31, (1,), generator=torch.Generator().manual_seed(11)))
    write_volume(volume, tmp_path / "scan.nrrd")
    job = GenerateJob(
        image=tmp_path / "scan.nrrd",
        model=model,
        count=1,
        seed=first_seed,
        out=tmp_path / "out",
        sampling=SamplingSettings(level=25, slice_axis=0),
        report=False,
    )
    (entry,) = generate(job)["samples"]
    assert entry["seed"] == first_seed
    written = ddf_for_tensor(read_field(tmp_path / "out" / entry["field"]))
    assert torch.allclose(ddf, written, **TIGHT) and float(ddf.abs().max()) > 0.3


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_pulled_image_is_the_one_that_itk_resamples(made, dimension):
    image, labels, affine = made(dimension)
    volume = volume_of(image[0], affine, "scan")
    (sample,) = FieldSource.of(level=40)._samples(volume, 5, 1, None)
    ddf = ddf_for_tensor(sample.field)
    assert float(ddf.abs().max()) > 0.5
    pulled = pull(image, ddf, mode="linear", padding="border", title="scan")
    itk = apply_field(volume, sample.field).array
    assert np.abs(pulled[0].numpy().T - itk).max() < 0.1  # of 1000
    assert torch.equal(pulled, warp(image[None], ddf)[0])
    moved = pull(labels, ddf, mode="nearest", padding="border", title="labels")
    assert torch.equal(moved, warp_labels(labels[None], ddf)[0])
    assert not torch.equal(moved, labels) and set(moved.unique().tolist()) <= {0, 3, 7}


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int64, torch.bool, torch.float32, torch.float16, torch.float64]
)
def test_labels_of_any_type_keep_type_and_values(made, dtype):
    _, labels, _ = made()
    channels = torch.cat([labels > 2, labels > 5]).to(dtype)
    ddf = torch.full((1, 3, *labels.shape[1:]), 0.8)
    moved = pull(channels, ddf, mode="nearest", padding="border", title="labels")
    assert moved.dtype == dtype and set(moved.unique().tolist()) <= {0, 1}
    assert torch.equal(moved[:, :-1, :-1, :-1], channels[:, 1:, 1:, 1:])


def test_large_labels_stay_exact(made):
    labels = made().labels.to(torch.int64) + 2**40
    ddf = torch.full((1, 3, *labels.shape[1:]), 0.2)
    assert torch.equal(pull(labels, ddf, mode="nearest", padding="border", title="l"), labels)


@pytest.mark.parametrize("dtype", [torch.int16, torch.float16, torch.float64])
def test_images_of_other_types(made, dtype):
    image = made().image.round().to(dtype)
    ddf = torch.full((1, 3, *image.shape[1:]), 0.25)
    moved = pull(image, ddf, mode="linear", padding="border", title="scan")
    assert moved.dtype == (dtype if dtype.is_floating_point else torch.float32)
    exact = warp(image[None].double(), ddf.double())[0]
    assert float((moved.double() - exact).abs().max()) < 0.6


def test_filled_once_then_read(made, source, tmp_path):
    volumes = [volume_of(made(seed=k).image[0], made().affine, "scan") for k in range(2)]
    events = []
    assert source.fill(volumes, events.append) == 2
    assert [each.message for each in events if each.kind == "case"] == [
        "image 1: 3 fields drawn, 3 there",
        "image 2: 3 fields drawn, 3 there",
    ]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "fields").iterdir()}
    assert len(files) == 2
    assert source.fill(volumes, events.append) == 2
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "fields").iterdir()}
    stored = {source.take(volumes[0], seed).numpy().tobytes() for seed in range(30)}
    assert len(stored) == 3
    other = {source.take(volumes[1], seed).numpy().tobytes() for seed in range(30)}
    assert len(other) == 3 and not stored & other


def test_more_fields_are_added_to_those_that_are_there(made, tmp_path):
    volume = volume_of(made().image[0], made().affine, "scan")
    few, many = (FieldSource.of(folder=tmp_path, count=count, level=30) for count in (2, 3))
    few.fill([volume])
    (path,) = tmp_path.iterdir()
    before = [StoredFields(path).read(number) for number in range(2)]
    many.fill([volume])
    assert list(tmp_path.iterdir()) == [path]
    assert len(set(StoredFields(path).seeds())) == 3
    assert all(torch.equal(StoredFields(path).read(k), each) for k, each in enumerate(before))
    assert few.take(volume, 1).shape == (1, 3, *made().image.shape[1:])


def test_stopped_filling_keeps_what_is_whole(made, source, tmp_path):
    volumes = [volume_of(made(seed=k).image[0], made().affine, "scan") for k in range(2)]
    with pytest.raises(Cancelled):
        source.fill(volumes, lambda event: event.kind != "case")
    assert len(list((tmp_path / "fields").iterdir())) == 1


@pytest.mark.parametrize("change", ["image", "affine", "level", "seed", "model"])
def test_fields_of_something_else_are_not_taken(made, tmp_path, change):
    image, _, affine = made(2)
    settings = {"folder": tmp_path, "count": 1, "level": 20, "seed": 1}
    FieldSource.of(**settings).fill([volume_of(image[0], affine, "scan")])
    if change == "image":
        image = image + 1
    elif change == "affine":
        affine = affine * 1.1
    elif change == "model":
        settings["model"] = HEART
    else:
        settings[change] = 7
    with pytest.raises(InputError, match="call `fill`"):
        FieldSource.of(**settings).take(volume_of(image[0], affine, "scan"), 0)


def test_fields_are_found_where_preparation_rounds_otherwise(made, source, tmp_path):
    image, _, affine = made()
    other = made(seed=1).image
    scaled = [(each - each.mean()) / each.std() for each in (image[0], other[0])]
    source.fill([volume_of(each, affine, "scan") for each in scaled])
    files = sorted((tmp_path / "fields").iterdir())
    for each in scaled:
        random = torch.Generator().manual_seed(0)
        rounded = each * (1 + 1e-6 * torch.randn(each.shape, generator=random))
        assert not torch.equal(rounded, each)
        for seed in range(3):
            wanted = source.take(volume_of(each, affine, "scan"), seed)
            assert torch.equal(source.take(volume_of(rounded, affine, "scan"), seed), wanted)
    source.fill([volume_of(rounded, affine, "scan")])
    assert sorted((tmp_path / "fields").iterdir()) == files
    noisy = scaled[0] + 0.1 * torch.randn(scaled[0].shape, generator=random)
    with pytest.raises(InputError, match="call `fill`"):
        source.take(volume_of(noisy, affine, "scan"), 0)


def test_the_slice_axis_is_one_of_the_tensor(made):
    image, _, affine = made(3)
    for axis in range(3):
        source = FieldSource.of(model=HEART, slice_axis=axis, level=20)
        assert source.arguments()["slice_axis"] == axis
        assert FieldSource.of(**source.arguments()) == source
        ddf = source.take(volume_of(image[0], affine, "scan"), 0)
        still = [c for c in range(3) if float(ddf[0, c].abs().max()) < 1e-5]
        assert still == [axis]


def test_a_damaged_file_is_named(made, source, tmp_path):
    volume = volume_of(made(2).image[0], None, "scan")
    source.fill([volume])
    (path,) = (tmp_path / "fields").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=path.name):
        source.take(volume, 0)


def test_variation_is_a_matter_of_the_seed(made, tmp_path):
    volume = volume_of(made(2).image[0], None, "scan")
    plain = {"folder": tmp_path, "count": 2, "level": 20}
    source = FieldSource.of(**plain, amplitude=[0.2, 0.8], mirror=[0, 1], mix=0.5)
    source.fill([volume])
    fields = [source.take(volume, seed) for seed in range(40)]
    assert len({field.numpy().tobytes() for field in fields}) == 40
    assert all(torch.equal(a, source.take(volume, seed)) for seed, a in enumerate(fields))
    assert not any(folded(field).any() for field in fields)
    whole = [FieldSource.of(**plain).take(volume, seed) for seed in range(40)]
    largest = max(float(field.abs().max()) for field in whole)
    assert max(float(field.abs().max()) for field in fields) <= 0.8 * largest + 1e-6


def test_a_multiple_that_would_fold_is_not_taken():
    ramp = torch.linspace(0, 3, 7)
    field = torch.zeros(1, 2, 13, 5)
    field[0, 0] = torch.cat([ramp, ramp.flip(0)[1:]])[:, None] * 1.9
    assert not folded(field).any() and folded(1.4 * field).any()
    variation = Variation(amplitude=(1.4, 1.4))
    got = taken(lambda _: field, 1, variation, torch.Generator().manual_seed(0))
    assert torch.equal(got, field)
    weaker = taken(lambda _: field, 1, Variation((0.5, 0.5)), torch.Generator().manual_seed(0))
    assert torch.equal(weaker, 0.5 * field)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_field_moves_the_mirrored_image(made, axis):
    image = made().image[None]
    ddf = torch.randn(1, 3, *image.shape[2:], generator=torch.Generator().manual_seed(3))
    mirror = warp(image.flip(2 + axis), mirrored(ddf, axis))
    assert torch.allclose(mirror, warp(image, ddf).flip(2 + axis), atol=0.02)


def test_the_inverse_brings_points_back(made):
    volume = volume_of(made().image[0], made().affine, "scan")
    ddf = FieldSource.of(level=30).take(volume, 3)
    back = inverted(ddf)
    assert float((warp(ddf, back) + back).abs().max()) < 0.01 < float(ddf.abs().max())


def test_settings_survive_text_and_pickle(tmp_path):
    given = {"model": HEART, "folder": str(tmp_path), "level": 12, "amplitude": (0.5, 1.0)}
    source = FieldSource.of(**given, mirror=(1,), border="free", count=4)
    assert source.arguments() == {**given, "mirror": (1,), "border": "free", "count": 4}
    assert FieldSource.of(**source.arguments()) == source
    assert pickle.loads(pickle.dumps(source)) == source
    assert FieldSource.of(amplitude=0.5, mirror=1).variation == Variation((0.5, 0.5), (1,))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"model": "unheard-of"}, ModelError, "must be a file or one of none"),
        ({"levle": 3}, InputError, "levle"),
        ({"count": 0}, InputError, "`count`"),
        ({"seed": "one"}, InputError, "`seed`"),
        ({"mix": 0.5}, InputError, "`folder`"),
        ({"mix": 2, "folder": "x"}, InputError, "`mix`"),
        ({"amplitude": (0.5, 2)}, InputError, "`amplitude`"),
        ({"amplitude": (1, 0.5)}, InputError, "`amplitude`"),
        ({"mirror": (3,)}, InputError, "`mirror`"),
        ({"level": 3.5}, InputError, "`level`"),
        ({"padding": "zeros"}, InputError, "`padding_mode`"),
        ({"interpolation": "nearest"}, InputError, "`image_interpolation`"),
        ({"label_interpolation": "linear"}, InputError, "nearest"),
        ({"slice_axis": 3}, InputError, "`slice_axis`"),
    ],
)
def test_wrong_settings_are_named(given, error, words):
    with pytest.raises(error, match=words):
        FieldSource.of(**given)


def test_wrong_images_are_named(made):
    image, _, affine = made()
    sheared = affine.copy()
    sheared[0, 1] += 1
    for tensor, place, words in (
        (image, affine, "4 axes after the channels"),
        (image[0], sheared, "right angles"),
        (image[0], np.zeros((4, 4)), "invertible"),
        (image[0], np.eye(3), "affine of scan"),
    ):
        with pytest.raises(InputError, match=words):
            volume_of(tensor, place, "scan")
    with pytest.raises(InputError, match="must name where the fields go"):
        FieldSource.of().fill([volume_of(image[0], affine, "scan")])
    with pytest.raises(InputError, match="must show something"):
        FieldSource.of().take(volume_of(torch.zeros(8, 8), None, "scan"), 0)
    with pytest.raises(InputError, match="grid of the field"):
        pull(image, torch.zeros(1, 3, 4, 4, 4), mode="linear", padding="border", title="scan")
    with pytest.raises(InputError, match="`mirror`"):
        FieldSource.of(mirror=(2,)).take(volume_of(made(2).image[0], None, "scan"), 3)


def test_the_core_does_not_import_the_libraries():
    code = (
        "import sys, DRDMCore.adapters, DRDMCore.cli\n"
        "print(sorted({'monai', 'torchio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "library"), [("RandDRDMd", "monai"), ("RandomDRDM", "torchio"), ("DRDM", "torchio")]
)
def test_a_missing_library_is_named_with_its_cure(name, library):
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"try:\n    from DRDMCore.adapters import {name}\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert f"pip install 'DRDMCore[{library}]'" in done.stdout and name in done.stdout


def test_an_unknown_transform_is_named():
    import DRDMCore.adapters as adapters

    with pytest.raises(AttributeError, match="RandDRDMd"):
        _ = adapters.RandomDRDMd
