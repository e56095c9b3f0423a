"""The main program around a gateway: a loop, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType, TracebackType

__all__ = ["refusing_runs", "run_on_best_loop", "run_until_closed"]


T = TypeVar("T")

# Why nothing may be run in this process now; see `refusing_runs`.
_refusals: list[str] = []


@contextlib.contextmanager
def refusing_runs(reason: str) -> Iterator[None]:
    """Let `run()` of a gateway raise UsageError meanwhile: somebody else runs it later."""
    _refusals.append(reason)
    try:
        yield
    finally:
        _refusals.remove(reason)


class Runnable(Protocol):
    """What can be run: `Gateway`."""

    async def start(self) -> None:
        """Begin."""

    async def wait_closed(self) -> None:
        """Wait for the end; raise what it ended with."""

    async def close(self) -> None:
        """End it."""


def run_until_closed(gateway: Runnable) -> None:
    """
    Start it on a new loop (uvloop's when installed) and block until it is closed.

    The first SIGINT or SIGTERM closes it cleanly. The second raises KeyboardInterrupt or
    SystemExit wherever the program is, even in a handler that blocks the loop.

    Raises:
        UsageError: a loop runs in this thread already, or whoever imports the program will run it.
    """
    if _refusals:
        raise UsageError(_refusals[-1])
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise UsageError("run() makes its own event loop; inside one, await start() instead")
    run_on_best_loop(_main(gateway))


def run_on_best_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a new loop, uvloop's when installed; return its result."""
    return _run(main, _loop_factory())


async def _main(gateway: Runnable) -> None:
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    def end() -> None:
        ending.add(loop.create_task(gateway.close()))

    with _Signals(lambda: loop.call_soon_threadsafe(end)) as signals:
        try:
            await gateway.start()
        except UsageError:
            if not signals.seen:
                raise
            return  # the signal came while it was starting
        await gateway.wait_closed()


class _Signals:
    """Turns the first SIGINT or SIGTERM into a call, and lets the second through."""

    def __init__(self, first: Callable[[], object]) -> None:
        self.seen = False
        self._first = first
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Signals:
        # Python allows it in the main thread only. Not loop.add_signal_handler(): its callback
        # would have to wait for the very handler that blocks the loop.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        if not self.seen:
            self.seen = True
            self._first()
            return
        self._restore()  # a third one meets what was there before
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if sys.version_info >= (3, 11):

    def _run(
        main: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> T:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main)

else:

    def _run(
        main: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> T:
        loop = loop_factory()
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(main)
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            asyncio.set_event_loop(None)
            loop.close()
