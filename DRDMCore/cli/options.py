"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from DRDMCore.pipelines.settings import SamplingSettings

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(commands: Commands, name: str, summary: str, more: str) -> argparse.ArgumentParser:
    """A parser for one command; `more` teaches by example."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How progress is told."""
    group = parser.add_argument_group("progress")
    group.add_argument("--json", action="store_true", help="one JSON line per event on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Where to compute."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (default: the first GPU if there is one), cpu, cuda, cuda:1, ...",
    )


def device_of(arguments: argparse.Namespace) -> str:
    """The device that `auto` means here."""
    if arguments.device != "auto":
        return str(arguments.device)
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Formats of what is written."""
    group = parser.add_argument_group("files")
    group.add_argument(
        "--field-format",
        default=".nrrd",
        help=".nrrd (default), .nii.gz (intent 1006), .h5 (ITK transform), .mha; "
        "mm, LPS, output to input",
    )
    group.add_argument("--image-format", default=".nii.gz", help=".nii.gz (default), .nrrd or .mha")
    group.add_argument(
        "--resample-labels",
        action="store_true",
        help="bring labels that lie on another grid to the image's",
    )


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """How samples are made."""
    group = parser.add_argument_group("deformation")
    amount = group.add_mutually_exclusive_group()
    amount.add_argument(
        "--level", type=int, help="amount, 0 .. 79; default: what the model advises"
    )
    amount.add_argument(
        "--mean-mm", type=float, help="mean displacement instead of a level, with --model none only"
    )
    group.add_argument("--steps", type=int, help="passes of the network; default: as advised")
    group.add_argument(
        "--start",
        help="level: recover from the level (paper), top: from the highest (published program)",
    )
    group.add_argument("--gain", type=float, help="velocity models: more seeks likelier shapes")
    group.add_argument("--recursions", type=int, help="published models: passes per level")
    group.add_argument("--precision", default="fp32", help="fp32 (default), bf16 or fp16")
    group.add_argument(
        "--border", default="fixed", help="fixed (default): the image's border stays; free"
    )
    group.add_argument(
        "--border-width", type=float, default=0.1, help="transition, part of a side (0.1)"
    )
    _add_stack_options(parser)
    _add_limit_options(parser)


def _add_stack_options(parser: argparse.ArgumentParser) -> None:
    """How images and stacks are read and resampled."""
    group = parser.add_argument_group("resampling")
    group.add_argument(
        "--stack",
        default="shared",
        help="2D model, 3D stack: shared (default, one field for all slices) or per-slice",
    )
    group.add_argument(
        "--slice-axis", type=int, help="array axis across the slices: 0 = z, 1 = y, 2 = x"
    )
    group.add_argument(
        "--interpolation", default="linear", help="image: linear (default), cubic, nearest"
    )
    group.add_argument(
        "--label-interpolation",
        default="nearest",
        help="labels: nearest (default), linear (largest share wins); no new value with either",
    )
    group.add_argument(
        "--padding", default="border", help="outside the image: border (default), zeros, minimum"
    )


def _add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Which samples are kept."""
    group = parser.add_argument_group("limits (a sample that fails is drawn again)")
    group.add_argument(
        "--max-folding", type=float, default=0.0, help="most folded voxels, percent (0)"
    )
    group.add_argument("--min-mm", type=float, help="least mean displacement, mm")
    group.add_argument("--max-mm", type=float, help="most mean displacement, mm")
    group.add_argument("--attempts", type=int, default=20, help="seeds tried per sample (20)")
    group.add_argument(
        "--no-repair", action="store_true", help="do not smooth the field where it folds"
    )


def sampling_settings(arguments: argparse.Namespace) -> SamplingSettings:
    """The settings that the options say.

    Raises:
        InputError: If one of them cannot be used.
    """
    from DRDMCore.cli.console import user_values
    from DRDMCore.pipelines.settings import SamplingSettings

    names = (
        "level mean_mm steps start gain recursions precision border border_width stack slice_axis "
        "interpolation label_interpolation padding max_folding min_mm max_mm attempts"
    ).split()
    with user_values():
        values = {name: getattr(arguments, name) for name in names}
        return SamplingSettings(**values, repair=not arguments.no_repair)


def path(text: str) -> Path:
    """A path as typed, `~` expanded."""
    return Path(text).expanduser()
