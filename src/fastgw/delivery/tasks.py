"""
The tasks of async handlers: started, kept until they end, drained at the close.

An async handler is a real task from its first line. On Python 3.12 and newer it starts inside the
call, so the handlers of a shard keep the order of its events up to their first await; before 3.12
the loop starts them in that order.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ..errors import UsageError
from ..log import careful_logger
from .callables import name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

__all__ = ["HandlerTasks"]

log = careful_logger("fastgw.handlers")


class HandlerTasks:
    """
    The async handlers of one gateway that have begun and not ended.

    Args:
        failed: takes (argument, handler, error) of one that ends by an error.
    """

    def __init__(
        self, failed: Callable[[object, Callable[..., object], BaseException], None]
    ) -> None:
        self._failed = failed
        self._tasks: dict[asyncio.Task[object], tuple[Callable[..., object], object]] = {}
        self._spared: set[asyncio.Task[Any]] = set()  # inside caller_spared(), handlers or not
        self._idle: asyncio.Event | None = None  # made by the first drain()

    @property
    def running(self) -> int:
        """How many async handlers have begun and not ended."""
        return len(self._tasks)

    def starter(
        self, handler: Callable[..., object], call: Callable[..., object] | None = None
    ) -> Callable[[Any], None]:
        """
        Return a target that starts an async handler as a task, and never raises.

        Args:
            call: what makes the coroutine, when it is not the handler itself.
        """
        tasks, finished, failed = self._tasks, self._finished, self._failed
        make_coroutine = cast("Callable[..., Coroutine[Any, Any, object]]", call or handler)
        running_loop = asyncio.get_running_loop

        def keep(task: asyncio.Task[object], argument: object) -> None:
            tasks[task] = (handler, argument)  # the loop itself holds tasks only weakly
            task.add_done_callback(finished)

        if sys.version_info >= (3, 12):
            make = asyncio.Task  # not loop.create_task(): uvloop's and 3.12's cannot be eager
            ended = self._ended

            # 0.6 us for a handler that never waits; the task itself is nearly all of it.
            def start(argument: Any) -> None:
                try:
                    task = make(make_coroutine(argument), loop=running_loop(), eager_start=True)
                except BaseException as error:
                    failed(argument, handler, error)
                    return
                if not task.done():
                    keep(task, argument)
                else:
                    ended(task, argument, handler)

        else:

            def start(argument: Any) -> None:
                try:
                    keep(running_loop().create_task(make_coroutine(argument)), argument)
                except BaseException as error:
                    failed(argument, handler, error)

        return start

    def returned(self, argument: object, handler: Callable[..., object], result: object) -> None:
        """
        Take what a handler gave back: run a coroutine, refuse a generator, ignore all else.

        That is how a lambda, or a wrapper without `async`, around an async handler works.
        """
        if isinstance(result, asyncio.Future):
            return  # somebody's task runs already
        if inspect.isawaitable(result):
            self.starter(handler, lambda _: _awaiting(result))(argument)
        elif inspect.isgenerator(result) or inspect.isasyncgen(result):
            error = UsageError(
                f"handler {name_of(handler)} returned a generator, which never runs; do not yield"
            )
            self._failed(argument, handler, error)

    async def drain(self, timeout_s: float) -> int:
        """
        Wait for running async handlers; cancel those left after `timeout_s` seconds.

        Those inside `caller_spared()` are not waited for, also when they go there meanwhile.

        Returns:
            How many had to be cancelled.
        """
        if await self._wait_idle(timeout_s):
            return 0
        late = self._tasks.keys() - self._spared
        for task in late:
            task.cancel()
        log.warning("%d handlers were cancelled after %.1f s of grace", len(late), timeout_s)
        # A handler may swallow its cancellation: it gets no second grace.
        await self._wait_idle(1.0)
        return len(late)

    @contextmanager
    def caller_spared(self) -> Iterator[None]:
        """Let `drain()` not wait for the calling task: a handler that waits for it itself."""
        caller = asyncio.current_task()
        if caller is None or caller in self._spared:
            yield
            return
        self._spared.add(caller)
        self._tell_idle()
        try:
            yield
        finally:
            self._spared.discard(caller)

    async def _wait_idle(self, timeout_s: float) -> bool:
        """Wait until no handler is left to be waited for; False after `timeout_s` seconds."""
        if not self._is_idle():
            try:
                await asyncio.wait_for(self._become_idle(), timeout_s)
            except asyncio.TimeoutError:
                return self._is_idle()
        return True

    async def _become_idle(self) -> None:
        if self._idle is None:
            self._idle = asyncio.Event()
        while not self._is_idle():
            self._idle.clear()
            await self._idle.wait()

    def _is_idle(self) -> bool:
        return self._tasks.keys() <= self._spared

    def _tell_idle(self) -> None:
        if self._idle is not None and self._is_idle():
            self._idle.set()

    def _finished(self, task: asyncio.Task[object]) -> None:
        handler, argument = self._tasks.pop(task)
        self._tell_idle()
        self._ended(task, argument, handler)

    def _ended(
        self, task: asyncio.Task[object], argument: object, handler: Callable[..., object]
    ) -> None:
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._failed(argument, handler, error)
        elif (result := task.result()) is not None:
            self.returned(argument, handler, result)


async def _awaiting(awaitable: Awaitable[object]) -> object:
    return await awaitable
