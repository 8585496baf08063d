"""Write docs/model-cards.md from the headers of the bundled models: nothing in it is typed by hand.

python -m Testing.Docs.model_cards
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from DRDMCore.atomic import write_text_whole
from DRDMCore.model_header import read_header
from Testing.Experiments.weights import weights_sha256

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "Resources" / "Models"
DOCS = REPOSITORY / "docs"
PAGE = DOCS / "model-cards.md"
HEAD = """\
# Model cards

What each bundled model says of itself; `drdm info NAME` prints all of it. This page is written by
`python -m Testing.Docs.model_cards` from the headers of the files in `Resources/Models`. How the
models look: [models.md](models.md). How they were measured: the page named in each card.

*Recommended* is what is used where you say nothing else. *Levels that fit* were measured later,
with rules of their own: those of them that also hold on the test subjects are the safest choice
(`--level 40`), higher ones change the anatomy more. Pages of figures name the hash that a file had
when it was measured, before the figures went into its header.
"""
_ORIENTATION = "{}; volumes whose axes run otherwise are turned for it, and fields back"
TOLD = (
    ("modality", "Modality"),
    ("anatomy", "Anatomy"),
    ("data", "Trained on"),
    ("licence", "Licence"),
    ("notes", "Limits"),
)
PLAUSIBILITY = (
    ("excess", "excess: 0 as real subjects, 1 as random fields of the same size"),
    (
        "rigid_free_excess",
        "the same against fields of the same size without translation and rotation",
    ),
    ("diversity", "diversity (1: as between real subjects)"),
    ("kept", "part of the random deformation that is kept"),
    ("mean_mm", "mean displacement, mm"),
    ("folded_worst", "folded voxels in the worst sample, %"),
    ("samples", "samples measured"),
)


def page(models: Sequence[Path]) -> str:
    """The page of these model files."""
    return "\n".join([HEAD, *(_section(path) for path in models)])


def bundled() -> list[Path]:
    """The bundled models, by name."""
    return sorted(MODELS.glob("*.safetensors"))


def _section(path: Path) -> str:
    """The card of one model."""
    header = read_header(path)
    card = header["card"]
    rows = [(title, str(card[key])) for key, title in TOLD if card.get(key)]
    if header["grid"].get("orientation"):
        rows.append(("Orientation", _ORIENTATION.format(header["grid"]["orientation"])))
    rows.append(("Network", _network(header["architecture"])))
    rows.append(("Grid", _grid(header["grid"])))
    rows.append(("Recommended", _listed(card["recommended"])))
    rows += _levels(path)
    rows.append(("Training", _training(card["training"])))
    rows.append(("File", f"{path.stat().st_size / 1e6:.1f} MB"))
    lines = [f"## `{card['name']}`: {card['title']}", "", "| | |", "| --- | --- |"]
    lines += [f"| {title} | {text.replace('|', '/')} |" for title, text in rows]
    return "\n".join([*lines, *_measured(card["metrics"].get("plausibility", {})), ""])


def _network(architecture: Mapping[str, Any]) -> str:
    """The network in words."""
    widths = " / ".join(map(str, architecture["widths"]))
    return f"{architecture['kind']}, {architecture['dimension']}D, {widths} channels"


def _grid(grid: Mapping[str, Any]) -> str:
    """The model's grid in words."""
    if grid["mode"] == "spacing":
        size = f"voxels of {grid['spacing_mm']:g} mm, at most {grid['max_side']} along a side"
    else:
        size = f"longest side of {grid['side']} voxels"
    low, high = grid["intensity_range"]
    return f"{size}; grey values by {grid['intensity']} {low:g} to {high:g}"


def _listed(values: Mapping[str, Any]) -> str:
    """Names and numbers, by name."""
    return ", ".join(f"{key} {values[key]:g}" for key in sorted(values))


def _levels(path: Path) -> list[tuple[str, str]]:
    """The levels that were found to fit these very weights, if that was measured."""
    name = f"plausibility-by-level-{path.stem}"
    advice = DOCS / "results" / f"{name}-advice.json"
    found = json.loads(advice.read_text(encoding="utf-8")) if advice.is_file() else {}
    if found.get("sha256") != weights_sha256(path):
        return []
    chosen, confirmed = (", ".join(map(str, found[key])) for key in ("levels", "confirmed"))
    text = f"{chosen}; on test subjects: {confirmed or 'none'}; to start from: {found['start']}"
    return [("Levels that fit", f"{text} ([measured](results/{name}.md))")]


def _training(training: Mapping[str, Any]) -> str:
    """How it was trained, in words."""
    minutes = training["seconds"] / 60
    return f"{training['steps']} steps, {minutes:.0f} minutes, {training['machine']}"


def _measured(found: Mapping[str, Any]) -> list[str]:
    """The table of plausibility, with the page that explains it."""
    if not found:
        return []
    shown = str(found["page"]).removeprefix("docs/")
    rows = [
        f"| {title} | {found[key]:.4g} |"
        for key, title in PLAUSIBILITY
        if found.get(key) is not None
    ]
    head = f"Measured ([how, and with which targets]({shown})):"
    return ["", head, "", "| what | value |", "| --- | --- |", *rows]


def main() -> None:
    """Write the page."""
    write_text_whole(PAGE, page(bundled()))
    print(PAGE)


if __name__ == "__main__":
    main()
