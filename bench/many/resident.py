"""Resident memory of this process."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path


def resident_bytes() -> int:
    """Return what is resident now, once the allocator has given back what it can."""
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
