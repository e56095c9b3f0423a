"""What glibc's allocator does with the large buffers that connections leave behind."""

from __future__ import annotations

import os
import sys

__all__ = ["return_large_buffers"]

LARGE_BYTES = 64 * 1024
_M_MMAP_THRESHOLD = -3  # malloc.h
# How a user says it himself (mallopt(3); GLIBC_TUNABLES of the glibc manual).
_VARIABLE, _TUNABLE = "MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold"


def return_large_buffers() -> bool:
    """
    Let buffers of 64 KiB and more go back to the system when they are freed; tell whether it did.

    Left alone, glibc raises that threshold to the size of the first one that goes back, up to 32 MB
    (mallopt(3)). From then on such buffers come out of memory that was used before, and what the
    next connection only reserves is resident: 227 KiB a shard after the start-up burst, not 55.
    It is for the whole process, and for good. What the user said himself in the environment stays,
    and allocators other than glibc's are left alone.
    """
    said = _VARIABLE in os.environ or _TUNABLE in os.environ.get("GLIBC_TUNABLES", "")
    if said or not sys.platform.startswith("linux"):
        return False
    import ctypes

    process = ctypes.CDLL(None)
    if not hasattr(process, "gnu_get_libc_version"):  # musl
        return False
    return bool(process.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
