"""Waiting for a condition with a deadline; a slow machine stretches all deadlines at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

SCALE = float(os.environ.get("FASTGW_TEST_TIMEOUT_SCALE", "1"))
# A process that got no core for seconds has not waited: it must have had its turns as well.
LEAST_LOOKS = 200


def scaled(seconds: float) -> float:
    """Return a deadline in seconds, stretched by FASTGW_TEST_TIMEOUT_SCALE."""
    return seconds * SCALE


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait until `condition()` holds; fail after `timeout_s` (scaled) seconds."""
    end = time.monotonic() + scaled(timeout_s)
    looks = 0
    while not condition():
        looks += 1
        assert looks < LEAST_LOOKS or time.monotonic() < end, f"not within {scaled(timeout_s):g} s"
        await asyncio.sleep(0.002)
