"""
One thread that does what event loops ask of it, one job after the other.

What processes share, a file or a server, blocks whoever talks to it, and must be talked to while a
handler holds up the loop. So each has a thread that alone uses it: jobs go in from a loop, and
their ends come back to it. Nothing that a job raises ends the thread; being told to stop does,
after all that came before. It is a daemon: a job that hangs in a system call keeps no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from ...errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

__all__ = ["JobThread"]


def _nothing() -> None:
    pass


class JobThread:
    """
    The thread. It runs from now on, until `stop` or `end`.

    Args:
        name: of the thread; "fastgw" is put before it.
        after: begin when that one, which was told to stop, has done all that it was given.
    """

    def __init__(self, name: str, *, after: JobThread | None = None) -> None:
        self._after = after
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._last: Callable[[], object] = _nothing
        self._is_stopped = False
        self._every_s: float | None = None  # what follows is the thread's own
        self._at = 0.0
        self._tick: Callable[[], object] = _nothing
        self._thread = threading.Thread(target=self._run, name=f"fastgw {name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """
        Do `work` after all that came before; return a future of the running loop.

        A future that is cancelled takes nothing back: the work is done all the same. One that was
        told to stop does nothing any more: the future raises UsageError.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._is_stopped:
            done.set_exception(UsageError(f"{self._thread.name} has been closed"))
            return done

        def answer(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return  # cancelled
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def job() -> None:
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(answer, result, error)

        self._jobs.put(job)
        return done

    def post(self, work: Callable[[], object], failed: Callable[[Exception], object]) -> None:
        """Do `work` after all that came before; `failed` is called in the thread if it raises."""

        def job() -> None:
            try:
                work()
            except Exception as error:
                failed(error)

        self._jobs.put(job)

    def every(self, seconds: float, work: Callable[[], object]) -> None:
        """Do `work` so often from now on, however many jobs wait; it must not raise."""

        def begin() -> None:
            self._every_s, self._tick = seconds, work
            self._at = time.monotonic() + seconds

        self._jobs.put(begin)

    def stop(self, last: Callable[[], object] = _nothing) -> None:
        """End it after all that came before, and `last`, which must not raise; does not wait."""
        self._last = last
        self._is_stopped = True
        self._jobs.put(None)

    def join(self, within_s: float) -> bool:
        """Wait so long for its end, and hold up the caller; tell whether it came."""
        self._thread.join(within_s)
        return not self.is_alive

    async def end(self, within_s: float, last: Callable[[], object] = _nothing) -> bool:
        """
        Stop it, and wait so long for its end; return whether it came.

        Where it did not, a job hangs; the thread ends, and calls `last`, when that comes back.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            last()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(over.cancel)

        self.stop(end)
        await asyncio.wait((over,), timeout=within_s)
        if over.done():
            self._thread.join()  # it returns now
        return over.done()

    # --- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        if self._after is not None:
            self._after._thread.join()
            self._after = None  # nor does it keep all those before it alive
        while True:
            timeout_s = None
            if self._every_s is not None:
                timeout_s = self._at - time.monotonic()
                if timeout_s <= 0:
                    self._tick()
                    self._at = time.monotonic() + self._every_s
                    continue
            try:
                job = self._jobs.get(timeout=timeout_s)
            except queue.Empty:
                continue
            if job is None:
                break
            job()
        self._last()
