"""
Counts: what happened since the start, and only ever grows.

What holds now stands in `figures`; nothing stands in both. Sizes are bytes, durations seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..durations import BOUNDS_S

if TYPE_CHECKING:
    from .streams import PublisherStats

__all__ = ["EventStats", "GatewayStats", "LatencyStats", "ShardStats", "Timing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStats:
    """
    What happened to one shard since it was made, or to all of them.

    Attributes:
        shard_id: whose; None for a sum of several.
        connections: attempts to connect.
        identifies: IDENTIFY commands written; each costs one of the day's budget.
        resumes_won, resumes_lost: attempts to resume that reached RESUMED, and that did not.
        sessions_lost: sessions that could not be resumed any more.
        reconnects: ends of connections, by cause.
        close_codes: codes received from the service, and how often.
        events_replayed: dispatches replayed after a resume and new to us.
        duplicates: dispatches dropped in a replay because we had them.
        gaps, missing: runs of sequences that were left out and did not come late either, and how
            many these are in all. These two fall again when something does come late.
        messages, dispatches, delivered: whole messages, events among them, events handed out.
        bytes_received, bytes_decoded: payloads of frames as they came, and after decompression.
        commands_sent, bytes_sent: what we wrote, heartbeats included; it is never compressed.
        heartbeats, heartbeat_s: those answered, and the sum of their round trips.
        decompression_s, decode_s: time for decompression, and for the rest up to the event without
            a parse of its data; reckoned from one message in 64.
    """

    shard_id: int | None
    connections: int
    identifies: int
    resumes_won: int
    resumes_lost: int
    sessions_lost: int
    reconnects: dict[str, int]
    close_codes: dict[int, int]
    events_replayed: int
    duplicates: int
    gaps: int
    missing: int
    messages: int
    dispatches: int
    delivered: int
    bytes_received: int
    bytes_decoded: int
    commands_sent: int
    bytes_sent: int
    heartbeats: int
    heartbeat_s: float
    decompression_s: float
    decode_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStats:
    """
    The dispatches of one name.

    Attributes:
        seen: that came.
        delivered: that somebody was called for.
        filtered: that nobody was called for, because every filter (`where=`, `guilds=`) rejected
            them; not among the delivered.
        dropped: that a policy dropped, once for each handler or iterator that lost them.
        bytes: of the messages seen, after decompression.
    """

    seen: int
    delivered: int
    filtered: int
    dropped: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Timing:
    """
    How long something took, of all times that were measured.

    Attributes:
        total_s: all of them together.
        buckets: how many took up to each of `bounds_s` and longer than the one before; the last:
            longer than all.
    """

    total_s: float
    buckets: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many times were measured."""
        return sum(self.buckets)

    @property
    def bounds_s(self) -> tuple[float, ...]:
        """The upper bounds of the buckets but the last, in seconds."""
        return BOUNDS_S

    @property
    def mean_s(self) -> float | None:
        """The mean; None before the first."""
        return self.total_s / self.count if self.count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyStats:
    """
    Where the time goes between Discord and the end of a handler. Each part is measured by itself.

    Attributes:
        network: round trips of heartbeats; each holds one wait for our own event loop.
        loop: how late the event loop ran, once a second: the wait of what arrives.
        delivery: from the read of a message to the call of its handlers: events before it in the
            same read, and turns of the loop that were over. Of one event in 64.
        queue: how long events waited because too many async handlers were running; of one in 64 of
            those that wait, or whose handler does.
        handler: how long the call of an event's handlers held the loop, of one event in 64; and of
            one async handler in 64 that did not end at once, and of an iterator's event, how long
            it took until it was finished.
    """

    network: Timing
    loop: Timing
    delivery: Timing
    queue: Timing
    handler: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStats:
    """
    What happened to a whole gateway since it was made.

    Attributes:
        shards: one entry a shard that runs here, by id.
        events: what came, by event name, that nobody wanted included; at most 2048 names.
        latency: where the time went.
        loop_blocked: how often the event loop stood still for 2.5 s.
        turns_cut: how often events had to wait for the next turn of the event loop, because those
            of this turn had taken their 10 ms.
        relieved: connections that were replaced because of a large read buffer.
        handler_failures: event name -> how often a handler of it raised.
        events_dropped: handler or iterator -> how many events its policy dropped.
        publisher: what the one of `publish=` counted; None without one.
    """

    shards: tuple[ShardStats, ...]
    events: dict[str, EventStats]
    latency: LatencyStats
    loop_blocked: int
    turns_cut: int
    relieved: int
    handler_failures: dict[str, int]
    events_dropped: dict[str, int]
    publisher: PublisherStats | None

    @property
    def total(self) -> ShardStats:
        """The sum over all shards that run here."""
        return sum_shards(self.shards)


def sum_shards(shards: Iterable[ShardStats]) -> ShardStats:
    """Add shards up."""
    shards, sums = tuple(shards), dict[str, Any]()
    for field in fields(ShardStats):
        values: list[Any] = [getattr(shard, field.name) for shard in shards]
        if field.name in ("reconnects", "close_codes"):
            sums[field.name] = dict(sum((Counter(value) for value in values), Counter()))
        elif field.name != "shard_id":
            sums[field.name] = sum(values)
    return ShardStats(shard_id=None, **sums)
