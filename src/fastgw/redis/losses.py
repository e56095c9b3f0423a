"""What a publisher counts of events that groups lost to its bounds, and how it is now."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..health.streams import PublisherHealth

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .lag import LagWatch

__all__ = ["Losses", "health_of"]


class Losses:
    """
    Events that groups lost, by group. Of a batch whose answer was lost nothing is known.

    Attributes:
        full: because the group held all that it may.
        too_big: because of their own size.
    """

    def __init__(self) -> None:
        self.full: Counter[str] = Counter()
        self.too_big: Counter[str] = Counter()

    def of_full(self, groups: list[str], counts: list[int]) -> None:
        """Groups lost so many, each."""
        for group, count in zip(groups, counts, strict=False):  # a group may be new since
            if count:
                self.full[group] += count

    def of_one(self, groups: list[str], mask: int) -> None:
        """One event was too big for the groups of a mask."""
        self.too_big.update(group for bit, group in enumerate(groups) if mask >> bit & 1)


def health_of(
    runs: Mapping[int, Collection[Any]], answered_at: float | None, lags: LagWatch
) -> PublisherHealth:
    """Return how a publisher is whose loop may be at work: copies are made in one step."""
    now = time.monotonic()
    waiting = [
        delivery
        for of_shard in list(runs.values())
        for run in list(of_shard)
        for _, _, delivery in list(run.waiting)
    ]
    return PublisherHealth(
        waiting=len(waiting),
        waiting_bytes=sum(delivery.size for delivery in waiting),
        answer_age_s=None if answered_at is None else now - answered_at,
        groups=lags.groups,
        groups_age_s=None if lags.seen_at is None else now - lags.seen_at,
    )
