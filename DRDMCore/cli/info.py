"""`drdm info`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from DRDMCore.cli.options import Commands, add_command

_MORE = """\
  drdm info                      versions, devices, and the models that can be given by name
  drdm info hippocampus-mr-3d    the card of a model: data, licence, limits, quality
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "info", "Show the models, or one model's card.", _MORE)
    parser.add_argument("model", nargs="?", help="name or file of a model")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    facts = _card(arguments.model) if arguments.model else _overview()
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)
    return 0


def _overview() -> dict[str, Any]:
    """Versions, devices, models."""
    import torch

    from DRDMCore.models import list_models
    from DRDMCore.pipelines.manifest import versions

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    models = {each.stem: _title(each) for each in list_models()}
    models["none"] = "random field, no model: any anatomy"
    return {"versions": versions(), "devices": ["cpu", *gpus], "models": models}


def _title(path: Path) -> str:
    """What a model says of itself in one line, or why it cannot be used."""
    from DRDMCore.errors import ModelError
    from DRDMCore.models import load_model

    try:
        return load_model(path).card.title or "-"
    except ModelError as error:
        return f"cannot be used: {error}"


def _card(name: str) -> dict[str, Any]:
    """Everything a model file says of itself."""
    from dataclasses import asdict

    from DRDMCore.models import RANDOM_FIELD, load_model, random_field_model

    model = random_field_model(3) if name == RANDOM_FIELD else load_model(name)
    return {
        **asdict(model.card),
        "grid": model.grid.to_dict(),
        "field": asdict(model.field),
        "architecture": dict(model.architecture),
        "file": str(model.path or ""),
        "sha256": model.sha256,
    }


def _show(facts: dict[str, Any], indent: str = "") -> None:
    """Print nested facts as indented lines."""
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            print(f"{indent}{key}:")
            _show(value, indent + "  ")
        elif value not in ("", {}, None):
            print(f"{indent}{key}: {value}")
