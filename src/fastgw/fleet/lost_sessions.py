"""
Who lost a session, and from when on events are gone: one warning for all shards of a gateway.

With Python's own logging a program sees warnings alone. An outage that ends in new sessions looks
there like one that lost nothing, and a session that the service ends out of the blue is no outage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..log import careful_logger
from ..protocol.signals import Cause
from ..quoting import counted, few, span

if TYPE_CHECKING:
    from ..protocol.signals import SessionEnded

__all__ = ["LostSessions"]

log = careful_logger("fastgw.gateway")

# A resume host that restarts refuses the sessions of many shards within seconds.
GATHER_S = 5.0
# Between two lines; what is lost meanwhile stands together in the next.
AGAIN_S = 60.0


class LostSessions:
    """The shards of one gateway whose sessions ended otherwise than by its own wish."""

    __slots__ = ("_began_at", "_count", "_lost", "_said_at")

    def __init__(self) -> None:
        self._lost: dict[int, SessionEnded] = {}  # not told yet; the first of each shard
        self._count = 0  # of sessions: a shard may lose several
        self._began_at = 0.0  # the first of them
        self._said_at: float | None = None

    def note(self, shard_id: int, end: SessionEnded | None, now: float) -> None:
        """Take the end of a session; see `ShardHost.session_ended`."""
        if end is None or end.cause is Cause.STOPPED or end.sequence is None:
            return  # no loss, or it was asked for, or there was no event at all
        if not self._lost:
            self._began_at = now
        self._lost.setdefault(shard_id, end)
        self._count += 1

    def tick(self, now: float, shards: int) -> None:
        """
        Say what there is to say; call once a second.

        Args:
            shards: how many the gateway has.
        """
        if not self._lost:
            return
        if shards > 1 and now - self._began_at < GATHER_S:
            return
        if self._said_at is None or now - self._said_at >= AGAIN_S:
            self.tell(now)

    def tell(self, now: float) -> None:
        """Say what is not told yet, also sooner than its time: at the end."""
        if not self._lost:
            return
        shard_id, end = next(iter(self._lost.items()))
        heard = [one.last_byte_at for one in self._lost.values() if one.last_byte_at is not None]
        since = f"from {span(now - min(heard))} ago on" if heard else "since it was heard last"
        facts: dict[str, object] = {"cause": end.cause.value}
        if len(self._lost) == 1:
            facts["shard_id"] = shard_id
            what = "its session" if self._count == 1 else counted(self._count, "session")
            who = f"shard {shard_id} lost {what} ({end.cause.value})"
            since += f", after sequence {end.sequence}, until its next READY"
        else:
            who = (
                f"{len(self._lost)} shards lost their sessions "
                f"({few(self._lost)}; the first: {end.cause.value})"
            )
            since += ", until the next READY of each,"
        log.warning("%s: events %s are gone", who, since, extra=facts)
        self._lost, self._count, self._said_at = {}, 0, now
