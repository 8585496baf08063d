"""`drdm import-weights`."""

from __future__ import annotations

import argparse
from pathlib import Path

from DRDMCore.cli.options import Commands, add_command, path

_MORE = """\
Turns a checkpoint of the published program (EPOCH_NAME_recresacnet.pth) into a model of ours:
a .safetensors file with a card. Nothing in the checkpoint is run.

  drdm import-weights models/cmr_recresacnet/000000_cmr_recresacnet.pth --name cardiac-mr-2d
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "import-weights", "Make a model of published weights.", _MORE)
    parser.add_argument("checkpoint", type=path, help="the .pth file")
    parser.add_argument("--name", help="name of the model; default: from the file")
    parser.add_argument("--side", type=int, help="side of its images; default 256 (2D), 128 (3D)")
    parser.add_argument("--out", type=path, help="folder; default: your model folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Import."""
    from DRDMCore.models import import_published, save_model, user_model_folder

    name = arguments.name or arguments.checkpoint.stem
    folder: Path = arguments.out or user_model_folder()
    model = import_published(arguments.checkpoint, name=name, side=arguments.side)
    saved = save_model(model, folder / f"{name}.safetensors")
    print(f"{saved}: {model.card.title}")
    return 0
