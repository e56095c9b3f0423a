"""`python -m fastgw`: the `fastgw` command, for whoever has several Pythons."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
