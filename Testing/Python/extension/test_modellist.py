"""The models as the selector shows them: real files, damaged ones, files of one's own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Python.extension.children import MODULE_FOLDER, application

BUNDLED = MODULE_FOLDER.parent / "Resources" / "Models"
HIPPOCAMPUS = BUNDLED / "hippocampus-mr-3d.safetensors"


@pytest.fixture
def lib():
    yield from application()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of models, not there yet."""
    folder = tmp_path / "models of mine"
    monkeypatch.setenv("DRDM_MODELS", str(folder))
    return folder


def test_the_bundled_models_and_none_are_listed_with_their_cards(lib, folder):
    entries = {entry.name: entry for entry in lib.modellist.listModels()}
    assert next(iter(entries)) == "none" and entries["none"].dimension is None
    assert {path.stem for path in BUNDLED.glob("*.safetensors")} == set(entries) - {"none"}
    hippocampus = entries["hippocampus-mr-3d"]
    assert (hippocampus.modality, hippocampus.dimension, hippocampus.shape) == (
        "MR",
        3,
        (40, 56, 40),
    )
    assert "CC BY-SA" in hippocampus.licence and "Decathlon" in hippocampus.data
    assert hippocampus.recommended["level"] == 68 and hippocampus.path == HIPPOCAMPUS
    assert entries["phantom-heart-2d"].dimension == 2
    assert all(entry.usable and entry.title for entry in entries.values())


def test_hashes_are_those_of_the_list(lib, folder):
    lines = (BUNDLED / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    known = {name: digest for digest, name in (line.split() for line in lines)}
    for entry in lib.modellist.listModels()[1:]:
        assert entry.sha256 == known[entry.path.name]
    assert lib.modellist.randomField().sha256 == ""


def test_listing_needs_neither_torch_nor_the_packages(tmp_path):
    """In a process of its own: Slicer's has none of them."""
    (tmp_path / "slicer").mkdir()
    (tmp_path / "slicer" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "slicer" / "i18n.py").write_text("tr = str\n", encoding="utf-8")
    code = (
        "import sys\n"
        "for name in ('torch', 'safetensors', 'yaml', 'numpy', 'SimpleITK', 'tqdm', 'PIL'):\n"
        "    sys.modules[name] = None\n"
        "from DRDMLib import modellist\n"
        "print(len([each for each in modellist.listModels() if each.usable]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{MODULE_FOLDER}", "DRDM_MODELS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 1 + len(list(BUNDLED.glob("*.safetensors")))


def damaged(data):
    """Files that somebody may have, by what is wrong with them."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def packed(metadata, **more):
        text = json.dumps({**header, "__metadata__": metadata, **more}).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    card = json.loads(header["__metadata__"]["drdm"])
    return {
        "empty": b"",
        "text": b"this is no model at all, but a text of some length",
        "cut": data[:-1000],
        "cut in the header": data[: length // 2],
        "longer": data + b"more",
        "foreign": packed({"format": "pt"}),
        "no card": packed({"drdm": "{}"}),
        "of the future": packed({"drdm": json.dumps({**card, "format": 99})}),
        "no dimension": packed({"drdm": json.dumps({**card, "grid": {}})}),
        "odd dimension": packed({"drdm": json.dumps({**card, "grid": {"dimension": 4}})}),
        "odd card": packed({"drdm": json.dumps({**card, "card": {"training": 3}})}),
        "odd weights": packed({"drdm": json.dumps(card)}, odd=[1, 2]),
    }


def test_files_that_cannot_be_used_are_listed_with_the_reason(lib, folder):
    folder.mkdir()
    bad = damaged(HIPPOCAMPUS.read_bytes())
    for name, data in bad.items():
        (folder / f"{name}.safetensors").write_bytes(data)
    (folder / "folder.safetensors").mkdir()
    entries = {entry.name: entry for entry in lib.modellist.listModels()}
    for name in [*bad, "folder"]:
        entry = entries[name]
        assert not entry.usable and entry.problem and entry.title == name, name
        assert lib.modellist.looksFitting(entry, (64, 64, 64), (1, 1, 1))
        with pytest.raises(lib.modellist.ModelProblem):
            lib.modellist.addModelFile(entry.path)
    assert entries["hippocampus-mr-3d"].usable


def test_a_model_file_is_copied_to_the_users_models(lib, folder, tmp_path):
    mine = tmp_path / "my own.safetensors"
    mine.write_bytes(relabelled(HIPPOCAMPUS, "mine"))
    entry = lib.modellist.addModelFile(mine)
    assert entry.name == "my own" and entry.path == folder / "my own.safetensors"
    assert entry.path.read_bytes() == mine.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["my own.safetensors"]
    assert lib.modellist.entryOf("my own") == entry
    assert lib.modellist.addModelFile(mine) == entry  # the same again is no second model


def test_another_model_of_the_same_name_is_never_replaced(lib, folder, tmp_path):
    first, second = tmp_path / "x.safetensors", tmp_path / "again" / "X.safetensors"
    second.parent.mkdir()
    first.write_bytes(relabelled(HIPPOCAMPUS, "one"))
    second.write_bytes(relabelled(HIPPOCAMPUS, "two"))
    bundled = tmp_path / "phantom-heart-2d.safetensors"
    bundled.write_bytes(relabelled(HIPPOCAMPUS, "three"))
    names = [lib.modellist.addModelFile(each).name for each in (first, second, bundled)]
    assert names == ["x", "X-2", "phantom-heart-2d-2"]
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert lib.modellist.entryOf("x").sha256 == digest


def test_a_bundled_model_is_not_copied(lib, folder):
    assert lib.modellist.addModelFile(HIPPOCAMPUS).path == HIPPOCAMPUS and not folder.exists()


def test_what_cannot_be_added_says_why(lib, tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"x")
    with pytest.raises(lib.modellist.ModelProblem, match="published weights are imported"):
        lib.modellist.addModelFile(tmp_path / "weights.pth")
    with pytest.raises(lib.modellist.ModelProblem, match="no such file"):
        lib.modellist.addModelFile(tmp_path / "nowhere.safetensors")
    (tmp_path / "blocked").write_text("a file, no folder", encoding="utf-8")
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path / "blocked" / "models"))
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(relabelled(HIPPOCAMPUS, "mine"))
    with pytest.raises(lib.modellist.ModelProblem, match="cannot be written"):
        lib.modellist.addModelFile(mine)


def test_a_file_elsewhere_is_a_model_by_its_path(lib, folder, tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(relabelled(HIPPOCAMPUS, "mine"))
    assert lib.modellist.entryOf(str(mine)).usable
    assert lib.modellist.entryOf("unheard-of") is None


@pytest.mark.parametrize(
    ("name", "size", "spacing", "hint", "words"),
    [
        ("none", (512, 512, 1), (0.5, 0.5, 5), "US", None),
        ("hippocampus-mr-3d", (35, 51, 35), (1, 1, 1), "MR", None),
        ("hippocampus-mr-3d", (35, 51, 35), (1, 1, 1), None, None),
        ("hippocampus-mr-3d", (35, 51, 35), (1, 1, 1), "CT", "trained on MR, but the volume is CT"),
        ("hippocampus-mr-3d", (240, 256, 160), (1, 1, 1), "MR", "covers 240 x 256 x 160 mm. Crop"),
        ("hippocampus-mr-3d", (36, 50, 1), (1, 1, 1), "MR", "single slice: choose a 2D model"),
        ("hippocampus-mr-3d", (36, 50, 8), (1, 1, 5), "MR", "voxels of 1 mm, but those"),
        ("lung-ct-3d", (512, 512, 120), (0.8, 0.8, 2.5), "ct", None),
        ("lung-ct-3d", (512, 512, 20), (0.8, 0.8, 2.5), "CT", "larger field of view"),
        ("phantom-heart-2d", (128, 128, 1), (1.5, 1.5, 8), None, None),
        ("phantom-heart-2d", (10, 128, 128), (8, 1.5, 1.5), None, None),
        ("phantom-heart-2d", (128, 128, 1), (1.5, 1.5, 8), "MR", "made-up images"),
        ("phantom-heart-2d", (512, 512, 1), (1.5, 1.5, 8), None, "Crop it first"),
    ],
)
def test_a_volume_that_does_not_look_like_the_models_is_warned_of(
    name, size, spacing, hint, words, lib, folder
):
    warning = lib.modellist.looksFitting(lib.modellist.entryOf(name), size, spacing, hint)
    assert (warning is None) if words is None else (words in warning), warning


def relabelled(path: Path, title: str) -> bytes:
    """The file of a model with another title."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    card = json.loads(header["__metadata__"]["drdm"])
    card["card"]["title"] = title
    header["__metadata__"]["drdm"] = json.dumps(card)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
