"""`drdm train`."""

from __future__ import annotations

import argparse

from DRDMCore.cli.console import console, user_values
from DRDMCore.cli.options import (
    Commands,
    add_command,
    add_device_option,
    add_output_options,
    device_of,
    path,
)

_MORE = """\
Trains a velocity network from images alone; no labels are needed. The settings are in a YAML file,
those of the bundled models in Resources/Configurations. The model is written at every validation,
so that a stopped run leaves a usable one.

  drdm train --config Resources/Configurations/train_phantom-heart-2d.yaml --out heart.safetensors
  drdm train --config train.yaml --data scans/ --steps 3000 --out mine.safetensors
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "train", "Train a model on a folder of scans.", _MORE)
    parser.add_argument("--config", type=path, required=True, help="YAML file of settings")
    parser.add_argument("--out", type=path, required=True, help="the model, .safetensors")
    parser.add_argument("--data", help="folder of images, or phantom:KIND, instead of the file's")
    parser.add_argument("--steps", type=int, help="optimisation steps, instead of the file's")
    parser.add_argument("--seed", type=int, help="seed, instead of the file's")
    add_device_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    from dataclasses import replace

    from DRDMCore.pipelines.generate import check_device
    from DRDMCore.training.settings import read_settings
    from DRDMCore.training.trainer import train

    settings = read_settings(arguments.config)
    given = {name: getattr(arguments, name) for name in ("data", "steps", "seed")}
    with user_values():
        settings = replace(settings, **{k: v for k, v in given.items() if v is not None})
    device = check_device(device_of(arguments))
    with console(arguments) as shown:
        train(settings, arguments.out, device=device, progress=shown)
    return 0
