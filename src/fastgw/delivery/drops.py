"""Events that a policy dropped: counted by who lost them, and warned of now and then."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from ..log import careful_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Drops"]

log = careful_logger("fastgw.handlers")

# Seconds between two warnings about one party.
WARNED_S = 60.0


class Drops:
    """
    What policies dropped, of one gateway.

    Attributes:
        counts: handler or iterator, by its name in logs -> how many events it lost.
        by_event: event name -> how many were lost, once for each who lost them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self.by_event: Counter[str] = Counter()
        self._clock = clock
        self._warned_at: dict[str, float] = {}

    def count(self, name: str, event_name: str | None) -> None:
        """
        Count one that `name` lost; the first is told, then a number once a minute.

        Args:
            event_name: None for what is no event, such as a failure of a handler.
        """
        self.counts[name] += 1
        if event_name is not None:
            self.by_event[event_name] += 1
        now = self._clock()
        if now - self._warned_at.get(name, -WARNED_S) >= WARNED_S:
            self._warned_at[name] = now
            log.warning("%s cannot keep up: %d events were dropped", name, self.counts[name])
