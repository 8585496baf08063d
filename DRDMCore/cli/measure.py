"""`drdm measure`."""

from __future__ import annotations

import argparse
import json

from DRDMCore.cli.options import Commands, add_command, path

_MORE = """\
Reads any displacement field that ITK reads (mm, LPS, output to input) and prints, as JSON, its
displacement in mm, det J, folded voxels by the strict measure, Motion Separability and, with
labels, the volume changes.

  drdm measure new/scan_0001_field.nrrd --labels labels.nii.gz
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "measure", "Measure the quality of a field file.", _MORE)
    parser.add_argument("field", type=path, help=".nrrd, .nii.gz, .h5, .tfm or .mha")
    parser.add_argument("--labels", type=path, help="labels on the grid of the field")
    parser.add_argument("--image", type=path, help="image on the grid of the field")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure."""
    from DRDMCore.pipelines.quality import measure_file

    quality = measure_file(arguments.field, labels=arguments.labels, image=arguments.image)
    print(json.dumps(quality, indent=2, ensure_ascii=False))
    return 0
