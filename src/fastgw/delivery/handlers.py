"""
Handlers: who wants which event, and how it reaches them.

Interest follows from the handlers: `Dispatcher` keeps one `Interests` table in step with what is
registered, and everything else is dropped unparsed by the decoder. The target of a name is what the
listener calls for each of its events:

    one sync handler     the user's own function; nothing of ours stands between
    one async handler    a small function that starts a task
    several              a small function that calls one after the other

An async handler is a real task from its first line. On Python 3.12 and newer it starts inside the
call, so the handlers of a shard keep the order of its events up to their first await; before 3.12
the loop starts them in that order. A handler that fails is logged and counted, and never disturbs
the connection or another handler.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
import logging
import re
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._decode import Event, Interests
from ..errors import UsageError
from ..protocol.wire import EVENT_INTENTS, EVENT_NAMES, LIBRARY_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from ..protocol.wire import Intents

    Handler = Callable[[Event], object]
    HandlerT = TypeVar("HandlerT", bound=Handler)

__all__ = ["Dispatcher", "MissingIntentWarning", "check_handler", "check_names"]

log = logging.getLogger("fastgw.handlers")

EVERYTHING = "*"
# Every name in Discord's docs, "Gateway Events", is spelt so; with other characters it is a typo.
_NAME = re.compile(r"[A-Z0-9_]+\Z")


class MissingIntentWarning(UserWarning):
    """A handler waits for an event that Discord does not send without an intent not asked for."""


class Dispatcher:
    """
    The handlers of one Gateway, and the interest table of all its shards.

    Attributes:
        interests: the table the decoders look names up in.
        failures: event name -> how often a handler of it raised.
    """

    def __init__(
        self, intents: Intents, *, on_interrupt: Callable[[BaseException], object] | None = None
    ) -> None:
        self.interests = Interests()
        for name in sorted(LIBRARY_EVENTS):
            self.interests.want(name, None, internal=True)
        self.failures: Counter[str] = Counter()
        self._intents = intents
        self._on_interrupt = on_interrupt
        self._handlers: dict[str, list[Handler]] = {}  # also under EVERYTHING
        self._tasks: dict[asyncio.Task[object], tuple[Callable[..., object], object]] = {}
        self._spared: set[asyncio.Task[Any]] = set()  # inside caller_spared(), handlers or not
        self._idle: asyncio.Event | None = None  # made by the first drain()

    @property
    def running(self) -> int:
        """How many async handlers have begun and not ended."""
        return len(self._tasks)

    def on(self, names: tuple[str, ...], handler: HandlerT) -> HandlerT:
        """
        Register a sync or async handler for events of these names; "*" means every event.

        May be called at any time, also while connected. Returns the handler itself.

        Raises:
            UsageError: no name, not a name, or a handler that cannot be called with one event.
        """
        check_names(names)
        check_handler(handler)
        for name in dict.fromkeys(names):
            self._handlers.setdefault(name, []).append(handler)
            self._warn_of(name)
        # A handler of everything joins the handlers of each name as well.
        for name in self._handlers if EVERYTHING in names else names:
            self._route(name)
        return handler

    def call(self, handler: Callable[..., object], argument: object) -> None:
        """Call a handler of something rare, such as a status change, as one of an event."""
        try:
            if _is_async(handler):
                self._starter(handler)(argument)
            else:
                handler(argument)
        except BaseException as error:
            self.handler_failed(argument, error, handler)

    def handler_failed(
        self,
        argument: object,
        error: BaseException,
        handler: Callable[..., object] | None = None,
    ) -> None:
        """Log and count a handler's error; the listener reports those of direct targets here."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)) and self._on_interrupt is not None:
            self._on_interrupt(error)
            return
        if isinstance(argument, Event):
            name = argument.name
            on = f"{name} {argument.sequence} of shard {argument.shard_id}"
            if handler is None:
                handler = next(iter(self._handlers_of(name)), None)
        else:
            name = on = type(argument).__name__
        self.failures[name] += 1
        log.error(
            "handler %s failed on %s",
            getattr(handler, "__qualname__", None) or repr(handler),
            on,
            exc_info=error,
        )

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

    def target_of(self, name: str) -> Handler | None:
        """Return what the listener calls for an event of this name; None when nobody wants it."""
        handlers = self._handlers_of(name)
        if not handlers:
            return None
        if len(handlers) > 1:
            return self._several(handlers)
        (handler,) = handlers
        return self._starter(handler) if _is_async(handler) else handler

    def _handlers_of(self, name: str) -> list[Handler]:
        own = [] if name == EVERYTHING else self._handlers.get(name, [])
        return own + self._handlers.get(EVERYTHING, [])

    def _route(self, name: str) -> None:
        if name == EVERYTHING:
            self.interests.want_everything(self.target_of(name))
        else:
            self.interests.want(name, self.target_of(name))

    def _starter(self, handler: Callable[..., object]) -> Callable[[Any], None]:
        """Return a target that starts an async handler as a task."""
        tasks, finished, failed = self._tasks, self._finished, self.handler_failed
        call = cast("Callable[..., Coroutine[Any, Any, object]]", handler)
        running_loop = asyncio.get_running_loop

        def keep(task: asyncio.Task[object], argument: object) -> None:
            tasks[task] = (handler, argument)  # the loop itself holds tasks only weakly
            task.add_done_callback(finished)

        if sys.version_info >= (3, 12):
            make = asyncio.Task  # not loop.create_task(): uvloop's and 3.12's cannot be eager

            # 0.6 us for a handler that never waits; the task itself is nearly all of it.
            def start(argument: Any) -> None:
                task = make(call(argument), loop=running_loop(), eager_start=True)
                if not task.done():
                    keep(task, argument)
                elif task.cancelled():
                    return
                elif (error := task.exception()) is not None:
                    failed(argument, error, handler)

        else:

            def start(argument: Any) -> None:
                keep(running_loop().create_task(call(argument)), argument)

        return start

    def _several(self, handlers: list[Handler]) -> Handler:
        """Return a target that calls several handlers; one's failure does not stop the next."""
        calls = [(h, self._starter(h) if _is_async(h) else h) for h in handlers]

        def call_each(event: Event) -> None:
            for handler, call in calls:
                try:
                    call(event)
                except Exception as error:  # noqa: PERF203 - one failure, one handler
                    self.handler_failed(event, error, handler)

        return call_each

    def _finished(self, task: asyncio.Task[object]) -> None:
        handler, argument = self._tasks.pop(task)
        self._tell_idle()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.handler_failed(argument, error, handler)

    def _warn_of(self, name: str) -> None:
        if name == EVERYTHING:
            return
        gates = EVENT_INTENTS.get(name)
        if gates and not gates & self._intents:
            wanted = " or ".join(gates.names())
            warnings.warn(
                f"{name} never comes without the intent {wanted}: add it to intents=",
                MissingIntentWarning,
                stacklevel=_depth_of_caller(),
            )
        elif name not in EVENT_NAMES and (
            close := difflib.get_close_matches(name, EVENT_NAMES, 1, 0.9)
        ):
            log.warning("%s is not a documented event; did you mean %s?", name, close[0])


def check_names(names: tuple[object, ...]) -> None:
    """Raise UsageError unless these are names of events, or "*"."""
    if len(names) == 1 and callable(names[0]) and not isinstance(names[0], str):
        raise UsageError('write @gateway.on("MESSAGE_CREATE"), with the name of the event')
    if not names:
        raise UsageError('name at least one event: @gateway.on("MESSAGE_CREATE")')
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"an event name is a str, not {type(name).__name__}")
        if name != EVERYTHING and not _NAME.match(name):
            hint = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s.-]+", "_", name.removeprefix("on_")).upper()
            hint = f"; did you mean {hint}?" if hint in EVENT_NAMES else ""
            raise UsageError(f"{name!r} is not an event name: those look like MESSAGE_CREATE{hint}")


def check_handler(handler: object) -> None:
    """Raise UsageError unless it can be called with one argument."""
    if not callable(handler):
        raise UsageError(f"a handler must be callable, and {handler!r} is not")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise UsageError(f"handler {handler!r} is a generator: it would never run; do not yield")
    try:
        signature = inspect.signature(handler)
    except (ValueError, TypeError):
        return  # some builtins tell no signature
    try:
        signature.bind(object())
    except TypeError as error:
        raise UsageError(
            f"handler {handler!r} is called with one argument, the event: {error}"
        ) from None
    if _hides_async(handler):
        raise UsageError(
            f"handler {handler!r} is a sync wrapper of an async function, which would never be "
            "awaited: make the wrapper `async def`, and await the function in it"
        )


def _is_async(handler: Callable[..., object]) -> bool:
    """Tell whether calling it gives a coroutine; sees through partials and callable objects."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - its kind is asked, not its existence
    )


def _hides_async(handler: Callable[..., object]) -> bool:
    """Tell whether it is a sync `functools.wraps` wrapper around a coroutine function."""
    if _is_async(handler):
        return False
    while isinstance(handler, functools.partial):
        handler = handler.func
    call = getattr(handler, "__call__", None)  # noqa: B004 - what it wraps is asked
    return any(inspect.iscoroutinefunction(inspect.unwrap(f)) for f in (handler, call) if f)


def _depth_of_caller() -> int:
    """Return the stacklevel of the first frame outside this package, for a warning's place."""
    depth, frame = 1, sys._getframe(1)
    inside = __name__.rpartition(".")[0] + "."  # with the dot: fastgw_bot is somebody else's
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(inside):
        depth, frame = depth + 1, frame.f_back
    return depth
