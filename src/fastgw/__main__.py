"""`python -m fastgw`: the `fastgw` command, for whoever has several Pythons."""

import sys

from fastgw_command import main  # which ends quietly at a Ctrl-C while it imports the rest

if __name__ == "__main__":
    sys.exit(main())
