"""
What keeps one shard connected: the asyncio shell around `GatewayProtocol`.

Theory. One task, the owner, begins one attempt after another. Everything else happens in callbacks:
the connection's link, one timer, and the gateway's tick tell the protocol what happened, by
`_do()`, which then writes its commands and obeys its signals. `Ended`, its last, wakes the owner.

Whatever raises on the way, a bug of ours or something that others have hung in, costs the
connection and not the shard: `_failed()` ends it as if it was lost, and `Ended` comes as always.

`protocol` decides what to do and where to go, `reconnect` when, `budget` how much may be sent.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NoReturn, ParamSpec

from ..errors import FastgwError, FatalError, SessionLost
from ..log import careful_logger
from ..protocol.machine import GatewayProtocol
from ..protocol.signals import (
    Cause,
    CloseWanted,
    Ended,
    HeartbeatWanted,
    IdentifyWanted,
    Outcome,
    Ready,
    Resumed,
    SessionEnded,
    StateChanged,
)
from ..protocol.states import CONNECTED, State
from ..protocol.wire import Opcode, encode_command
from ..words import Action, Initiator
from .alarm import Alarm
from .announcer import Announcer
from .counters import ShardCounters, shard_health, shard_stats
from .face import Shard
from .link import HeldTurn, Link
from .origin import SessionOrigin
from .outbox import Outbox
from .owner import Owner
from .reading import Reading, Reason
from .reconnect import ReconnectPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._decode import Event, Message
    from ..connection.websocket import CloseInfo, Connection
    from ..health.counts import ShardStats
    from ..health.figures import ShardHealth
    from ..protocol.identity import Identity
    from ..protocol.session import Plan, Session
    from ..protocol.signals import Signal
    from .link import ShardSetup
    from .ports import ShardHost

__all__ = ["ShardDriver"]

log = careful_logger("fastgw.shard")
P = ParamSpec("P")


class ShardDriver:
    """
    Connects one shard, and connects it again, until it is closed or refused for good.

    Attributes:
        shard: the face that users see.
        error: why it stopped for good; None while it runs, and after a stop that was asked for.
    """

    def __init__(
        self,
        identity: Identity,
        setup: ShardSetup,
        host: ShardHost,
        *,
        session: Session | None = None,
        last_byte_at: float | None = None,
    ) -> None:
        """
        Make a shard that is not started.

        Args:
            identity: what IDENTIFY says.
            setup: what it has in common with others.
            host: who hears of it.
            session: a stored session to begin with.
            last_byte_at: when a byte of it came last, in monotonic seconds, None when unknown.
        """
        self.shard = Shard(self, identity.shard_id, identity.shard_count, setup.delivery.home)
        self.error: FastgwError | None = None
        self._id = identity.shard_id
        self._said = {"shard_id": self._id}  # with each record of a log
        self._announcer = Announcer(self.shard, host, token=identity.token)
        self._setup = setup
        self._ledger = setup.delivery.ledgers[identity.shard_id]
        self._host = host
        self._protocol = GatewayProtocol(
            identity,
            url=setup.url,
            compress=setup.compression.in_url,
            timeouts=setup.timeouts,
            random=setup.random,
            session=session,
            last_byte_at=last_byte_at,
            early_heartbeat=setup.early_heartbeat,
        )
        self._reading = Reading(self._protocol)
        setup.delivery.pressure.obeyed(self._ledger, self._reading.hold)
        self._origin = SessionOrigin(session)
        self._policy = ReconnectPolicy(setup.random, setup.backoff_s)
        self._outbox = Outbox(self._id, setup.may_speak)
        self._queue = self._outbox.queue
        if session is not None and identity.presence is not None:  # IDENTIFY was another process's
            self._queue.want_presence(encode_command(Opcode.PRESENCE_UPDATE, identity.presence))
        self._counters = ShardCounters(setup.delivery.latencies.network)
        self._owner = Owner(self, self._id, setup, self._policy, host)
        self._link: Link | None = None  # of the attempt under way
        self._unsettled: set[asyncio.Task[None]] = set()  # old sockets on their way out
        self._alarm = Alarm(self._due)
        self._is_running = False

    # --- what users look at ----------------------------------------------------------------------

    @property
    def status(self) -> State:
        """The state of its connection, now."""
        return self._protocol.state

    @property
    def main_failures(self) -> int:
        """Attempts in a row that failed at the main URL; 0 after READY, RESUMED or a new URL."""
        return self._protocol.main_failures

    def use_url(self, url: str) -> None:
        """Connect to this main URL from the next attempt on."""
        self._protocol.url = url

    @property
    def is_cold(self) -> bool:
        """Whether its session is of an earlier process."""
        return self._origin.is_cold

    def latency(self, now: float) -> float | None:
        """Return the seconds of the last heartbeat's round trip; None when unknown or old."""
        heartbeat = self._protocol.heartbeat
        return None if heartbeat is None else heartbeat.latency_if_fresh(now)

    def health(self, now: float) -> ShardHealth:
        """Return how the shard is; in another thread, as it was at the last tick."""
        if (link := self._link) is not None and self._setup.delivery.home.is_here():
            self._counters.look(now, link.decoder, link.bytes_received(), self._protocol.heartbeat)
        buffers, paused_by = 0 if link is None else link.buffer_bytes, self._reading.paused_by
        return shard_health(now, self._protocol, self._counters, self._queue, buffers, paused_by)

    def stats(self) -> ShardStats:
        """Return what the shard counted."""
        decoder = None if self._link is None else self._link.decoder
        return shard_stats(self._protocol, self._counters, self._queue, decoder)

    @property
    def session(self) -> Session | None:
        """What RESUME would need now; None without a session."""
        return self._protocol.session

    def send_room(self, now: float) -> int:
        """Return how many more commands would be written at once."""
        return self._queue.room(now)

    async def send(self, command: bytes, op: int, d: object, *, wait: bool) -> None:
        """Queue a user's command and wait until it is written; see `Shard.send`."""
        written = self._queue.put(command, op, d, may_wait=wait)
        self._do(self._outbox.pump)
        await written

    def set_presence(self, identity: Identity) -> None:
        """Show the presence of this identity, which every later IDENTIFY says."""
        self._protocol.identity = identity
        self._queue.want_presence(encode_command(Opcode.PRESENCE_UPDATE, identity.presence))
        self._do(self._outbox.pump)

    def pause_reading(self) -> None:
        """Stop reading from the connection; see `Shard.pause_reading`."""
        if self._outbox.connection is not None and self._outbox.connection.is_open:
            self._reading.pause(Reason.PROGRAM)

    def resume_reading(self) -> None:
        """Read again."""
        self._reading.resume(Reason.PROGRAM)

    # --- what the gateway does -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and stay connected until `close()`."""
        self._owner.start()

    async def close(self, *, keep_session: bool = False) -> None:
        """Stop for good, with 1000 unless the session is kept; return when the socket is gone."""
        self._do(self._protocol.close, time.monotonic(), keep_session=keep_session)
        timeouts, patience_s = self._setup.timeouts, 0.0
        if self._link is not None and self._protocol.state in (State.CLOSING, State.STOPPED):
            patience_s = timeouts.close_s + timeouts.tls_shutdown_s + 1.0  # it wakes the owner
        await self._owner.stop(patience_s)
        if self._unsettled:
            await asyncio.wait(self._unsettled, timeout=timeouts.close_s + 1.0)

    def deafen(self) -> None:
        """Hand out no event any more; may be called between any two lines of the program."""
        if self._outbox.connection is not None:
            self._outbox.connection.deafen()

    def reconnect(self, from_sequence: int | None = None) -> None:
        """Replace the connection by one that resumes, from an earlier sequence if one is said."""
        self._do(self._protocol.replace, time.monotonic())
        if from_sequence is not None:  # what came since comes again; the old one takes nothing now
            self._protocol.sequence.restore(from_sequence)

    def load(self) -> tuple[int, int] | None:
        """Return bytes of the read buffer and bytes received while it is READY."""
        if self.status is not State.READY or (connection := self._outbox.connection) is None:
            return None
        return connection.read_buffer_bytes, connection.bytes_received()

    def stored_sequence(self) -> int | None:
        """Return how far the session is, for the store; see `SessionOrigin.sequence`."""
        received = self._protocol.session_sequence
        reached = self._ledger.handled(received) if self._setup.stores_handled else received
        return self._origin.sequence(reached, self._protocol.state)

    def tick(self, now: float, wall: float) -> None:
        """Look at the clocks; called about once a second, and cheap: most have nothing to say."""
        if (link := self._link) is None or (connection := self._outbox.connection) is None:
            return
        try:
            received = connection.look()
            self._counters.look(now, link.decoder, received, self._protocol.heartbeat)
            if self._protocol.state in CONNECTED:
                self._protocol.handle_timer(now, bytes_received=received, wall=wall)
        except Exception as error:
            self._failed(error)
        if self._protocol.commands or self._protocol.signals:
            self._run()

    # --- what the owner asks ---------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether there is to be no further attempt."""
        return self._protocol.state is State.STOPPED

    def plan(self, now: float) -> Plan:
        """Return where to connect next, and whether to resume."""
        self._protocol.compress = self._setup.compression.in_url
        plan = self._protocol.plan(now)
        if self._protocol.signals:  # the session is too old
            self._run()
        return plan

    def queue_failed(self, error: Exception) -> None:
        """The identify queue raised."""
        self._counters.last_error = error

    def failed(self, bug: Exception) -> None:
        """A step of the owner's raised."""
        self._failed(bug)
        self._run()

    async def attempt(self, plan: Plan, turn: HeldTurn | None) -> tuple[Outcome, int]:
        """Make one connection and see it through to its end; how, and how many messages it had."""
        setup = self._setup
        link = self._link = Link(
            self, plan, turn, setup=setup, sequence=self._protocol.sequence, shard_id=self._id,
            reading=self._reading,
        )  # fmt: skip
        try:
            self._counters.connection_began(resume=plan.resume)
            self._queue.new_connection()
            self._protocol.connecting(plan)  # if it raises, nothing is dialled
            self._run()
            return await link.run(setup), link.decoder.messages
        finally:
            connection, self._link, self._outbox.connection = self._outbox.connection, None, None
            if connection is not None:
                self._unsettled.add(connection.settled)
                connection.settled.add_done_callback(self._unsettled.discard)
            received = link.bytes_received()
            self._counters.look(time.monotonic(), link.decoder, received, self._protocol.heartbeat)
            self._counters.connection_ended(link.decoder)

    def stopped(self, error: FastgwError | None) -> None:
        """The owner ends: whatever the state is, it is STOPPED now."""
        self.error = error
        if self._protocol.state is not State.STOPPED:
            self._do(self._stop, time.monotonic())
        self._queue.fail(SessionLost(f"shard {self._id} is stopped; the command was not sent"))
        self._host.shard_stopped(self.shard, error)

    def _stop(self, now: float) -> None:
        self._protocol.close(now, keep_session=self._host.keeps_sessions)
        if self._protocol.state is not State.STOPPED:  # it was cancelled, and its socket aborted
            self._protocol.connection_ended(now, close_code=None, initiator=Initiator.CLIENT)

    # --- what the link reports -------------------------------------------------------------------

    def connection_made(self, connection: Connection) -> None:
        """The upgrade is done."""
        self._outbox.connection = connection
        self._do(self._protocol.opened, time.monotonic())

    def message_received(self, message: Message | Event) -> None:
        """A message for the protocol came."""
        self._do(self._protocol.receive, message, time.monotonic())

    def connect_failed(self, error: BaseException) -> None:
        """The connection could not be opened."""
        self._do(self._protocol.connect_failed, time.monotonic(), error)

    def connection_ended(self, info: CloseInfo) -> None:
        """The connection has ended."""
        if info.initiator is Initiator.SERVICE and info.close_code is not None:
            self._counters.close_codes[info.close_code] += 1
        self._do(
            self._protocol.connection_ended,
            time.monotonic(),
            close_code=info.close_code,
            reason=info.reason,
            initiator=info.initiator,
            error=info.error,
        )

    # --- running the protocol --------------------------------------------------------------------

    def _do(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do a step, most often an input of the protocol, and then what the protocol wants."""
        try:
            step(*args, **kwargs)
        except Exception as error:
            self._failed(error)
        self._run()

    def _run(self) -> None:
        """Write commands, obey signals, re-arm: until nothing is wanted any more."""
        if self._is_running:
            return  # called from within a signal; the loop below goes on
        protocol, self._is_running = self._protocol, True
        try:
            is_armed = False
            while protocol.signals or not is_armed:
                try:
                    if protocol.commands:
                        self._outbox.write(self._protocol.commands_to_send())
                    if protocol.signals:
                        self._obey(protocol.signals.popleft(), time.monotonic())
                    else:
                        is_armed = True
                        self._arm()
                except Exception as error:  # noqa: PERF203  (an error costs this much at most)
                    self._failed(error)
        finally:
            self._is_running = False

    def _failed(self, error: Exception) -> None:
        """End the connection because of an error of our own, if there is one."""
        log.error("shard %d: an error in fastgw itself", self._id, exc_info=error, extra=self._said)
        now = time.monotonic()
        self._owner.hold_until(now + self._setup.backoff_s[0])
        link, outcome = self._link, self._protocol.outcome
        if self._protocol.state in (State.DISCONNECTED, State.STOPPED):
            self._counters.last_error = error
        else:
            outcome = None
            try:
                self._protocol.connection_ended(
                    now, close_code=None, initiator=Initiator.CLIENT, error=error
                )
            except Exception as worse:
                log.error("shard %d: and another then", self._id, exc_info=worse, extra=self._said)
                outcome = Outcome(Action.RESUME, error=error)
        if link is not None and outcome is not None:  # whoever was to tell it may have failed
            link.end(outcome)

    def _obey(self, signal: Signal, now: float) -> None:
        self._counters.note(signal, now)
        self._policy.note(signal, now)
        match signal:
            case StateChanged():
                self._state_changed(signal)
            case IdentifyWanted():
                self._identify(now)
            case HeartbeatWanted():
                if self._queue.budget.take_answer(now):
                    self._protocol.beat(now)
                    self._outbox.write(self._protocol.commands_to_send(), is_counted=True)
            case Ready():
                self._ledger.session_began()
                if self._link is not None and self._link.turn is not None:
                    self._link.turn.release()
                if (session := self._protocol.session) is not None:
                    self._host.session_began(session, signal.data)
            case Resumed():
                self._announcer.resumed(signal)
            case SessionEnded():
                is_loss = self._origin.ended() and self._protocol.state is not State.STOPPED
                self._host.session_ended(self._id, signal if is_loss else None)
                why = f"the session of shard {self._id} was lost ({signal.cause.value})"
                self._queue.fail(SessionLost(f"{why}; the command was not sent"))
            case CloseWanted():
                if self._link is not None and signal.abort:
                    self._link.abort()
                elif self._outbox.connection is not None:
                    self._outbox.connection.close(signal.close_code, signal.reason)
            case Ended():
                if signal.outcome.cause is not Cause.STOPPED:
                    self._counters.last_error = self._announcer.reason
                if isinstance(signal.outcome.error, FatalError):
                    # Before the turn goes back: no other shard may take it to be refused as well.
                    self._setup.gate.shut(signal.outcome.error)
                if self._link is not None:
                    self._link.end(signal.outcome)
            case _:
                _never(signal)

    def _state_changed(self, change: StateChanged) -> None:
        is_ready = self._queue.is_open = change.new is State.READY
        is_cold_resume = is_ready and self._origin.is_cold_resume()
        if is_ready:
            self._reading.session_is_up(self._outbox.connection)
            self._outbox.pump()
        elif change.old is State.READY:
            self._reading.session_is_down()
        has_hello = change.new in (State.IDENTIFYING, State.RESUMING)
        if has_hello and (heartbeat := self._protocol.heartbeat) is not None:
            self._queue.budget.reserve_heartbeats(heartbeat.interval_s)
        self._announcer.changed(
            change, self._protocol.outcome, stopped_by=self.error, is_cold_resume=is_cold_resume
        )

    def _identify(self, now: float) -> None:
        link = self._link
        if link is None or self._protocol.state is not State.IDENTIFYING:
            return  # the connection ended before this was obeyed
        if link.turn is None:
            # Planned as a resume, and the session went meanwhile. Come back when a turn is held.
            link.abort()
            return
        self._protocol.identify(now)
        self._queue.identified()
        self._outbox.write(self._protocol.commands_to_send())
        link.turn.written()
        self._policy.identify_written(now)
        self._counters.identifies += 1

    def _arm(self) -> None:
        """Set the one timer to whatever is due next."""
        now, at = time.monotonic(), self._protocol.timer_at()
        room_at = self._outbox.timer_at(now)
        if room_at is not None and (at is None or room_at < at):
            at = room_at
        self._alarm.set(at, now)

    def _due(self) -> None:
        self._do(self._on_time, time.monotonic())

    def _on_time(self, now: float) -> None:
        received = None if self._link is None else self._link.bytes_received()
        self._protocol.handle_timer(now, bytes_received=received)
        self._outbox.pump()


def _never(signal: NoReturn) -> NoReturn:
    """Let the type checker count the cases above: one that is missing is named there."""
    raise AssertionError(f"a signal that nobody obeys: {signal!r}")
