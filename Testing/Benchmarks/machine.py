"""What a measurement must say about where and when it was taken."""

from __future__ import annotations

import datetime
import platform
import subprocess
from pathlib import Path

import torch

from DRDMCore.machine import processor

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results"


def facts(seed: str) -> list[str]:
    """Date, machine, versions and seed as Markdown list items."""
    return [
        f"- date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"- machine: {processor()}, {torch.get_num_threads()} threads",
        f"- versions: Python {platform.python_version()}, torch {torch.__version__}",
        f"- git commit: {commit()}",
        f"- seed: {seed}",
    ]


def commit() -> str:
    """Short hash of the checkout, marked where its files, other than results, differ from it."""
    if not (REPOSITORY / ".git").exists():
        return "none"
    name = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/results")
    return f"{name}-dirty" if name and changed else name or "none yet"


def _git(*words: str) -> str:
    """What git answers; empty if it fails."""
    command = ["git", "-C", str(REPOSITORY), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    return answer.stdout.strip() if answer.returncode == 0 else ""


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def write_result(name: str, lines: list[str]) -> Path:
    """Write a page of results into docs/results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
