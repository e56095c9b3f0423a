"""How the suites run a test: each on a loop of its own, without plugins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    T = TypeVar("T")

__all__ = ["OnLoops"]

LONGEST_S = 60.0  # of one test


class OnLoops:
    """What each suite can: run a coroutine on a new loop, which whoever inherits may choose."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop to run a test on."""
        return asyncio.new_event_loop()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a test to its end."""
        loop = self.new_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(main, LONGEST_S))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
