"""
The main program around a gateway: a loop, signals, and an orderly end.

Theory. The end has three ways. The first SIGINT or SIGTERM, and a handler or any other task that
raises SystemExit or KeyboardInterrupt, close the gateway; the loop runs on until it is closed. A
second signal raises KeyboardInterrupt or SystemExit wherever the program is. Code that it meets may
catch it there, so the gateway calls no handler any more from then on, and the loop raises it again
as soon as it gets to. Whatever ended it, what is left of tasks and threads has a bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import Interrupted, UsageError
from .log import careful_logger
from .quoting import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import ThreadPoolExecutor
    from types import FrameType

    # Takes SystemExit or KeyboardInterrupt of a task that is not the main one; False: let it out.
    EndsInOrder = Callable[[asyncio.AbstractEventLoop, BaseException], bool]

__all__ = ["refusing_runs", "run_on_best_loop", "run_until_closed"]

log = careful_logger("fastgw.run")

T = TypeVar("T")

# How long tasks may take to be cancelled, and threads of the loop's executor to end: whoever has
# not ended by then never will. After a second signal nobody has that patience.
PATIENCE_S = 5.0
FORCED_S = 1.0
# Who waits for longer than this after the first signal is told what for.
TOLD_AFTER_S = 0.5

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
        """Wait for the end; raise what it ended with, an interrupt as `Interrupted`."""

    async def close(self) -> None:
        """End it."""


class Endings(Protocol):
    """What is to be done about interrupts: `Fleet`."""

    def interrupted(self, error: BaseException) -> object:
        """Begin to close because of this error; called inside the loop."""

    def grace(self) -> tuple[int, float]:
        """Return how many handlers have not ended, and how many seconds they get at the end."""

    def force(self) -> object:
        """Call no handler any more, let interrupts through; called between any two lines."""


def run_until_closed(gateway: Runnable, endings: Endings | None = None) -> None:
    """
    Start it on a new loop (uvloop's when installed) and block until it is closed.

    SystemExit or KeyboardInterrupt out of any task closes it cleanly as well, and is raised then.
    The first SIGINT or SIGTERM closes it cleanly; a warning says when handlers keep it waiting. The
    second raises KeyboardInterrupt or SystemExit wherever the program is, even in a handler that
    blocks the loop, and from here.

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
    signals = _Signals()

    def ends_in_order(loop: asyncio.AbstractEventLoop, error: BaseException) -> bool:
        if endings is None or signals.is_urgent:
            return False
        loop.call_soon(endings.interrupted, error)  # it wants to run inside
        return True

    interrupt: BaseException | None
    try:
        interrupt = _run(_main(gateway, endings, signals), signals, ends_in_order)
    except (KeyboardInterrupt, SystemExit) as error:
        if not signals.is_urgent:
            raise
        # Anew: the frames that it met are of no use to anybody.
        interrupt = SystemExit(error.code) if isinstance(error, SystemExit) else KeyboardInterrupt()
    if interrupt is not None:
        raise interrupt


def run_on_best_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a new loop, uvloop's when installed; return its result."""
    return _run(main, _Signals())


async def _main(
    gateway: Runnable, endings: Endings | None, signals: _Signals
) -> BaseException | None:
    """Run it; return what a handler ended it with, if one did."""
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    def end() -> None:
        ending.add(loop.create_task(gateway.close()))
        if endings is not None:
            loop.call_later(TOLD_AFTER_S, _tell_of_grace, endings, signals)

    def let_out(interrupt: BaseException) -> None:
        if not signals.is_out:
            raise interrupt  # out of the loop: the code that it met may have caught it

    def force(interrupt: BaseException) -> None:
        if endings is not None:
            endings.force()
        loop.call_soon_threadsafe(let_out, interrupt)

    with signals.calling(lambda: loop.call_soon_threadsafe(end), force):
        try:
            await gateway.start()
            await gateway.wait_closed()
        except Interrupted as error:
            return error.__cause__
        except UsageError:
            if not signals.seen:
                raise
    return None  # also where the signal came while it was starting


def _tell_of_grace(endings: Endings, signals: _Signals) -> None:
    """Say what the end waits for: without a word it looks as if the signal were lost."""
    handlers, drain_s = endings.grace()
    if handlers and not signals.is_urgent:
        log.warning(
            "closing: up to %g s for %s; %s ends at once",
            drain_s,
            counted(handlers, "handler"),
            signals.another,
        )


class _Signals:
    """
    Turns the first SIGINT or SIGTERM into a call, and lets the second through.

    Attributes:
        seen: the first has come.
        is_urgent: the second as well.
        is_out: the loop has ended; nothing has to get out of it any more.
        another: in words, one more of what has come.
    """

    def __init__(self) -> None:
        self.seen = False
        self.is_urgent = False
        self.is_out = False
        self.another = "a second signal"
        self._first: Callable[[], object] = lambda: None
        self._second: Callable[[BaseException], object] = lambda _: None
        self._before: dict[signal.Signals, Any] = {}

    def calling(
        self, first: Callable[[], object], second: Callable[[BaseException], object]
    ) -> _Signals:
        """Say what to call, for `with`; both are called between any two lines of the program."""
        self._first = first
        self._second = second
        return self

    def __enter__(self) -> None:
        # Python allows it in the main thread only. Not loop.add_signal_handler(): its callback
        # would have to wait for the very handler that blocks the loop.
        if threading.current_thread() is threading.main_thread():
            for number in _ends():
                self._before[number] = signal.signal(number, self._received)

    def __exit__(self, *exc_info: object) -> None:
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        if not self.seen:
            self.seen = True
            if number == signal.SIGINT:
                self.another = "Ctrl-C again"
            self._first()
            return
        self.is_urgent = True
        self._restore()  # a third one meets what was there before
        interrupt = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        self._second(interrupt)
        raise interrupt

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()


def _ends() -> tuple[signal.Signals, ...]:
    """Return the signals that ask for a clean end here."""
    # Windows: Ctrl-Break, and the console window that is closed, which leaves five seconds.
    extra = getattr(signal, "SIGBREAK", None)
    return (
        (signal.SIGINT, signal.SIGTERM) if extra is None else (signal.SIGINT, signal.SIGTERM, extra)
    )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run(
    main: Coroutine[Any, Any, T], signals: _Signals, ends_in_order: EndsInOrder | None = None
) -> T:
    """
    Run a coroutine to its end on a new loop, and end the loop.

    Not by asyncio.Runner, which waits for ever for a task that swallows its cancellation, and for a
    thread that hangs.
    """
    from concurrent.futures import ThreadPoolExecutor

    loop = _new_loop()
    executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
    try:
        asyncio.set_event_loop(loop)
        loop.set_default_executor(executor)
        return _run_to_the_end(loop, main, ends_in_order)
    finally:
        signals.is_out = True
        patience_s = FORCED_S if signals.is_urgent else PATIENCE_S
        try:
            _cancel(loop, asyncio.all_tasks(loop), patience_s)
            _cancel(loop, {loop.create_task(loop.shutdown_asyncgens())}, patience_s, at_once=False)
            _end_threads(executor, patience_s)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _run_to_the_end(
    loop: asyncio.AbstractEventLoop,
    main: Coroutine[Any, Any, T],
    ends_in_order: EndsInOrder | None,
) -> T:
    """Run the loop until `main` has ended, also over what other tasks let out of it."""
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:  # noqa: PERF203 - once in a life
            # Loops let these two out of any task, and leave the other tasks where they are.
            if task.done() or ends_in_order is None or not ends_in_order(loop, error):
                raise


def _cancel(
    loop: asyncio.AbstractEventLoop,
    tasks: set[asyncio.Task[Any]],
    patience_s: float,
    *,
    at_once: bool = True,
) -> None:
    """Cancel tasks, at once or when they take too long; leave those behind that go on even so."""
    if not tasks:
        return
    if not at_once:
        loop.run_until_complete(asyncio.wait(tasks, timeout=patience_s))
    late = {task for task in tasks if not task.done()}
    for task in late:
        task.cancel()
    if late:
        loop.run_until_complete(asyncio.wait(late, timeout=patience_s))
    if stubborn := {task for task in tasks if not task.done()}:
        _leave_behind(stubborn)
    for task in tasks - stubborn:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": "a task failed as it was cancelled", "exception": error, "task": task}
            )


def _leave_behind(tasks: set[asyncio.Task[Any]]) -> None:
    """
    Give up on tasks that swallow their cancellation.

    A thread holds them to the end of the process: destroying a coroutine runs its code once more,
    and one that catches everything in a loop would spin there for ever.
    """
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it is told here
        log.warning("a task goes on after it was cancelled, and is left behind: %r", task)

    def hold(_: object) -> None:
        threading.Event().wait()

    threading.Thread(target=hold, args=(tasks,), name="fastgw left behind", daemon=True).start()


def _end_threads(executor: ThreadPoolExecutor, patience_s: float) -> None:
    """Wait for what `to_thread` and the like began; Python waits for it again at its exit."""
    executor.shutdown(wait=False, cancel_futures=True)
    waiting = threading.Thread(target=executor.shutdown, daemon=True)
    waiting.start()
    waiting.join(patience_s)
    if waiting.is_alive():
        log.warning("a thread of the loop's executor goes on, and is left behind")
