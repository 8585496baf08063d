"""`drdm generate`."""

from __future__ import annotations

import argparse

from DRDMCore.cli.console import console
from DRDMCore.cli.options import (
    Commands,
    add_command,
    add_device_option,
    add_file_options,
    add_output_options,
    add_sampling_options,
    device_of,
    path,
    sampling_settings,
)

_MORE = """\
Writes per sample an image, labels and the field, and for all of them manifest.json (everything
needed to make each again) and report.html (pictures and numbers). Run again after a stop, it
goes on where it was.

  drdm generate --image scan.nii.gz --labels labels.nii.gz --model hippocampus-mr-3d --out new
  drdm generate --image scan.nrrd --model none --mean-mm 4 --count 10 --seed 7 --out new
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "generate", "Make new versions of one scan.", _MORE)
    parser.add_argument(
        "--image",
        type=path,
        required=True,
        help="NIfTI, NRRD or MetaImage file, or the folder of a DICOM series",
    )
    parser.add_argument("--labels", type=path, help="label map on the same grid, or .seg.nrrd")
    parser.add_argument(
        "--model",
        required=True,
        help="name (`drdm info` lists them), .safetensors file, or none: random field, any anatomy",
    )
    parser.add_argument("--out", type=path, required=True, help="folder for the results")
    parser.add_argument("--count", type=int, default=4, help="samples wanted (4)")
    parser.add_argument("--seed", type=int, help="seed of the first sample; default: a new one")
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        help="samples made together: faster, the same but for rounding, more memory (1)",
    )
    add_device_option(parser)
    add_sampling_options(parser)
    add_file_options(parser)
    parser.add_argument("--no-report", action="store_true", help="do not write report.html")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Generate."""
    from DRDMCore.pipelines.generate import GenerateJob, generate

    job = GenerateJob(
        image=arguments.image,
        labels=arguments.labels,
        model=arguments.model,
        out=arguments.out,
        count=arguments.count,
        seed=arguments.seed,
        batch=arguments.batch,
        sampling=sampling_settings(arguments),
        device=device_of(arguments),
        field_format=arguments.field_format,
        image_format=arguments.image_format,
        resample_labels_to_image=arguments.resample_labels,
        report=not arguments.no_report,
    )
    with console(arguments) as shown:
        generate(job, shown)
    return 0
