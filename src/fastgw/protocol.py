"""
The state machine of one shard, without IO: messages and time go in, commands and signals come out.

States and moves stand in `states`, the beat of a connection in `heartbeat`, the session and where
to resume it in `resume`, what is reported in `signals`. The theory in short:

- One instance lives as long as its shard and sees one connection after another. Each begins with
  `connecting(plan)` and ends with exactly one `Closed` signal, however many causes come together.
- `generation` names the connection. It moves when one begins and when one ends, so a callback that
  remembers another number is stale and must be dropped by the caller.
- The session outlives connections. It goes when the service says so, when it was refused too often
  or for too long (`resume`), and at a stop that does not keep it. Id, sequence and URL go together.
- IDENTIFY is produced by `identify()` alone, which the shard calls when it holds a turn.
- `receive()`, `timer()` and `lost()` never raise because of what the service did: a broken rule
  closes the connection and stands in the outcome. What the caller does out of turn raises.

After every input: send `commands_to_send()` at once and ahead of anything queued, drain
`next_signal()`, re-arm one timer at `timer_at()`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._decode import Event, Message, Sequence
from .errors import DecodeError, ProtocolError, UsageError
from .heartbeat import Heartbeat
from .identity import Identity
from .resume import Plan, Session, SessionKeeper
from .signals import (
    Cause,
    Closed,
    CloseWanted,
    IdentifyWanted,
    Outcome,
    Ready,
    Resumed,
    SessionDropped,
    Signal,
    StateChanged,
)
from .states import CONNECTED, TRANSITIONS, State, Trigger
from .wire import (
    FINAL_CLOSE_CODE,
    IDENTIFY_INTERVAL_S,
    IDENTIFY_PAD_S,
    RESUMABLE_CLOSE_CODE,
    Action,
    Initiator,
    Opcode,
    encode_heartbeat,
    encode_resume,
    fatal_error,
    rule_for,
)

__all__ = [
    "CONNECTED",
    "TRANSITIONS",
    "Cause",
    "CloseWanted",
    "Closed",
    "GatewayProtocol",
    "IdentifyWanted",
    "Identity",
    "Outcome",
    "Plan",
    "Ready",
    "Resumed",
    "Session",
    "SessionDropped",
    "Signal",
    "State",
    "StateChanged",
    "Timeouts",
    "Trigger",
]

# Op 9: "wait a random amount of time between 1 and 5 seconds" (Discord docs before 2022; staff in
# discord-api-docs#244: it staggers fleets).
INVALID_SESSION_WAIT_S = (1.0, 5.0)
# Wall clock ahead of monotonic by more than this between two ticks: the machine slept.
SLEEP_GAP_S = 5.0

_SEVERITY = {Action.RESUME: 0, Action.IDENTIFY: 1, Action.STOP: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    Seconds each phase of a connection may take.

    Attributes:
        open_s: DNS, TCP, TLS and upgrade together; kept by the transport.
        hello_s: from the upgrade to HELLO.
        ready_s: from IDENTIFY to READY. Long: in an outage the session comes eventually while ACKs
            flow, and each new IDENTIFY costs one of the day's budget.
        resumed_s: from RESUME, or the last replayed dispatch, to RESUMED.
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


class GatewayProtocol:
    """
    One shard's side of the gateway protocol.

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
        self._identify_written = False
        self._resume_written = False
        self._aborted = False
        self._progress = (0, 0)  # replay counters when the RESUMED deadline was set
        self._replay_from = (0, 0)  # the same when RESUME was written
        self._received = 0  # messages, as a sign of life when bytes are not counted
        self._bytes: int | None = None
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

    # --- inputs: the way up ----------------------------------------------------------------------

    def plan(self, now: float) -> Plan:
        """
        Decide the next attempt; drops a session that is too old or was refused too often.

        When it says identify, take the identify turn before connecting. After this, drain
        `next_signal()` (SessionDropped may be there).
        """
        if self._keeper.session_id is not None and (
            self._keeper.is_expired(now) or not self._keeper.is_resumable()
        ):
            self._drop_session(Cause.EXPIRED)
        return self._keeper.plan()

    def connecting(self, plan: Plan, now: float) -> int:
        """
        Begin an attempt at `plan` and return its generation. Make its Decoder with `sequence`.

        After this, drain `next_signal()`.

        Raises:
            UsageError: not DISCONNECTED (there is one connection at a time), or the plan is old.
        """
        if plan.resume and not self._keeper.is_resumable():
            raise UsageError("the plan to resume is out of date: the session is gone")
        self._move(Trigger.CONNECT)
        self.generation += 1
        if not plan.resume:
            # Late dispatches of the old connection may have touched it since the session went.
            self.sequence.clear()
        self._plan = plan
        self._clocks = None
        self._bytes = None
        self._paused = False
        return self.generation

    def opened(self, now: float) -> None:
        """
        Take note that the upgrade is done. After this, re-arm `timer_at()`.

        No effect when a message of this connection came first.
        """
        if self.state in CONNECTED or self.state is State.CLOSING:
            return
        self._move(Trigger.OPENED)
        self._deadline = now + self.timeouts.hello_s

    def connect_failed(self, now: float, error: BaseException) -> None:
        """Take note that the attempt failed. After this, drain `next_signal()`: it has Closed."""
        if self.state is not State.CONNECTING:
            raise UsageError(f"no connection is being opened while {self.state.value}")
        self._end(now, Outcome(
            Action.RESUME, initiator=Initiator.TRANSPORT, cause=Cause.CONNECT_FAILED,
            reason=str(error), error=error,
        ))  # fmt: skip

    def identify(self, now: float) -> None:
        """
        Write IDENTIFY: the shard holds an identify turn. After this, call `commands_to_send()` at
        once (the turn's time counts from the write) and re-arm `timer_at()`.

        Raises:
            UsageError: IDENTIFY is not wanted now.
        """
        if self.state is not State.IDENTIFYING or self._identify_written:
            raise UsageError(f"no identify is wanted while {self.state.value}")
        self._identify_written = True
        self._commands.append(self.identity.encode())
        self._deadline = now + self.timeouts.ready_s

    # --- inputs: messages and time ---------------------------------------------------------------

    def receive(self, message: Message | Event, now: float) -> None:
        """
        Take one message that is not an ordinary dispatch: other opcodes, READY, RESUMED.

        Never raises for what the message holds. After this, call `commands_to_send()`, drain
        `next_signal()` and re-arm `timer_at()`.
        """
        raise NotImplementedError

    def reading_paused(self) -> None:
        """Note that we stopped reading from this connection: missing ACKs do not count."""
        raise NotImplementedError

    def reading_resumed(self) -> None:
        """Note that we read again."""
        raise NotImplementedError

    def timer(
        self, now: float, *, bytes_received: int | None = None, wall: float | None = None
    ) -> None:
        """
        Do what is due. May be called at any time, more often than `timer_at()` asks too.

        Args:
            now: monotonic seconds.
            bytes_received: of this connection so far (`Connection.bytes_received()`); None counts
                messages instead.
            wall: a clock that goes on while the machine sleeps; None skips that check. Call once a
                second or so with it, and a suspended machine is noticed within a second of waking.

        After this, call `commands_to_send()`, drain `next_signal()` and re-arm `timer_at()`.
        """
        raise NotImplementedError

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
        """
        raise NotImplementedError

    def close(self, now: float, *, keep_session: bool) -> None:
        """
        Stop for good; wins in every state. Without effect once stopped.

        From a connected state: CloseWanted comes (a resumable code to keep the session, else 1000),
        and STOPPED with Closed follows at `lost()` or the closing deadline. While CONNECTING:
        CloseWanted(abort=True) and Closed at once; cancel the attempt. Otherwise Closed at once.
        After a stop that keeps it, `session` is what the store should have.
        """
        raise NotImplementedError

    # --- moves -----------------------------------------------------------------------------------

    def _move(self, trigger: Trigger, cause: Cause | None = None) -> None:
        raise NotImplementedError

    def _drop_session(self, cause: Cause) -> None:
        raise NotImplementedError

    def _end(self, now: float, outcome: Outcome) -> None:
        raise NotImplementedError
