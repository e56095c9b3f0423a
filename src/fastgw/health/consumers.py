"""
How a consumer of events from Redis fares: what is so now, and what was counted.

Nothing stands in both. Sizes are bytes, ages and durations seconds. `fastgw.redis` fills these in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .counts import EventStats, LatencyStats
    from .streams import GroupLag

__all__ = ["ConsumerHealth", "ConsumerStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerHealth:
    """
    A consumer at one moment.

    Attributes:
        group: whose.
        shard_ids: the shards whose mailboxes are leased here.
        share: of how many it should have them, as it was told last.
        lease_age_s: since its leases were renewed; None before the first time.
        answer_age_s: since Redis answered; None before it did.
        is_published: whether a gateway with a `Publisher` was there, as it was seen last: with each
            renewal; None before the first.
        lag: how far the group is behind on these shards, as it was seen last: with each renewal.
        backlog: entries that were read and that no handler has got yet.
        handlers_running, handlers_waiting, unhandled, unhandled_bytes, reading_held_by: as those of
            `GatewayHealth`.
        loop_lag_s, loop_lag_worst_s, loop_silent_for_s: the same.
    """

    group: str
    shard_ids: tuple[int, ...]
    share: int
    lease_age_s: float | None
    answer_age_s: float | None
    is_published: bool | None
    lag: GroupLag
    backlog: int
    handlers_running: int
    handlers_waiting: int
    unhandled: int
    unhandled_bytes: int
    reading_held_by: dict[str, float]
    loop_lag_s: float
    loop_lag_worst_s: float
    loop_silent_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStats:
    """
    What a consumer counted since it was made.

    Attributes:
        taken: events that were handed out.
        handled: of these, that are handled and removed.
        redelivered: of these, that had been handed out before, here or by the consumer that had the
            mailbox: at least so many, as one that dies cannot say what it did last.
        session_resets: sessions that began anew.
        lost: events that full mailboxes dropped, as `LOST` told.
        mailboxes_taken: how often a mailbox was leased.
        mailboxes_lost: how often one was another's, or might be, before it was given back.
        events: by name, as those of `GatewayStats`.
        latency: where the time went; nothing is measured of the network.
        loop_blocked: how often the event loop stood still for 2.5 s.
        handler_failures: event name -> how often a handler of it raised.
        events_dropped: handler or iterator -> how many events its policy dropped.
    """

    taken: int
    handled: int
    redelivered: int
    session_resets: int
    lost: int
    mailboxes_taken: int
    mailboxes_lost: int
    events: dict[str, EventStats]
    latency: LatencyStats
    loop_blocked: int
    handler_failures: dict[str, int]
    events_dropped: dict[str, int]
