"""
What lives from `start()` to the end: the shards of one gateway, and what they share.

Theory. A fleet lives once, and only moves forward through its phases: new, starting (the API is
asked where to connect), running, closing, closed. Whatever ends it, `close()`, a refusal, no shard
that is left or a handler that asks for the end of the program, goes the same way, through one task
that closes shards, then waits for handlers, then stops the watch. What one shard's fatal refusal
means for the others is decided here: the identify gate is shut by the shard itself; shards that
have a session go on, and when all that are left have been refused the fleet ends with the error.
Without any shard, after `stop_shard`, it stays open: others may be started.

All shards start at once: those that identify wait for their turns, which come in the order of their
ids within each key (Discord's start order); those that resume need none, but one of a bounded
number of places for connections on their way up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from ..connection.dial import Turns
from ..errors import AuthenticationFailed, FastgwError, Interrupted, UsageError
from ..log import careful_logger
from ..protocol.states import State
from ..protocol.token import redact
from ..shard.reading import TURN_S
from .closing import close_store
from .commands.members import MemberRequests
from .fencing import Fencing
from .figures import FleetFigures
from .http.asking import ApiQuestion
from .http.url_watch import UrlWatch
from .loopwatch import LoopWatch
from .lost_sessions import LostSessions
from .outages import Outages
from .publishing import open_publisher
from .raising import anew, check_shard_id
from .readiness import progress_of, why_not_ready
from .relief import Relief
from .roster import Membership
from .setup import make_setup
from .shards import Shards
from .stores.sessions import open_sessions
from .turns.identify import open_gate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType

    from ..delivery.handlers import Handlers
    from ..health.counts import GatewayStats
    from ..health.figures import GatewayHealth
    from ..metrics.endpoint import Endpoint
    from ..protocol.session import Session
    from ..protocol.signals import SessionEnded
    from ..shard.driver import ShardDriver
    from ..shard.face import Shard, StatusChange
    from .http.gateway_info import GatewayInfo
    from .progress import StartProgress
    from .settings import FleetOptions
    from .stores.sessions import SessionWriter
    from .turns.identify import IdentifyGate

__all__ = ["Fleet", "Phase"]

log = careful_logger("fastgw.gateway")


class Phase(Enum):
    """Where a fleet is in its one life."""

    NEW = "not started"
    STARTING = "starting"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


class Fleet:
    """
    The shards of one gateway.

    Args:
        options: what the gateway was told.
        handlers: of events; their tasks are waited for at the end.
        tell_status: called with each transition of each shard.
    Attributes:
        phase: where it is in its life.
        was_ready: whether any shard has ever been READY.
        home: the loop it lives in.
        members: requests of members that are under way.
        drain_s: how long running handlers may go on after the end has begun.
    """

    def __init__(
        self,
        options: FleetOptions,
        handlers: Handlers,
        tell_status: Callable[[StatusChange], None],
    ) -> None:
        self.phase = Phase.NEW
        self.was_ready = False
        self.drain_s = options.drain_s
        self._options = options
        self._handlers = handlers
        self.home = handlers.home
        self._tell_status = tell_status
        self._shards = Shards(self, handlers, options.identity)
        self._roster = self._shards.roster
        self.members = MemberRequests(handlers, options.identity.intents, self.running_shard)
        self._gate: IdentifyGate | None = None
        self._sessions: SessionWriter | None = None
        self._end_session: bool | None = None  # as close() was told
        self._outages = Outages(options.identity.token)
        self._lost_sessions = LostSessions()
        self._watch = LoopWatch(self._tick)
        self._turns = Turns(TURN_S, handlers.latencies.delivered)
        self._relief = Relief(options.relief_bytes)
        self._figures = FleetFigures(handlers, self._watch, self._turns, self._relief, options)
        self._fencing = Fencing(self._roster, self._put_out, self.start_shard)
        self._question = ApiQuestion(options)
        # Who knows the answer of the API and passes it does not want it asked for.
        self._url_watch: UrlWatch | None = None
        if not options.info:
            self._url_watch = UrlWatch(self._question.again, self._take_info, random=options.random)
        self._endpoint: Endpoint | None = None
        self._closing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # set, and replaced, when shards are ready or stop
        self._error: Exception | None = None  # what it ends with
        self._error_traceback: TracebackType | None = None  # of before it was raised to anybody
        self._is_forced = False  # nobody has any patience left

    def place(self, fill_in: Callable[[FleetOptions], FleetOptions]) -> None:
        """Take what somebody else says of this process; see `Gateway.place`."""
        if self.phase is not Phase.NEW:
            raise UsageError("place() works before start()")
        self._options = self._question.options = fill_in(self._options)

    # --- one life: see Gateway -------------------------------------------------------------------

    def check_new(self) -> None:
        """Refuse a second start."""
        if self.phase is not Phase.NEW:
            raise UsageError(
                f"start() works once, and this gateway is {self.phase.value}; make a new Gateway"
            )

    async def start(self) -> None:
        """Ask where to connect, and start the shards."""
        self.check_new()
        self.home.enter("start")
        self.phase = Phase.STARTING
        try:
            self._endpoint = self._figures.serve(
                self._options.metrics, lambda: (self.shards, self.shard_count)
            )
            info, asked_at = await self._ask()
            gate = await open_gate(self._options, info, asked_at)
            self._gate = self._figures.gate = gate
            self._sessions = await open_sessions(self._options.store, self._options.identity)
            ids = self._prepare(info, gate, self._sessions)
            if self._options.may_take is not None:
                await self._options.may_take(self._sessions.is_durable)
                self._refuse_if_closing()
            await open_publisher(
                self._options.publish, self._handlers, self, self._options.identity
            )
            self._refuse_if_closing()
            await self._shards.take(ids, self._refuse_if_closing)
            self._watch.start()
        except BaseException as error:
            try:
                await close_store(self._sessions)
            finally:  # also when it is cancelled once more: who waits for the end must see it
                if self._closing is None:  # else close() ends it, and nothing has failed
                    self._end(error if isinstance(error, Exception) else None)
            await self._handlers.tasks.drain(self.drain_s)  # a publisher that was opened closes
            raise
        self.phase = Phase.RUNNING
        self._fencing.begin(self._sessions, takes_again=not self._options.is_shared)
        for driver in self._roster.drivers.values():
            driver.start()

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """Wait until every shard is READY."""
        self.home.enter("wait_ready")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._all_ready(), timeout_s)
            return
        if self._gate is not None and self._gate.spent is not None:
            raise anew(self._gate.spent)
        raise anew(why_not_ready(self.shards, timeout_s or 0.0, self._question.error))

    async def wait_closed(self) -> None:
        """Wait for the end; raise what it ended with."""
        if self.phase is Phase.NEW:
            raise UsageError("the gateway was not started: call start() first")
        if self.phase is not Phase.CLOSED:
            self.home.enter("wait_closed")
        while self.phase is not Phase.CLOSED:
            await self._changed.wait()
        if self._error is not None:
            raise self._error.with_traceback(self._error_traceback)

    async def close(self, end_session: bool | None = None) -> None:
        """End it, in whatever phase it is; return when it is closed."""
        if self.phase is not Phase.CLOSED and self.home.has_ended:
            # Its loop ended without close(), and took tasks and connections with it.
            self.phase = Phase.CLOSING
            await self._last_steps()
        if self.phase is Phase.CLOSED:
            return
        self.home.check_loop("close")
        if self._closing is None:
            self._end_session = end_session
        with self._handlers.tasks.caller_spared():
            await asyncio.shield(self._begin_close())

    # --- how it is -------------------------------------------------------------------------------

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards, by id; empty before they are started. Other threads may ask."""
        return self._roster.shards

    def shard(self, shard_id: int) -> Shard | None:
        """Return one shard; None when it does not run here."""
        driver = self._roster.drivers.get(shard_id)
        return None if driver is None else driver.shard

    def running_shard(self, shard_id: int) -> Shard:
        """Return one shard, or raise ShardNotHere."""
        return self.running(shard_id).shard

    def running(self, shard_id: int) -> ShardDriver:
        """Return the driver of a shard that runs here, or raise ShardNotHere."""
        return self._roster.here(shard_id)

    @property
    def shard_count(self) -> int:
        """How many shards the bot has in all; 0 while that is not known yet."""
        return self._shards.count or self._options.shard_count or 0

    def progress(self) -> StartProgress:
        """Return how many shards are READY."""
        return progress_of(self.shards)

    def health(self) -> GatewayHealth:
        """Return how all of it is at this moment."""
        return self._figures.health(self.shards)

    def stats(self) -> GatewayStats:
        """Return what all of it counted."""
        return self._figures.stats(self.shards)

    @property
    def keeps_sessions(self) -> bool:
        """Whether a shard that stops leaves its session to be resumed."""
        if self._end_session is not None:
            return not self._end_session
        return self._sessions is not None and self._sessions.is_durable

    # --- what shards and handlers report ---------------------------------------------------------

    def status_changed(self, change: StatusChange) -> None:
        """A shard's state moved."""
        if change.new is State.READY:
            self.was_ready = True
            self._announce()
        self._outages.note(change, time.monotonic())
        self.members.status_changed(change)
        self._tell_status(change)

    def session_began(self, session: Session, ready: Mapping[str, Any]) -> None:
        """READY came: store the session."""
        if self._sessions is not None:
            self._sessions.began(session, ready)

    def session_ended(self, shard_id: int, end: SessionEnded | None) -> None:
        """The session of a shard is over."""
        self.members.session_ended(shard_id)
        self._lost_sessions.note(shard_id, end, time.monotonic())
        if self._sessions is not None:
            self._sessions.ended(shard_id)

    def shard_stopped(self, shard: Shard, error: FastgwError | None) -> None:
        """A shard has stopped for good."""
        options = self._options
        if not self._roster.stopped(shard):
            return  # taken out by stop_shard(); the others go on, and so does the fleet
        if error is not None:
            said = redact(str(error), options.identity.token)
            facts = {"shard_id": shard.id, "cause": type(error).__name__}
            log.critical("shard %d stopped for good: %s", shard.id, said, extra=facts)
            self._fail(error)
            self._announce()
        # A refused token is refused for all; other refusals leave sessions that run alone.
        everybody = isinstance(error, AuthenticationFailed) or (
            error is not None and options.on_fatal == "stop"
        )
        if everybody or self._roster.is_over:
            self._begin_close()

    def interrupted(self, error: BaseException) -> None:
        """A handler raised SystemExit or KeyboardInterrupt: end; raise it if there is no time."""
        if self._is_forced:
            raise error
        interrupted = Interrupted(f"a handler raised {type(error).__name__}")
        interrupted.__cause__ = error
        self._fail(interrupted)
        self._begin_close()

    def refuse(self, error: FastgwError) -> None:
        """Something that all shards need cannot be had: end with this error."""
        log.critical("the gateway ends: %s", error)
        self._fail(error)
        self._begin_close()

    def grace(self) -> tuple[int, float]:
        """Return how many handlers have not ended, and how many seconds they get at the end."""
        return self._handlers.tasks.running, self.drain_s

    def force(self) -> None:
        """Hand out no event any more, let interrupts through; called between any two lines."""
        self._is_forced = True
        self._handlers.tasks.stop()
        self._shards.deafen()

    # --- single shards, at run time --------------------------------------------------------------

    async def stop_shard(self, shard_id: int) -> None:
        """Take one shard out; return when its socket is gone and others may run it."""
        self.home.check_loop("stop_shard")
        if await self._fencing.gives_up(shard_id):
            self._end_if_over()
            return
        self.running(shard_id)
        if (told := self._options.stopped) is not None:
            told(shard_id)
        await self._put_out(shard_id, False)

    async def start_shard(self, shard_id: int) -> Shard:
        """Take one more shard in; it connects by itself."""
        self.home.check_loop("start_shard")
        if self.phase is not Phase.RUNNING:
            raise UsageError(f"no shard can be started: the gateway is {self.phase.value}")
        check_shard_id(shard_id, self._shards.count)
        if self._roster.state(shard_id) is Membership.STOPPED:
            await self._put_out(shard_id, False)  # meanwhile nobody else takes it
        try:
            await self._shards.take(
                (shard_id,), partial(self._refuse_if_closing, f"shard {shard_id}")
            )
        except BaseException:
            self._end_if_over()
            raise
        driver = self.running(shard_id)
        driver.start()
        return driver.shard

    def reconnect_shard(self, shard_id: int) -> None:
        """Give a shard another connection, by RESUME."""
        self.home.check_loop("reconnect_shard")
        self.running(shard_id).reconnect()

    def set_presence(self, presence: Mapping[str, Any], shard_ids: Collection[int] | None) -> None:
        """Show a presence, now and in every later session, on some shards or on all."""
        self.home.check_loop("set_presence")
        self._shards.set_presence(presence, shard_ids)

    async def _put_out(self, shard_id: int, comes_back: bool) -> None:
        keep_session = self.keeps_sessions
        out = self._shards.take_out(shard_id, keep_session=keep_session, comes_back=comes_back)
        self._outages.forget(shard_id)
        self._announce()
        self._end_if_over()
        await asyncio.shield(out)

    def _end_if_over(self) -> None:
        """End when what is left has stopped for good, unless somebody else brings shards."""
        if self._roster.is_over and not self._options.is_shared:
            self._begin_close()

    # --- starting --------------------------------------------------------------------------------

    async def _ask(self) -> tuple[GatewayInfo, float]:
        """Learn where to connect; `close()` ends it."""
        try:
            answer = await self._question.first()
        except asyncio.CancelledError:
            if not self._question.is_stopped:
                raise
        self._refuse_if_closing()  # also when the answer came at the same moment
        return answer

    def _take_info(self, info: GatewayInfo) -> None:
        """Take what the API says by now: where to connect from the next attempt on."""
        self._shards.use_url(info.url)

    def _refuse_if_closing(self, what: str = "it") -> None:
        if self._closing is not None:  # which lets go of what was taken, too
            raise UsageError(f"the gateway was closed while {what} was starting")

    def _prepare(
        self, info: GatewayInfo, gate: IdentifyGate, sessions: SessionWriter
    ) -> tuple[int, ...]:
        """Make what all shards share; return their ids."""
        options = self._options
        ids, count = options.shard_ids, options.shard_count
        if ids is None:
            ids, count = tuple(range(info.shards)), info.shards
        setup = make_setup(
            options, self._handlers, gate, self._turns, self._fencing, url=info.url, ids=ids
        )
        self._shards.open(setup, count or len(ids), sessions)
        return ids

    async def _all_ready(self) -> None:
        while True:
            if self.phase is Phase.NEW:
                raise UsageError("the gateway was not started: call start() first")
            if self._error is not None:
                raise self._error.with_traceback(self._error_traceback)
            if self.phase in (Phase.CLOSING, Phase.CLOSED):
                raise UsageError("the gateway was closed before it was ready")
            if self._roster.is_ready:
                return
            await self._changed.wait()

    # --- ending ----------------------------------------------------------------------------------

    def _begin_close(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        return self._closing

    async def _close(self) -> None:
        """Take every step of the end, whatever becomes of the others: CLOSED always comes."""
        self.phase = Phase.CLOSING
        self._announce()
        try:
            self._question.stop()
            self._fencing.stop()
            if self._url_watch is not None:
                self._url_watch.stop()
            await self._shards.close(keep_session=self.keeps_sessions)
            self._handlers.end()
            await self._handlers.tasks.drain(self.drain_s)
        except Exception as error:
            log.error("an error in fastgw itself while closing", exc_info=error)
        finally:  # also when the loop itself ends, and cancels this
            await self._last_steps()

    async def _last_steps(self) -> None:
        try:
            await close_store(self._sessions)  # now: the last of what handlers have handled
        finally:
            self._watch.stop()
            self._lost_sessions.tell(time.monotonic())
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        self.phase = Phase.CLOSED
        if self._endpoint is not None:
            self._endpoint.close()
        self._handlers.end()
        self._fail(error)
        self._announce()

    def _fail(self, error: Exception | None) -> None:
        """Note what it ends with: the first error there is."""
        if error is not None and self._error is None:
            self._error, self._error_traceback = error, error.__traceback__

    # --- time and waiting ------------------------------------------------------------------------

    def _announce(self) -> None:
        """Wake whoever waits for something to change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _tick(self) -> None:
        now, wall = time.monotonic(), time.time()
        drivers = self._roster.drivers
        for driver in drivers.values():
            driver.tick(now, wall)
        self._outages.tick(now, len(drivers))
        self._lost_sessions.tick(now, len(drivers))
        self._relief.tick(now, drivers)
        if self._url_watch is not None:
            failures = (driver.main_failures for driver in drivers.values())
            self._url_watch.look(max(failures, default=0), now)
        if self._sessions is not None:
            self._sessions.tick()
        self._handlers.tick(names_overdue=self._shards.stores_handled)
