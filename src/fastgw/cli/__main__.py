"""`python -m fastgw.cli`."""

import sys

from . import main

sys.exit(main())
