"""
Figures: what a shard has been through, and how it is now.

A figure that is not known is None, never an old value that looks new: ages stand beside values, and
a latency that is too old to mean anything is unknown. Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..protocol.states import State

if TYPE_CHECKING:
    from ..errors import FatalError

__all__ = ["GatewayHealth", "IdentifyBudget", "ShardHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardHealth:
    """
    One shard at one moment. Ages are seconds; None means never, or unknown.

    Attributes:
        shard_id: whose.
        status: the state of its connection.
        last_byte_age_s: since anything arrived, to the second.
        last_ack_age_s: since a heartbeat was acknowledged.
        last_dispatch_age_s: since an event arrived, to the second; grows on a deaf connection.
        latency_s: round trip of the last heartbeat, None when older than two intervals.
        latency_age_s: how long ago it was measured.
        ready_for_s: since READY or RESUMED on this connection, None while it is not ready.
        session_for_s: since READY of this session, None without one.
        connections: attempts to connect.
        identifies: IDENTIFY commands written; each costs one of the day's budget.
        resumes_won, resumes_lost: attempts to resume that reached RESUMED, and that did not.
        sessions_lost: sessions that could not be resumed any more.
        reconnects: ends of connections, by cause.
        close_codes: codes received from the service, and how often.
        events_replayed: dispatches replayed after a resume and new to us.
        duplicates: dispatches dropped in a replay because we had them.
        gaps, missing: runs of sequences that were left out and did not come late either, and how
            many these are in all.
        commands_waiting: commands of users that are not sent yet.
        reading_paused_by: why the shard does not read now, or will not as soon as it is READY.
        messages, dispatches, delivered: whole messages, events among them, events handed out.
        bytes_received, bytes_decoded: before and after decompression.
        last_error: why the last connection or attempt failed; None once it is READY again.
    """

    shard_id: int
    status: State
    last_byte_age_s: float | None
    last_ack_age_s: float | None
    last_dispatch_age_s: float | None
    latency_s: float | None
    latency_age_s: float | None
    ready_for_s: float | None
    session_for_s: float | None
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
    commands_waiting: int
    reading_paused_by: tuple[str, ...]
    messages: int
    dispatches: int
    delivered: int
    bytes_received: int
    bytes_decoded: int
    last_error: BaseException | None

    @property
    def is_ready(self) -> bool:
        """Whether the shard receives events now, as far as anybody can know."""
        return self.status is State.READY


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifyBudget:
    """
    What is left of the day's identifies at one moment.

    Attributes:
        total: identifies a day.
        remaining: of these, still free, by the last answer of the API and our own count since.
        reserve: nothing identifies when this many are left.
        free_at: when identifies go on, in seconds of the clock asked; None while they are allowed.
    """

    total: int
    remaining: int
    reserve: int
    free_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHealth:
    """
    A whole gateway at one moment.

    Attributes:
        shards: one entry a shard, by id.
        loop_lag_s: by how much the event loop was late at its last tick.
        loop_lag_worst_s: the worst of the last minute.
        loop_blocked: how often the loop stood still long enough to endanger a heartbeat.
        handlers_running: async handlers that have begun and not ended.
        handlers_waiting: events that wait for an async handler, because too many run already.
        turns_cut: how often events had to wait for the next turn of the event loop, because those
            of this turn had taken their 10 ms.
        kept_bytes: what the frames hold that wait for it now.
        relieved: connections that were replaced because of a large read buffer.
        unhandled_bytes: what events hold that async handlers and iterators have not finished.
        reading_held_by: handler or iterator -> for how many seconds it has kept shards from
            reading, because what it has not finished is above the marks.
        handler_failures: event name -> how often a handler of it raised.
        events_dropped: handler -> how many events its policy dropped.
        events: event name -> (seen, delivered, bytes), dropped ones included.
        events_filtered: event name -> how many nobody was called for, because every filter of it
            (`where=`, `guilds=`) rejected them; they are not among the delivered.
        refusal: the fatal error that forbids new identifies, None while they are allowed.
        identify_budget: what is left of the day's identifies, in monotonic seconds; None before it
            is known.
    """

    shards: tuple[ShardHealth, ...]
    loop_lag_s: float
    loop_lag_worst_s: float
    loop_blocked: int
    handlers_running: int
    handlers_waiting: int
    turns_cut: int
    kept_bytes: int
    relieved: int
    unhandled_bytes: int
    reading_held_by: dict[str, float]
    handler_failures: dict[str, int]
    events_dropped: dict[str, int]
    events: dict[str, tuple[int, int, int]]
    events_filtered: dict[str, int]
    refusal: FatalError | None
    identify_budget: IdentifyBudget | None

    @property
    def ready(self) -> int:
        """How many shards are READY now."""
        return sum(shard.is_ready for shard in self.shards)

    @property
    def is_ready(self) -> bool:
        """Whether there are shards and every one is READY now."""
        return bool(self.shards) and self.ready == len(self.shards)
