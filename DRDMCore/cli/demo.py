"""`drdm demo`."""

from __future__ import annotations

import argparse

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
Makes a phantom chest with labels, deforms it with the bundled model, and leaves images, labels,
fields, a manifest and a report with pictures.

  drdm demo --out demo-output
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", "See it work on a made-up subject.", _MORE)
    parser.add_argument("--out", type=path, required=True, help="folder for the results")
    parser.add_argument("--count", type=int, default=4, help="samples (4)")
    add_device_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the subject, generate, and say where everything is."""
    from DRDMCore.pipelines.demo import demo

    with console(arguments) as shown:
        made = demo(
            arguments.out, count=arguments.count, device=device_of(arguments), progress=shown
        )
    if not arguments.json:
        print(f"The subject:        {made['image']}\n                    {made['labels']}")
        print(f"{arguments.count} deformed versions: {made['folder']}")
        print(f"Open this report:   {made['report']}")
    return 0
