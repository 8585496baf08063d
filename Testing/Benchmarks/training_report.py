"""Compare training runs: what each learnt, in which time, from its own folder.

    python Testing/Benchmarks/training_report.py RUN [RUN ...] --out docs/results/training-X.md

Reads `last.ckpt` of each run (`drdm train --out RUN`): settings, seconds, every validation. Writes
the table, and a picture of the validation curves beside it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import facts, table
from PIL import Image, ImageDraw

from DRDMCore.models import load_model
from DRDMCore.training.validation import LEVELS

_SIZE, _MARGIN = (900, 360), (60, 20, 20, 45)  # left, top, right, bottom
_COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#e08e1b", "#444444", "#00a6a6")


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run.

    Attributes:
        name: Name of its folder.
        settings: Its settings as plain values.
        progress: Steps, seconds, best step, history of validations.
        card: The card of its model.
    """

    name: str
    settings: dict[str, Any]
    progress: dict[str, Any]
    card: Any

    @property
    def history(self) -> list[dict[str, float]]:
        """Validations with numbers."""
        return [entry for entry in self.progress["history"] if "val_loss" in entry]

    def minutes(self, entry: dict[str, float]) -> float:
        """Minutes of training at a validation; steps take the same time on average."""
        return entry["step"] / self.progress["step"] * self.progress["seconds"] / 60


def read_run(folder: Path) -> RunRecord:
    """The record of a run folder."""
    state = torch.load(folder / "last.ckpt", map_location="cpu", weights_only=True)
    model = load_model(folder / f"{state['settings']['name']}.safetensors")
    return RunRecord(folder.name, state["settings"], state["progress"], model.card)


def row(run: RunRecord) -> list[str]:
    """One line of the table."""
    settings, last = run.settings, run.history[-1]
    explained = [last.get(f"val_explained_{level}") for level in LEVELS]
    return [
        run.name,
        settings["objective"],
        settings["optimizer"],
        f"{settings['batch']}",
        f"{run.progress['step']}",
        f"{run.progress['seconds'] / 60:.0f}",
        " / ".join("" if value is None else f"{value:.3f}" for value in explained),
        f"{last['val_loss']:.3f} ({run.progress['best']:.3f} at {run.progress['best_step']})",
        *(f"{last[f'val_{name}']:.3f}" for name in ("residual", "ncc", "ncc_start")),
        f"{last['val_folded_percent']:.4f}",
        run.card.training["machine"],
    ]


HEAD = [
    *("run", "objective", "optimiser", "batch", "steps", "minutes"),
    f"velocity explained at levels {', '.join(map(str, LEVELS))}",
    *("validation loss (best)", "displacement left", "NCC", "NCC before", "folded %", "machine"),
]


def curves(runs: list[RunRecord], path: Path) -> None:
    """Correlation of recovered images with their originals over the minutes of training."""
    picture = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = _MARGIN
    width, height = _SIZE[0] - left - right, _SIZE[1] - top - bottom
    longest = max(run.minutes(run.history[-1]) for run in runs)
    values = [entry["val_ncc"] for run in runs for entry in run.history]
    low, high = min(values) - 0.01, max(values) + 0.01

    def place(minutes: float, value: float) -> tuple[float, float]:
        return left + minutes / longest * width, top + (high - value) / (high - low) * height

    for part in range(6):
        value, minutes = low + part / 5 * (high - low), part / 5 * longest
        level, along = place(0, value)[1], place(minutes, low)[0]
        draw.line([(left, level), (left + width, level)], fill="#e0e0e0")
        draw.text((left - 8, level), f"{value:.2f}", fill="black", anchor="rm")
        draw.text((along, top + height + 6), f"{minutes:.0f}", fill="black", anchor="ma")
    draw.text((left + width / 2, _SIZE[1] - 6), "minutes of training", fill="black", anchor="ms")
    for index, run in enumerate(runs):
        colour = _COLOURS[index % len(_COLOURS)]
        points = [place(run.minutes(entry), entry["val_ncc"]) for entry in run.history]
        draw.line(points, fill=colour, width=2)
        draw.text((left + width - 8, top + 90 + 16 * index), run.name, fill=colour, anchor="rm")
    picture.save(path)


def report(runs: list[RunRecord], out: Path) -> None:
    """Write the page and its picture."""
    picture = out.with_suffix(".png")
    curves(runs, picture)
    seeds = ", ".join(f"{run.name} {run.settings['seed']}" for run in runs)
    lines = [
        "# Training runs",
        "",
        "`python Testing/Benchmarks/training_report.py RUN ... --out FILE` writes this page from",
        "the folders of the runs (`drdm train --out RUN`). Validation: subjects held out, averaged",
        "weights; recoveries from level 48 in 8 passes.",
        "",
        *facts(seeds),
        "",
        *table(HEAD, [row(run) for run in runs]),
        "",
        f"NCC of recovered validation images with their originals: ![curves]({picture.name})",
        "",
    ]
    out.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Read the arguments and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    report([read_run(folder) for folder in arguments.runs], arguments.out)


if __name__ == "__main__":
    main()
