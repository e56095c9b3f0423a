"""
The state machine of one shard, without IO: messages and time go in, commands and signals come out.

Theory.
- One instance lives as long as its shard and sees one connection after another. Each begins with
  `connecting(plan)` and ends with exactly one `Ended` signal, however many causes come together.
  What lives as long as a connection stands in its `Attempt`; the session outlives it (`session`).
- Every move goes through `_move` and the table of `states`. There is one way down, `_end()`: we
  begin (`_leave`: CLOSING, a CLOSE frame, after `close_s` an abort, after `tls_shutdown_s` more the
  connection counts as ended even if nobody ever says so), or others do (`connection_ended`: the
  table of close codes judges).
- `generation` names the connection. It moves when one begins and when one ends, so a callback that
  remembers another number is stale and must be ignored by the caller.
- IDENTIFY is produced by `identify()` alone, which the shard calls when it holds a turn; a beat
  that is not periodic by `beat()`, which the shard calls when its send budget has room.
- `receive()`, `handle_timer()` and `connection_ended()` never raise because of what the service
  did: a broken rule closes the connection and stands in the outcome. What the caller does out of
  turn raises.

How to use it. Give an input: `connecting`, `opened`, `connect_failed`, `receive`, `handle_timer`,
`connection_ended`, `close`, ... Then pull, in this order: send `commands_to_send()` at once and
ahead of anything queued; take out `signals` until there are none, sending again after each; arm one
timer at `timer_at()`. The attributes may be looked at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from .._decode import Event, Message, Sequence
from ..errors import HandshakeRefused, ProtocolError, UsageError
from ..quoting import quote
from ..words import Action, Initiator
from .attempt import Attempt, DeadlineKind
from .close_codes import FINAL_CLOSE_CODE, RESUMABLE_CLOSE_CODE, between, is_graver, judge
from .heartbeat import Heartbeat
from .identity import Identity
from .replay import Replay, ReplayCounts
from .session import Plan, Session, SessionKeeper
from .signals import (
    Cause,
    CloseWanted,
    Ended,
    HeartbeatWanted,
    IdentifyWanted,
    Outcome,
    Ready,
    Resumed,
    SessionEnded,
    Signal,
    StateChanged,
)
from .states import CONNECTED, TRANSITIONS, State, Trigger
from .timeouts import Timeouts
from .token import redact_value
from .wire import (
    IDENTIFY_INTERVAL_S,
    IDENTIFY_PAD_S,
    Opcode,
    encode_heartbeat,
    encode_resume,
    read_hello,
    read_ready,
)

__all__ = ["GatewayProtocol"]

# Op 9: "wait a random amount of time between 1 and 5 seconds" (Discord docs before 2022; staff in
# discord-api-docs#244: it staggers fleets).
INVALID_SESSION_WAIT_S = (1.0, 5.0)
# Between two early heartbeats of one connection, while none has measured anything yet.
EARLY_AGAIN_S = 1.0
# The largest that the decoder takes (64 bits with sign).
MAX_SEQUENCE = 2**63 - 1


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
        commands: what is to be written; take it by `commands_to_send()`.
        signals: what is reported, oldest first; take each of them out (`popleft()`).
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
        last_byte_at: float | None = None,
        early_heartbeat: bool = False,
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
            last_byte_at: when a byte of it came last, None when that is not known.
            early_heartbeat: want one beat more as soon as a session is up, READY or RESUMED, so
                that its latency is known a round trip later. Discord allows beats before they are
                due (docs, "Sending Heartbeats"); the periodic ones keep their jitter. Where a pause
                of ours falls upon its way, another follows, one a second at most.
        Raises:
            UsageError: a bad URL, a session of another shard, or one that RESUME cannot hold.
        """
        self.identity = identity
        self.timeouts = timeouts or Timeouts()
        self.sequence = Sequence() if sequence is None else sequence
        self.state = State.DISCONNECTED
        self.generation = 0
        self.outcome: Outcome | None = None
        self._random = random
        self._early_heartbeat = early_heartbeat
        self._keeper = SessionKeeper(url, compress, self.sequence)
        if session is not None:
            if (session.shard_id, session.shard_count) != (identity.shard_id, identity.shard_count):
                raise UsageError(
                    f"the stored session is of shard {session.shard_id} of {session.shard_count}, "
                    f"not of {identity.shard_id} of {identity.shard_count}"
                )
            encode_resume(identity.token, session.session_id, MAX_SEQUENCE)  # or UsageError
            self._keeper.restore(session, last_byte_at)
        self._replays = ReplayCounts(self.sequence)
        self._attempt: Attempt | None = None  # from connecting() to the end
        self.commands: list[bytes] = []
        self.signals: deque[Signal] = deque()

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
    def session_sequence(self) -> int | None:
        """The sequence of the session, None when there is nothing to resume."""
        return None if self._keeper.session_id is None else self.sequence.last

    @property
    def url(self) -> str:
        """The main gateway URL; set it after `GET /gateway/bot` was asked again."""
        return self._keeper.main_url

    @url.setter
    def url(self, value: str) -> None:
        self._keeper.replace_main_url(value)

    @property
    def main_failures(self) -> int:
        """
        Attempts in a row that failed at the main URL; 0 again after READY, RESUMED or a new `url`.

        When they grow, `GET /gateway/bot` may know another URL.
        """
        return self._keeper.main_failures

    @property
    def compress(self) -> str | None:
        """The transport compression asked for; set it before an attempt that asks for another."""
        return self._keeper.compress

    @compress.setter
    def compress(self, value: str | None) -> None:
        self._keeper.compress = value

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The beat of this connection (latency, ACKs, interval), None before HELLO."""
        return None if self._attempt is None else self._attempt.heartbeat

    @property
    def ready_at(self) -> float | None:
        """When this connection became READY, None while it is not."""
        return None if self._attempt is None else self._attempt.ready_at

    @property
    def replayed(self) -> int:
        """Dispatches replayed and new to us, so far; RESUMED is none of them."""
        return self._replays.replayed

    @property
    def duplicates(self) -> int:
        """Dispatches dropped in replays because we had them, so far."""
        return self._replays.duplicates

    # --- outputs ---------------------------------------------------------------------------------

    def commands_to_send(self) -> list[bytes]:
        """
        Return what to write now, in order, ahead of anything queued; each only once.

        They bypass the send queue but count in the send budget. Some hold the token: never log
        them. Leave them here while the connection is not known yet (HELLO may come in the same read
        as the upgrade, before `Connection.open` returns).
        """
        commands, self.commands = self.commands, []
        return commands

    def timer_at(self) -> float | None:
        """Return when `handle_timer()` must be called at the latest, in monotonic seconds."""
        attempt = self._attempt
        if attempt is None:
            return None
        due = [] if attempt.deadline is None else [attempt.deadline.at]
        if attempt.heartbeat is not None and self.state in CONNECTED:
            due.append(attempt.heartbeat.next_at)
        if attempt.early_at is not None and self.state is State.READY:
            due.append(attempt.early_at)
        return min(due, default=None)

    # --- inputs: the way up ----------------------------------------------------------------------

    def plan(self, now: float) -> Plan:
        """
        Decide the next attempt; ends a session that is too old or met silence too often.

        When it says identify, take the identify turn before connecting. After this, take
        the `signals` (SessionEnded may be there).
        """
        if self._keeper.session_id is not None and (
            self._keeper.is_expired(now) or not self._keeper.is_resumable()
        ):
            self._end_session(Cause.EXPIRED)
        return self._keeper.plan()

    def connecting(self, plan: Plan) -> int:
        """
        Begin an attempt at `plan` and return its generation. Make its Decoder with `sequence`.

        After this, take the `signals`.

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
        self._attempt = Attempt(plan)
        return self.generation

    def opened(self, now: float) -> None:
        """
        Take note that the upgrade is done. After this, re-arm `timer_at()`.

        No effect when a message of this connection came first.

        Raises:
            UsageError: no connection is being opened.
        """
        attempt = self._attempt
        if attempt is not None and self.state is not State.CONNECTING:
            return
        self._move(Trigger.OPENED)  # raises unless one is being opened
        if attempt is not None:
            attempt.wait_for(DeadlineKind.HELLO, now + self.timeouts.hello_s)

    def connect_failed(self, now: float, error: BaseException) -> None:
        """Take note that the attempt failed. After this, take the `signals`: it has Ended."""
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
        attempt = self._attempt
        if attempt is None or self.state is not State.IDENTIFYING or attempt.identify_written:
            raise UsageError(f"no identify is wanted while {self.state.value}")
        attempt.identify_written = True
        self.commands.append(self.identity.encode())
        attempt.wait_for(DeadlineKind.READY, now + self.timeouts.ready_s)

    def beat(self, now: float) -> None:
        """
        Write a heartbeat that `HeartbeatWanted` asked for; the periodic ones do not move.

        After this, call `commands_to_send()` at once. No effect when the connection is on its way
        out already.
        """
        if self.heartbeat is not None and self.state in CONNECTED:
            self.commands.append(encode_heartbeat(self.sequence.last))
            self.heartbeat.beat_extra(now)

    # --- inputs: messages and time ---------------------------------------------------------------

    def receive(self, message: Message | Event, now: float) -> None:
        """
        Take one message that is not an ordinary dispatch: other opcodes, READY, RESUMED.

        Never raises for what the message holds; unknown opcodes and names are ignored. After this,
        call `commands_to_send()`, take the `signals` and re-arm `timer_at()`.

        Raises:
            UsageError: there is no connection it could have come from.
        """
        if self.state is State.CONNECTING:
            self.opened(now)  # it came in the same read as the upgrade
        attempt = self._attempt
        if attempt is None:
            raise UsageError(f"a message of an old connection came while {self.state.value}")
        attempt.received += 1
        attempt.last_byte_at = now
        op = Opcode.DISPATCH if isinstance(message, Event) else message.op
        if self.state is State.CLOSING:
            self._receive_late(op, message)
        elif self.state is State.AWAITING_HELLO and op not in (Opcode.HELLO, Opcode.RECONNECT):
            self._violation(
                attempt, now, ProtocolError(f"the first message has op {op:d}, not HELLO")
            )
        elif op == Opcode.DISPATCH:
            if message.name == "READY":
                self._ready(attempt, message, now)
            elif message.name == "RESUMED" and self.state is State.RESUMING:
                self._resumed(attempt, message.sequence, now)
        elif op == Opcode.HEARTBEAT_ACK and attempt.heartbeat is not None:
            attempt.heartbeat.ack(now)
        elif op == Opcode.HEARTBEAT and attempt.heartbeat is not None:
            self.signals.append(HeartbeatWanted())
        elif op == Opcode.RECONNECT:
            # May come before HELLO, instead of it (Discord docs, "Reconnect").
            self._leave(attempt, now, Cause.RECONNECT_ASKED, Action.RESUME, "reconnect asked")
        elif op == Opcode.INVALID_SESSION:
            self._invalid_session(attempt, message.data is True, now)
        elif op == Opcode.HELLO and self.state is State.AWAITING_HELLO:
            self._hello(attempt, message.data, now)

    def replace(self, now: float) -> None:
        """
        Close this connection for another one, by RESUME; without effect while there is none.

        After this, take the `signals`: CloseWanted comes as for any close of ours.
        """
        if self._attempt is not None and self.state in CONNECTED:
            self._leave(self._attempt, now, Cause.REPLACED, Action.RESUME, "replaced")

    def reading_paused(self) -> None:
        """Note that we stopped reading from this connection: missing ACKs do not count."""
        if self._attempt is not None:
            self._attempt.is_paused = True
        if self.heartbeat is not None:
            self.heartbeat.pause()

    def reading_resumed(self) -> None:
        """Note that we read again."""
        if self._attempt is not None:
            self._attempt.is_paused = False
        if self.heartbeat is not None:
            self.heartbeat.resume()

    def handle_timer(
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

        After this, call `commands_to_send()`, take the `signals` and re-arm `timer_at()`.
        """
        attempt = self._attempt
        if attempt is None:
            return
        if bytes_received is not None:
            attempt.note_bytes(bytes_received, now)
        slept = wall is not None and attempt.sleep.has_slept(now, wall)
        if slept and self.state in CONNECTED:
            # The socket looks alive and is not: the service gave up long ago. No good-byes.
            self._leave(attempt, now, Cause.SLEPT, Action.RESUME, "the machine slept", abort=True)
        self._wait_on(attempt, now)
        if attempt.deadline is not None and now >= attempt.deadline.at:
            self._deadline_passed(attempt, attempt.deadline.kind, now)
        heart = attempt.heartbeat
        if heart is not None and self.state in CONNECTED and now >= heart.next_at:
            alive = attempt.received if bytes_received is None else bytes_received
            if heart.is_zombied(alive):
                self._leave(
                    attempt, now, Cause.ZOMBIED, Action.RESUME, "heartbeat not acknowledged"
                )
            else:
                self.commands.append(encode_heartbeat(self.sequence.last))
                heart.beat(now, alive)
        if attempt.early_at is not None and now >= attempt.early_at:
            self._measure_early(attempt, now)

    # --- inputs: the way down --------------------------------------------------------------------

    def connection_ended(
        self,
        now: float,
        *,
        close_code: int | None,
        reason: str = "",
        initiator: Initiator,
        error: BaseException | None = None,
    ) -> None:
        """
        Take the end of the connection (CloseInfo's fields). After this, take the `signals`: it
        has Ended with the outcome. Moves to DISCONNECTED, or STOPPED when the action is STOP.

        Raises:
            UsageError: there is no connection to end.
        """
        attempt = self._attempt
        if attempt is None:
            raise UsageError(f"there is no connection to end while {self.state.value}")
        reason = redact_value(reason, self.identity.token)
        outcome = judge(
            close_code, reason, initiator, error, identity=self.identity, random=self._random
        )
        planned = attempt.ending
        if planned is None:
            outcome = replace(outcome, ready_for_s=attempt.ready_for_s(now))
        elif is_graver(outcome.action, than=planned.action):
            # What we began stands, unless the service closed as well and with a graver code.
            outcome = replace(outcome, ready_for_s=planned.ready_for_s)
        else:
            outcome = planned
        self._end(now, outcome)

    def close(self, now: float, *, keep_session: bool) -> None:
        """
        Stop for good; wins in every state. Without effect once stopped.

        From a connected state: CloseWanted comes (a resumable code to keep the session, else 1000),
        and STOPPED with Ended follows at `connection_ended()` or the closing deadline. While
        CONNECTING: CloseWanted(abort=True) and Ended at once; cancel the attempt. Otherwise Ended
        at once. After a stop that keeps it, `session` is what the store should have.
        """
        if self.state is State.STOPPED:
            return
        kept = keep_session and self._keeper.is_resumable()
        if not kept:
            self._end_session(Cause.STOPPED)
        code = RESUMABLE_CLOSE_CODE if kept else FINAL_CLOSE_CODE
        attempt = self._attempt
        if attempt is not None and self.state in CONNECTED:
            self._leave(attempt, now, Cause.STOPPED, Action.STOP, "stopped", close_code=code)
        elif attempt is not None and attempt.ending is not None:
            attempt.ending = replace(
                attempt.ending, action=Action.STOP, cause=Cause.STOPPED, error=None
            )
        else:
            if self.state is State.CONNECTING:
                self.signals.append(CloseWanted(code, "stopped", abort=True))
            self._end(now, Outcome(
                Action.STOP, initiator=Initiator.CLIENT, cause=Cause.STOPPED, reason="stopped"
            ))  # fmt: skip

    # --- what messages do ------------------------------------------------------------------------

    def _hello(self, attempt: Attempt, data: object, now: float) -> None:
        try:
            interval_s = read_hello(data)
        except ProtocolError as error:
            self._violation(attempt, now, error)
            return
        # The first beat is jittered over the whole interval (Discord docs, "Heartbeat interval").
        first_at = now + interval_s * self._random()
        attempt.heartbeat = Heartbeat(interval_s, first_at=first_at, paused=attempt.is_paused)
        session_id, last = self._keeper.session_id, self.sequence.last
        if not attempt.plan.resume or session_id is None or last is None:
            self._move(Trigger.HELLO_IDENTIFY)
            attempt.deadline = None  # a turn may take its time; heartbeats watch the connection
            self.signals.append(IdentifyWanted())
            return
        self._move(Trigger.HELLO_RESUME)
        self.commands.append(encode_resume(self.identity.token, session_id, last))
        self.sequence.start_replay()
        attempt.replay = Replay(self._replays, resumed_from=last)
        attempt.wait_for(DeadlineKind.RESUMED, now + self.timeouts.resumed_s)

    def _ready(self, attempt: Attempt, event: Message | Event, now: float) -> None:
        try:
            data = event.data
            session_id, resume_url = read_ready(data)
            if self.state is not State.IDENTIFYING or not attempt.identify_written:
                if session_id == self._keeper.session_id:
                    return  # delivered again, as any dispatch may be
                self._end_session(Cause.PROTOCOL_ERROR)  # the service says that it has another
                raise ProtocolError("READY of another session came without IDENTIFY")
            self._check_resumable(session_id)
        except ProtocolError as error:
            self._violation(attempt, now, error)
            return
        self._keeper.start(session_id, resume_url)
        self._up(attempt, Trigger.READY, now)
        self.signals.append(Ready(data))

    def _check_resumable(self, session_id: str) -> None:
        try:
            encode_resume(self.identity.token, session_id, MAX_SEQUENCE)
        except UsageError as error:  # CommandTooBig is one
            raise ProtocolError(
                f"READY has a session_id that RESUME cannot hold: {quote(session_id)}"
            ) from error

    def _resumed(self, attempt: Attempt, sequence: int | None, now: float) -> None:
        if attempt.replay is None or not attempt.replay.ends_with(sequence):
            return
        self._keeper.resumed(attempt.plan)
        self.sequence.end_replay()
        self._up(attempt, Trigger.RESUMED, now)
        self.signals.append(Resumed(*attempt.replay.end(sequence)))

    def _up(self, attempt: Attempt, trigger: Trigger, now: float) -> None:
        self._move(trigger)
        attempt.deadline = None
        attempt.ready_at = now
        if self._early_heartbeat:
            attempt.early_at = now + EARLY_AGAIN_S
            self.signals.append(HeartbeatWanted())

    def _invalid_session(self, attempt: Attempt, resumable: bool, now: float) -> None:
        if self.state is State.IDENTIFYING:
            # Rate limited or an error inside (discord-api-docs#254): the identify key is taken for
            # its whole interval, whatever `d` says.
            delay_s = IDENTIFY_INTERVAL_S + between(IDENTIFY_PAD_S, self._random)
            action = Action.IDENTIFY
        else:
            delay_s = between(INVALID_SESSION_WAIT_S, self._random)
            action = Action.RESUME if resumable else Action.IDENTIFY
        self._leave(attempt, now, Cause.INVALID_SESSION, action, "invalid session", delay_s=delay_s)

    def _receive_late(self, op: int, message: Message | Event) -> None:
        # We are leaving; of all that may still come, one thing changes what to do next: `_end`
        # finds no session to resume.
        if op == Opcode.INVALID_SESSION and message.data is not True:
            self._end_session(Cause.INVALID_SESSION)

    def _violation(self, attempt: Attempt, now: float, error: ProtocolError) -> None:
        # The session, if there is one, is none the worse for it: RESUME asks the service.
        self._leave(attempt, now, Cause.PROTOCOL_ERROR, Action.RESUME, str(error), error=error)

    # --- what time does --------------------------------------------------------------------------

    def _wait_on(self, attempt: Attempt, now: float) -> None:
        """Let a deadline begin anew while there is a reason for the wait."""
        if self.state is State.RESUMING and attempt.replay is not None:
            # Replayed dispatches do not come through here; a long replay starts the wait anew. And
            # what we do not read, we cannot miss.
            if attempt.replay.has_moved() or attempt.is_paused:
                attempt.wait_for(DeadlineKind.RESUMED, now + self.timeouts.resumed_s)
        elif self.state is State.IDENTIFYING and attempt.is_paused and attempt.identify_written:
            attempt.wait_for(DeadlineKind.READY, now + self.timeouts.ready_s)  # nor miss READY

    def _measure_early(self, attempt: Attempt, now: float) -> None:
        """Want another early beat where a pause of ours fell upon the way of the one before."""
        heart = attempt.heartbeat
        if self.state is not State.READY or heart is None or heart.latency is not None:
            attempt.early_at = None
            return
        attempt.early_at = now + EARLY_AGAIN_S
        if not attempt.is_paused and not heart.is_measuring:
            self.signals.append(HeartbeatWanted())

    def _deadline_passed(self, attempt: Attempt, kind: DeadlineKind, now: float) -> None:
        match kind:
            case DeadlineKind.HELLO:
                self._leave(attempt, now, Cause.HELLO_TIMEOUT, Action.RESUME, "no HELLO")
            case DeadlineKind.READY:
                self._leave(attempt, now, Cause.READY_TIMEOUT, Action.IDENTIFY, "no READY")
            case DeadlineKind.RESUMED:
                self._leave(attempt, now, Cause.RESUMED_TIMEOUT, Action.RESUME, "no RESUMED")
            case DeadlineKind.CLOSE:
                self._abort(attempt, now)
            case DeadlineKind.ABORT if attempt.ending is not None:
                # Not even the abort was answered: it counts as ended.
                self._end(now, attempt.ending)

    # --- moves -----------------------------------------------------------------------------------

    def _move(self, trigger: Trigger, cause: Cause | None = None) -> None:
        old = self.state
        new = TRANSITIONS.get((old, trigger))
        if new is None:
            raise UsageError(f"{trigger.value!r} is no move from {old.value!r}")
        self.state = new
        self.signals.append(StateChanged(old, new, cause))

    def _end_session(self, cause: Cause) -> None:
        keeper = self._keeper
        session_id, last, last_byte_at = keeper.session_id, self.sequence.last, keeper.last_byte_at
        if last_byte_at is None and self._attempt is not None and self._attempt.had_session:
            last_byte_at = self._attempt.last_byte_at
        keeper.forget()
        if session_id is not None:
            self.signals.append(SessionEnded(session_id, cause, last, last_byte_at))

    def _leave(
        self,
        attempt: Attempt,
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
        attempt.ending = Outcome(
            action, close_code=close_code, reason=reason, initiator=Initiator.CLIENT, cause=cause,
            delay_s=delay_s, ready_for_s=attempt.ready_for_s(now), error=error,
        )  # fmt: skip
        if action is Action.IDENTIFY:
            self._end_session(cause)
        self._move(Trigger.CLOSE, cause)
        attempt.ready_at = None
        self.commands.clear()
        if abort:
            self._abort(attempt, now)
        else:
            attempt.wait_for(DeadlineKind.CLOSE, now + self.timeouts.close_s)
            self.signals.append(CloseWanted(close_code, reason, abort=False))

    def _abort(self, attempt: Attempt, now: float) -> None:
        attempt.wait_for(DeadlineKind.ABORT, now + self.timeouts.tls_shutdown_s)
        ending = attempt.ending
        if ending is not None:
            self.signals.append(
                CloseWanted(ending.close_code or RESUMABLE_CLOSE_CODE, ending.reason, abort=True)
            )

    def _end(self, now: float, outcome: Outcome) -> None:
        """End a connection, or an attempt at one; the only place that says Ended."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None and outcome.ready_for_s is None:
            self._note_failure(attempt, outcome.cause)
        self.sequence.end_replay()
        self._keeper.connection_ended(now if attempt is None else attempt.last_byte_at or now)
        if outcome.action is Action.RESUME and self._keeper.is_expired(now):
            self._end_session(Cause.EXPIRED)
        if outcome.action is Action.RESUME and not self._keeper.is_resumable():
            outcome = replace(outcome, action=Action.IDENTIFY)
        refused_for_good = outcome.action is Action.STOP and outcome.cause is not Cause.STOPPED
        if outcome.action is Action.IDENTIFY or refused_for_good:
            self._end_session(outcome.cause)
        self.outcome = outcome
        self.commands.clear()
        self.generation += 1  # whatever the old connection still says is stale
        self._move(Trigger.STOP if outcome.action is Action.STOP else Trigger.END, outcome.cause)
        self.signals.append(Ended(outcome))

    def _note_failure(self, attempt: Attempt, cause: Cause) -> None:
        """Tell the keeper of the session what an attempt that never became READY says about it."""
        blameless = cause in (Cause.SLEPT, Cause.STOPPED)
        self._keeper.attempt_failed(
            attempt.plan,
            silent=cause is Cause.RESUMED_TIMEOUT,
            host_at_fault=not blameless and cause is not Cause.INVALID_SESSION,
        )
        if attempt.replay is not None and attempt.replay.has_news():
            self._keeper.progressed()
