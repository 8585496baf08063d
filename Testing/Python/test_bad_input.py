"""What users get wrong: a named error that says what to do, and nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as safetensors_of

from DRDMCore.errors import (
    DRDMError,
    InputError,
    MemoryLimitError,
    MissingFileError,
    ModelError,
    OutputError,
)
from DRDMCore.models import find_model, import_published, load_model
from DRDMCore.pipelines import memory
from DRDMCore.pipelines.generate import GenerateJob, generate
from DRDMCore.pipelines.settings import SamplingSettings
from DRDMCore.progress import Event
from DRDMCore.recovery import VelocityStep

REPOSITORY = Path(__file__).resolve().parents[2]
HEART = "phantom-heart-2d"
NAMED = GenerateJob.__dataclass_fields__


def picture(shape: tuple[int, ...] = (26, 30), dtype: type = np.float32) -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return (100 + 100 * np.cos(3 * sum(axes))).astype(dtype)


def saved(path: Path, array: np.ndarray, *, is_vector: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=is_vector), str(path))
    return path


def make(folder: Path, **given: Any) -> GenerateJob:
    """A quick good job, but for what is given."""
    settings = {"image": None, "out": folder / "out", "count": 1, "seed": 1, "report": False}
    settings |= {k: v for k, v in given.items() if k in NAMED}
    if settings["image"] is None:
        settings["image"] = saved(folder / "in" / "scan.nrrd", picture())
    return GenerateJob(
        **settings, sampling=SamplingSettings(**{k: v for k, v in given.items() if k not in NAMED})
    )


def in_file(data: bytes, name: str = "scan.nii") -> Callable[[Path], dict[str, Any]]:
    def build(folder: Path) -> dict[str, Any]:
        path = folder / "in" / name
        path.parent.mkdir()
        path.write_bytes(data)
        return {"image": path}

    return build


def image_of(array: np.ndarray, name: str = "scan.nrrd", **more: Any) -> Callable[[Path], dict]:
    return lambda folder: {"image": saved(folder / "in" / name, array, **more)}


def labels_of(array: np.ndarray, **settings: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"labels": saved(folder / "in" / "labels.nrrd", array), **settings}


def spoiled(*values: float) -> np.ndarray:
    array = picture()
    array[3, 4 : 4 + len(values)] = values
    return array


def four_axes(folder: Path) -> dict[str, Any]:
    image = sitk.JoinSeries([sitk.GetImageFromArray(picture((4, 8, 8)))] * 2)
    (folder / "in").mkdir()
    sitk.WriteImage(image, str(folder / "in" / "scan.nii"))
    return {"image": folder / "in" / "scan.nii"}


def several(folder: Path) -> dict[str, Any]:
    for name in ("a.nrrd", "b.nrrd"):
        saved(folder / "in" / name, picture())
    return {"image": folder / "in"}


def empty_folder(folder: Path) -> dict[str, Any]:
    (folder / "in").mkdir()
    return {"image": folder / "in"}


def nrrd(directions: str, sizes: str = "8 8 8") -> Callable[[Path], dict[str, Any]]:
    header = f"""NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior
sizes: {sizes}\nspace directions: {directions}\nkinds: domain domain domain\nendian: little
encoding: raw\nspace origin: (0,0,0)\n\n"""
    return in_file(header.encode() + picture((8, 8, 8)).tobytes(), "scan.nrrd")


def cut_nifti(folder: Path) -> dict[str, Any]:
    path = saved(folder / "in" / "scan.nii.gz", picture())
    path.write_bytes(path.read_bytes()[:-200])
    return {"image": path}


def far_labels(folder: Path) -> dict[str, Any]:
    image = sitk.GetImageFromArray(np.ones((26, 30), np.uint8))
    image.SetOrigin((5000.0, 0.0))
    (folder / "in").mkdir(exist_ok=True)
    sitk.WriteImage(image, str(folder / "in" / "labels.nrrd"))
    return {"labels": folder / "in" / "labels.nrrd", "resample_labels_to_image": True}


def not_text(folder: Path) -> dict[str, Any]:
    path = saved(folder / "in" / "scan.nrrd", picture())
    try:
        return {"image": path.rename(folder / "in" / NOT_TEXT)}
    except OSError:
        pytest.skip("names of this file system are always text")


def given(**settings: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: settings


def stack(**settings: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"image": saved(folder / "in" / "s.nrrd", picture((5, 9, 8))), **settings}


NOT_TEXT = "a\udcff.nrrd"  # what Python makes of the byte FF in a file name
TOO_LONG, NO_ENTRY = "x" * 300, "a\0b"

INPUTS: dict[str, tuple[Callable[[Path], dict[str, Any]], type[DRDMError], str]] = {
    "missing": (given(image=Path("no/where.nii")), MissingFileError, "where.nii does not exist"),
    "too long": (given(image=Path(TOO_LONG)), MissingFileError, "does not exist"),
    "NUL": (given(image=Path(NO_ENTRY)), MissingFileError, "does not exist"),
    "not text": (not_text, InputError, "UTF-8.*rename"),
    "device file": (given(image=Path(os.devnull)), InputError, "a file or a folder"),
    "empty": (in_file(b""), InputError, "is empty"),
    "text": (in_file(b"hello" * 100), InputError, "cannot be read.*give NIfTI"),
    "text nrrd": (in_file(b"hello" * 100, "scan.nrrd"), InputError, "cannot be read.*give NIfTI"),
    "cut": (cut_nifti, InputError, "incomplete.*copy or export it again"),
    "several": (several, InputError, "one image.*with 2.*drdm augment"),
    "no image": (empty_folder, InputError, "holds none: choose"),
    "4D": (four_axes, InputError, "2D or 3D.*4 axes"),
    "RGB": (
        image_of(np.zeros((20, 20, 3), np.uint8), "scan.png", is_vector=True),
        InputError,
        "one real number per voxel.*choose one channel",
    ),
    "vector": (
        image_of(np.zeros((6, 7, 8, 3), np.float32), is_vector=True),
        InputError,
        "one real number per voxel",
    ),
    "NaN": (image_of(spoiled(np.nan)), InputError, r"finite.*1 of 780.*\(3, 4\).*mask or fill"),
    "inf": (image_of(spoiled(np.inf, -np.inf)), InputError, "2 of 780 are NaN or infinite"),
    "constant": (image_of(np.full((20, 20), 7.0)), InputError, "every voxel is 7.*choose another"),
    "line": (image_of(picture((1, 1, 30))), InputError, "at least two axes.*whole slice"),
    "2D line": (image_of(picture((1, 30))), InputError, "at least two axes"),
    "singular": (nrrd("(1,0,0) (1,0,0) (0,0,1)"), InputError, "scan.nrrd"),
    "sheared": (nrrd("(1,0,0) (0.5,1,0) (0,0,1)"), InputError, "right angles.*resample it"),
    "zero spacing": (nrrd("(0,0,0) (0,1,0) (0,0,1)"), InputError, "scan.nrrd"),
    "NaN spacing": (nrrd("(nan,0,0) (0,1,0) (0,0,1)"), InputError, "scan.nrrd"),
    "announces a terabyte": (
        nrrd("(1,0,0) (0,1,0) (0,0,1)", "9000 9000 9000"),
        MemoryLimitError,
        "scan.nrrd needs more than .* GB of memory.*crop or resample",
    ),
    "labels missing": (given(labels=Path("no.nii")), MissingFileError, "no.nii does not exist"),
    "labels elsewhere": (
        labels_of(np.ones((26, 29), np.uint8)),
        InputError,
        "same grid.*resample the labels",
    ),
    "labels of another dimension": (
        labels_of(np.ones((4, 26, 30), np.uint8), resample_labels_to_image=True),
        InputError,
        "2 and 3 axes",
    ),
    "labels far away": (far_labels, InputError, "must overlap.*belong together"),
    "labels with fractions": (
        labels_of(picture() / 7),
        InputError,
        "whole numbers.*give a label map",
    ),
    "2D image, 3D labels": (labels_of(np.ones((4, 26, 30), np.uint8)), InputError, "2 and 3 axes"),
}

SETTINGS: dict[str, tuple[Callable[[Path], dict[str, Any]], type[DRDMError], str]] = {
    "slice axis of 2D": (given(slice_axis=0), InputError, "`slice_axis`.*leave it out"),
    "slice axis 3": (stack(model=HEART, slice_axis=3), InputError, "`slice_axis`.*0 to 2.*got 3"),
    "slice axis -1": (stack(slice_axis=-1), InputError, "`slice_axis`.*got -1"),
    "unknown model": (
        given(model="heart"),
        ModelError,
        f"none, .*{HEART}.*got 'heart'.*give its path",
    ),
    "model too long": (given(model=TOO_LONG), ModelError, "must be a file or one of"),
    "model NUL": (given(model=NO_ENTRY), ModelError, "must be a file or one of"),
    "level 80": (given(level=80), InputError, r"`level`.*0 \.\. 79, got 80"),
    "level -1": (given(level=-1, model=HEART), InputError, "`level`.*got -1"),
    "count": (given(count=0), InputError, "`count`.*at least 1, got 0"),
    "seed": (given(seed=-1), InputError, "`seed`.*got -1"),
    "seed too big": (given(seed=2**63), InputError, "`seed`.*2.*63"),
    "mean_mm with a model": (given(model=HEART, mean_mm=2.0), InputError, "`mean_mm`.*use `level`"),
    "mean_mm 0": (given(mean_mm=0.0), InputError, "`mean_mm`.*got 0"),
    "mean_mm NaN": (given(mean_mm=float("nan")), InputError, "`mean_mm`.*got nan"),
    "mean_mm infinite": (given(mean_mm=float("inf")), InputError, "`mean_mm`.*got inf"),
    "mean_mm too big": (given(mean_mm=1e5), InputError, "`mean_mm`.*ask for less"),
    "gain without a model": (given(gain=2.0), InputError, "`gain`.*leave it out"),
    "gain negative": (given(gain=-1.0, model=HEART), InputError, "`gain`.*>= 0, got -1"),
    "recursions": (given(recursions=2, model=HEART), InputError, "`recursions`.*leave it out"),
    "steps": (given(steps=0, model=HEART), InputError, "`steps`.*got 0"),
    "start": (given(start="bottom"), InputError, "`start`.*'level', 'top', got 'bottom'"),
    "precision": (given(precision="fp8"), InputError, "`precision`.*'bf16'"),
    "border": (given(border="none"), InputError, "`border`.*'fixed', 'free'"),
    "border width": (given(border_width=0.6), InputError, r"`border_width`.*0 \.\. 0.5"),
    "stack": (given(stack="all"), InputError, "`stack`.*'per-slice'"),
    "interpolation": (given(interpolation="lanczos"), InputError, "`interpolation`.*'cubic'"),
    "padding": (given(padding="wrap"), InputError, "`padding`.*'minimum'"),
    "attempts": (given(attempts=0), InputError, "`attempts`.*>= 1"),
    "folding": (given(max_folding=101), InputError, r"`max_folding`.*0 \.\. 100"),
    "limits": (given(min_mm=3.0, max_mm=2.0), InputError, "`min_mm`.*`max_mm`"),
    "field format": (given(field_format=".zip"), InputError, r"`field_format`.*\.nrrd.*'.zip'"),
    "image format": (given(image_format=".png"), InputError, "`image_format`.*'.png'"),
    "device": (given(device="tpu9"), InputError, "`device`.*'cpu'.*'tpu9'"),
    "device without data": (given(device="meta"), InputError, "`device`.*'meta'"),
    "device that is not there": (given(device="cuda:99"), InputError, "`device`.*'cuda:99'"),
    "out NUL": (given(out=Path(NO_ENTRY)), OutputError, "choose another folder"),
    "out not text": (given(out=Path(NOT_TEXT)), OutputError, "UTF-8.*choose another"),
    "out too long": (given(out=Path(TOO_LONG)), OutputError, "choose another folder"),
    "out in devices": (given(out=Path(os.devnull) / "x"), OutputError, "choose another folder"),
}


def leftovers(folder: Path) -> list[Path]:
    """What a failed job left behind: files of its own, half files anywhere."""
    out = folder / "out"
    return [*out.rglob("*"), *folder.rglob("*partial*")] if out.is_dir() else []


@pytest.mark.parametrize("name", [*INPUTS, *SETTINGS])
def test_bad_job(name, tmp_path, monkeypatch):
    build, kind, words = {**INPUTS, **SETTINGS}[name]
    monkeypatch.chdir(tmp_path)
    events: list[Event] = []
    with pytest.raises(DRDMError) as caught:
        generate(make(tmp_path, **build(tmp_path)), events.append)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert re.search(words, message, re.DOTALL), message
    assert "\n" not in message and len(message) < 900, message
    assert leftovers(tmp_path) == []
    assert {event.kind for event in events} <= {"start"}


@pytest.mark.skipif(
    not any(path.stem == "phantom-torso-3d" for path in (REPOSITORY / "Resources").rglob("*")),
    reason="no bundled 3D model",
)
@pytest.mark.parametrize("shape", [(26, 30), (1, 26, 30)])
def test_3d_model_on_a_slice(shape, tmp_path):
    image = saved(tmp_path / "in.nrrd", picture(shape))
    with pytest.raises(InputError, match="choose a 2D model"):
        generate(make(tmp_path, image=image, model="phantom-torso-3d"))
    assert leftovers(tmp_path) == []


# Models -------------------------------------------------------------------------------------------


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bundled model with another header."""
    data = find_model(HEART).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["drdm"])
    change(header)
    return safetensors_of(tensors_of(data), metadata={"drdm": json.dumps(header)})


def with_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    data = find_model(HEART).read_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    weights = tensors_of(data)
    change(weights)
    return safetensors_of(weights, metadata=metadata)


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], object]:
    def change(header: dict[str, Any]) -> None:
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = to

    return change


def _spoil(weights: dict[str, torch.Tensor]) -> None:
    next(iter(weights.values())).view(-1)[0] = float("nan")


MODELS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not a model" * 50,
    "truncated": lambda: find_model(HEART).read_bytes()[:-1000],
    "header of an exabyte": lambda: (2**60).to_bytes(8, "little") + b"{}",
    "foreign": lambda: safetensors_of({"a": torch.zeros(3)}),
    "no JSON": lambda: safetensors_of({"a": torch.zeros(3)}, metadata={"drdm": "{"}),
    "newer": lambda: with_header(_set("format", to=2)),
    "no card": lambda: with_header(lambda header: header.pop("card")),
    "card of text": lambda: with_header(_set("card", to="x")),
    "odd level": lambda: with_header(_set("card", "recommended", to={"level": "high"})),
    "no name": lambda: with_header(lambda header: header["card"].pop("name")),
    "huge": lambda: with_header(_set("architecture", "widths", to=[10**9] * 3)),
    "deep": lambda: with_header(_set("architecture", "widths", to=[1] * 1000)),
    "fractions": lambda: with_header(_set("architecture", "widths", to="many")),
    "5D": lambda: with_header(_set("architecture", "dimension", to=5)),
    "3D header": lambda: with_header(_set("architecture", "dimension", to=3)),
    "unknown kind": lambda: with_header(_set("architecture", "kind", to="os.system")),
    "no number": lambda: with_header(_set("architecture", "velocity_rms", to=float("nan"))),
    "grid": lambda: with_header(_set("grid", "evil", to=1)),
    "field": lambda: with_header(_set("field", "control_spacing", to=-1)),
    "other dimension": lambda: with_header(_set("grid", "dimension", to=3)),
    "steps": lambda: with_header(_set("recovery", "steps", to="x")),
    "NaN weights": lambda: with_weights(_spoil),
    "missing weights": lambda: with_weights(lambda weights: weights.popitem()),
    "more weights": lambda: with_weights(_set("x", to=torch.zeros(1))),
}


@pytest.mark.parametrize("name", MODELS)
def test_bad_model(name, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(MODELS[name]())
    with pytest.raises(ModelError) as caught:
        generate(make(tmp_path, model=str(path)))
    assert str(path) in str(caught.value)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_model_is_never_run(protocol, tmp_path):
    marker = tmp_path / "it ran"
    payload = pickle.dumps({"conv_out.weight": Bomb(marker)}, protocol=protocol)
    for name in ("model.safetensors", "model.pth", "model.pt"):
        path = tmp_path / name
        path.write_bytes(payload)
        with pytest.raises(ModelError):
            load_model(path)
        with pytest.raises(ModelError, match="never run"):
            import_published(path, name="x")
    path = tmp_path / "zip.pth"
    torch.save({"time_embed.weight": Bomb(marker)}, path)
    with pytest.raises(ModelError, match="never run"):
        import_published(path, name="x")
    assert not marker.exists()


# Memory and disk ----------------------------------------------------------------------------------


def test_need_of_memory_is_said_before_starting(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "bytes_of_memory", lambda: 200_000_000)
    monkeypatch.setattr(VelocityStep, "forward", None)
    with pytest.raises(
        MemoryLimitError, match=r"needs about [\d.]+ GB.*has 0\.2 GB.*crop"
    ) as caught:
        generate(make(tmp_path, model=HEART))
    assert "scan.nrrd of 30x26 voxels" in str(caught.value)
    assert leftovers(tmp_path) == []


def test_memory_counts_every_slice_that_the_network_sees(tmp_path):
    events: dict[str, str] = {}
    image = saved(tmp_path / "in.nrrd", np.repeat(picture((1, 160, 160)), 60, axis=0))
    for kind in ("shared", "per-slice"):
        job = make(tmp_path, image=image, model=HEART, stack=kind, slice_axis=0)

        def told(event: Event, kind: str = kind) -> bool:
            events[kind] = event.message
            return False

        with pytest.raises(DRDMError):
            generate(job, told)
    need = {kind: float(re.search(r"about ([\d.]+) GB", text)[1]) for kind, text in events.items()}
    assert need["per-slice"] > need["shared"] + 0.1


@pytest.fixture
def mounted(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("cannot mount a small file system here (needs root)")
    yield place
    subprocess.run(["umount", str(place)], check=True, capture_output=True)


def test_too_small_a_disk_is_refused_before_starting(tmp_path, mounted):
    image = saved(tmp_path / "in.nrrd", picture((300, 300)))
    with pytest.raises(OutputError, match=r"of free disk.*choose another folder"):
        generate(make(tmp_path, image=image, out=mounted / "out"))
    assert not list(mounted.iterdir())


@pytest.mark.parametrize("field_format", [".nrrd", ".nii.gz", ".h5", ".mha"])
def test_a_disk_that_fills_up(field_format, tmp_path, mounted, monkeypatch):
    monkeypatch.setattr("DRDMCore.pipelines.generate.require_disk", lambda *_: None)
    noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    image = saved(tmp_path / "in.nrrd", noise)
    job = make(
        tmp_path, image=image, out=mounted / "out", count=9, field_format=field_format, level=20
    )
    with pytest.raises(OutputError, match="free some space"):
        generate(job)
    left = sorted(path.name for path in job.out.iterdir())
    assert not [name for name in left if "partial" in name]
    done = []
    if "manifest.json" in left:
        done = json.loads((job.out / "manifest.json").read_text(encoding="utf-8"))["samples"]
    for entry in done:
        assert {entry["image"], entry["field"]} <= set(left)


def test_a_read_only_folder(tmp_path, mounted):
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True, capture_output=True)
    for out in (mounted, mounted / "deep" / "out"):
        with pytest.raises(OutputError, match=r"Read-only file system.*choose another folder"):
            generate(make(tmp_path, out=out))


def test_out_is_a_file(tmp_path):
    path = tmp_path / "taken"
    path.write_text("mine", encoding="utf-8")
    for out in (path, path / "below"):
        with pytest.raises(OutputError, match="choose another folder"):
            generate(make(tmp_path, out=out))
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_name_that_gets_too_long(tmp_path):
    image = saved(tmp_path / "in" / f"{'x' * 245}.nrrd", picture())
    with pytest.raises(OutputError, match="cannot be written"):
        generate(make(tmp_path, image=image))
    assert leftovers(tmp_path) == []


def out_of_memory_once(monkeypatch) -> list[int]:
    """The first pass of the network fails as a full GPU does; returns the batch sizes seen."""
    batches: list[int] = []
    forward = VelocityStep.forward

    def failing(self, image, *rest, **named):
        batches.append(len(image))
        if len(batches) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return forward(self, image, *rest, **named)

    monkeypatch.setattr(VelocityStep, "forward", failing)
    return batches


def test_out_of_memory_goes_on_with_less(tmp_path, monkeypatch):
    image = saved(tmp_path / "in.nrrd", np.repeat(picture((1, 26, 30)), 4, axis=0))
    settings = {"image": image, "model": HEART, "stack": "per-slice", "slice_axis": 0, "steps": 1}
    generate(make(tmp_path, **settings))
    batches, events = out_of_memory_once(monkeypatch), []
    manifest = generate(make(tmp_path, **settings, out=tmp_path / "again"), events.append)
    notes = [event.message for event in events if event.kind == "note"]
    assert any("ran out of memory" in note for note in notes)
    assert batches == [4, 2, 2]
    name = manifest["samples"][0]["field"]
    first, again = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / out / name)))
        for out in ("out", "again")
    )
    assert np.abs(first - again).max() < 1e-3


def test_out_of_memory_with_one_sample_is_named(tmp_path, monkeypatch):
    out_of_memory_once(monkeypatch)
    with pytest.raises(MemoryLimitError, match="smaller grid"):
        generate(make(tmp_path, model=HEART))
    assert leftovers(tmp_path) == []


@pytest.mark.gpu
def test_out_of_gpu_memory_goes_on_with_the_cpu(tmp_path, monkeypatch):
    out_of_memory_once(monkeypatch)
    events: list[Event] = []
    generate(make(tmp_path, model=HEART, device="cuda"), events.append)
    assert any(e.kind == "note" and "going on with the CPU" in e.message for e in events)


# The command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--image", "no.nii", "--model", "none"], 1, "no.nii does not exist"),
        (["--image", "scan.nrrd", "--model", "none", "--level", "99"], 1, "`level`"),
        (["--image", "scan.nrrd", "--model", "none", "--level", "3", "--mean-mm", "1"], 2, "allow"),
    ],
)
def test_bad_command(arguments, status, words, tmp_path):
    saved(tmp_path / "scan.nrrd", picture())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "DRDMCore", "generate", *arguments, "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(REPOSITORY)])},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == status
    assert words in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "" and not (tmp_path / "out").exists()
