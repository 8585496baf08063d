"""Training images: found, read once, split by patient, refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DRDMCore.errors import Cancelled, InputError, MissingFileError, OutputError
from DRDMCore.imaging import GridPolicy, phantom
from DRDMCore.progress import Event
from DRDMCore.training import cache as cache_module
from DRDMCore.training.cache import cache_file, load_cached
from DRDMCore.training.settings import TrainingSettings
from DRDMCore.training.sources import find_sources
from DRDMCore.training.subjects import Split, read_split

FLAT = GridPolicy(dimension=2, mode="fov", side=16)


def settings(data: object, **changes) -> TrainingSettings:
    plain = TrainingSettings(
        name="tiny", data=str(data), grid=FLAT, shape=(16, 16), widths=(4, 8), steps=1, subjects=5
    )
    return replace(plain, **changes)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(12, 14)).astype(np.float32).cumsum(0)


def write(path: Path, array: np.ndarray | None = None, spacing: tuple[float, ...] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(picture(sum(path.name.encode())) if array is None else array)
    if spacing:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two frames of each of six patients."""
    for patient in range(1, 7):
        for frame in ("01", "12"):
            write(tmp_path / "frames" / f"patient{patient:03d}_frame{frame}.nii.gz")
    return tmp_path / "frames"


def names(data: object, **more) -> list[str]:
    return [each.name for each in find_sources(str(data), **more)[0]]


def patients(data: object) -> dict[str, str]:
    return {each.name: each.patient for each in find_sources(str(data))[0]}


def test_a_folder_of_images_and_one_image(tmp_path):
    write(tmp_path / "b.nii.gz"), write(tmp_path / "a.nrrd"), (tmp_path / "notes.md").touch()
    assert names(tmp_path) == ["a", "b"]
    assert names(tmp_path / "b.nii.gz") == ["b"]
    assert names("phantom:heart-2d", phantoms=3) == [f"heart-2d-{i}" for i in range(3)]


def test_folders_of_patients(tmp_path):
    write(tmp_path / "Meyer" / "t1.nii.gz"), write(tmp_path / "Meyer" / "t2.nii.gz")
    write(tmp_path / "patient007_first" / "t1.nii.gz")
    write(tmp_path / "patient007_second" / "t1.nii.gz")
    assert patients(tmp_path) == {
        **{"Meyer/t1": "Meyer", "Meyer/t2": "Meyer"},
        **{"patient007_first/t1": "007", "patient007_second/t1": "007"},
    }


def test_folders_that_are_kinds_of_files_are_refused(tmp_path):
    for name in ("imagesTr", "labelsTr"):
        write(tmp_path / name / "a.nii.gz")
    with pytest.raises(InputError, match=r"must be patients, but imagesTr, labelsTr.*/imagesTr"):
        find_sources(str(tmp_path))
    assert names(tmp_path / "imagesTr") == ["a"]


def test_labels_are_left_out_and_said_so(tmp_path):
    for name in ("p001_a", "p001_a_gt", "p002_a", "p002_a_seg", "mask", "gtown"):
        write(tmp_path / f"{name}.nii.gz")
    write(tmp_path / "labels" / "x.nii.gz")
    found, notes = find_sources(str(tmp_path))
    assert [each.name for each in found] == ["gtown", "p001_a", "p002_a"]
    assert "3 files" in notes[0] and "p001_a_gt" in notes[0] and "labels" in notes[1]


def test_a_list(tmp_path):
    write(tmp_path / "one" / "a.nii.gz"), write(tmp_path / "two" / "a.nii.gz")
    write(tmp_path / "patient003" / "a.nii.gz")
    listing = tmp_path / "lists" / "train.txt"
    listing.parent.mkdir()
    lines = [
        "# mine",
        "",
        "../one/a.nii.gz\tX",
        f"{tmp_path}/two/a.nii.gz",
        "../patient003/a.nii.gz",
    ]
    listing.write_text("\n".join(lines), encoding="utf-8")
    assert patients(listing) == {"one/a": "X", "two/a": "two/a", "patient003/a": "003"}
    listing.write_text("../one/a.nii.gz", encoding="utf-8")
    assert names(listing) == ["a"]
    listing.write_text("../one/a.nii.gz\n../one/none.nii.gz", encoding="utf-8")
    with pytest.raises(MissingFileError, match=r"line 2 of .*none\.nii\.gz does not exist"):
        find_sources(str(listing))
    listing.write_text("# nothing", encoding="utf-8")
    with pytest.raises(InputError, match="lists none"):
        find_sources(str(listing))
    listing.write_text("../one/a.nii.gz\n../one/a.nii.gz", encoding="utf-8")
    with pytest.raises(InputError, match=r"a are there in several"):
        find_sources(str(listing))


def test_what_is_no_data_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere does not exist"):
        find_sources(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds none"):
        find_sources(str(tmp_path))
    write(tmp_path / "deep" / "deeper" / "a.nii.gz")
    with pytest.raises(InputError, match="holds none"):
        find_sources(str(tmp_path))
    write(tmp_path / "x" / "a.nii.gz"), write(tmp_path / "x" / "a.nrrd")
    with pytest.raises(InputError, match=r"each image once, but a "):
        find_sources(str(tmp_path / "x"))


def parts(split: Split) -> list[set[str]]:
    return [set(each) for each in split.names().values()]


@pytest.mark.parametrize("seed", range(8))
def test_images_of_a_patient_stay_together(frames, seed):
    split = read_split(settings(frames, seed=seed, test_share=0.3))
    owners = [{name.split("_")[0] for name in part} for part in parts(split)]
    assert [len(each) for each in owners] == [3, 1, 2]
    assert len(set.union(*owners)) == 6
    assert [len(part) for part in parts(split)] == [6, 2, 4]


def test_frames_of_real_patients_stay_together(shared_data):
    folder = shared_data / "acdc" / "images"
    from DRDMCore.training.subjects import _split_by_patient

    sources, _ = find_sources(str(folder))
    cuts = _split_by_patient(sources, settings(folder, test_share=0.25, validation_share=0.25))
    owners = [{each.name[:10] for each in cut} for cut in cuts]
    assert [len(each) for each in owners] == [40, 20, 20] and len(set.union(*owners)) == 80
    assert [len(cut) for cut in cuts] == [80, 40, 40]


def test_split_depends_on_seed_and_names_alone(frames, tmp_path):
    first = read_split(settings(frames)).names()
    assert read_split(settings(frames)).names() == first
    others = [read_split(settings(frames, seed=seed)).names() for seed in range(1, 6)]
    assert any(other != first for other in others)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    frames.rename(moved)
    for number, path in enumerate(sorted(moved.iterdir(), reverse=True)):
        write(path, picture(number))  # other images, written in another order
    assert read_split(settings(moved)).names() == first


def test_few_patients(frames):
    for name in ("003", "004", "005", "006"):
        for path in frames.glob(f"patient{name}*"):
            path.unlink()
    split = read_split(settings(frames, validation_share=0.6, test_share=0.35))
    assert [len(part) for part in parts(split)] == [2, 2, 0]
    for path in frames.glob("patient002*"):
        path.unlink()
    with pytest.raises(InputError, match="at least 2 patients, got 2 images of 1"):
        read_split(settings(frames))


def test_test_images_are_not_read(frames):
    few = settings(frames, test_share=0.3)
    apart = read_split(few).test
    for name in apart:
        (frames / f"{name}.nii.gz").write_bytes(b"not an image")
    assert read_split(few).test == apart


def test_all_bad_images_are_named_before_the_work(frames):
    write(frames / "patient001_frame01.nii.gz", np.full((12, 14), 3.0, np.float32))
    with pytest.raises(InputError, match=r"patient001_frame01.*every voxel is 3"):
        read_split(settings(frames))
    hole = picture()
    hole[3, 4] = np.nan
    (frames / "patient003_frame12.nii.gz").unlink()
    write(frames / "patient003_frame12.nrrd", hole)
    (frames / "patient005_frame01.nii.gz").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_split(settings(frames))
    words = ("3 of 12", "patient001_frame01", "patient003_frame12", "NaN", "0 bytes")
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_image_that_is_one_grey_in_the_range_is_named(frames):
    dot = np.zeros((120, 140), np.float32)
    dot[60, 70] = 1000.0
    write(frames / "patient002_frame01.nii.gz", dot)
    with pytest.raises(InputError, match=r"patient002_frame01.*grid\.intensity_range"):
        read_split(settings(frames, grid=replace(FLAT, side=128)))
    write(frames / "patient002_frame01.nii.gz")
    window = replace(FLAT, intensity="window", intensity_range=(1e5, 1e6))
    with pytest.raises(InputError, match=r"12 of 12.*patient001_frame01.*and 7 more"):
        read_split(settings(frames, grid=window))


def test_cache_is_filled_once_and_used(frames, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    plain, filled = read_split(settings(frames)), read_split(settings(frames), folder)
    assert len(list(folder.iterdir())) == 12
    assert not [path for path in folder.iterdir() if path.suffix != ".safetensors"]
    monkeypatch.setattr("DRDMCore.training.subjects.to_model_grid", None)  # nothing may be made
    again = read_split(settings(frames), folder)
    for one, two, three in zip(plain.training, filled.training, again.training, strict=True):
        assert torch.equal(one.images, two.images) and torch.equal(two.images, three.images)


@pytest.fixture
def cached(frames, tmp_path) -> tuple[Callable[[], dict[str, torch.Tensor]], Path, Path]:
    """A filled cache, how to read by it, an image and its file in the cache."""
    folder = tmp_path / "cache"

    def read() -> dict[str, torch.Tensor]:
        split = read_split(settings(frames), folder)
        return {each.name: each.images for each in [*split.training, *split.validation]}

    read()
    source = find_sources(str(frames))[0][0]
    return read, source.path, cache_file(folder, source, FLAT)


def test_a_damaged_cache_file_is_made_again(cached):
    read, path, file = cached
    good, whole = read(), file.read_bytes()
    name = path.name.removesuffix(".nii.gz")
    flipped = bytearray(whole)
    flipped[-5] ^= 4
    for damage in (whole[:-20], whole[:4], b"", bytes(flipped), b"x" * 200):
        file.write_bytes(damage)
        assert load_cached(file) is None
        assert torch.equal(read()[name], good[name])
        kept = load_cached(file)
        assert kept is not None and torch.equal(kept.images, good[name])


def test_a_changed_image_or_grid_is_made_again(cached, frames, tmp_path):
    read, path, file = cached
    name, before = path.name.removesuffix(".nii.gz"), read()
    write(path, picture(1234))
    assert not torch.equal(read()[name], before[name])
    source = find_sources(str(frames))[0][0]
    now = cache_file(file.parent, source, FLAT)
    assert now != file and now.is_file()
    assert cache_file(file.parent, source, replace(FLAT, side=32)) != now
    wide = replace(FLAT, intensity_range=(0.0, 100.0))
    assert cache_file(file.parent, source, wide) != now


def test_a_header_and_its_data_are_one_image(tmp_path):
    write(tmp_path / "a.mhd")
    source, folder = find_sources(str(tmp_path))[0][0], tmp_path / "cache"
    before = cache_file(folder, source, FLAT)
    raw = next(tmp_path.glob("a.*raw"))
    raw.write_bytes(raw.read_bytes() + b"more")
    assert cache_file(folder, source, FLAT) != before


def test_half_files_are_never_seen(frames, tmp_path, monkeypatch):
    folder = tmp_path / "cache"

    def cut_short(*_, **__) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "to_bytes", cut_short)
    with pytest.raises((OutputError, OSError)):
        read_split(settings(frames), folder)
    assert not folder.exists() or not list(folder.iterdir())
    monkeypatch.undo()
    folder.mkdir(exist_ok=True)
    (folder / "taken").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        read_split(settings(frames), folder / "taken")


def test_processes_that_share_a_cache_read_the_same(frames, tmp_path, monkeypatch):
    alone, folder = read_split(settings(frames)), tmp_path / "cache"
    events: list[Event] = []
    for rank in ("2", "0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "3")
        split = read_split(settings(frames), folder, events.append)
        assert split.names() == alone.names()
        for one, two in zip(alone.training, split.training, strict=True):
            assert torch.equal(one.images, two.images)


def test_reading_is_told_and_can_be_stopped(frames):
    events: list[Event] = []
    read_split(settings(frames, test_share=0.3), progress=events.append)
    told = [(each.done, each.total) for each in events if each.kind == "read"]
    assert told == [(number, 8) for number in range(1, 9)]
    assert events[1].message == "reading 2 of 8"
    with pytest.raises(Cancelled, match="same command goes on"):
        read_split(settings(frames), progress=lambda event: event.done < 3)


def test_wildly_different_intensities_give_the_same_image(tmp_path):
    body = phantom("torso-3d", 0, shape=(16, 20, 20))[0].array.astype(np.float32) + 1000
    hot = body.copy()
    hot[[2, 5, 9], [3, 8, 11], [4, 4, 15]] = 1e6  # 3 of 6400 voxels
    for name, array in (("plain", body), ("scaled", 1e4 * body), ("hot", hot)):
        write(tmp_path / f"{name}.nii.gz", array, spacing=(4.0, 4.0, 4.0))
    for unscaled in (True, False):
        size = {"mode": "fov", "side": 20} if unscaled else {"mode": "spacing", "spacing_mm": 4.0}
        split = read_split(
            settings(tmp_path, grid=GridPolicy(dimension=3, **size), shape=(16, 24, 24))
        )
        seen = {each.name: each.images for each in [*split.training, *split.validation]}
        assert torch.allclose(seen["plain"], seen["scaled"], atol=1e-4)
        assert (seen["plain"] - seen["hot"]).abs().mean() < 0.01
        assert seen["plain"].std() > 0.2


def test_real_intensities_fill_the_range(shared_data, tmp_path):
    folder = shared_data / "hippocampus" / "images"
    listing = tmp_path / "some.txt"
    listing.write_text(
        "\n".join(str(path) for path in sorted(folder.iterdir())[:24]), encoding="utf-8"
    )
    grid = GridPolicy(dimension=3, mode="spacing", spacing_mm=1.0)
    split = read_split(settings(listing, grid=grid, shape=(40, 56, 40)))
    images = [each.images for each in [*split.training, *split.validation]]
    assert all(0.3 < float(each.mean()) < 0.6 and float(each.std()) > 0.12 for each in images)


def test_empty_slices_are_left_out(tmp_path):
    stack = np.stack([picture(i) for i in range(6)]) * 100
    stack[0] = 0.0
    stack[5] = np.random.default_rng(0).normal(size=stack[5].shape) * 0.05  # noise of the scanner
    faint = stack.copy()
    faint[3] *= 0.2
    for name, array in (("p001_a", stack), ("p002_a", faint)):
        write(tmp_path / f"{name}.nii.gz", array, spacing=(1.0, 1.0, 8.0))
    events: list[Event] = []
    split = read_split(settings(tmp_path), tmp_path / "cache", events.append)
    assert [len(each.images) for each in [*split.training, *split.validation]] == [4, 4]
    assert all(each.images.flatten(1).std(dim=1).min() > 0.05 for each in split.training)
    note = "left out 4 slices of 2 images, because they show nothing."
    assert [event.message for event in events if event.kind == "note"] == [note]
    again: list[Event] = []
    read_split(settings(tmp_path), tmp_path / "cache", again.append)
    assert [event.message for event in again if event.kind == "note"] == [note]
