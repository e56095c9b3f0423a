"""
Figures: what a shard has been through, and how it is now.

A figure that is not known is None, never an old value that looks new: ages stand beside values, and
a latency that is too old to mean anything is unknown. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..protocol.states import State

if TYPE_CHECKING:
    from .._decode import Decoder
    from ..errors import FatalError
    from ..protocol.machine import GatewayProtocol

__all__ = ["GatewayHealth", "ShardCounters", "ShardHealth", "shard_health"]


class ShardCounters:
    """What happened to one shard since it was made; written by the shard alone."""

    def __init__(self) -> None:
        self.connections = 0  # attempts
        self.identifies = 0
        self.resumes_won = 0
        self.resumes_lost = 0
        self.sessions_lost = 0
        self.reconnects: Counter[str] = Counter()  # by cause
        self.close_codes: Counter[int] = Counter()  # received
        self.last_error: BaseException | None = None
        self.session_at: float | None = None  # READY of the current session
        # Of connections that have ended:
        self.messages = 0
        self.dispatches = 0
        self.delivered = 0
        self.bytes_received = 0
        self.bytes_decoded = 0
        # Seen by `look`, across connections:
        self.last_byte_at: float | None = None
        self.last_dispatch_at: float | None = None
        self.last_ack_at: float | None = None
        self._looked_at = 0.0
        self._bytes = 0
        self._dispatches = 0

    def connection_began(self) -> None:
        """Count an attempt; what is seen next is compared with nothing."""
        self.connections += 1
        self._bytes = self._dispatches = 0

    def connection_ended(self, decoder: Decoder) -> None:
        """Add what a connection's decoder counted."""
        self.messages += decoder.messages
        self.dispatches += decoder.dispatches
        self.delivered += decoder.delivered
        self.bytes_received += decoder.bytes_received
        self.bytes_decoded += decoder.bytes_decoded

    def look(
        self, now: float, decoder: Decoder, bytes_received: int, last_ack_at: float | None
    ) -> None:
        """
        Note what moved since the last look; called about once a second.

        So the hot path keeps no time of its own beyond the decoder's one clock read per socket
        read. Bytes of frames still incomplete count as arrived now, not when they did.
        """
        read_at = decoder.received_at
        if bytes_received != self._bytes:
            self._bytes = bytes_received
            self.last_byte_at = read_at if read_at > self._looked_at else now
        if decoder.dispatches != self._dispatches:
            self._dispatches = decoder.dispatches
            self.last_dispatch_at = read_at
        if last_ack_at is not None:
            self.last_ack_at = last_ack_at
        self._looked_at = now


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
        gaps, missing: how often a sequence left some out, and how many in all.
        commands_waiting: commands of users that are not sent yet.
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


def shard_health(
    now: float,
    protocol: GatewayProtocol,
    counters: ShardCounters,
    decoder: Decoder | None,
    commands_waiting: int,
) -> ShardHealth:
    """Put one shard's figures together; decoder is the current connection's, if there is one."""

    def age(at: float | None) -> float | None:
        return None if at is None else max(0.0, now - at)

    heartbeat, sequence = protocol.heartbeat, protocol.sequence
    latency_s = None if heartbeat is None else heartbeat.latency_if_fresh(now)
    return ShardHealth(
        shard_id=protocol.identity.shard_id,
        status=protocol.state,
        last_byte_age_s=age(counters.last_byte_at),
        last_ack_age_s=age(counters.last_ack_at),
        last_dispatch_age_s=age(counters.last_dispatch_at),
        latency_s=latency_s,
        latency_age_s=None if latency_s is None else age(protocol.latency_at),
        ready_for_s=age(protocol.ready_at),
        session_for_s=age(counters.session_at),
        connections=counters.connections,
        identifies=counters.identifies,
        resumes_won=counters.resumes_won,
        resumes_lost=counters.resumes_lost,
        sessions_lost=counters.sessions_lost,
        reconnects=dict(counters.reconnects),
        close_codes=dict(counters.close_codes),
        events_replayed=protocol.replayed,
        duplicates=protocol.duplicates,
        gaps=sequence.gaps,
        missing=sequence.missing,
        commands_waiting=commands_waiting,
        messages=counters.messages + (decoder.messages if decoder else 0),
        dispatches=counters.dispatches + (decoder.dispatches if decoder else 0),
        delivered=counters.delivered + (decoder.delivered if decoder else 0),
        bytes_received=counters.bytes_received + (decoder.bytes_received if decoder else 0),
        bytes_decoded=counters.bytes_decoded + (decoder.bytes_decoded if decoder else 0),
        last_error=counters.last_error,
    )


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
        handler_failures: event name -> how often a handler of it raised.
        events: event name -> (seen, delivered, bytes), dropped ones included.
        refusal: the fatal error that forbids new identifies, None while they are allowed.
    """

    shards: tuple[ShardHealth, ...]
    loop_lag_s: float
    loop_lag_worst_s: float
    loop_blocked: int
    handlers_running: int
    handler_failures: dict[str, int]
    events: dict[str, tuple[int, int, int]]
    refusal: FatalError | None

    @property
    def ready(self) -> int:
        """How many shards are READY now."""
        return sum(shard.is_ready for shard in self.shards)

    @property
    def is_ready(self) -> bool:
        """Whether there are shards and every one is READY now."""
        return bool(self.shards) and self.ready == len(self.shards)
