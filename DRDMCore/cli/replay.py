"""`drdm replay`."""

from __future__ import annotations

import argparse
import json

from DRDMCore.cli.console import console
from DRDMCore.cli.options import (
    Commands,
    add_command,
    add_device_option,
    add_output_options,
    device_of,
    path,
)

_MORE = """\
Reads model, inputs, settings and seed from the manifest, refuses what has changed since, and says
whether the result is identical, or how far it is.

  drdm replay new/manifest.json --sample 3
  drdm replay new --sample 3 --out again
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "replay", "Make one sample of a manifest again.", _MORE)
    parser.add_argument("manifest", type=path, help="manifest.json, or the folder it is in")
    parser.add_argument("--sample", type=int, required=True, help="number of the sample, from 1")
    parser.add_argument("--out", type=path, help="folder to write it to; default: only compare")
    add_device_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay; fails if the result is far from the first one."""
    from DRDMCore.pipelines.replay import replay

    with console(arguments) as shown:
        result = replay(
            arguments.manifest,
            arguments.sample,
            arguments.out,
            device=device_of(arguments),
            progress=shown,
        )
    if arguments.json:
        print(json.dumps({"kind": "result", **result}))
    elif result["identical"]:
        print(f"{result['name']} (seed {result['seed']}): identical")
    else:
        print(
            f"{result['name']} (seed {result['seed']}): field within "
            f"{result['field_max_difference_mm']:.3g} mm, image within "
            f"{result['image_max_difference']:.3g}, "
            f"{result['labels_different_voxels']} label voxels differ"
        )
    return 0
