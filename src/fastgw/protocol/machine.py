"""
The frame of the state machine: what it holds, how it moves, and the one way down.

`GatewayProtocol` builds on `Machine` and adds what messages and time mean; see there for the whole
theory. Here: outputs wait to be pulled, every move goes through the table, and a connection ends in
`_end()`, whoever began it:

- we begin (`_leave`): CLOSING, CLOSE frame, after `close_s` an abort, after `tls_shutdown_s` more
  the connection is given up even if nobody ever says that it is gone;
- others begin (`lost`): the table of close codes judges.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from .._decode import Sequence
from ..errors import ProtocolError, UsageError
from .heartbeat import Heartbeat
from .identity import Identity
from .session import Plan, Session, SessionKeeper
from .signals import Cause, Closed, CloseWanted, Outcome, SessionDropped, Signal, StateChanged
from .states import CONNECTED, TRANSITIONS, State, Trigger
from .wire import (
    FINAL_CLOSE_CODE,
    RESUMABLE_CLOSE_CODE,
    Action,
    Initiator,
    fatal_error,
    rule_for,
)

__all__ = ["Machine", "Timeouts"]

_SEVERITY = {Action.RESUME: 0, Action.IDENTIFY: 1, Action.STOP: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    Seconds each phase of a connection may take.

    Attributes:
        open_s: DNS, TCP, TLS and upgrade together; kept by the transport.
        hello_s: from the upgrade to HELLO.
        ready_s: from IDENTIFY to READY. Long: in an outage the session comes eventually while ACKs
            flow, and each new IDENTIFY costs one of the day's budget. Begins anew while reading is
            paused.
        resumed_s: from RESUME, or the last replayed dispatch, to RESUMED; begins anew likewise.
        close_s: from our CLOSE frame to the end; then the transport is aborted.
        tls_shutdown_s: from the abort to the end; then the connection is given up as it is.
    """

    open_s: float = 20.0
    hello_s: float = 20.0
    ready_s: float = 180.0
    resumed_s: float = 60.0
    close_s: float = 3.0
    tls_shutdown_s: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"timeout {name}={value!r} is not a positive number of seconds")


class Machine:
    """
    State, outputs and ends of one shard's connections.

    Attributes:
        identity: what IDENTIFY says.
        timeouts: deadlines of each phase.
        sequence: the session's sequence; give this same object to every connection's Decoder.
        state: where we are. Written by this class alone.
        generation: number of the current connection, for telling stale callbacks.
        outcome: of the last connection that ended, None before.
        ready_at: when this connection became READY, None while it is not.
        heartbeat: the beat of this connection (latency, ACKs, interval), None before HELLO.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        url: str,
        compress: str | None = None,
        sequence: Sequence | None = None,
        timeouts: Timeouts | None = None,
        random: Callable[[], float],
        session: Session | None = None,
    ) -> None:
        """
        Make a disconnected protocol.

        Args:
            identity: what IDENTIFY says.
            url: the main gateway URL, without query.
            compress: transport compression for the query, or None.
            sequence: to share with the decoder; made here when None.
            timeouts: None for the defaults.
            random: returns a float in [0, 1); jitter comes from it.
            session: a stored session to resume.
        Raises:
            UsageError: a bad URL, or the session of another shard.
        """
        self.identity = identity
        self.timeouts = timeouts or Timeouts()
        self.sequence = Sequence() if sequence is None else sequence
        self.state = State.DISCONNECTED
        self.generation = 0
        self.outcome: Outcome | None = None
        self.ready_at: float | None = None
        self.heartbeat: Heartbeat | None = None
        self._random = random
        self._keeper = SessionKeeper(url, compress, self.sequence)
        if session is not None:
            if (session.shard_id, session.shard_count) != (identity.shard_id, identity.shard_count):
                raise UsageError(
                    f"the stored session is of shard {session.shard_id} of {session.shard_count}, "
                    f"not of {identity.shard_id} of {identity.shard_count}"
                )
            self._keeper.restore(session)
        self._plan: Plan | None = None
        self._commands: list[bytes] = []
        self._signals: deque[Signal] = deque()
        self._deadline: float | None = None  # of the phase the state is in
        self._pending: Outcome | None = None  # how it will end, while CLOSING
        self._identify_written = False  # on this connection
        self._resume_written = False
        self._aborted = False
        self._progress = (0, 0)  # replay counts when the RESUMED deadline was set
        self._resumed_from = 0  # the `seq` of RESUME
        self._replay_from = (0, 0)  # the same when RESUME was written
        self._resumed_counted = (0, 0)  # how many RESUMED stand in the sequence's counters
        self._received = 0  # messages, as a sign of life when bytes are not counted
        self._paused = False
        self._clocks: tuple[float, float] | None = None

    def __repr__(self) -> str:
        identity = self.identity
        return (
            f"<GatewayProtocol shard {identity.shard_id}/{identity.shard_count} {self.state.value}>"
        )

    # --- what others may look at -----------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The session as it stands, None when there is nothing to resume."""
        return self._keeper.snapshot(self.identity.shard_id, self.identity.shard_count)

    @property
    def url(self) -> str:
        """The main gateway URL; set it after `GET /gateway/bot` was asked again."""
        return self._keeper.main_url

    @url.setter
    def url(self, value: str) -> None:
        self._keeper.replace_main_url(value)

    @property
    def replayed(self) -> int:
        """Dispatches replayed and new to us, so far; RESUMED is none of them."""
        return self.sequence.replayed - self._resumed_counted[0]

    @property
    def duplicates(self) -> int:
        """Dispatches dropped in replays because we had them, so far."""
        return self.sequence.duplicates - self._resumed_counted[1]

    @property
    def latency(self) -> float | None:
        """Seconds of the last heartbeat's round trip on this connection; None when unknown."""
        return None if self.heartbeat is None else self.heartbeat.latency

    @property
    def latency_at(self) -> float | None:
        """When `latency` was measured."""
        return None if self.heartbeat is None else self.heartbeat.latency_at

    @property
    def last_ack_at(self) -> float | None:
        """When the last heartbeat ACK of this connection came."""
        return None if self.heartbeat is None else self.heartbeat.last_ack_at

    @property
    def heartbeat_interval_s(self) -> float | None:
        """Seconds between beats, None before HELLO; slots of the send budget follow from it."""
        return None if self.heartbeat is None else self.heartbeat.interval_s

    # --- outputs ---------------------------------------------------------------------------------

    def commands_to_send(self) -> list[bytes]:
        """
        Return what to write now, in order, ahead of anything queued; each only once.

        They bypass the send queue but count in the send budget. Some hold the token: never log
        them. Leave them here while the connection is not known yet (HELLO may come in the same read
        as the upgrade, before `Connection.open` returns).
        """
        commands, self._commands = self._commands, []
        return commands

    def next_signal(self) -> Signal | None:
        """Return the oldest signal not seen yet, or None."""
        return self._signals.popleft() if self._signals else None

    def timer_at(self) -> float | None:
        """Return when `timer()` must be called at the latest, in monotonic seconds, or None."""
        beat_at = None
        if self.heartbeat is not None and self.state in CONNECTED:
            beat_at = self.heartbeat.next_at
        due = [at for at in (beat_at, self._deadline) if at is not None]
        return min(due) if due else None

    # --- inputs: the way down --------------------------------------------------------------------

    def lost(
        self,
        now: float,
        *,
        close_code: int | None,
        reason: str = "",
        initiator: Initiator,
        error: BaseException | None = None,
    ) -> None:
        """
        Take the end of the connection (CloseInfo's fields). After this, drain `next_signal()`: it
        has Closed with the outcome. Moves to DISCONNECTED, or STOPPED when the action is STOP.

        Raises:
            UsageError: there is no connection to lose.
        """
        if self.state in (State.DISCONNECTED, State.STOPPED):
            raise UsageError(f"there is no connection to lose while {self.state.value}")
        outcome = self._judge(now, close_code, reason, initiator, error)
        planned = self._pending
        if planned is not None:
            # What we began stands, unless the service closed as well and with a graver code.
            if _SEVERITY[planned.action] >= _SEVERITY[outcome.action]:
                outcome = planned
            else:
                outcome = replace(outcome, ready_for_s=planned.ready_for_s)
        self._end(now, outcome)

    def close(self, now: float, *, keep_session: bool) -> None:
        """
        Stop for good; wins in every state. Without effect once stopped.

        From a connected state: CloseWanted comes (a resumable code to keep the session, else 1000),
        and STOPPED with Closed follows at `lost()` or the closing deadline. While CONNECTING:
        CloseWanted(abort=True) and Closed at once; cancel the attempt. Otherwise Closed at once.
        After a stop that keeps it, `session` is what the store should have.
        """
        if self.state is State.STOPPED:
            return
        kept = keep_session and self._keeper.is_resumable()
        if not kept:
            self._drop_session(Cause.STOPPED)
        code = RESUMABLE_CLOSE_CODE if kept else FINAL_CLOSE_CODE
        if self.state in CONNECTED:
            self._leave(now, Cause.STOPPED, Action.STOP, "stopped", close_code=code)
        elif self.state is State.CLOSING and self._pending is not None:
            self._pending = replace(
                self._pending, action=Action.STOP, cause=Cause.STOPPED, error=None
            )
        else:
            if self.state is State.CONNECTING:
                self._signals.append(CloseWanted(code, "stopped", abort=True))
            self._end(now, Outcome(
                Action.STOP, initiator=Initiator.CLIENT, cause=Cause.STOPPED, reason="stopped"
            ))  # fmt: skip

    # --- moves -----------------------------------------------------------------------------------

    def _move(self, trigger: Trigger, cause: Cause | None = None) -> None:
        old = self.state
        new = TRANSITIONS.get((old, trigger))
        if new is None:
            raise UsageError(f"{trigger.value!r} is no move from {old.value!r}")
        self.state = new
        self._signals.append(StateChanged(old, new, cause))

    def _drop_session(self, cause: Cause) -> None:
        session_id = self._keeper.session_id
        self._keeper.forget()
        if session_id is not None:
            self._signals.append(SessionDropped(session_id, cause))

    def _leave(
        self,
        now: float,
        cause: Cause,
        action: Action,
        reason: str,
        *,
        close_code: int = RESUMABLE_CLOSE_CODE,
        delay_s: float = 0.0,
        abort: bool = False,
        error: BaseException | None = None,
    ) -> None:
        """Begin to close; everything we do to a connection on purpose comes through here."""
        ready_for_s = None if self.ready_at is None else now - self.ready_at
        self._pending = Outcome(
            action, close_code=close_code, reason=reason, initiator=Initiator.CLIENT, cause=cause,
            delay_s=delay_s, ready_for_s=ready_for_s, error=error,
        )  # fmt: skip
        if action is Action.IDENTIFY:
            self._drop_session(cause)
        self._move(Trigger.CLOSE, cause)
        self.ready_at = None
        self._commands.clear()
        if abort:
            self._abort(now, self._pending)
        else:
            self._deadline = now + self.timeouts.close_s
            self._signals.append(CloseWanted(close_code, reason, abort=False))

    def _abort(self, now: float, pending: Outcome) -> None:
        self._aborted = True
        self._deadline = now + self.timeouts.tls_shutdown_s
        self._signals.append(
            CloseWanted(pending.close_code or RESUMABLE_CLOSE_CODE, pending.reason, abort=True)
        )

    def _judge(
        self,
        now: float,
        close_code: int | None,
        reason: str,
        initiator: Initiator,
        error: BaseException | None,
    ) -> Outcome:
        """Turn an end that others began into an outcome, by the table of close codes."""
        action, delay_s = Action.RESUME, 0.0
        cause = Cause.CONNECTION_LOST
        if initiator is Initiator.SERVICE:
            rule = rule_for(close_code)
            action, delay_s = rule.action, self._between(rule.wait_s)
            cause = Cause.CLOSED_BY_SERVICE
            if action is Action.STOP and close_code is not None:
                who = self.identity
                error = fatal_error(
                    close_code,
                    intents=who.intents, shard_id=who.shard_id, shard_count=who.shard_count,
                )  # fmt: skip
        elif isinstance(error, ProtocolError):
            cause = Cause.PROTOCOL_ERROR  # the transport closed because of it
        return Outcome(
            action, close_code=close_code, reason=reason, initiator=initiator, cause=cause,
            delay_s=delay_s, error=error,
            ready_for_s=None if self.ready_at is None else now - self.ready_at,
        )  # fmt: skip

    def _end(self, now: float, outcome: Outcome) -> None:
        """Finish a connection, or an attempt at one; the only place that says Closed."""
        if self._plan is not None and outcome.ready_for_s is None:
            blameless = outcome.cause in (Cause.SLEPT, Cause.STOPPED)
            self._keeper.attempt_failed(
                self._plan,
                refused=self._resume_written and not blameless,
                host_at_fault=not blameless and outcome.cause is not Cause.INVALID_SESSION,
            )
            if self._resume_written and self.replayed > self._replay_from[0]:
                self._keeper.progressed()
        self.sequence.end_replay()
        self._keeper.dropped(now)
        if outcome.action is Action.RESUME and self._keeper.is_expired(now):
            self._drop_session(Cause.EXPIRED)
        if outcome.action is Action.RESUME and not self._keeper.is_resumable():
            outcome = replace(outcome, action=Action.IDENTIFY)
        refused_for_good = outcome.action is Action.STOP and outcome.cause is not Cause.STOPPED
        if outcome.action is Action.IDENTIFY or refused_for_good:
            self._drop_session(outcome.cause)
        self.outcome = outcome
        self.heartbeat = self.ready_at = self._deadline = self._pending = self._plan = None
        self._identify_written = self._resume_written = self._aborted = False
        self._commands.clear()
        self.generation += 1  # whatever the old connection still says is stale
        self._move(Trigger.END if outcome.action is Action.STOP else Trigger.LOST, outcome.cause)
        self._signals.append(Closed(outcome))

    def _between(self, bounds: tuple[float, float]) -> float:
        least, most = bounds
        return least + (most - least) * self._random() if most > least else least
