"""Put the model of a training run into Resources/Models, with its measured figures in the card.

    python Testing/Benchmarks/bundle_model.py RUN --level 64 --gain 1.5 --steps 4 \
        --evaluation PAGE.json --page docs/results/plausibility-X.md

`--evaluation` is the `--json` of plausibility.py with that level, gain and passes. Writes the
list of hashes anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import REPOSITORY

from DRDMCore.atomic import write_text_whole
from DRDMCore.errors import DRDMError, InputError
from DRDMCore.models import Model, load_model, save_model, sha256_of
from DRDMCore.training.settings_file import read_yaml

MODELS = REPOSITORY / "Resources" / "Models"
_FIGURES = (
    *("kept", "mean_voxels", "mean_mm", "ncc", "ncc_start", "folded_worst"),
    *("excess", "rigid_free_excess", "diversity", "samples"),
)


def bundled(run: Path, level: int, gain: float, steps: int, figures: dict[str, Any]) -> Model:
    """The model of a run with what is advised and what was measured."""
    name = read_yaml(run / "settings.yaml")["name"]
    model = load_model(run / f"{name}.safetensors")
    card = replace(
        model.card,
        recommended={**model.card.recommended, "level": level, "gain": gain, "steps": steps},
        metrics={**model.card.metrics, **figures},
    )
    recovery = replace(model.recovery, steps=steps)
    architecture = {**model.architecture, "gain": gain}
    return replace(model, card=card, recovery=recovery, architecture=architecture)


def figures_of(evaluation: Path, level: int, gain: float, steps: int, page: str) -> dict[str, Any]:
    """The sums of one setting of an evaluation, rounded.

    Raises:
        InputError: If it was not evaluated at that level, gain and number of passes.
    """
    settings = json.loads(evaluation.read_text(encoding="utf-8"))["settings"]
    for each in settings:
        if (each["level"], each["gain"], each["steps"]) == (level, gain, steps):
            summary = each["summary"]
            found = {
                name: summary[name] if summary[name] is None else round(summary[name], 4)
                for name in _FIGURES
            }
            return {"page": page, **found}
    known = ", ".join(f"{each['level']}/{each['gain']}/{each['steps']}" for each in settings)
    raise InputError(
        f"`evaluation` must have level, gain and passes {level}/{gain}/{steps}, but has {known}: "
        "measure them first."
    )


def write_hashes() -> None:
    """SHA256SUMS of all bundled models."""
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(MODELS.glob("*.safetensors"))]
    write_text_whole(MODELS / "SHA256SUMS", "".join(lines))


def main() -> int:
    """Read the arguments and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--level", type=int, required=True)
    parser.add_argument("--gain", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True, help="passes")
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--page", required=True, help="where the figures stand")
    given = parser.parse_args()
    try:
        advised = given.level, given.gain, given.steps
        figures = figures_of(given.evaluation, *advised, given.page)
        model = bundled(given.run, *advised, {"plausibility": figures})
    except DRDMError as error:
        print(f"bundle_model: {error}", file=sys.stderr)
        return 1
    save_model(model, MODELS / f"{model.card.name}.safetensors")
    write_hashes()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
