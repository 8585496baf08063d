"""`drdm export`."""

from __future__ import annotations

import argparse

from DRDMCore.cli.console import console
from DRDMCore.cli.options import Commands, add_command, add_output_options, path
from DRDMCore.errors import InputError

_MORE = """\
Writes the samples of `drdm generate` in the layout that a training program wants, with the
original, and with a manifest from which `drdm replay` makes every sample again. Image and labels
are resampled once, from the originals, onto their own grid. Run again after a stop, it goes on.

  pairs   img/NAME, msk/NAME, ddf/NAME
  nnunet  imagesTr/NAME_0000, labelsTr/NAME, dataset.json; labels numbered 1, 2, 3, ...
  flat    NAME_image, NAME_labels, NAME_field

  drdm export new --out Dataset101_Hippocampus --layout nnunet --keep 1,3,4
  drdm export new --out weaker --amplitude 0.5

A folder of `drdm augment` becomes one data set of nnU-Net, originals included, with folds in which
no patient is on both sides (splits_final.json):

  drdm export augmented --images img --labels seg --out Dataset102_Heart --layout nnunet
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "export", "Write samples as a data set.", _MORE)
    parser.add_argument("folder", type=path, help="folder of `drdm generate` or `augment`")
    parser.add_argument("--out", type=path, required=True, help="folder for the data set")
    parser.add_argument("--layout", default="pairs", help="pairs (default), nnunet or flat")
    parser.add_argument("--keep", help="numbers of the samples, from 1, as in 1,3,4; default: all")
    parser.add_argument(
        "--amplitude", type=float, default=1.0, help="factor of the fields, 0 .. 1.5"
    )
    parser.add_argument("--originals", action="store_true", help="the original is a case too")
    parser.add_argument("--dataset-name", help="name in dataset.json; default: that of the folder")
    parser.add_argument("--image-format", default=".nii.gz", help=".nii.gz (default), .nrrd, .mha")
    parser.add_argument(
        "--field-format", default=".nrrd", help=".nrrd (default), .nii.gz, .h5, .mha"
    )
    group = parser.add_argument_group("a folder of `drdm augment` (layout nnunet)")
    group.add_argument("--images", type=path, help="the images that were augmented")
    group.add_argument("--labels", type=path, help="their labels")
    group.add_argument("--split-seed", type=int, default=0, help="order of patients in folds (0)")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export."""
    from DRDMCore.pipelines.nnunet_set import is_augmented

    if is_augmented(arguments.folder):
        return _augmented(arguments)
    return _generated(arguments)


def _augmented(arguments: argparse.Namespace) -> int:
    """Export a folder of `drdm augment`."""
    from DRDMCore.pipelines.nnunet_set import NnunetJob, export_augmented

    for name, plain in (("keep", None), ("amplitude", 1.0)):
        if getattr(arguments, name) != plain:
            raise InputError(
                f"`{name}` must be left out for a folder of `drdm augment`: it is for samples of "
                "one image."
            )
    if arguments.layout != "nnunet" or arguments.images is None or arguments.labels is None:
        raise InputError(
            f"{arguments.folder} is of `drdm augment`, so `layout` must be nnunet, and `images` "
            "and `labels` the folders that were augmented: give all three."
        )
    job = NnunetJob(
        augmented=arguments.folder,
        images=arguments.images,
        labels=arguments.labels,
        out=arguments.out,
        dataset_name=arguments.dataset_name,
        seed=arguments.split_seed,
    )
    with console(arguments) as shown:
        export_augmented(job, shown)
    return 0


def _generated(arguments: argparse.Namespace) -> int:
    """Export a folder of `drdm generate`."""
    from DRDMCore.pipelines.export import ExportJob, export
    from DRDMCore.pipelines.export_samples import samples_of_folder
    from DRDMCore.pipelines.manifest import read_replayable, recorded_input

    folder = arguments.folder
    samples = samples_of_folder(
        folder, keep=_numbers(arguments.keep), amplitude=arguments.amplitude
    )
    manifest, place = read_replayable(folder), folder if folder.is_dir() else folder.parent
    image = recorded_input(manifest, "image", place)
    assert image is not None
    job = ExportJob(
        image=image,
        labels=recorded_input(manifest, "labels", place),
        out=arguments.out,
        samples=tuple(samples),
        layout=arguments.layout,
        image_format=arguments.image_format,
        field_format=arguments.field_format,
        originals=arguments.originals,
        dataset_name=arguments.dataset_name,
        resample_labels_to_image=True,  # as `generate` may have done
    )
    with console(arguments) as shown:
        export(job, shown)
    return 0


def _numbers(text: str | None) -> list[int] | None:
    """The numbers of a list such as `1,3,4`."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"`keep` must be numbers such as 1,3,4, got {text!r}.") from None
