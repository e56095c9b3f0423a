"""
The public `Gateway`: handlers in, shards out.

A gateway lives once: made, started, closed. `run()` is all of it in one blocking call; `start()`,
`wait_ready()`, `wait_closed()` and `close()` are the steps for programs that have a loop already.
What one shard's fatal refusal means for the others is decided here: the identify gate shuts, shards
that have a session go on, and when none is left the gateway ends with the error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from random import random
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .delivery.callables import check_handler
from .delivery.handlers import Handlers
from .delivery.names import check_names
from .errors import (
    AuthenticationFailed,
    ConnectTimeout,
    FastgwError,
    UsageError,
)
from .fleet.gateway_info import USER_AGENT, GatewayInfo, ask_until_answered
from .fleet.loopwatch import LoopWatch
from .health.figures import GatewayHealth
from .options import (
    check_compress,
    check_info,
    check_intents,
    check_on_fatal,
    check_shards,
    check_timeouts,
    check_token,
)
from .protocol.identity import Identity
from .protocol.states import State
from .protocol.timeouts import Timeouts
from .protocol.token import redact
from .protocol.wire import API_VERSION
from .runner import run_until_closed
from .shard.driver import ShardDriver
from .shard.face import Shard, StatusChange
from .shard.link import ShardSetup
from .shard.pacing import IdentifyGate, IdentifyQueue, LocalIdentifyQueue
from .shard.reconnect import BACKOFF_S, check_backoff
from .words import Intents

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from typing_extensions import Self

    from ._decode import Event
    from .delivery.failures import HandlerFailure

    HandlerT = TypeVar("HandlerT", bound=Callable[[Event], object])
    ErrorHandlerT = TypeVar("ErrorHandlerT", bound=Callable[[HandlerFailure], object])
    StatusHandlerT = TypeVar("StatusHandlerT", bound=Callable[[StatusChange], object])

__all__ = ["Gateway"]

log = logging.getLogger("fastgw.gateway")

# How long running handlers may go on after a close.
DRAIN_S = 5.0
API_URL = f"https://discord.com/api/v{API_VERSION}"


class _Phase(Enum):
    NEW = "not started"
    STARTING = "starting"
    RUNNING = "running"
    CLOSING = "closing"
    CLOSED = "closed"


class Gateway:
    """
    A bot's connection to Discord: handlers, shards and their health.

    Args:
        token: the bot token, with or without its "Bot " prefix; None takes DISCORD_TOKEN.
        intents: which groups of events to subscribe to.
        shards: ids of the shards to run here, with shard_count; "auto" runs what is recommended.
        shard_count: how many shards the bot has in all.
        compress: "auto", "zstd-stream", "zlib-stream", "payload" or "none".
        info: the answer of `GET /gateway/bot` if it is known; otherwise the API is asked.
        api_url: base of the API, with its version.
        presence: presence (`d` of op 3) to start with.
        properties: `os`, `browser` and `device`, instead of our own.
        large_threshold: 50 to 250 members, above which offline ones are not sent.
        capabilities: bit field of Identify.
        identify_extra: fields of Identify that fastgw has no name for yet.
        timeouts: deadlines of every phase of a connection.
        ssl_context: for https and wss; None means the system's certificates.
        identify_queue: who may identify when, shared by all processes of a token; None is for one
            process.
        backoff_s: the first delay of attempts that fail and its cap, in seconds, with full jitter;
            repeated identifies wait ten times as long. Shorter ones are for tests.
        on_fatal: what a shard refused for good means for the others: "continue" lets those with a
            session run on, "stop" closes all of them. A refused token always stops all.
    Raises:
        UsageError: anything that cannot work; the text says what to do.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        intents: Intents | int,
        shards: Literal["auto"] | Iterable[int] = "auto",
        shard_count: int | None = None,
        compress: str | None = "auto",
        info: GatewayInfo | None = None,
        api_url: str = API_URL,
        presence: Mapping[str, Any] | None = None,
        properties: Mapping[str, str] | None = None,
        large_threshold: int | None = None,
        capabilities: int | None = None,
        identify_extra: Mapping[str, Any] | None = None,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        identify_queue: IdentifyQueue | None = None,
        backoff_s: tuple[float, float] = BACKOFF_S,
        on_fatal: Literal["continue", "stop"] = "continue",
    ) -> None:
        self._token = check_token(token)
        self._compression = check_compress(compress)
        self._on_fatal = check_on_fatal(on_fatal)
        self._intents = check_intents(intents)
        self._info = check_info(info)
        self._timeouts = check_timeouts(timeouts)
        self._shard_ids = check_shards(shards, shard_count)
        self._shard_count = shard_count
        self._api_url = api_url
        self._ssl_context = ssl_context
        self._identify_queue = identify_queue
        self._backoff_s = check_backoff(backoff_s)
        self._identify: dict[str, Any] = {
            "properties": properties,
            "presence": presence,
            "large_threshold": large_threshold,
            "capabilities": capabilities,
            "identify_extra": identify_extra or {},
        }
        self._identity(0, 1)  # bad values are told now, not at the first connection
        self._handlers = Handlers(self._intents, on_interrupt=self._interrupted)
        self._status_handlers: list[Callable[[StatusChange], object]] = []
        self._drivers: list[ShardDriver] = []
        self._stopped_shards: set[Shard] = set()
        self._gate: IdentifyGate | None = None
        self._watch = LoopWatch(self._tick)
        self._phase = _Phase.NEW
        self._asking: asyncio.Task[GatewayInfo] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # set, and replaced, at every transition
        self._was_ready = False
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Gateway {self._phase.value}, {len(self._drivers)} shards>"

    # --- handlers --------------------------------------------------------------------------------

    def on(self, *names: str, once: bool = False) -> Callable[[HandlerT], HandlerT]:
        """
        Register a handler: `@gateway.on("MESSAGE_CREATE")`, several names, or "*" for every event.

        The handler takes one argument, the `Event`, and may be a function or a coroutine function,
        a bound method or an object with `__call__`. What nobody registers for is never parsed. A
        handler that raises is logged and counted, and told to `on_error`.

        Args:
            once: call it for the first event of any of the names, and for no other.
        Raises:
            UsageError: no name, a function instead of a name, or what is no handler.
        """
        check_names(names)

        def register(handler: HandlerT) -> HandlerT:
            return self._handlers.on(names, handler, once=once)

        return register

    def off(self, handler: Callable[..., object], *names: str) -> bool:
        """
        Take a handler back, for these names or for all; False when it was not registered.

        Takes effect with the next event, also from inside a handler. What has begun goes on.
        """
        return self._handlers.off(handler, names)

    def route(self, name: str, target: Callable[[Event], object] | None) -> None:
        """
        Set the one bare sync target of a name, called before its handlers; None takes it away.

        For libraries that sit on top: without a warning of intents or a look at the signature, at
        any time. With no handler beside it, the listener calls it directly.

        Raises:
            UsageError: not a name, or no sync callable.
        """
        self._handlers.route(name, target)

    def on_error(self, handler: ErrorHandlerT) -> ErrorHandlerT:
        """
        Register a function or coroutine function for each `HandlerFailure`, however often it comes.

        The failure is logged as well, in full at first and then in numbers. What an error handler
        itself raises is only logged.
        """
        self._handlers.on_error(handler)
        return handler

    def on_status(self, handler: StatusHandlerT) -> StatusHandlerT:
        """Register a function or coroutine function for each `StatusChange` of any shard."""
        check_handler(handler)
        self._status_handlers.append(handler)
        return handler

    # --- one life --------------------------------------------------------------------------------

    def run(self, *, drain_s: float = DRAIN_S) -> None:
        """
        Run until closed; block. On uvloop when it is installed.

        SIGINT and SIGTERM close it cleanly: the session ends, running handlers get `drain_s`
        seconds. A second signal ends it at once. Returns after a clean end.

        Raises:
            FastgwError: what stopped it: see `start` and `wait_closed`.
            UsageError: called from a running loop; use `start()` there.
        """
        run_until_closed(self, drain_s)

    async def start(self) -> None:
        """
        Ask where to connect, and start the shards; they connect, and stay connected, by themselves.

        While the network or the API is down this waits and asks again, with a warning each time.

        Raises:
            AuthenticationFailed: the token was refused by the API.
            GatewayInfoError, CertificateRefused: the API's answer will not get better by itself.
            UsageError: called a second time, or more shards are wanted than this version runs.
        """
        if self._phase is not _Phase.NEW:
            raise UsageError(
                f"start() works once, and this gateway is {self._phase.value}; make a new Gateway"
            )
        self._phase = _Phase.STARTING
        try:
            info = self._info or await self._ask()
            self._drivers = self._make_drivers(info)
        except BaseException as error:
            if self._closing is None:  # else close() ends it, and nothing has failed
                self._ended(error if isinstance(error, Exception) else None)
            raise
        self._phase = _Phase.RUNNING
        self._watch.start()
        for driver in self._drivers:
            driver.start()

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """
        Wait until every shard is READY.

        Raises:
            FatalError, ConnectFailed: what stopped the gateway, or, when `timeout_s` seconds have
                passed, why the last attempt failed.
            UsageError: it was not started, or it was closed meanwhile.
        """
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
        """
        Wait until the gateway has ended, by `close()` or because no shard is left.

        Raises:
            FatalError, ConnectFailed: what stopped it, when it was not `close()`.
        """
        if self._phase is _Phase.NEW:
            raise UsageError("the gateway was not started: call start() first")
        while self._phase is not _Phase.CLOSED:
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    async def close(self, *, drain_s: float = DRAIN_S) -> None:
        """
        End it: sessions with 1000 (the bot goes offline), then handlers, which get `drain_s` s.

        May be called at any time and more than once. A handler that calls it is not waited for, if
        it says `await gateway.close()` itself: through `create_task`, `gather` (before Python 3.12
        `wait_for`) it cannot be told from others, and is cancelled after `drain_s`. Never raises
        what went wrong before; see `wait_closed`.
        """
        if self._phase is _Phase.NEW:
            self._ended(None)
        if self._phase is _Phase.CLOSED:
            return
        with self._handlers.tasks.caller_spared():
            await asyncio.shield(self._begin_close(drain_s))

    async def __aenter__(self) -> Self:
        try:
            await self.start()
            await self.wait_ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- how it is -------------------------------------------------------------------------------

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards that run here, by id; empty before `start()`."""
        return tuple(driver.shard for driver in self._drivers)

    @property
    def was_ready(self) -> bool:
        """Whether any shard has ever been READY."""
        return self._was_ready

    def health(self) -> GatewayHealth:
        """Return the figures of the gateway and all its shards at this moment."""
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

    # --- what shards report ----------------------------------------------------------------------

    def status_changed(self, change: StatusChange) -> None:
        """A shard's state moved."""
        self._was_ready |= change.new is State.READY
        self._announce()
        for handler in self._status_handlers:
            self._handlers.call(handler, change)

    def shard_stopped(self, shard: Shard, error: FastgwError | None) -> None:
        """A shard has stopped for good."""
        self._stopped_shards.add(shard)
        if error is not None:
            log.critical("shard %d stopped for good: %s", shard.id, redact(str(error), self._token))
            self._error = self._error or error
        # A refused token is refused for all; other refusals leave sessions that run alone.
        everybody = isinstance(error, AuthenticationFailed) or (
            error is not None and self._on_fatal == "stop"
        )
        if everybody or len(self._stopped_shards) == len(self._drivers):
            self._begin_close(DRAIN_S)

    # --- inside ----------------------------------------------------------------------------------

    def _identity(self, shard_id: int, shard_count: int) -> Identity:
        return Identity(
            token=self._token,
            intents=self._intents,
            shard_id=shard_id,
            shard_count=shard_count,
            compress_payload=self._compression == "payload",
            **self._identify,
        )

    async def _ask(self) -> GatewayInfo:
        """Ask the API until it answers; `close()` ends it."""
        self._asking = asyncio.ensure_future(
            ask_until_answered(
                self._api_url,
                self._token,
                timeout_s=self._timeouts.open_s,
                ssl_context=self._ssl_context,
                random=random,
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
        ids, count = self._shard_ids, self._shard_count
        if ids is None or count is None:
            ids, count = tuple(range(info.shards)), info.shards
            if count > 1:
                raise UsageError(
                    f"{count} shards are recommended for this bot, and this version of fastgw runs "
                    f"one in a process: pass shards=[0], shard_count={count}, and so on for others"
                )
        limit = info.session_start_limit
        queue = self._identify_queue or LocalIdentifyQueue(limit.max_concurrency if limit else 1)
        self._gate = IdentifyGate(queue)
        setup = ShardSetup(
            url=info.url,
            compression=self._compression,
            interests=self._handlers.interests,
            delivery=self._handlers,
            gate=self._gate,
            timeouts=self._timeouts,
            ssl_context=self._ssl_context,
            headers={"User-Agent": USER_AGENT},
            random=random,
            backoff_s=self._backoff_s,
        )
        return [ShardDriver(self._identity(shard_id, count), setup, self) for shard_id in ids]

    async def _all_ready(self) -> None:
        while True:
            if self._phase is _Phase.NEW:
                raise UsageError("the gateway was not started: call start() first")
            if self._error is not None:
                raise self._error
            if self._phase in (_Phase.CLOSING, _Phase.CLOSED):
                raise UsageError("the gateway was closed before it was ready")
            if self._drivers and all(driver.status is State.READY for driver in self._drivers):
                return
            await self._changed.wait()

    def _begin_close(self, drain_s: float) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(drain_s))
        return self._closing

    async def _close(self, drain_s: float) -> None:
        self._phase = _Phase.CLOSING
        self._announce()
        if self._asking is not None:
            self._asking.cancel()
        await asyncio.gather(*(driver.close() for driver in self._drivers))
        await self._handlers.tasks.drain(drain_s)
        self._watch.stop()
        self._ended(None)

    def _ended(self, error: BaseException | None) -> None:
        self._phase = _Phase.CLOSED
        self._error = self._error or error
        self._announce()

    def _announce(self) -> None:
        """Wake whoever waits for something to change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _interrupted(self, error: BaseException) -> None:
        """A handler raised SystemExit or KeyboardInterrupt: end, and let `run()` raise it."""
        self._error = self._error or error
        self._begin_close(DRAIN_S)

    def _tick(self) -> None:
        now, wall = time.monotonic(), time.time()
        for driver in self._drivers:
            driver.tick(now, wall)
