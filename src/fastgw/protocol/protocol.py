"""
The state machine of one shard, without IO: messages and time go in, commands and signals come out.

States and moves stand in `states`, ends and outputs in `machine`, the beat of a connection in
`heartbeat`, the session and where to resume it in `resume`, what is reported in `signals`. The
theory in short:

- One instance lives as long as its shard and sees one connection after another. Each begins with
  `connecting(plan)` and ends with exactly one `Closed` signal, however many causes come together.
- `generation` names the connection. It moves when one begins and when one ends, so a callback that
  remembers another number is stale and must be dropped by the caller.
- The session outlives connections. It goes when the service says so, when it was refused too often
  or for too long (`resume`), and at a stop that does not keep it. Id, sequence and URL go together.
- IDENTIFY is produced by `identify()` alone, which the shard calls when it holds a turn; a beat
  that the service asks for by `beat()`, which the shard calls when its send budget has room.
- `receive()`, `timer()` and `lost()` never raise because of what the service did: a broken rule
  closes the connection and stands in the outcome. What the caller does out of turn raises.

After every input: send `commands_to_send()` at once and ahead of anything queued, drain
`next_signal()`, re-arm one timer at `timer_at()`.
"""

from __future__ import annotations

from dataclasses import replace

from .._decode import Event, Message
from ..errors import HandshakeRefused, ProtocolError, UsageError
from .heartbeat import Heartbeat
from .identity import Identity
from .machine import Machine, Timeouts
from .session import Plan, Session
from .signals import (
    Cause,
    Closed,
    CloseWanted,
    HeartbeatWanted,
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
    IDENTIFY_INTERVAL_S,
    IDENTIFY_PAD_S,
    Action,
    Initiator,
    Opcode,
    encode_heartbeat,
    encode_resume,
    read_hello,
    read_ready,
)

__all__ = [
    "CONNECTED",
    "TRANSITIONS",
    "Cause",
    "CloseWanted",
    "Closed",
    "GatewayProtocol",
    "HeartbeatWanted",
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


class GatewayProtocol(Machine):
    """One shard's side of the gateway protocol. Attributes, outputs and ends are `Machine`'s."""

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
            delay_s=error.retry_after_s or 0.0 if isinstance(error, HandshakeRefused) else 0.0,
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

    def beat(self, now: float) -> None:
        """
        Write a heartbeat because the service asked for one; the periodic ones do not move.

        After this, call `commands_to_send()` at once. No effect when the connection is on its way
        out already.
        """
        if self.heartbeat is not None and self.state in CONNECTED:
            self._commands.append(encode_heartbeat(self.sequence.last))
            self.heartbeat.beat_extra(now)

    # --- inputs: messages and time ---------------------------------------------------------------

    def receive(self, message: Message | Event, now: float) -> None:
        """
        Take one message that is not an ordinary dispatch: other opcodes, READY, RESUMED.

        Never raises for what the message holds; unknown opcodes and names are ignored. After this,
        call `commands_to_send()`, drain `next_signal()` and re-arm `timer_at()`.

        Raises:
            UsageError: there is no connection it could have come from.
        """
        if self.state is State.CONNECTING:
            self.opened(now)  # it came in the same read as the upgrade
        if self.state not in CONNECTED and self.state is not State.CLOSING:
            raise UsageError(f"a message of an old connection came while {self.state.value}")
        self._received += 1
        op = Opcode.DISPATCH if isinstance(message, Event) else message.op
        if self.state is State.CLOSING:
            self._receive_late(op, message)
        elif self.state is State.AWAITING_HELLO and op not in (Opcode.HELLO, Opcode.RECONNECT):
            self._violation(now, ProtocolError(f"the first message has op {op:d}, not HELLO"))
        elif op == Opcode.DISPATCH:
            if message.name == "READY":
                self._ready(message, now)
            elif message.name == "RESUMED" and self.state is State.RESUMING:
                self._resumed(message.sequence, now)
        elif op == Opcode.HEARTBEAT_ACK and self.heartbeat is not None:
            self.heartbeat.ack(now)
        elif op == Opcode.HEARTBEAT and self.heartbeat is not None:
            self._signals.append(HeartbeatWanted())
        elif op == Opcode.RECONNECT:
            # May come before HELLO, instead of it (Discord docs, "Reconnect").
            self._leave(now, Cause.RECONNECT_ASKED, Action.RESUME, "reconnect asked")
        elif op == Opcode.INVALID_SESSION:
            self._invalid_session(message.data is True, now)
        elif op == Opcode.HELLO and self.state is State.AWAITING_HELLO:
            self._hello(message.data, now)

    def reading_paused(self) -> None:
        """Note that we stopped reading from this connection: missing ACKs do not count."""
        self._paused = True
        if self.heartbeat is not None:
            self.heartbeat.pause()

    def reading_resumed(self) -> None:
        """Note that we read again."""
        self._paused = False
        if self.heartbeat is not None:
            self.heartbeat.resume()

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
        if wall is not None and self._has_slept(now, wall) and self.state in CONNECTED:
            # The socket looks alive and is not: the service gave up long ago. No good-byes.
            self._leave(now, Cause.SLEPT, Action.RESUME, "the machine slept", abort=True)
        if self.state is State.RESUMING and (
            self._paused or self._progress != self._replay_counts()
        ):
            # Replayed dispatches do not come through here; a long replay starts the wait anew. And
            # what we do not read, we cannot miss.
            self._progress = self._replay_counts()
            self._deadline = now + self.timeouts.resumed_s
        elif self.state is State.IDENTIFYING and self._paused and self._identify_written:
            self._deadline = now + self.timeouts.ready_s  # nor miss READY
        if self._deadline is not None and now >= self._deadline:
            self._deadline_passed(now)
        heart = self.heartbeat
        if heart is not None and self.state in CONNECTED and now >= heart.next_at:
            alive = self._received if bytes_received is None else bytes_received
            if heart.is_zombied(alive):
                self._leave(now, Cause.ZOMBIED, Action.RESUME, "heartbeat not acknowledged")
            else:
                self._commands.append(encode_heartbeat(self.sequence.last))
                heart.beat(now, alive)

    # --- what messages do ------------------------------------------------------------------------

    def _hello(self, data: object, now: float) -> None:
        try:
            interval_s = read_hello(data)
        except ProtocolError as error:
            self._violation(now, error)
            return
        # The first beat is jittered over the whole interval (Discord docs, "Heartbeat interval").
        first_at = now + interval_s * self._random()
        self.heartbeat = Heartbeat(interval_s, first_at=first_at, paused=self._paused)
        session_id, last = self._keeper.session_id, self.sequence.last
        if self._plan is None or not self._plan.resume or session_id is None or last is None:
            self._move(Trigger.HELLO_IDENTIFY)
            self._deadline = None  # a turn may take its time; heartbeats watch the connection
            self._signals.append(IdentifyWanted())
            return
        self._move(Trigger.HELLO_RESUME)
        self._resume_written = True
        self._commands.append(encode_resume(self.identity.token, session_id, last))
        self.sequence.start_replay()
        self._resumed_from = last
        self._replay_from = self._progress = self._replay_counts()
        self._deadline = now + self.timeouts.resumed_s

    def _ready(self, event: Message | Event, now: float) -> None:
        try:
            if self.state is not State.IDENTIFYING or not self._identify_written:
                raise ProtocolError("READY came without IDENTIFY")
            data = event.data
            session_id, resume_url = read_ready(data)
        except ProtocolError as error:
            self._violation(now, error, Action.IDENTIFY)
            return
        self._keeper.start(session_id, resume_url)
        self._move(Trigger.READY)
        self._deadline = None
        self.ready_at = now
        self._signals.append(Ready(data))

    def _resumed(self, sequence: int | None, now: float) -> None:
        if sequence is not None and 0 < sequence < self._resumed_from:
            # The RESUMED of an earlier resume, replayed among the rest; ours is still to come. One
            # that merely repeats the last sequence, or has none, is ours: not all number it anew.
            return
        if self._plan is not None:
            self._keeper.resumed(self._plan)
        self.sequence.end_replay()
        self._move(Trigger.RESUMED)
        self._deadline = None
        self.ready_at = now
        if sequence is not None and sequence >= 0:  # RESUMED is a dispatch and was counted as one
            was_new = sequence > self._resumed_from
            new, repeated = self._resumed_counted
            self._resumed_counted = new + was_new, repeated + (not was_new)
        before, after = self._replay_from, self._replay_counts()
        self._signals.append(Resumed(after[0] - before[0], after[1] - before[1]))

    def _invalid_session(self, resumable: bool, now: float) -> None:
        if self.state is State.IDENTIFYING:
            # Rate limited or an error inside (discord-api-docs#254): the identify key is taken for
            # its whole interval, whatever `d` says.
            delay_s = IDENTIFY_INTERVAL_S + self._between(IDENTIFY_PAD_S)
            action = Action.IDENTIFY
        else:
            delay_s = self._between(INVALID_SESSION_WAIT_S)
            action = Action.RESUME if resumable else Action.IDENTIFY
        self._leave(now, Cause.INVALID_SESSION, action, "invalid session", delay_s=delay_s)

    def _receive_late(self, op: int, message: Message | Event) -> None:
        # We are leaving; of all that may still come, one thing changes what to do next.
        pending = self._pending
        if op == Opcode.INVALID_SESSION and message.data is not True and pending is not None:
            self._drop_session(Cause.INVALID_SESSION)
            if pending.action is Action.RESUME:
                self._pending = replace(pending, action=Action.IDENTIFY)

    # --- what time does --------------------------------------------------------------------------

    def _has_slept(self, now: float, wall: float) -> bool:
        before, self._clocks = self._clocks, (now, wall)
        if before is None:
            return False
        return (wall - before[1]) - (now - before[0]) > SLEEP_GAP_S

    def _deadline_passed(self, now: float) -> None:
        self._deadline = None
        if self.state is State.AWAITING_HELLO:
            self._leave(now, Cause.HELLO_TIMEOUT, Action.RESUME, "no HELLO")
        elif self.state is State.IDENTIFYING:
            self._leave(now, Cause.READY_TIMEOUT, Action.IDENTIFY, "no READY")
        elif self.state is State.RESUMING:
            self._leave(now, Cause.RESUMED_TIMEOUT, Action.RESUME, "no RESUMED")
        elif self.state is State.CLOSING and self._pending is not None:
            if self._aborted:
                self._end(now, self._pending)  # not even the abort was answered: give it up
            else:
                self._abort(now, self._pending)

    def _replay_counts(self) -> tuple[int, int]:
        return self.replayed, self.duplicates

    def _violation(self, now: float, error: ProtocolError, action: Action = Action.RESUME) -> None:
        self._leave(now, Cause.PROTOCOL_ERROR, action, str(error), error=error)
