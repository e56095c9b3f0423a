"""
Errors of handlers: the one place that they come to, from the listener, a plan or a task.

Whoever called a handler says which one it was; nobody looks it up by the event's name.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from .._decode import Event
from .callables import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HandlerFailures"]

log = logging.getLogger("fastgw.handlers")


class HandlerFailures:
    """
    Logs and counts what handlers raise; an interrupt goes to who ends the gateway.

    Attributes:
        counts: event name -> how often a handler of it raised.
    """

    def __init__(self, on_interrupt: Callable[[BaseException], object] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._on_interrupt = on_interrupt

    def failed(
        self, argument: object, handler: Callable[..., object], error: BaseException
    ) -> None:
        """
        Take the error that `handler` raised when it was called with `argument`.

        Args:
            argument: the Event, or what else it was called with, such as a StatusChange.
        """
        if isinstance(error, (KeyboardInterrupt, SystemExit)) and self._on_interrupt is not None:
            self._on_interrupt(error)
            return
        if isinstance(argument, Event):
            name = argument.name
            on = f"{name} {argument.sequence} of shard {argument.shard_id}"
        else:
            name = on = type(argument).__name__
        self.counts[name] += 1
        log.error("handler %s failed on %s", name_of(handler), on, exc_info=error)
