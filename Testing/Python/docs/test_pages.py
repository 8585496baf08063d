"""The pages of docs/: their commands work, their links lead somewhere, their tests exist."""

from __future__ import annotations

import ast
import json
import os
import re

import pytest

from Testing.Python.docs.pages import DOCS, REPOSITORY, blocks, run_page

PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
RUN = ["cluster.md", "nnunet.md", "tutorial-command-line.md", "tutorial-python.md"]
FAQ = (DOCS / "faq.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs sh")
@pytest.mark.parametrize("page", RUN)
def test_blocks_run(page, tmp_path):
    assert blocks(page)
    run_page(page, tmp_path)
    if page == "cluster.md":
        manifest = json.loads((tmp_path / "augmented" / "manifest.json").read_text("utf-8"))
        assert manifest["complete"] and len(manifest["samples"]) == 8
    if page == "nnunet.md":
        folds = json.loads((tmp_path / "Dataset102_Heart" / "splits_final.json").read_text("utf-8"))
        assert [len(fold["val"]) for fold in folds] == [2, 1, 1, 1, 1]


def test_the_new_files_of_nnunet_are_told():
    text = (DOCS / "nnunet.md").read_text(encoding="utf-8")
    for name in ("dataset.json", "splits_final.json", "manifest.json", "imagesTr/CASE_0000.nii.gz"):
        assert f"`{name}`" in text


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", (DOCS / page).read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert ((DOCS / page).parent / target).exists(), target


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}" for page in PAGES)])
def test_files_that_are_named_exist(page):
    """Files in `Testing/...`, `Resources/...` and the like; names in capitals are to fill in."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    tops = "Testing|Resources|DRDMCore|DRDMExtension|docs"
    for name in re.findall(rf"`((?:{tops})/[\w./-]+\.\w+)`", text):
        if not re.search(r"[A-Z]{4,}\.", name):
            assert (REPOSITORY / name).exists(), name


def names_in(file: str) -> set[str]:
    """Names of the tests and classes of a test file."""
    tree = ast.parse((REPOSITORY / "Testing" / "Python" / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_answers_name_tests_that_exist():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", FAQ)
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(file)]
    assert not missing


def test_every_answer_has_its_tests_or_says_that_there_are_none():
    answers = FAQ.split("\n### ")[1:]
    assert len(answers) >= 25
    plain = [
        answer.splitlines()[0]
        for answer in answers
        if "\nTests: " not in answer and "not tested" not in answer
    ]
    assert plain == ["Does it help?"]  # answered by measurements, if at all
