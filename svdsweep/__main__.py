"""`python -m svdsweep …` is `svdsweep …`."""

import sys

from svdsweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
