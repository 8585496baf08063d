"""The site is built without a warning, and every page is in its navigation."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys

import pytest
import yaml

from DRDMCore.atomic import written_whole
from Testing.Docs import site_hooks
from Testing.Python.docs.pages import DOCS, REPOSITORY

CONFIGURATION = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))


def listed(entry: object) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in listed(part)]


def test_every_page_is_in_the_navigation_once():
    completed = copy.deepcopy({**CONFIGURATION, "docs_dir": str(DOCS)})
    site_hooks.on_config(completed)
    left_out = tuple(CONFIGURATION["exclude_docs"].split())
    pages = (path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    wanted = sorted(page for page in pages if not page.startswith(left_out))
    assert sorted(listed(completed["nav"])) == wanted
    assert len(listed(CONFIGURATION["nav"])) < len(wanted)  # some results are left to the hook


def test_every_package_is_in_the_reference():
    text = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    shown = {name.split(".")[1] for name in re.findall(r"^::: (DRDMCore[\w.]+)$", text, re.M)}
    packages = {path.parent.name for path in (REPOSITORY / "DRDMCore").glob("*/__init__.py")}
    assert packages - shown == {"cli"}  # told by `drdm COMMAND --help`


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    pytest.importorskip("mkdocstrings_handlers.python", reason="the extra `docs` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    fields = (tmp_path / "site" / "reference" / "fields.html").read_text(encoding="utf-8")
    assert 'id="DRDMCore.fields.compose"' in fields
    atomic = (tmp_path / "site" / "reference" / "basics.html").read_text(encoding="utf-8")
    assert written_whole.__doc__.splitlines()[0].split("`")[0] in atomic
    pages = {page: page.read_text("utf-8") for page in (tmp_path / "site").rglob("*.html")}
    for page, text in pages.items():
        assert "```" not in text and "<p>|" not in text, f"{page}: Markdown that is not understood"
        loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?://[^\"]+)", text)
        assert not [each for each in loaded if "html5shiv" not in each], page
