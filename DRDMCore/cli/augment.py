"""`drdm augment`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from DRDMCore.cli.console import EXIT_SOME_FAILED, console, user_values
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

if TYPE_CHECKING:
    from DRDMCore.pipelines.augment import AugmentJob

_MORE = """\
For a folder of images and labels (Algorithm 3), by options or by a configuration of the published
program. Killed at any moment and run again, it finishes what is missing with the same files;
failed cases are listed and the rest goes on (status 3). Under `torchrun` the work is shared out.

  drdm augment --images img --labels seg --model hippocampus-mr-3d --count 10 --out augmented
  drdm augment --images img --labels seg --model none --levels 10 40 --seed 1 --out augmented
  drdm augment --config Config/config_cmr.yaml          (in the folder with Data/ and models/)
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "augment", "Make new versions of every case of a folder.", _MORE)
    parser.add_argument("--images", type=path, help="folder of images")
    parser.add_argument("--labels", type=path, help="folder of labels: same names, or same order")
    parser.add_argument("--model", help="name, .safetensors file, or none")
    parser.add_argument("--out", type=path, help="folder for img/, msk/, ddf/ and the manifest")
    parser.add_argument("--count", type=int, default=4, help="versions per case (4)")
    parser.add_argument(
        "--levels", type=int, nargs=2, metavar=("LOW", "HIGH"), help="every version draws its own"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the whole job (0)")
    parser.add_argument("--patients", type=int, nargs="+", default=[], help="patient numbers")
    parser.add_argument(
        "--layout", default="pairs", help="pairs (default) or published: names of the files"
    )
    parser.add_argument(
        "--random-flips", action="store_true", help="mirror at random; swaps left and right"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    _add_published_options(parser)
    add_device_option(parser)
    add_sampling_options(parser)
    parser.add_argument("--field-format", default=".nrrd", help=".nrrd (default), .nii.gz, .mha")
    parser.add_argument("--image-format", default=".nii.gz", help=".nii.gz (default), .nrrd, .mha")
    add_output_options(parser)
    parser.set_defaults(run=run, refuse=parser.error)


def _add_published_options(parser: argparse.ArgumentParser) -> None:
    """Options for a configuration of the published program."""
    group = parser.add_argument_group("published configuration (instead of the options above)")
    group.add_argument("--config", type=path, help="config_cmr.yaml, config_lct.yaml, ...")
    group.add_argument("--root", type=path, default=path("."), help="folder of Data/ and models/")
    group.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="values instead of the file's"
    )


def run(arguments: argparse.Namespace) -> int:
    """Augment; status 3 if some cases failed."""
    from DRDMCore.pipelines.augment import augment

    job = _published(arguments) if arguments.config else _from_options(arguments)
    with console(arguments) as shown:
        summary = augment(job, shown)
    return finish(arguments, summary)


def finish(arguments: argparse.Namespace, summary: dict[str, Any]) -> int:
    """Tell what was done, or would be; the exit status."""
    if arguments.json:
        print(json.dumps({"kind": "result", **summary}, ensure_ascii=False, default=str))
    elif arguments.dry_run:
        for unit in summary["units"]:
            print(f"{'done' if unit['done'] else 'make'}  {unit['name']}")
    for failure in summary["failed"] if arguments.dry_run and not arguments.json else []:
        print(f"fail  {failure}")
    return EXIT_SOME_FAILED if summary["failed"] else 0


def _from_options(arguments: argparse.Namespace) -> AugmentJob:
    """The job of the options."""
    from DRDMCore.pipelines.augment import AugmentJob

    for name in ("images", "model", "out"):
        if getattr(arguments, name) is None:
            arguments.refuse(f"--{name} is needed (or --config)")
    return AugmentJob(
        images=arguments.images,
        labels=arguments.labels,
        out=arguments.out,
        model=arguments.model,
        count=arguments.count,
        level=tuple(arguments.levels) if arguments.levels else None,
        seed=arguments.seed,
        patients=tuple(arguments.patients),
        sampling=sampling_settings(arguments),
        device=device_of(arguments),
        image_format=arguments.image_format,
        field_format=arguments.field_format,
        layout=arguments.layout,
        random_flips=arguments.random_flips,
        dry_run=arguments.dry_run,
    )


def _published(arguments: argparse.Namespace) -> AugmentJob:
    """The job of a published configuration."""
    import yaml

    from DRDMCore.models import read_config
    from DRDMCore.pipelines.augment import published_job

    with user_values():
        pairs = dict(text.split("=", 1) for text in arguments.set)
        overrides = {key: yaml.safe_load(value) for key, value in pairs.items()}
    if arguments.device != "auto":
        overrides["device"] = arguments.device
    config = read_config(arguments.config, overrides)
    return published_job(
        config,
        arguments.root,
        seed=arguments.seed,
        random_flips=arguments.random_flips,
        dry_run=arguments.dry_run,
    )
