"""
Who holds the handled mark back: with `acknowledge="handled"` one event that is never finished keeps
the store from moving on, and after a crash everything since would come again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..log import careful_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ledger import Ledgers

__all__ = ["Overdue"]

log = careful_logger("fastgw.handlers")

# How long an event may take before it is named, and how often we look.
OVERDUE_S = 60.0
LOOK_S = 10.0


class Overdue:
    """
    Names handlers and iterators that have not finished an event for long, once each time.

    Args:
        ledgers: where their deliveries stand.
        clock: monotonic seconds, as `received_at`.
    """

    def __init__(self, ledgers: Ledgers, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledgers = ledgers
        self._clock = clock
        self._looked_at = clock()
        self._named: set[str] = set()

    def tick(self) -> None:
        """Look, when it is time; called about once a second. Costs O(open deliveries)."""
        now = self._clock()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        oldest: dict[str, tuple[float, str]] = {}
        for ledger in self._ledgers:
            for delivery in ledger.deliveries:
                since = delivery.origin.received_at
                if delivery.sequence >= 0 and now - since >= OVERDUE_S:
                    on = f"{delivery.sequence} of shard {ledger.shard_id}"
                    name = delivery.holder.name
                    oldest[name] = min(oldest.get(name, (since, on)), (since, on))
        for name, (since, on) in oldest.items():
            if name not in self._named:
                log.warning(
                    "%s has not finished event %s for %.0f s: until it does, a crash brings back "
                    "every event since",
                    name, on, now - since,
                )  # fmt: skip
        self._named = set(oldest)
