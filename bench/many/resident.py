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
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return the largest resident size so far."""
    return _status("VmHWM")


def _status(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
