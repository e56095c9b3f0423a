"""
Errors of handlers: the one place that they come to, from the listener, a plan or a task.

Whoever called a handler says which one it was; nobody looks it up by the event's name. An error is
counted, logged, and told to the handlers of errors, whose own errors are only logged. A handler
that fails once in a while is logged with its traceback. One that fails on every event would write
megabytes a second, which blocks the loop and hides everything else: after its first failures only
their number is logged, until it has been well for a while.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..log import careful_logger
from ..quoting import cut
from .callables import is_of_event, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .failure import HandlerFailure

__all__ = ["HandlerFailures"]

log = careful_logger("fastgw.handlers")

# How many failures of one kind are logged in full; the next only count.
FULL = 5
# Seconds between two lines that count, and the quiet after which failures are news again.
SUMMARY_S = 10.0
QUIET_S = 60.0
# Kinds told apart; beyond it the oldest is news again.
_MAX_KINDS = 256
# Event names counted one by one; Discord has 79 and sends about 120 more. A service that makes them
# up may not grow a table for ever.
_MAX_NAMES = 1024
_OTHERS = "(other names)"
# How much of an error's own text a counting line repeats.
_MAX_TEXT = 200
# An error object that is raised again and again collects a traceback entry each time.
_MAX_TRACEBACK = 64


class _Kind:
    """Failures of one handler by one type of error."""

    __slots__ = ("failed_at", "full", "said_at", "unsaid")

    def __init__(self, now: float) -> None:
        self.failed_at = self.said_at = now
        self.full = 0  # logged with their traceback
        self.unsaid = 0  # since the last line


class HandlerFailures:
    """
    Logs and counts what handlers raise; an interrupt goes to who ends the gateway.

    Args:
        on_interrupt: takes KeyboardInterrupt and SystemExit; without it they are logged as others.
        clock: monotonic seconds.

    Attributes:
        counts: event name -> how often a handler of it raised; one name stands for all beyond a
            thousand.
        tell: takes each HandlerFailure, and never raises; None when nobody wants them.
    """

    def __init__(
        self,
        on_interrupt: Callable[[BaseException], object] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.tell: Callable[[HandlerFailure], object] | None = None
        self._on_interrupt = on_interrupt
        self._clock = clock
        self._kinds: dict[tuple[str, type[BaseException]], _Kind] = {}

    def failed(self, argument: Any, handler: Callable[..., object], error: BaseException) -> None:
        """
        Take the error that `handler` raised when it was called with `argument`.

        Args:
            argument: the Event, or what was made of it instead, with its name, sequence and
                shard_id; or what else it was called with, such as a StatusChange.
        """
        if isinstance(error, (KeyboardInterrupt, SystemExit)) and self._on_interrupt is not None:
            self._on_interrupt(error)
            return
        if is_of_event(argument):
            name = cut(argument.name)  # the service's word: it may be long, and each time another
            on = f"{name} {argument.sequence} of shard {argument.shard_id}"
        else:
            name = on = type(argument).__name__
        known = name in self.counts or len(self.counts) < _MAX_NAMES
        self.counts[name if known else _OTHERS] += 1
        if self.tell is not None:
            from .failure import HandlerFailure

            if not isinstance(argument, HandlerFailure):
                self.tell(HandlerFailure(error, handler, name, argument))
        self._log(name_of(handler), on, error)
        _shorten(error)

    def _log(self, handler: str, on: str, error: BaseException) -> None:
        now = self._clock()
        kind = self._kind(handler, type(error), now)
        kind.failed_at = now
        if kind.full < FULL:
            kind.full += 1
            kind.said_at = now
            more = "" if kind.full < FULL else "; from here on failures like it are only counted"
            log.error("handler %s failed on %s%s", handler, on, more, exc_info=error)
            return
        kind.unsaid += 1
        if now - kind.said_at >= SUMMARY_S:
            log.error(
                "handler %s failed %d more times in %.0f s, last on %s: %s",
                handler,
                kind.unsaid,
                now - kind.said_at,
                on,
                f"{type(error).__name__}: {_text(error)}",
            )
            kind.said_at, kind.unsaid = now, 0

    def _kind(self, handler: str, error: type[BaseException], now: float) -> _Kind:
        key = (handler, error)
        kind = self._kinds.get(key)
        if kind is None or now - kind.failed_at >= QUIET_S:
            if kind is None and len(self._kinds) >= _MAX_KINDS:
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[key] = _Kind(now)
        return kind


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as bad:  # a user's __str__
        return f"<its text: {type(bad).__name__}>"
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."


def _shorten(error: BaseException) -> None:
    """Drop the traceback of an error that was raised many times: it has been logged."""
    entry, length = error.__traceback__, 0
    while entry is not None:
        entry, length = entry.tb_next, length + 1
        if length > _MAX_TRACEBACK:
            error.__traceback__ = None
            return
