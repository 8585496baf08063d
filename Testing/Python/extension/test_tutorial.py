"""The tutorial tells the texts, buttons and pictures that the module has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "DRDMExtension"
TUTORIAL = (REPOSITORY / "docs" / "tutorial-slicer.md").read_text(encoding="utf-8")
ANYTHING = "(NAME|PATH|REASON|N)"
ELSEWHERE = {"PyTorch", "DRDM"}  # entries of Slicer's own Extensions Manager


def texts_of_the_module() -> list[str]:
    """Every text that is translated, with its places to fill in."""
    found = []
    for path in sorted(MODULE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if called and node.func.id == "_" and isinstance(node.args[0], ast.Constant):
                found.append(node.args[0].value)
    return found


def as_pattern(text: str) -> str:
    return ANYTHING.join(re.escape(part) for part in re.split(r"{.*?}", text))


def test_messages_are_those_of_the_module():
    section = TUTORIAL.split("## When something goes wrong")[1]
    messages = re.findall(r"^\| `(.+?)` \|", section, flags=re.MULTILINE)
    patterns = [as_pattern(text) for text in texts_of_the_module()]
    assert len(messages) > 10
    for message in messages:
        assert any(re.fullmatch(pattern, message) for pattern in patterns), message


def test_buttons_and_choices_are_those_of_the_panel():
    form = (MODULE / "Resources" / "UI" / "DRDM.ui").read_text(encoding="utf-8")
    told = [*re.findall("<string>(.*?)</string>", form), *texts_of_the_module()]
    known = {each.lower().rstrip(":") for each in told}
    for name in re.findall(r"\*\*(.+?)\*\*", TUTORIAL):
        for part in name.split(" > "):
            assert part.lower() in known or part in ELSEWHERE, part


def test_pictures_are_there():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", TUTORIAL)
    assert len(pictures) >= 4
    assert all((REPOSITORY / "docs" / name).is_file() for name in pictures)
