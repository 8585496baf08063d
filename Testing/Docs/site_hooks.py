"""What `mkdocs.yml` asks for while the site is built."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

_FENCE = re.compile(r"^(```\w+) no-test$", flags=re.MULTILINE)
RESULTS = "Results"


def on_config(config: MutableMapping[str, Any]) -> None:
    """Pages of results that the navigation does not name follow those that it does."""
    (section,) = (part[RESULTS] for part in config["nav"] if RESULTS in part)
    named = {page for entry in section for page in entry.values()}
    for path in sorted((Path(config["docs_dir"]) / "results").glob("*.md")):
        page = f"results/{path.name}"
        if page not in named:
            title = path.stem.replace("-", " ").capitalize()
            section.append({title: page})


def on_page_markdown(markdown: str, **_: object) -> str:
    """Blocks that are not run are marked `no-test`, which Python-Markdown takes for no block."""
    return _FENCE.sub(r"\1", markdown)
