"""What becomes of large buffers that are freed; each case in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallinfo2")
pytestmark = pytest.mark.skipif(not GLIBC, reason="no glibc of 2.33 or newer here")

# A buffer of 1 MB goes back, which raises glibc's threshold unless that is fixed. Then it says how
# many buffers of 128 KiB the system itself gave: memory that is free in the process goes first.
PROGRAM = """
import ctypes
from fastgw.fleet.relief import Relief

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
relief = Relief({above})
large = bytearray(1 << 20)
del large
before = mallinfo2().hblks
buffers = [bytearray(128 << 10) for _ in range(64)]
print(mallinfo2().hblks - before)
"""


def mapped(above, **more):
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(above=above)],
        env={**environment, **more}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return int(ran.stdout)


def test_with_relief_large_buffers_go_back_to_the_system():
    """Whatever size went back before."""
    assert mapped(64 * 1024) > 32


def test_without_relief_the_allocator_is_left_alone():
    """It is the user's process."""
    assert mapped(None) == 0


@pytest.mark.parametrize(
    "said",
    [
        {"MALLOC_MMAP_THRESHOLD_": "4194304"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4194304"},
    ],
)
def test_what_the_environment_says_stays(said):
    """In either of glibc's two ways."""
    assert mapped(64 * 1024, **said) == 0
