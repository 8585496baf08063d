"""The blocks of docs/adapters.md work as they stand."""

from __future__ import annotations

import os

import pytest

from Testing.Python.docs.pages import blocks, run_page


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs sh")
def test_blocks_run(tmp_path):
    pytest.importorskip("monai", reason="MONAI is not installed: pip install -e '.[monai]'")
    pytest.importorskip("torchio", reason="TorchIO is not installed: pip install -e '.[torchio]'")
    assert [kind for kind, _ in blocks("adapters.md")] == ["sh", "python", "python"]
    run_page("adapters.md", tmp_path)
    fields = list((tmp_path / "heart-fields").iterdir())
    assert {path.suffix for path in fields} == {".safetensors"} and len(fields) >= 2
