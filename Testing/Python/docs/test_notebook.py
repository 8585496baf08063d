"""The notebook runs from its first cell to its last, and holds no results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
NOTEBOOK = REPOSITORY / "Resources" / "Notebooks" / "DRDM_demo.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
QUICK = 'FOLDER = "demo"\nCOUNT = 1\nTRAINING_STEPS = 4\nCASES = 3\n'

# In a process of its own: what the kernel's libraries warn of is no matter of these tests.
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.mark.slow
def test_it_runs(tmp_path):
    for package in ("nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(package, reason="the extra `notebook` is not installed")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    (parameters,) = (
        cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])
    )
    names = re.findall(r"^(\w+) = ", "".join(parameters["source"]), flags=re.MULTILINE)
    assert names == re.findall(r"^(\w+) = ", QUICK, flags=re.MULTILINE)
    parameters["source"] = QUICK
    copy = tmp_path / NOTEBOOK.name
    copy.write_text(json.dumps(notebook), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(copy)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MPLBACKEND": ""},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads(copy.read_text(encoding="utf-8"))["cells"]
    outputs = {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}
    pictures = [name for name, given in outputs.items() if "image/png" in json.dumps(given)]
    assert pictures == ["pictures", "slices", "grid", "3d", "loss"]
    assert "identical: True" in json.dumps(outputs["replay"])
    assert (tmp_path / "demo" / "run" / "mine.safetensors").is_file()
    assert len(list((tmp_path / "demo" / "augmented" / "img").iterdir())) == 6
    assert (tmp_path / "demo" / "Dataset102_Heart" / "splits_final.json").is_file()


def test_it_holds_no_results():
    assert CODE and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)


def test_it_downloads_nothing():
    text = "".join("".join(cell["source"]) for cell in CODE)
    assert not re.search(r"https?://|urllib|requests|^[!%]", text, flags=re.MULTILINE)


def test_its_links_lead_somewhere():
    text = "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links and all((NOTEBOOK.parent / link).is_file() for link in links)
