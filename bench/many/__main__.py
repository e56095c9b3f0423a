"""Run one of the measurements by its name."""

from __future__ import annotations

import sys

from . import __doc__ as usage
from . import contexts, outage, ready, relief, traffic

MEASUREMENTS = {
    "contexts": contexts.main,
    "outage": outage.main,
    "ready": ready.main,
    "relief": relief.main,
    "traffic": traffic.main,
}

if len(sys.argv) < 2 or sys.argv[1] not in MEASUREMENTS:
    print(usage)
    sys.exit(2)
MEASUREMENTS[sys.argv[1]]()
