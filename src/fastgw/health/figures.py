"""
Figures: how a shard and a gateway are now. What was counted since the start stands in `counts`.

A figure that is not known is None, never an old value that looks new: ages stand beside values, and
a latency that is too old to mean anything is unknown. Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..protocol.states import State

if TYPE_CHECKING:
    from ..errors import FatalError
    from .streams import PublisherHealth

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
        away_for_s: since it was READY last, None while it is and before it was for the first time.
        heartbeat_interval_s: as the service asked for on this connection, None without one.
        commands_waiting: commands of users that are not sent yet.
        send_room: how many would be written at once: what waits, or is ours, is taken off.
        buffer_bytes: what its connection keeps for reading, to the second, and for joining
            fragments.
        reading_paused_by: why the shard does not read now, or will not as soon as it is READY.
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
    away_for_s: float | None
    heartbeat_interval_s: float | None
    commands_waiting: int
    send_room: int
    buffer_bytes: int
    reading_paused_by: tuple[str, ...]
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
        seen_at: when this was so, in seconds of that clock. Where processes share identifies, one
            knows of the others' as of its own last turn.
    """

    total: int
    remaining: int
    reserve: int
    free_at: float | None
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHealth:
    """
    A whole gateway at one moment.

    Attributes:
        shards: one entry a shard, by id.
        loop_lag_s: by how much the event loop was late at its last tick.
        loop_lag_worst_s: the worst of the last minute.
        loop_silent_for_s: by how much its next tick is late already; it grows while a handler
            blocks the loop, and then other threads alone can see it.
        handlers_running: async handlers that have begun and not ended.
        handlers_waiting: events that wait for an async handler, because too many run already.
        kept_bytes: what the frames hold that wait for the next turn of the event loop.
        unhandled: how many events async handlers and iterators have not finished.
        unhandled_bytes: what events hold that async handlers and iterators have not finished.
        reading_held_by: handler or iterator -> for how many seconds it has kept shards from
            reading, because what it has not finished is above the marks.
        refusal: the fatal error that forbids new identifies, None while they are allowed.
        identify_budget: what is left of the day's identifies, in monotonic seconds; None before it
            is known.
        publisher: how the one of `publish=` is; None without one.
    """

    shards: tuple[ShardHealth, ...]
    loop_lag_s: float
    loop_lag_worst_s: float
    loop_silent_for_s: float
    handlers_running: int
    handlers_waiting: int
    kept_bytes: int
    unhandled: int
    unhandled_bytes: int
    reading_held_by: dict[str, float]
    refusal: FatalError | None
    identify_budget: IdentifyBudget | None
    publisher: PublisherHealth | None

    @property
    def ready(self) -> int:
        """How many shards are READY now."""
        return sum(shard.is_ready for shard in self.shards)

    @property
    def is_ready(self) -> bool:
        """Whether there are shards and every one is READY now."""
        return bool(self.shards) and self.ready == len(self.shards)
