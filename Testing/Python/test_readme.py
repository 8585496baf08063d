"""The commands of the README work as they stand, one after the other in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """Blocks that are run here; `sh no-test` needs the reader's data, `make demo` is the demo."""
    return [(kind, text) for kind, text in BLOCK.findall(README) if not text.startswith("make ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all blocks, in their order, with `drdm` on the path."""
    place = tmp_path_factory.mktemp("readme")
    shim = place / "bin" / "drdm"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m DRDMCore "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    return place


@pytest.fixture
def scans(folder, request):
    """The reader's own twenty scans, where a block needs them."""
    place = folder / "scans"
    if "scans" in blocks()[request.node.callspec.params["number"]][1] and not place.exists():
        images = request.getfixturevalue("shared_data") / "hippocampus" / "images"
        place.mkdir()
        for image in sorted(images.iterdir())[:20]:
            (place / image.name).symlink_to(image)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks())))
def test_block_runs(number, folder, scans):
    kind, text = blocks()[number]
    text = text.replace("--steps 400", "--steps 2")  # minutes are too long for a test
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    shell = ["sh", "-e", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(
        shell,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


def test_commands_that_are_not_run_are_few():
    assert README.count("```sh no-test") == 2


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_ratios_are_those_of_the_page_that_they_come_from():
    """Rows `| case | fp32 | bf16 | target |` against the rows of the benchmark."""
    page = (REPOSITORY / "docs" / "results" / "benchmark-generation.md").read_text(encoding="utf-8")
    measured = {
        (cells[0], cells[1].removesuffix(", field alone").removeprefix("ours, ")): cells[3]
        for cells in (line.strip("| ").split(" | ") for line in page.splitlines())
        if len(cells) >= 4 and (cells[1].endswith("field alone") or cells[0] == "one call")
    }
    rows = re.findall(r"^  \| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|", README, flags=re.MULTILINE)
    assert len(rows) == 4
    for title, *ratios in rows:
        case = "one call" if title.startswith("one call") else title
        for precision, ratio in zip(("fp32", "bf16"), ratios, strict=True):
            assert measured[case, precision].split()[0] == ratio
