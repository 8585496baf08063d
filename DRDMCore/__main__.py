"""`python -m DRDMCore`: the command line."""

import sys

from DRDMCore.cli import main

if __name__ == "__main__":
    sys.exit(main())
