"""What one shard counts, and how its figures are put together from that."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..protocol.signals import Cause, Ended, Ready, Resumed, SessionEnded, StateChanged
from ..protocol.states import State

if TYPE_CHECKING:
    from .._decode import Decoder
    from ..health.figures import ShardHealth
    from ..protocol.heartbeat import Heartbeat
    from ..protocol.machine import GatewayProtocol
    from ..protocol.signals import Signal

__all__ = ["ShardCounters", "shard_health"]


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
        self._is_resume = False  # what the current connection, or the last one, was for
        self._looked_at = 0.0
        self._bytes = 0
        self._dispatches = 0

    def note(self, signal: Signal, now: float) -> None:
        """Count what the protocol reports."""
        match signal:
            case StateChanged(new=State.READY):
                self.last_error = None
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
        self._looked_at = now


def shard_health(
    now: float,
    protocol: GatewayProtocol,
    counters: ShardCounters,
    decoder: Decoder | None,
    commands_waiting: int,
    reading_paused_by: tuple[str, ...],
) -> ShardHealth:
    """Put one shard's figures together; decoder is the current connection's, if there is one."""
    from ..health.figures import ShardHealth  # the classes of all figures cost 7 ms to make

    def age(at: float | None) -> float | None:
        return None if at is None else max(0.0, now - at)

    heartbeat, sequence = protocol.heartbeat, protocol.sequence
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
        reading_paused_by=reading_paused_by,
        messages=counters.messages + (decoder.messages if decoder else 0),
        dispatches=counters.dispatches + (decoder.dispatches if decoder else 0),
        delivered=counters.delivered + (decoder.delivered if decoder else 0),
        bytes_received=counters.bytes_received + (decoder.bytes_received if decoder else 0),
        bytes_decoded=counters.bytes_decoded + (decoder.bytes_decoded if decoder else 0),
        last_error=counters.last_error,
    )
