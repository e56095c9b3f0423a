"""What becomes of large buffers that are freed; what is measured, in processes of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastgw.fleet.allocator import return_large_buffers
from fastgw.fleet.relief import Relief

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


@pytest.fixture
def told(monkeypatch):
    """What the C library of this process is told, which is another one here."""
    told = []
    library = SimpleNamespace(
        gnu_get_libc_version=None, mallopt=lambda *option: told.append(option) or 1
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    for name in ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    return told


@pytest.mark.parametrize(
    ("name", "value", "is_told"),
    [
        ("MALLOC_ARENA_MAX", "2", True),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2", True),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=9", False),
        ("MALLOC_MMAP_THRESHOLD_", "9", False),
    ],
)
def test_glibc_is_told_unless_the_user_said_it_himself(monkeypatch, told, name, value, is_told):
    """Other things that he says of the allocator do not count."""
    monkeypatch.setenv(name, value)
    assert return_large_buffers() is is_told
    assert told == [(-3, 64 * 1024)] * is_told


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_told_nothing(monkeypatch, told, platform):
    """They have no such option."""
    monkeypatch.setattr(sys, "platform", platform)
    assert return_large_buffers() is False
    assert told == []


def test_another_c_library_is_told_nothing(monkeypatch, told):
    """musl's mallopt, if there is one, may mean anything by that number."""
    musl = SimpleNamespace(mallopt=lambda *option: told.append(option) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: musl)
    assert return_large_buffers() is False
    assert told == []


@pytest.mark.parametrize(("above_bytes", "times"), [(None, 0), (64 * 1024, 1)])
def test_relief_is_what_wants_it(told, above_bytes, times):
    """A replaced connection's buffer must not stay in the process."""
    Relief(above_bytes)
    assert len(told) == times
