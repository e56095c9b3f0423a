"""Programs that run until somebody ends them: SIGINT and SIGTERM, each an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..runner import run_on_best_loop

__all__ = ["run_to_the_end"]

T = TypeVar("T")

# As shells count a death by signal.
_BY_SIGTERM = 128 + signal.SIGTERM


def run_to_the_end(main: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine; SIGINT and SIGTERM cancel it, so that what it opened is closed.

    A second signal meets what was there before, and ends the process at once.

    Raises:
        KeyboardInterrupt: after SIGINT.
        SystemExit: after SIGTERM, with 143.
    """
    received: list[signal.Signals] = []

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: signal.Signals) -> None:
            received.append(number)
            loop.remove_signal_handler(number)
            task.cancel()

        with contextlib.suppress(NotImplementedError):  # on Windows KeyboardInterrupt does it
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end, number)
        return await main

    try:
        return run_on_best_loop(cancellable())
    except asyncio.CancelledError:
        if not received:
            raise
        if received[0] == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(_BY_SIGTERM) from None
