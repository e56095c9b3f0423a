"""An asyncio loop whose clock is invented: it jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


# Real work in one moment takes a few thousand; a timer that sets itself again, all there are.
MAX_TURNS = 100_000


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing: what the loop would have slept is added to the invented clock."""

    now = 0.0
    turns = 0  # of the loop since the clock went on

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        self.turns = 0 if timeout > 0 else self.turns + 1
        if self.turns > MAX_TURNS:
            raise RuntimeError(f"the loop turned {MAX_TURNS} times, and no time went by")
        self.now += max(timeout, 0.0)
        return super().select(0)


class InventedTimeLoop(asyncio.SelectorEventLoop):
    """For code that only waits for timers and other tasks; sockets are never waited for."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_in_invented_time(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end; hours pass in milliseconds, a deadlock or a spin raises."""
    loop = InventedTimeLoop()  # asyncio.Runner needs 3.11
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
