"""`drdm train`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DRDMCore.cli.console import Console, console, stop_with_stdin
from DRDMCore.cli.options import (
    Commands,
    add_command,
    add_device_option,
    add_output_options,
    device_of,
    path,
)
from DRDMCore.progress import Event

if TYPE_CHECKING:
    from DRDMCore.training.published_settings import PublishedWeights
    from DRDMCore.training.settings import TrainingSettings

_MORE = """\
Learns what is plausible from images alone; no labels are needed. Stopped at any moment (Ctrl-C,
SIGTERM) and started again by the same command, it goes on where it was.

  drdm train --data scans/ --out run                        settings made from the images
  drdm train --config hippocampus-mr-3d --data scans/ --out run   those of a bundled model
  drdm train --config train.yaml --out run --steps 3000 --set augmentation.noise=0.05 batch=4
  drdm train --out run                                      go on with a run
  drdm train --config Config/config_cmr.yaml --root .       a published configuration: reads
      Data/Src_data/cmr and leaves models/cmr_recresacnet/000000_cmr_recresacnet.pth, ...
  torchrun --nproc-per-node 4 -m DRDMCore train --config train.yaml --out run

The data are a folder of images (files, or folders of one DICOM series each), a folder of patient
folders with such images, one image, a .txt list (an image a line, and after a tab, if wanted, its
patient), or phantom:KIND. All images of a patient train, or all validate: the patient is the
folder, or the three digits before the first underscore, as in patient001_frame01.nii.gz.

NAME.safetensors in the folder is the model with the lowest validation loss so far.
"""


@dataclass(frozen=True)
class _Job:
    """What the options ask for."""

    settings: TrainingSettings
    out: Path
    device: str
    notes: tuple[str, ...] = ()
    weights: PublishedWeights | None = None


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "train", "Train a model on a folder of scans.", _MORE)
    parser.add_argument(
        "--config", help="YAML file, bundled model, or published configuration of the settings"
    )
    parser.add_argument("--out", type=path, help="folder of the run: model, checkpoints, logs")
    parser.add_argument("--data", help="the images (see above), instead of the configuration's")
    parser.add_argument("--name", help="name of the model; default: as configured, or the folder's")
    parser.add_argument("--steps", type=int, help="optimisation steps")
    parser.add_argument("--seed", type=int, help="seed of everything random")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, as augmentation.noise=0.1",
    )
    parser.add_argument("--root", type=path, help="folder of Data/ and models/ (published: .)")
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew, in place of the run that is there"
    )
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop as at Ctrl-C when stdin is closed, for programs that start this one",
    )
    add_device_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run, refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    from DRDMCore.pipelines.generate import check_device
    from DRDMCore.sharding import local_device, share_of
    from DRDMCore.training.run import RunFolder
    from DRDMCore.training.trainer import train

    first = share_of().rank == 0
    if not first:  # one process speaks for all; every one of them can be stopped
        arguments.json, arguments.quiet = False, True
    with console(arguments) as shown:
        if arguments.stop_with_stdin:
            stop_with_stdin()
        job = _job(arguments, shown)
        device = check_device(local_device(job.device))
        for note in job.notes:
            shown(Event("note", note))
        model = RunFolder(job.out, job.settings.name).model
        train(
            job.settings,
            job.out,
            device=device,
            progress=shown,
            fresh=arguments.fresh,
            on_step=job.weights,
        )
    if first and arguments.json:
        print(json.dumps({"kind": "result", "model": str(model)}, ensure_ascii=False))
    elif first and not arguments.quiet:
        print(model)
    return 0


def _job(arguments: argparse.Namespace, shown: Console) -> _Job:
    """The job of the configuration, the run that is there, or the images; and of the options."""
    from DRDMCore.training.presets import find_config
    from DRDMCore.training.settings_file import parse_overrides, read_settings, read_yaml

    overrides = {**parse_overrides(arguments.set), **_given(arguments)}
    if arguments.config is not None:
        config = find_config(arguments.config)
        if {"data_name", "net_name"} & set(read_yaml(config)):
            return _published(arguments, config, overrides)
    if arguments.root is not None:
        arguments.refuse("--root needs a published configuration (--config)")
    if arguments.out is None:
        arguments.refuse("--out is needed")
    if arguments.config is not None:
        settings = read_settings(config, overrides)
    elif (arguments.out / "settings.yaml").is_file() and not (arguments.fresh and arguments.data):
        settings = read_settings(arguments.out / "settings.yaml", overrides)
    else:
        settings = _planned(arguments, overrides, shown)
    return _Job(settings, arguments.out, device_of(arguments))


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings that have an option of their own."""
    given = {name: getattr(arguments, name) for name in ("data", "name", "steps", "seed")}
    values = {name: value for name, value in given.items() if value is not None}
    if "steps" in values:
        values["epochs"] = None
    if "data" in values and not values["data"].startswith("phantom:"):
        values["data"] = str(path(values["data"]))
    return values


def _planned(
    arguments: argparse.Namespace, overrides: Mapping[str, Any], shown: Console
) -> TrainingSettings:
    """Settings made from the images."""
    from DRDMCore.training.plan import plan_settings
    from DRDMCore.training.settings_file import as_values, settings_from

    if arguments.data is None:
        arguments.refuse("--data is needed (or --config, or the --out of a run to go on with)")
    name = arguments.name or arguments.out.resolve().name
    plan = plan_settings(overrides["data"], name, shown)
    sides, grid = " x ".join(map(str, plan.shape)), plan.grid
    shown(Event("note", f"{grid.dimension}D, {sides} voxels of {grid.spacing_mm:g} mm"))
    return settings_from(as_values(plan), overrides, source="--set")


def _published(arguments: argparse.Namespace, file: Path, overrides: Mapping[str, Any]) -> _Job:
    """The job of a published configuration; keys that it does not know are settings of ours."""
    import torch

    from DRDMCore.models import read_config
    from DRDMCore.models.published_config import KEYS
    from DRDMCore.training.published_settings import (
        PublishedWeights,
        describe_published,
        published_settings,
        run_folder,
    )
    from DRDMCore.training.run import RunFolder
    from DRDMCore.training.settings_file import as_values, settings_from

    theirs = {key: value for key, value in overrides.items() if key in KEYS}
    ours = {key: value for key, value in overrides.items() if key not in KEYS}
    config, root = read_config(file, theirs), arguments.root or Path()
    plain = published_settings(config, root)
    settings = settings_from(as_values(plain), ours, source=str(file))
    out = arguments.out or run_folder(config, root)
    weights = PublishedWeights(config, root)
    weights.require_free(going_on=RunFolder(out, settings.name).last.exists())
    notes, device = describe_published(config), device_of(arguments)
    if arguments.device == "auto":
        device = config.device
        if device.startswith("cuda") and not torch.cuda.is_available():
            device = "cpu"
            notes.append(f"device {config.device}: there is none here, going on with the CPU.")
    return _Job(settings, out, device, tuple(notes), weights)
