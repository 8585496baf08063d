"""Read the arguments, run the command, say plainly what went wrong."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from DRDMCore import __version__
from DRDMCore.cli.console import EXIT_FAILED, EXIT_STOPPED, Console
from DRDMCore.errors import Cancelled, DRDMError
from DRDMCore.machine import wait_briefly

COMMANDS = (
    "generate",
    "replay",
    "export",
    "augment",
    "synthesize",
    "train",
    "import_weights",
    "info",
    "phantom",
    "measure",
    "demo",
    "serve",
)

_DESCRIPTION = """\
Plausible new anatomy from one scan: images, labels and the deformation fields that made them.

A first look, with nothing of your own:
  drdm demo --out demo-output
Four new versions of a scan and its labels, with a model that knows the anatomy:
  drdm generate --image scan.nii.gz --labels labels.nii.gz --model hippocampus-mr-3d --out new
The same for any anatomy, without a model (smooth, but not plausible):
  drdm generate --image scan.nii.gz --labels labels.nii.gz --model none --mean-mm 4 --out new
"""


def main(
    argv: Sequence[str] | None = None, *, new_console: Callable[..., Console] = Console
) -> int:
    """Run `drdm`.

    Args:
        argv: The arguments, those of the process by default.
        new_console: Makes what shows the progress, as `Console` does.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 3 some cases failed, 130 stopped.
    """
    _take_any_character()
    wait_briefly()
    arguments = _parser().parse_args(argv, argparse.Namespace(new_console=new_console))
    try:
        return int(arguments.run(arguments))
    except (Cancelled, KeyboardInterrupt) as error:
        return _failed(arguments, error, EXIT_STOPPED)
    except DRDMError as error:
        return _failed(arguments, error, EXIT_FAILED)
    except MemoryError as error:
        return _failed(arguments, f"not enough memory ({error})", EXIT_FAILED)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:  # a file that may not be read, a disk that fails
        return _failed(arguments, error, EXIT_FAILED)


def _take_any_character() -> None:
    """Let no name or label stop us where the terminal or pipe cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands; none of them is run, and torch is not imported."""
    parser = argparse.ArgumentParser(
        prog="drdm",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="`drdm COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"drdm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"DRDMCore.cli.{name}").add_parser(commands)
    return parser


def _failed(arguments: argparse.Namespace, error: object, status: int) -> int:
    """Tell the failure on stderr, and as a JSON line where those are wanted."""
    text = str(error) or "stopped by the user"
    if getattr(arguments, "json", False):
        print(json.dumps({"kind": "error", "message": text, "status": status}), flush=True)
    print(f"drdm {arguments.command}: {text}", file=sys.stderr)
    return status
