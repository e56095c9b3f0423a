"""Time that runs faster, for what takes minutes by Discord's rules and cannot be told to hurry."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import deadline

T = TypeVar("T")


# Seconds of the faster time that one turn of the loop may take at most: a process that got no core
# for a while must not find that all its timers are due.
TURN_S = 0.25


class _QuickSelector(selectors.DefaultSelector):
    """Waits as long as the loop wants in its own, faster seconds; it knows the time there."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed
        self._clock = time.monotonic
        self._looked_at = self.now = self._clock()

    def select(self, timeout=None):
        wait_s = TURN_S if timeout is None else min(timeout, TURN_S)
        found = super().select(wait_s / self._speed)
        looked_at = self._clock()
        self.now += min((looked_at - self._looked_at) * self._speed, TURN_S)
        self._looked_at = looked_at
        return found


@contextmanager
def _quick_clock(selector: _QuickSelector, speed: float) -> Iterator[None]:
    clock, scale = time.monotonic, deadline.SCALE
    time.monotonic = lambda: selector.now
    deadline.SCALE = scale * speed  # a deadline stays as long as it is
    try:
        yield
    finally:
        time.monotonic, deadline.SCALE = clock, scale


def run_in_quick_time(main: Coroutine[Any, Any, T], *, speed: float) -> T:
    """
    Run `main` to its end on asyncio's loop, whose seconds pass `speed` times as fast, or slower
    where the machine is busy.

    Everything in the process that asks `time.monotonic()` sees the same seconds; `deadline.scaled`
    gives as much real time as ever.
    """
    selector = _QuickSelector(speed)
    with _quick_clock(selector, speed):
        loop = asyncio.SelectorEventLoop(selector)  # asyncio.Runner needs 3.11
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(main)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            asyncio.set_event_loop(None)
            loop.close()
