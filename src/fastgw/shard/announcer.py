"""What is told of one shard: a log line and a `StatusChange` for each transition, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectionClosed
from ..log import careful_logger
from ..protocol.signals import Cause
from ..protocol.states import State
from ..protocol.token import redact
from ..words import Initiator
from .face import StatusChange

if TYPE_CHECKING:
    from ..protocol.signals import Outcome, Resumed, StateChanged
    from .face import Shard
    from .ports import ShardHost

__all__ = ["Announcer"]

log = careful_logger("fastgw.shard")

# Ends that are as they should be, and no reason to complain.
_WANTED = (Cause.STOPPED, Cause.RECONNECT_ASKED)


class Announcer:
    """
    Tells what becomes of one shard.

    Args:
        shard: whose.
        host: hears of each transition.
        token: what must not appear in the log, whatever error is told of there.
    Attributes:
        reason: why the last connection ended; None when it was asked for.
    """

    def __init__(self, shard: Shard, host: ShardHost, *, token: str) -> None:
        self._shard = shard
        self._host = host
        self._token = token
        self.reason: BaseException | None = None
        self._attempt = 0  # of those in a row that did not come to READY

    def changed(
        self,
        change: StateChanged,
        outcome: Outcome | None,
        *,
        stopped_by: BaseException | None,
        is_cold_resume: bool = False,
    ) -> None:
        """
        Tell of a transition.

        Args:
            outcome: of the connection that ended last.
            stopped_by: what stops the shard for good, where the connection itself did not.
            is_cold_resume: see `StatusChange`.
        """
        old, new = change.old, change.new
        if new not in (State.DISCONNECTED, State.STOPPED):
            outcome = None  # an older one
        self._attempt += new is State.CONNECTING
        why = "" if change.cause is None else f" ({self._explain(change.cause, outcome)})"
        log.info(
            "shard %d: %s -> %s%s",
            self._shard.id,
            old.value,
            new.value,
            why,
            extra={
                "shard_id": self._shard.id,
                "cause": None if change.cause is None else change.cause.value,
                "attempt": self._attempt or None,
            },
        )
        if new is State.READY:
            self._attempt = 0
        error = None
        if outcome is not None:
            error = self.reason = self._reason_of(outcome)
        if new is State.STOPPED:
            error = error or stopped_by
        self._host.status_changed(
            StatusChange(self._shard, old, new, change.cause, error, is_cold_resume)
        )

    def resumed(self, signal: Resumed) -> None:
        """Tell that a session goes on."""
        log.info(
            "shard %d: resumed, %d events replayed, %d dropped as duplicates",
            self._shard.id,
            signal.replayed,
            signal.duplicates,
            extra={"shard_id": self._shard.id},
        )

    def _explain(self, cause: Cause, outcome: Outcome | None) -> str:
        parts = [cause.value]
        if outcome is not None and outcome.initiator is Initiator.SERVICE:
            parts.append(f"code {outcome.close_code}")
        if outcome is not None and outcome.error is not None:
            said = redact(str(outcome.error), self._token)
        else:
            said = "" if outcome is None else outcome.reason
        if said not in ("", cause.value):
            parts.append(said)
        return ": ".join(parts)

    def _reason_of(self, outcome: Outcome) -> BaseException | None:
        """
        Return why a connection ended, as an error; None for an end that was asked for.

        Where nothing broke on our side it is a ConnectionClosed, which says what the service did.
        """
        if outcome.error is not None or outcome.cause in _WANTED:
            return outcome.error
        reason = outcome.reason
        parts = [f"shard {self._shard.id}: {outcome.cause.value}"]
        if outcome.initiator is Initiator.SERVICE:
            parts.append("no code" if outcome.close_code is None else f"code {outcome.close_code}")
        if reason not in ("", outcome.cause.value):
            parts.append(reason)
        return ConnectionClosed(
            ": ".join(parts),
            close_code=outcome.close_code,
            reason=reason,
            initiator=outcome.initiator,
            outcome=outcome.action,
        )
