"""
One shard at work: the asyncio shell around `GatewayProtocol`.

Theory. One task, the owner, makes one attempt after another and is the only place that connects;
so two causes at once can never make two connections. Everything else happens in callbacks: the
connection's receiver, one timer, and the gateway's tick hand what happened to the protocol, then
`_drain()` writes its commands and applies its signals. An attempt ends with the protocol's `Closed`
signal, which wakes the owner.

Each connection has its own `_Link`. It is deaf as soon as its attempt has ended, so what an old
connection still says is dropped (protocol.md 13.19). Identify turns are taken before the socket is
opened: a socket that waits for its turn for minutes would be closed by the service.

What to do is decided elsewhere: by `protocol` (states, where to go), `reconnect` (when), `pacing`
(how much), `commands` (what is sent).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ._decode import Decoder, Sequence
from .commands import CommandQueue
from .errors import ConnectionClosed, FastgwError, FatalError, SessionLost, UsageError
from .pacing import SendBudget
from .protocol import GatewayProtocol
from .reconnect import ReconnectPolicy, is_permanent
from .signals import (
    Cause,
    Closed,
    CloseWanted,
    IdentifyWanted,
    Ready,
    Resumed,
    SessionDropped,
    StateChanged,
)
from .states import CONNECTED, State
from .stats import ShardCounters, ShardHealth, shard_health
from .transport import CloseInfo, Connection
from .wire import Action, Initiator, Opcode, encode_command, redact

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from ._decode import Event, Interests, Message
    from .identity import Identity
    from .pacing import IdentifyGate, IdentifyTurn
    from .protocol import Timeouts
    from .resume import Plan
    from .signals import Outcome, Signal

__all__ = ["Shard", "ShardHost", "ShardSetup", "StatusChange"]

log = logging.getLogger(__name__)

# What fastgw itself sends; from a user they would break the session (4003, 4005).
_OWN_OPCODES = frozenset({Opcode.DISPATCH, Opcode.HEARTBEAT, Opcode.IDENTIFY, Opcode.RESUME})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSetup:
    """What all shards of a gateway have in common. compression is the Decoder's word for it."""

    url: str
    compression: str
    interests: Interests
    gate: IdentifyGate
    timeouts: Timeouts
    ssl_context: ssl.SSLContext | None
    headers: Mapping[str, str]
    random: Callable[[], float]


@dataclass(frozen=True, slots=True)
class StatusChange:
    """
    One transition of one shard, for `@gateway.on_status`.

    Attributes:
        shard: whose.
        old, new: the states.
        cause: why it went down; None on the way up.
        error: what broke, when the connection ended because of an error.
    """

    shard: Shard
    old: State
    new: State
    cause: Cause | None
    error: BaseException | None


class ShardHost(Protocol):
    """What a shard needs of its gateway."""

    @property
    def was_ready(self) -> bool:
        """Whether any shard of it has ever been READY."""

    def status_changed(self, change: StatusChange) -> None:
        """A shard's state moved."""

    def shard_stopped(self, shard: Shard, error: FastgwError | None) -> None:
        """A shard has stopped for good; called once. error is None when it was asked to."""

    def handler_failed(self, event: Event, error: BaseException) -> None:
        """A handler that the listener called directly raised."""


class _Link:
    """The receiving end of one connection; deaf once the shard has gone on."""

    __slots__ = ("_shard", "connection", "decoder", "plan")

    def __init__(self, shard: Shard, plan: Plan, decoder: Decoder, close_timeout_s: float) -> None:
        self._shard = shard
        self.plan = plan
        self.decoder = decoder
        self.connection = Connection(decoder, self, close_timeout_s=close_timeout_s)

    def connection_made(self, connection: Connection) -> None:
        shard = self._shard
        if shard._listens_to(self):
            shard._protocol.opened(time.monotonic())
            shard._drain()

    def message_received(self, message: Message | Event) -> None:
        shard = self._shard
        if shard._listens_to(self):
            shard._protocol.receive(message, time.monotonic())
            shard._drain()

    def handler_failed(self, event: Event, error: BaseException) -> None:
        self._shard._host.handler_failed(event, error)

    def connection_lost(self, info: CloseInfo) -> None:
        shard = self._shard
        if shard._listens_to(self):
            shard._lost(info)


class Shard:
    """
    One shard of a gateway. Made, started and stopped by `Gateway`.

    Attributes:
        id: its number, from 0.
        count: how many shards the bot has.
        error: why it stopped for good; None while it runs, and after a stop that was asked for.
    """

    def __init__(self, identity: Identity, setup: ShardSetup, host: ShardHost) -> None:
        self.id = identity.shard_id
        self.count = identity.shard_count
        self.error: FastgwError | None = None
        self._identity = identity
        self._setup = setup
        self._host = host
        self._sequence = Sequence()
        stream = setup.compression.endswith("-stream")
        self._protocol = GatewayProtocol(
            identity,
            url=setup.url,
            compress=setup.compression if stream else None,
            sequence=self._sequence,
            timeouts=setup.timeouts,
            random=setup.random,
        )
        self._policy = ReconnectPolicy(setup.random)
        self._queue = CommandQueue(SendBudget())
        self._counters = ShardCounters()
        self._owner: asyncio.Task[None] | None = None
        self._link: _Link | None = None
        self._turn: IdentifyTurn | None = None
        self._ended: asyncio.Future[Outcome] | None = None  # of the attempt under way
        self._lingering: set[asyncio.Task[object]] = set()  # old sockets on their way out
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._draining = False

    def __repr__(self) -> str:
        return f"<Shard {self.id}/{self.count} {self.status.value}>"

    # --- what users look at ----------------------------------------------------------------------

    @property
    def status(self) -> State:
        """The state of its connection, now."""
        return self._protocol.state

    @property
    def latency(self) -> float | None:
        """Seconds of the last heartbeat's round trip; None when unknown or too old to mean much."""
        heartbeat = self._protocol.heartbeat
        return None if heartbeat is None else heartbeat.latency_if_fresh(time.monotonic())

    async def send(self, op: int, d: object = None) -> None:
        """
        Send a command; return when it is written.

        It waits until the session is up and the send budget (120 in 60 s, heartbeats included) has
        room, in the order of the calls. Cancelling takes it back.

        Args:
            op: an opcode such as Opcode.PRESENCE_UPDATE; heartbeat, identify and resume are ours.
            d: anything that JSON can hold; the whole command may have 4096 bytes.
        Raises:
            UsageError: an opcode of ours, or data that is no JSON or too long.
            SendQueueFull: too many commands wait already.
            SessionLost: the session ended, or the shard stopped, before it was written.
        """
        if op in _OWN_OPCODES:
            raise UsageError(f"op {int(op)} is sent by fastgw itself; it is not for shard.send()")
        if self.status is State.STOPPED:
            raise SessionLost(f"shard {self.id} is stopped: nothing can be sent any more")
        written = self._queue.put(encode_command(op, d))
        self._pump()
        self._arm()
        await written

    def health(self) -> ShardHealth:
        """Return its figures at this moment."""
        now = time.monotonic()
        self._look(now)
        decoder = None if self._link is None else self._link.decoder
        return shard_health(now, self._protocol, self._counters, decoder, len(self._queue))

    # --- what the gateway does -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and stay connected until `close()`."""
        self._owner = asyncio.get_running_loop().create_task(
            self._own(), name=f"fastgw shard {self.id}"
        )

    async def close(self, *, keep_session: bool = False) -> None:
        """
        Stop for good, in whatever state; return when the socket is gone.

        Unless the session is kept it is ended with 1000, and the bot goes offline at once.
        """
        self._protocol.close(time.monotonic(), keep_session=keep_session)
        self._drain()
        if self._owner is None:
            return
        if self._ended is None:
            self._owner.cancel()  # it waits for a time or a turn, and holds no socket
        await asyncio.wait((self._owner,))
        if self._lingering:
            await asyncio.wait(self._lingering, timeout=self._setup.timeouts.close_s + 1.0)

    def abort(self) -> None:
        """Stop at once: drop the socket without a word. The session could still be resumed."""
        if self._owner is not None:
            self._owner.cancel()

    def tick(self, now: float, wall: float) -> None:
        """Look at the clocks; called about once a second."""
        self._look(now)
        if self._link is not None and self.status in CONNECTED:
            received = self._link.connection.bytes_received()
            self._protocol.timer(now, bytes_received=received, wall=wall)
            self._drain()

    # --- the owner: one attempt after another ----------------------------------------------------

    async def _own(self) -> None:
        error: FastgwError | None = None
        try:
            error = await self._keep_connected()
        except FatalError as refused:  # the gate is shut: nobody may identify any more
            error = refused
        except asyncio.CancelledError:
            pass  # close() and abort() cancel; nobody awaits this task for its result
        except Exception as bug:
            log.exception("shard %d stopped by an error in fastgw itself", self.id)
            error = FastgwError(f"shard {self.id} stopped by an error in fastgw itself: {bug!r}")
            error.__cause__ = bug
        finally:
            self._end(error)

    async def _keep_connected(self) -> FastgwError | None:
        """Attempt after attempt; return the error that ends it, None for a stop."""
        while True:
            now = time.monotonic()
            plan = self._protocol.plan(now)
            self._drain()
            attempt_at = self._policy.attempt_at(resume=plan.resume)
            if attempt_at > now:
                await asyncio.sleep(attempt_at - now)
                continue  # the session may have grown too old meanwhile: plan again
            turn = None if plan.resume else await self._setup.gate.acquire(self.id)
            try:
                outcome = await self._attempt(plan, turn)
            finally:
                if turn is not None:
                    turn.release()
            if outcome.action is Action.STOP:
                return outcome.error if isinstance(outcome.error, FastgwError) else None
            # Before anything ever worked, a wrong certificate or no websocket at all is a mistake
            # in the configuration. Later it is a bad moment of the network, and passes.
            if is_permanent(outcome.error) and not self._host.was_ready:
                assert isinstance(outcome.error, FastgwError)
                return outcome.error
            self._policy.connection_ended(outcome, time.monotonic())

    async def _attempt(self, plan: Plan, turn: IdentifyTurn | None) -> Outcome:
        """Make one connection and see it through to its end."""
        setup, timeouts = self._setup, self._setup.timeouts
        decoder = Decoder(
            compression=setup.compression,
            interests=setup.interests,
            sequence=self._sequence,
            shard_id=self.id,
        )
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        link = _Link(self, plan, decoder, timeouts.close_s)
        self._link, self._turn, self._ended = link, turn, ended
        self._counters.connection_began()
        self._queue.new_connection()
        self._protocol.connecting(plan, time.monotonic())
        self._drain()
        opening = asyncio.ensure_future(
            link.connection.open(
                plan.url,
                ssl_context=setup.ssl_context,
                headers=setup.headers,
                open_timeout_s=timeouts.open_s,
            )
        )
        try:
            await asyncio.wait((opening, ended), return_when=asyncio.FIRST_COMPLETED)
            if opening.done() and not ended.done() and (error := opening.exception()) is not None:
                self._open_failed(error)
            return await ended
        finally:
            self._leave(link)
            opening.cancel()
            await asyncio.wait((opening,))
            if not opening.cancelled():
                opening.exception()  # seen above, or of no interest any more

    def _open_failed(self, error: BaseException) -> None:
        if not isinstance(error, FastgwError):
            log.error("shard %d: connecting failed in an unforeseen way", self.id, exc_info=error)
        if self.status is State.CONNECTING:
            self._protocol.connect_failed(time.monotonic(), error)
            self._drain()
        else:
            cause = error if isinstance(error, Exception) else None
            self._lost(CloseInfo(None, "", Initiator.TRANSPORT, cause))

    def _lost(self, info: CloseInfo) -> None:
        if info.initiator is Initiator.SERVICE and info.close_code is not None:
            self._counters.close_codes[info.close_code] += 1
        self._protocol.lost(
            time.monotonic(),
            close_code=info.close_code,
            reason=info.reason,
            initiator=info.initiator,
            error=info.error,
        )
        self._drain()

    def _leave(self, link: _Link) -> None:
        """Let go of a connection that is over; its socket may take a moment to go."""
        self._look(time.monotonic())
        self._link = self._turn = self._ended = None
        self._counters.connection_ended(link.decoder)
        if link.connection.is_open:
            link.connection.abort()
        gone = asyncio.ensure_future(link.connection.wait_closed())
        self._lingering.add(gone)
        gone.add_done_callback(self._lingering.discard)

    def _end(self, error: FastgwError | None) -> None:
        """The owner ends: whatever the state is, it is STOPPED now."""
        now = time.monotonic()
        self._protocol.close(now, keep_session=False)
        if self.status is not State.STOPPED:  # the owner was cancelled and its socket dropped
            self._protocol.lost(now, close_code=None, initiator=Initiator.CLIENT)
        self.error = error
        self._drain()
        self._queue.fail(SessionLost(f"shard {self.id} is stopped; the command was not sent"))
        self._host.shard_stopped(self, error)

    def _listens_to(self, link: _Link) -> bool:
        """Tell whether a connection's callbacks count: its attempt is the current one, and open."""
        return self._link is link and self._ended is not None and not self._ended.done()

    # --- callbacks: run the protocol -------------------------------------------------------------

    def _drain(self) -> None:
        """After every input of the protocol: write its commands, apply its signals, re-arm."""
        if self._draining:
            return  # called from within a signal; the loop below goes on
        self._draining = True
        try:
            while True:
                for command in self._protocol.commands_to_send():
                    self._queue.put_urgent(command)
                self._pump()
                signal = self._protocol.next_signal()
                if signal is None:
                    break
                self._apply(signal)
        finally:
            self._draining = False
        self._arm()

    def _apply(self, signal: Signal) -> None:
        now, counters = time.monotonic(), self._counters
        if isinstance(signal, StateChanged):
            self._state_changed(signal)
        elif isinstance(signal, IdentifyWanted):
            self._identify(now)
        elif isinstance(signal, Ready):
            counters.session_at = now
            self._policy.session_began(now)
            self._release_turn()
        elif isinstance(signal, Resumed):
            counters.resumes_won += 1
            log.info(
                "shard %d: resumed, %d events replayed, %d dropped as duplicates",
                self.id, signal.replayed, signal.duplicates,
            )  # fmt: skip
        elif isinstance(signal, SessionDropped):
            counters.session_at = None
            counters.sessions_lost += signal.cause is not Cause.STOPPED
            self._policy.session_dropped(now)
            self._queue.fail(
                SessionLost(
                    f"the session of shard {self.id} was lost ({signal.cause.value}); "
                    f"the command was not sent"
                )
            )
        elif isinstance(signal, CloseWanted):
            if self._link is not None and signal.abort:
                self._link.connection.abort()
            elif self._link is not None:
                self._link.connection.close(signal.close_code, signal.reason)
        elif isinstance(signal, Closed):
            self._closed(signal.outcome)

    def _state_changed(self, change: StateChanged) -> None:
        old, new = change.old, change.new
        self._queue.is_open = new is State.READY
        if new in (State.IDENTIFYING, State.RESUMING):
            interval_s = self._protocol.heartbeat_interval_s
            if interval_s is not None:
                self._queue.budget.reserve_heartbeats(interval_s)
        ended = new in (State.DISCONNECTED, State.STOPPED)
        outcome = self._protocol.outcome if ended else None
        why = "" if change.cause is None else f" ({self._explain(change.cause, outcome)})"
        log.info(
            "shard %d: %s -> %s%s", self.id, old.value, new.value, why, extra={"shard_id": self.id}
        )
        error = None if outcome is None else outcome.error
        self._host.status_changed(StatusChange(self, old, new, change.cause, error))

    def _explain(self, cause: Cause, outcome: Outcome | None) -> str:
        parts = [cause.value]
        if outcome is not None and outcome.initiator is Initiator.SERVICE:
            parts.append(f"code {outcome.close_code}")
        said = "" if outcome is None else str(outcome.error or outcome.reason)
        if said not in ("", cause.value):
            parts.append(said)
        return redact(": ".join(parts), self._identity.token)

    def _identify(self, now: float) -> None:
        if self._turn is None:
            # Planned as a resume, and the session went meanwhile. A turn may take minutes, and the
            # service does not wait that long: come back when it is held.
            if self._link is not None:
                self._link.connection.abort()
            return
        self._protocol.identify(now)
        for command in self._protocol.commands_to_send():
            self._queue.put_urgent(command)
        self._pump()
        self._turn.written()
        self._policy.identify_written(now)
        self._counters.identifies += 1

    def _release_turn(self) -> None:
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def _closed(self, outcome: Outcome) -> None:
        counters = self._counters
        stopped = outcome.cause is Cause.STOPPED
        if not stopped:
            counters.reconnects[outcome.cause.value] += 1
            counters.last_error = outcome.error
        if self._link is not None and self._link.plan.resume and outcome.ready_for_s is None:
            counters.resumes_lost += not stopped
        self._release_turn()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(outcome)

    def _pump(self) -> None:
        """Write what may go now."""
        link = self._link
        if link is None or not link.connection.is_open:
            return
        try:
            self._queue.pump(time.monotonic(), link.connection.send)
        except ConnectionClosed:
            log.debug("shard %d: the connection closed while writing", self.id)

    def _arm(self) -> None:
        """Set the one timer to whatever is due next."""
        now = time.monotonic()
        due = [self._protocol.timer_at()]
        if self._link is not None and self._link.connection.is_open:
            due.append(self._queue.timer_at(now))
        at = min((at for at in due if at is not None), default=None)
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at, self._timer = at, None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._due)

    def _due(self) -> None:
        self._timer = self._timer_at = None
        received = None if self._link is None else self._link.connection.bytes_received()
        self._protocol.timer(time.monotonic(), bytes_received=received)
        self._drain()

    def _look(self, now: float) -> None:
        if self._link is not None:
            received = self._link.connection.bytes_received()
            self._counters.look(now, self._link.decoder, received, self._protocol.last_ack_at)
