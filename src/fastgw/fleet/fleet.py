"""
What lives from `start()` to the end: the shards of one gateway, and what they share.

Theory. A fleet lives once, and only moves forward through its phases: new, starting (the API is
asked where to connect), running, closing, closed. Whatever ends it, `close()`, a refusal, no shard
that is left or a handler that asks for the end of the program, goes the same way, through one task
that closes shards, then waits for handlers, then stops the watch. What one shard's fatal refusal
means for the others is decided here: the identify gate is shut by the shard itself; shards that
have a session go on, and when none is left the fleet ends with the error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from ..errors import AuthenticationFailed, ConnectTimeout, FastgwError, UsageError
from ..health.figures import GatewayHealth
from ..protocol.states import State
from ..protocol.token import redact
from ..shard.driver import ShardDriver
from ..shard.link import ShardSetup
from .gateway_info import USER_AGENT, ask_until_answered
from .identify import IdentifyGate, LocalIdentifyQueue
from .loopwatch import LoopWatch

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ..delivery.handlers import Handlers
    from ..protocol.identity import Identity
    from ..protocol.timeouts import Timeouts
    from ..shard.face import Shard, StatusChange
    from ..shard.ports import IdentifyQueue
    from .gateway_info import GatewayInfo

__all__ = ["Fleet", "FleetOptions", "Phase"]

log = logging.getLogger("fastgw.gateway")


class Phase(Enum):
    """Where a fleet is in its one life."""

    NEW = "not started"
    STARTING = "starting"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """
    What `Gateway` was told, checked already; see there.

    Attributes:
        identity: what IDENTIFY says; the shards' own differ from it in id and count alone.
        shard_ids, shard_count: None for what the API recommends.
        compression: the Decoder's word for it.
    """

    identity: Identity
    shard_ids: tuple[int, ...] | None
    shard_count: int | None
    compression: str
    info: GatewayInfo | None
    api_url: str
    timeouts: Timeouts
    ssl_context: ssl.SSLContext | None
    identify_queue: IdentifyQueue | None
    backoff_s: tuple[float, float]
    on_fatal: str
    drain_s: float
    random: Callable[[], float]


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
    """

    def __init__(
        self,
        options: FleetOptions,
        handlers: Handlers,
        tell_status: Callable[[StatusChange], None],
    ) -> None:
        self.phase = Phase.NEW
        self.was_ready = False
        self._options = options
        self._handlers = handlers
        self._tell_status = tell_status
        self._drivers: list[ShardDriver] = []
        self._stopped_shards: set[Shard] = set()
        self._gate: IdentifyGate | None = None
        self._watch = LoopWatch(self._tick)
        self._asking: asyncio.Task[GatewayInfo] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # set, and replaced, at every transition
        self._error: BaseException | None = None

    # --- one life: see Gateway -------------------------------------------------------------------

    async def start(self) -> None:
        """Ask where to connect, and start the shards."""
        if self.phase is not Phase.NEW:
            raise UsageError(
                f"start() works once, and this gateway is {self.phase.value}; make a new Gateway"
            )
        self.phase = Phase.STARTING
        try:
            info = self._options.info or await self._ask()
            self._drivers = self._make_drivers(info)
        except BaseException as error:
            if self._closing is None:  # else close() ends it, and nothing has failed
                self._end(error if isinstance(error, Exception) else None)
            raise
        self.phase = Phase.RUNNING
        self._watch.start()
        for driver in self._drivers:
            driver.start()

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """Wait until every shard is READY."""
        try:
            await asyncio.wait_for(self._all_ready(), timeout_s)
        except asyncio.TimeoutError:
            for shard in self.shards:
                if isinstance(error := shard.health().last_error, FastgwError):
                    raise error from None
            raise ConnectTimeout(
                f"not ready after {timeout_s} s: {', '.join(map(repr, self.shards))}",
                timeout_s=timeout_s or 0.0,
            ) from None

    async def wait_closed(self) -> None:
        """Wait for the end; raise what it ended with."""
        if self.phase is Phase.NEW:
            raise UsageError("the gateway was not started: call start() first")
        while self.phase is not Phase.CLOSED:
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """End it, in whatever phase it is; return when it is closed."""
        if self.phase is Phase.NEW:
            self._end(None)
        if self.phase is Phase.CLOSED:
            return
        with self._handlers.tasks.caller_spared():
            await asyncio.shield(self._begin_close())

    # --- how it is -------------------------------------------------------------------------------

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards, by id; empty before they are started."""
        return tuple(driver.shard for driver in self._drivers)

    def health(self) -> GatewayHealth:
        """Return the figures of all of it at this moment."""
        return GatewayHealth(
            shards=tuple(shard.health() for shard in self.shards),
            loop_lag_s=self._watch.lag_s,
            loop_lag_worst_s=self._watch.lag_worst_s,
            loop_blocked=self._watch.blocked,
            handlers_running=self._handlers.tasks.running,
            handler_failures=dict(self._handlers.failures.counts),
            events=self._handlers.interests.counters(),
            refusal=None if self._gate is None else self._gate.error,
        )

    # --- what shards and handlers report ---------------------------------------------------------

    def status_changed(self, change: StatusChange) -> None:
        """A shard's state moved."""
        self.was_ready |= change.new is State.READY
        self._announce()
        self._tell_status(change)

    def shard_stopped(self, shard: Shard, error: FastgwError | None) -> None:
        """A shard has stopped for good."""
        options = self._options
        self._stopped_shards.add(shard)
        if error is not None:
            said = redact(str(error), options.identity.token)
            log.critical("shard %d stopped for good: %s", shard.id, said)
            self._error = self._error or error
        # A refused token is refused for all; other refusals leave sessions that run alone.
        everybody = isinstance(error, AuthenticationFailed) or (
            error is not None and options.on_fatal == "stop"
        )
        if everybody or len(self._stopped_shards) == len(self._drivers):
            self._begin_close()

    def interrupted(self, error: BaseException) -> None:
        """A handler raised SystemExit or KeyboardInterrupt: end, and let `run()` raise it."""
        self._error = self._error or error
        self._begin_close()

    # --- starting --------------------------------------------------------------------------------

    async def _ask(self) -> GatewayInfo:
        """Ask the API until it answers; `close()` ends it."""
        options = self._options
        self._asking = asyncio.ensure_future(
            ask_until_answered(
                options.api_url,
                options.identity.token,
                timeout_s=options.timeouts.open_s,
                ssl_context=options.ssl_context,
                random=options.random,
            )
        )
        try:
            info = await self._asking
        except asyncio.CancelledError:
            if self._closing is None:
                raise
        finally:
            self._asking.cancel()
        if self._closing is not None:  # also when the answer came at the same moment
            raise UsageError("the gateway was closed while it was starting")
        return info

    def _make_drivers(self, info: GatewayInfo) -> list[ShardDriver]:
        options = self._options
        ids, count = options.shard_ids, options.shard_count
        if ids is None or count is None:
            ids, count = tuple(range(info.shards)), info.shards
            if count > 1:
                raise UsageError(
                    f"{count} shards are recommended for this bot, and this version of fastgw runs "
                    f"one in a process: pass shards=[0], shard_count={count}, and so on for others"
                )
        limit = info.session_start_limit
        queue = options.identify_queue or LocalIdentifyQueue(
            limit.max_concurrency if limit else 1, random=options.random
        )
        self._gate = IdentifyGate(queue)
        setup = ShardSetup(
            url=info.url,
            compression=options.compression,
            interests=self._handlers.interests,
            delivery=self._handlers,
            gate=self._gate,
            timeouts=options.timeouts,
            ssl_context=options.ssl_context,
            headers={"User-Agent": USER_AGENT},
            random=options.random,
            backoff_s=options.backoff_s,
        )
        return [
            ShardDriver(replace(options.identity, shard_id=i, shard_count=count), setup, self)
            for i in ids
        ]

    async def _all_ready(self) -> None:
        while True:
            if self.phase is Phase.NEW:
                raise UsageError("the gateway was not started: call start() first")
            if self._error is not None:
                raise self._error
            if self.phase in (Phase.CLOSING, Phase.CLOSED):
                raise UsageError("the gateway was closed before it was ready")
            if self._drivers and all(driver.status is State.READY for driver in self._drivers):
                return
            await self._changed.wait()

    # --- ending ----------------------------------------------------------------------------------

    def _begin_close(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        return self._closing

    async def _close(self) -> None:
        self.phase = Phase.CLOSING
        self._announce()
        if self._asking is not None:
            self._asking.cancel()
        await asyncio.gather(*(driver.close() for driver in self._drivers))
        await self._handlers.tasks.drain(self._options.drain_s)
        self._watch.stop()
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        self.phase = Phase.CLOSED
        self._error = self._error or error
        self._announce()

    # --- time and waiting ------------------------------------------------------------------------

    def _announce(self) -> None:
        """Wake whoever waits for something to change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _tick(self) -> None:
        now, wall = time.monotonic(), time.time()
        for driver in self._drivers:
            driver.tick(now, wall)
