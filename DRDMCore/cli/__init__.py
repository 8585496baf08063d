"""The command line: `drdm` = `python -m DRDMCore`, one file per command."""

from DRDMCore.cli.program import main

__all__ = ["main"]
