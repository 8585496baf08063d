"""Blocks of code in the pages of docs/, and how they are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
DOCS = REPOSITORY / "docs"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of the blocks that are to be run; `no-test` needs what a test has not."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def run_page(page: str, folder: Path) -> str:
    """Run the blocks of a page one after the other in one folder, with `drdm` on the path.

    Returns:
        What they wrote to stderr.
    """
    shim = folder / "bin" / "drdm"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m DRDMCore "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    told = ""
    for kind, text in blocks(page):
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
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        told += done.stderr
    return told
