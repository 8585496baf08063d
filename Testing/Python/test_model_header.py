"""The header of a model file, read without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from DRDMCore.errors import ModelError
from DRDMCore.model_header import list_models, model_folders, read_header, user_model_folder
from DRDMCore.models import load_model

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = list_models()
LIGHT = """
import sys
from DRDMCore.model_header import list_models, read_header
for path in list_models():
    read_header(path)
heavy = {"torch", "numpy", "SimpleITK", "safetensors", "yaml"} & set(sys.modules)
assert not heavy, heavy
print(len(list_models()))
"""


def safetensors(header: object) -> bytes:
    """A file that is nothing but its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def drdm(text: str) -> bytes:
    return safetensors({"__metadata__": {"drdm": text}})


def test_models_are_listed_and_read_without_torch():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIGHT],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(MODELS) >= 1


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_header_says_what_the_loaded_model_says(path):
    header, model = read_header(path), load_model(path)
    assert header["card"]["name"] == model.card.name == path.stem
    assert header["card"]["licence"] == model.card.licence
    assert header["grid"] == model.grid.to_dict()
    assert header["architecture"] == dict(model.architecture)


HOSTILE = {
    "empty": (b"", "not a whole"),
    "seven bytes": (b"1234567", "not a whole"),
    "no header": ((0).to_bytes(8, "little"), "not a whole"),
    "header of an exabyte": ((2**60).to_bytes(8, "little") + b"{}", "not a whole"),
    "header longer than the file": ((3).to_bytes(8, "little") + b"{}", "not a whole"),
    "huge but there": ((10_000_001).to_bytes(8, "little") + b" " * 10_000_001, "not a whole"),
    "text": (b"not a model" * 50, "not a whole"),
    "no JSON": (safetensors(b"{]"), "not a whole"),
    "no UTF-8": (safetensors(b"\xff\xfe\xff"), "not a whole"),
    "deep": (safetensors(b"[" * 200_000), "not a whole"),
    "list": (safetensors([1]), "no DRDM model"),
    "foreign": (safetensors({"a": {"shape": [1]}}), "no DRDM model"),
    "metadata of text": (safetensors({"__metadata__": "drdm"}), "no DRDM model"),
    "card of numbers": (safetensors({"__metadata__": {"drdm": 7}}), "unreadable card"),
    "card cut short": (drdm("{"), "unreadable card"),
    "deep card": (drdm("[" * 200_000), "unreadable card"),
    "newer": (drdm('{"format": 2}'), "must have format"),
    "no format": (drdm("[]"), "must have format"),
    "card without parts": (drdm('{"format": 1, "card": {}}'), "no 'architecture'"),
    "card of text": (drdm('{"format": 1, "card": "x"}'), "no 'card'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_by_name(name, tmp_path):
    data, words = HOSTILE[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=words) as caught:
        read_header(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("place", ["missing.safetensors", ""])
def test_what_is_no_file_is_refused(place, tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        read_header(tmp_path / place)


def test_own_folder_is_listed_and_bundled_names_win(tmp_path, monkeypatch):
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path))
    assert user_model_folder() == tmp_path and model_folders()[-1] == tmp_path
    for name in ("own", MODELS[0].stem):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    listed = list_models()
    assert tmp_path / "own.safetensors" in listed
    assert MODELS[0] in listed and tmp_path / MODELS[0].name not in listed
    monkeypatch.setenv("DRDM_MODELS", str(tmp_path / "nowhere"))
    assert list_models() == MODELS
