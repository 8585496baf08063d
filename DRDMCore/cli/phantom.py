"""`drdm phantom`."""

from __future__ import annotations

import argparse

from DRDMCore.cli.options import Commands, add_command, path
from DRDMCore.errors import InputError

_MORE = """\
Phantoms are made by the program, each seed another subject: something like a heart's short axis
(heart-2d) and a chest (torso-3d), with labels.

  drdm phantom torso-3d --count 20 --out phantoms
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "phantom", "Make made-up subjects with labels.", _MORE)
    parser.add_argument("kind", help="heart-2d or torso-3d")
    parser.add_argument("--count", type=int, default=1, help="subjects (1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first subject (0)")
    parser.add_argument("--out", type=path, required=True, help="folder: images/ and labels/")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the phantoms."""
    from DRDMCore.cli.console import user_values
    from DRDMCore.imaging import phantom, write_volume

    if arguments.count < 1:
        raise InputError(f"`count` must be at least 1, got {arguments.count}.")
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        with user_values():
            image, labels = phantom(arguments.kind, seed)
        name = f"{arguments.kind}_{seed:04d}.nii.gz"
        write_volume(image, arguments.out / "images" / name)
        write_volume(labels, arguments.out / "labels" / name)
    print(f"{arguments.count} subjects in {arguments.out}")
    return 0
