"""
Heartbeats of one connection: when the next is due, whether anyone answers, how long that takes.

Time comes in as `now`, monotonic seconds. Nothing is sent here; `GatewayProtocol` does that.

The zombie rule, judged when a beat is due and the one before has no ACK:
- no byte came since the one before: zombied;
- bytes came (the ACK may wait behind megabytes of a burst): zombied at the second such beat;
- reading is or was paused by ourselves meanwhile: not judged, the count starts anew.
Windows run from the moment a beat was written, so that a late timer never shortens one.
"""

from __future__ import annotations

__all__ = ["Heartbeat"]

ALLOWED_MISSES = 2  # intervals without ACK while bytes flow; JDA tolerates as many


class Heartbeat:
    """
    The heart of one connection; made at HELLO, thrown away with the connection.

    Attributes:
        interval_s: seconds between beats, from HELLO.
        next_at: when the next periodic beat is due.
        latency: seconds from the last answered beat to its ACK; None before the first ACK.
        latency_at: when that ACK came.
        last_ack_at: when any ACK came last; None before the first.
        sent, acked: how many, extra beats included.
    """

    __slots__ = (
        "_alive_mark", "_answered", "_excused", "_misses", "_paused", "_written",
        "acked", "interval_s", "last_ack_at", "latency", "latency_at", "next_at", "sent",
    )  # fmt: skip

    def __init__(self, interval_s: float, *, first_at: float, paused: bool) -> None:
        self.interval_s = interval_s
        self.next_at = first_at
        self.latency: float | None = None
        self.latency_at: float | None = None
        self.last_ack_at: float | None = None
        self.sent = 0
        self.acked = 0
        # When beats without ACK were written, oldest first; None: a pause of ours fell upon the way
        # and would count as the network's. A list: an empty deque has room for 64, 0.7 KB.
        self._written: list[float | None] = []
        self._answered = True  # an ACK came since the last periodic beat (or there was none)
        self._alive_mark = 0  # what `alive` stood at when the last periodic beat was written
        self._misses = 0
        self._paused = paused
        self._excused = paused

    def is_zombied(self, alive: int) -> bool:
        """
        Judge the last beat; call exactly once for each due beat, before `beat()`.

        Args:
            alive: any count that grows with every byte (or message) received.
        """
        if self._answered or self._excused:
            self._misses = 0
            return False
        self._misses += 1
        return alive == self._alive_mark or self._misses >= ALLOWED_MISSES

    def beat(self, now: float, alive: int) -> None:
        """Note that the periodic beat is written now; the next is due one interval later."""
        if self._answered:
            # Every beat before the last is answered or, if the service skipped one, forgotten:
            # otherwise each later latency would be an interval too long.
            self._written.clear()
        self.beat_extra(now)
        self.next_at = now + self.interval_s
        self._answered = False
        self._alive_mark = alive
        self._excused = self._paused

    def beat_extra(self, now: float) -> None:
        """Note a beat that is not periodic; the periodic ones do not move."""
        self._written.append(None if self._paused else now)
        self.sent += 1

    def ack(self, now: float) -> None:
        """Take an ACK. They come in order and carry nothing, so it answers the oldest beat."""
        self.acked += 1
        self.last_ack_at = now
        self._answered = True
        if not self._written:
            return
        written_at = self._written.pop(0)
        if written_at is not None:
            self.latency = now - written_at
            self.latency_at = now

    @property
    def is_measuring(self) -> bool:
        """Whether the ACK of a beat that is on its way will be latency."""
        return any(written_at is not None for written_at in self._written)

    def latency_if_fresh(self, now: float) -> float | None:
        """Return latency, or None when it is unknown or older than two intervals."""
        if self.latency_at is None or now - self.latency_at > 2 * self.interval_s:
            return None
        return self.latency

    def pause(self) -> None:
        """Note that we stopped reading: ACKs cannot arrive, so none is missed."""
        self._paused = self._excused = True
        self._written = [None] * len(self._written)

    def resume(self) -> None:
        """Note that we read again; judging starts with the next periodic beat."""
        self._paused = False
