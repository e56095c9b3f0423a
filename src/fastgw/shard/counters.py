"""What one shard counts, and how its figures are put together from that."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..protocol.signals import Cause, Ended, Ready, Resumed, SessionEnded, StateChanged
from ..protocol.states import State

if TYPE_CHECKING:
    from .._decode import Decoder
    from ..durations import Durations
    from ..health.counts import ShardStats
    from ..health.figures import ShardHealth
    from ..protocol.heartbeat import Heartbeat
    from ..protocol.machine import GatewayProtocol
    from ..protocol.signals import Signal
    from .commands import CommandQueue

__all__ = ["ShardCounters", "shard_health", "shard_stats"]


class ShardCounters:
    """
    What happened to one shard since it was made; written by the shard alone.

    Args:
        round_trips: where those of its heartbeats are counted.
    """

    def __init__(self, round_trips: Durations) -> None:
        self._round_trips = round_trips
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
        self.decompression_s = 0.0
        self.decode_s = 0.0
        self.heartbeats = 0
        self.heartbeat_s = 0.0
        self.away_at: float | None = None  # since when it has not been READY, if it ever was
        # Seen by `look`, across connections:
        self.last_byte_at: float | None = None
        self.last_dispatch_at: float | None = None
        self.last_ack_at: float | None = None
        self._is_resume = False  # what the current connection, or the last one, was for
        self._looked_at = 0.0
        self._latency_at: float | None = None
        self._bytes = 0
        self._dispatches = 0

    def note(self, signal: Signal, now: float) -> None:
        """Count what the protocol reports."""
        match signal:
            case StateChanged(new=State.READY):
                self.last_error = self.away_at = None
            case StateChanged(old=State.READY):
                self.away_at = now
            case Ready():
                self.session_at = now
            case Resumed():
                self.resumes_won += 1
            case SessionEnded(cause=cause):
                self.session_at = None
                self.sessions_lost += cause is not Cause.STOPPED
            case Ended(outcome=outcome) if outcome.cause is not Cause.STOPPED:
                self.reconnects[outcome.cause.value] += 1
                self.resumes_lost += self._is_resume and outcome.ready_for_s is None

    def connection_began(self, *, resume: bool) -> None:
        """Count an attempt; what is seen next is compared with nothing."""
        self.connections += 1
        self._is_resume = resume
        self._bytes = self._dispatches = 0

    def connection_ended(self, decoder: Decoder) -> None:
        """Add what a connection's decoder counted."""
        self.messages += decoder.messages
        self.dispatches += decoder.dispatches
        self.delivered += decoder.delivered
        self.bytes_received += decoder.bytes_received
        self.bytes_decoded += decoder.bytes_decoded
        self.decompression_s += decoder.decompression_s
        self.decode_s += decoder.decode_s

    def look(
        self, now: float, decoder: Decoder, bytes_received: int, heartbeat: Heartbeat | None
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
        if heartbeat is not None and heartbeat.last_ack_at is not None:
            self.last_ack_at = heartbeat.last_ack_at
        if heartbeat is not None and heartbeat.latency_at not in (None, self._latency_at):
            self._latency_at = heartbeat.latency_at
            self.heartbeats += 1
            self.heartbeat_s += heartbeat.latency or 0.0
            self._round_trips.add(heartbeat.latency or 0.0)
        self._looked_at = now


def shard_health(
    now: float,
    protocol: GatewayProtocol,
    counters: ShardCounters,
    queue: CommandQueue,
    buffer_bytes: int,
    reading_paused_by: tuple[str, ...],
) -> ShardHealth:
    """Put together how one shard is."""
    from ..health.figures import ShardHealth  # the classes of all figures cost 7 ms to make

    def age(at: float | None) -> float | None:
        return None if at is None else max(0.0, now - at)

    heartbeat = protocol.heartbeat
    latency_s = latency_at = None
    if heartbeat is not None and (latency_s := heartbeat.latency_if_fresh(now)) is not None:
        latency_at = heartbeat.latency_at
    return ShardHealth(
        shard_id=protocol.identity.shard_id,
        status=protocol.state,
        last_byte_age_s=age(counters.last_byte_at),
        last_ack_age_s=age(counters.last_ack_at),
        last_dispatch_age_s=age(counters.last_dispatch_at),
        latency_s=latency_s,
        latency_age_s=age(latency_at),
        ready_for_s=age(protocol.ready_at),
        session_for_s=age(counters.session_at),
        away_for_s=age(counters.away_at),
        heartbeat_interval_s=None if heartbeat is None else heartbeat.interval_s,
        commands_waiting=len(queue),
        send_room=queue.room(now),
        buffer_bytes=buffer_bytes,
        reading_paused_by=reading_paused_by,
        last_error=counters.last_error,
    )


def shard_stats(
    protocol: GatewayProtocol, counters: ShardCounters, queue: CommandQueue, decoder: Decoder | None
) -> ShardStats:
    """Put together what one shard counted; decoder is the current connection's, if there is one."""
    from ..health.counts import ShardStats

    sequence = protocol.sequence
    return ShardStats(
        shard_id=protocol.identity.shard_id,
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
        messages=counters.messages + (decoder.messages if decoder else 0),
        dispatches=counters.dispatches + (decoder.dispatches if decoder else 0),
        delivered=counters.delivered + (decoder.delivered if decoder else 0),
        bytes_received=counters.bytes_received + (decoder.bytes_received if decoder else 0),
        bytes_decoded=counters.bytes_decoded + (decoder.bytes_decoded if decoder else 0),
        commands_sent=queue.written,
        bytes_sent=queue.written_bytes,
        heartbeats=counters.heartbeats,
        heartbeat_s=counters.heartbeat_s,
        decompression_s=counters.decompression_s + (decoder.decompression_s if decoder else 0.0),
        decode_s=counters.decode_s + (decoder.decode_s if decoder else 0.0),
    )
