"""
Who does not come back: one warning for a whole gateway, not one for each attempt of each shard.

With Python's own logging a program sees warnings alone, and a shard that fails and tries again for
ever says nothing but INFO. So shards that fail again and again are counted here, and told of in one
line with a reason, again rarely, and once when they are back. One reconnect is nothing to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..log import careful_logger
from ..protocol.states import State
from ..protocol.token import redact
from ..quoting import counted, few, span
from ..shard.reconnect import STABLE_S

if TYPE_CHECKING:
    from ..shard.face import StatusChange

__all__ = ["Outages"]

log = careful_logger("fastgw.gateway")

# The first attempt may meet a bad moment and the second a host that restarts.
FAILURES = 3
# A session that could be resumed is gone after 300 s; whoever is to act must hear of it in time,
# also where each attempt hangs until its deadline.
LONG_S = 60.0
# Between two lines, unless the number of shards has doubled; then no sooner than LONG_S.
AGAIN_S = 600.0


class _Outage:
    """One shard from the loss of its connection until it has been READY for a while."""

    __slots__ = ("began_at", "failures", "ready_at", "reason")

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.failures = 0
        self.reason = ""
        self.ready_at: float | None = None  # None while it is not READY

    def is_told(self, now: float) -> bool:
        """Tell whether it is more than one bad moment."""
        return self.failures >= FAILURES or now - self.began_at >= LONG_S

    def is_over(self, now: float) -> bool:
        """Tell whether it has been READY for a while: one that is closed again at once is not."""
        return self.ready_at is not None and now - self.ready_at >= STABLE_S


class Outages:
    """
    The shards of one gateway that lost their connection, or never had one.

    A READY that does not hold is no end of it: a shard that comes up only to be closed again fails
    as well.

    Args:
        token: what must not appear in the log, whatever error is told of there.
    """

    __slots__ = (
        "_has_return",
        "_outages",
        "_said_at",
        "_said_of",
        "_since",
        "_token",
        "_told",
        "_worst",
    )

    def __init__(self, token: str) -> None:
        self._token = token
        self._outages: dict[int, _Outage] = {}
        self._told: dict[int, _Outage] = {}  # those of them that are no passing moment
        # Of what was said last, and is not taken back yet:
        self._said_at: float | None = None  # None while there is nothing
        self._said_of = 0  # how many shards it was about
        self._since = 0.0
        self._worst = 0  # failures in a row of one shard
        self._has_return = False  # one of those told of came back, and did not merely stop

    def note(self, change: StatusChange, now: float) -> None:
        """Take a transition of a shard at `now`, in monotonic seconds."""
        shard_id = change.shard.id
        if change.new is State.STOPPED:
            self.forget(shard_id)
        elif change.new is State.READY:
            if (outage := self._outages.get(shard_id)) is not None:
                outage.ready_at = now
        elif change.new is State.DISCONNECTED:
            self._take_back(shard_id, now)
            outage = self._outages.setdefault(shard_id, _Outage(now))
            outage.ready_at = None
            outage.failures += 1
            outage.reason = self._reason_of(change)

    def forget(self, shard_id: int) -> None:
        """Count a shard no more: it has stopped, which is told elsewhere or was asked for."""
        self._outages.pop(shard_id, None)
        self._told.pop(shard_id, None)

    def tick(self, now: float, shards: int) -> None:
        """
        Say what there is to say; call once a second.

        Args:
            shards: how many the gateway has.
        """
        for shard_id in list(self._outages):
            self._take_back(shard_id, now)
        self._told.update((i, o) for i, o in self._outages.items() if o.is_told(now))
        if not self._told:
            if self._has_return:
                self._say_back(now, shards)
            self._said_at, self._said_of, self._worst, self._has_return = None, 0, 0, False
            return
        self._worst = max(self._worst, *(outage.failures for outage in self._told.values()))
        if self._is_due(now):
            self._say(now, shards)

    def _take_back(self, shard_id: int, now: float) -> None:
        """End the outage of a shard that has been READY for a while."""
        outage = self._outages.get(shard_id)
        if outage is not None and outage.is_over(now):
            del self._outages[shard_id]
            self._has_return |= self._told.pop(shard_id, None) is not None

    def _is_due(self, now: float) -> bool:
        if self._said_at is None:
            return True
        waited_s = now - self._said_at
        return waited_s >= AGAIN_S or (waited_s >= LONG_S and len(self._told) >= 2 * self._said_of)

    def _say(self, now: float, shards: int) -> None:
        began_at = min(outage.began_at for outage in self._told.values())
        self._since = began_at if self._said_at is None else min(self._since, began_at)
        self._said_at, self._said_of = now, len(self._told)
        shard_id, worst = max(self._told.items(), key=lambda item: item[1].failures)
        if shards == 1:
            who, it = f"shard {shard_id} has been away", "it"
        else:
            it = f"shard {shard_id}"
            who = f"{len(self._told)} of {shards} shards are away ({few(self._told)})"
        log.warning(
            "%s for %s; %s failed %s in a row and goes on trying; the last time: %s",
            who, span(now - self._since), it, counted(worst.failures, "time"), worst.reason,
        )  # fmt: skip

    def _say_back(self, now: float, shards: int) -> None:
        log.warning(
            "%s back after %s and at most %s failed in a row",
            "the shard is" if shards == 1 else "the shards that were away are",
            span(now - self._since),
            counted(self._worst, "attempt"),
        )

    def _reason_of(self, change: StatusChange) -> str:
        if change.error is not None:
            return redact(str(change.error), self._token)
        return "unknown" if change.cause is None else change.cause.value
