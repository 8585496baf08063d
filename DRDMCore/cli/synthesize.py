"""`drdm synthesize`."""

from __future__ import annotations

import argparse

from DRDMCore.cli.augment import finish
from DRDMCore.cli.console import console
from DRDMCore.cli.options import (
    Commands,
    add_command,
    add_device_option,
    add_output_options,
    add_sampling_options,
    device_of,
    path,
    sampling_settings,
)

_MORE = """\
Registration pairs with a known answer (Algorithm 4): a moving image, a fixed image drawn from it,
and the field that takes the moving image to the fixed one. Resumable and shared out as `augment`.

  drdm synthesize --images img --labels seg --model hippocampus-mr-3d --count 5 --out pairs
  drdm synthesize --images img --model none --level-pair 20 40 --level-pair 40 40 --out pairs
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "synthesize", "Make registration pairs with the true field.", _MORE
    )
    parser.add_argument("--images", type=path, required=True, help="folder of images, or one")
    parser.add_argument("--labels", type=path, help="folder of labels, or one file")
    parser.add_argument("--model", required=True, help="name, .safetensors file, or none")
    parser.add_argument("--out", type=path, required=True, help="folder for the results")
    parser.add_argument("--count", type=int, default=1, help="pairs per pair of levels (1)")
    parser.add_argument(
        "--level-pair",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("MOVING", "FIXED"),
        help="levels of the two fields; may be given several times",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the whole job (0)")
    parser.add_argument("--patients", type=int, nargs="+", default=[], help="patient numbers")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    add_device_option(parser)
    add_sampling_options(parser)
    parser.add_argument("--image-format", default=".nii.gz", help=".nii.gz (default), .nrrd, .mha")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Synthesize; status 3 if some cases failed."""
    from DRDMCore.pipelines.synthesize import SynthesizeJob, synthesize

    job = SynthesizeJob(
        images=arguments.images,
        labels=arguments.labels,
        out=arguments.out,
        model=arguments.model,
        levels=tuple((moving, fixed) for moving, fixed in arguments.level_pair),
        count=arguments.count,
        seed=arguments.seed,
        patients=tuple(arguments.patients),
        sampling=sampling_settings(arguments),
        device=device_of(arguments),
        image_format=arguments.image_format,
        dry_run=arguments.dry_run,
    )
    with console(arguments) as shown:
        summary = synthesize(job, shown)
    return finish(arguments, summary)
