"""
The public `Gateway`: handlers in, shards out.

A gateway lives once: made, started, closed. `run()` is all of it in one blocking call; `start()`,
`wait_ready()`, `wait_closed()` and `close()` are the steps for programs that have a loop already.
Here are its options and its life; how events are asked for is `delivery.face`'s, what is sent is
`fleet.commands.face`'s, and what happens from `start()` on is `fleet.fleet`'s.
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .delivery.callables import check_handler
from .delivery.face import EventSource
from .delivery.handlers import Handlers
from .errors import FastgwError
from .fleet.commands.face import CommandSender
from .fleet.fleet import Fleet
from .fleet.raising import anew, without_insides
from .fleet.settings import FleetOptions
from .log import careful_logger, say
from .options import (
    DRAIN_S,
    check_api_url,
    check_compress,
    check_drain,
    check_early_heartbeat,
    check_http_headers,
    check_identify_queue,
    check_info,
    check_intents,
    check_limits,
    check_metrics,
    check_on_fatal,
    check_proxy,
    check_publish,
    check_random,
    check_relief,
    check_shards,
    check_ssl_context,
    check_store,
    check_timeouts,
    token_or_refusal,
)
from .protocol.identity import Identity
from .protocol.states import State
from .protocol.timeouts import Timeouts
from .protocol.wire import API_VERSION
from .runner import run_until_closed
from .shard.face import Shard, StatusChange
from .shard.reconnect import BACKOFF_S, check_backoff
from .words import Intents

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Self

    from .delivery.limits import DeliveryLimits
    from .fleet.http.gateway_info import GatewayInfo
    from .fleet.placement import Placement
    from .fleet.ports import IdentifyQueue, SessionStore
    from .fleet.progress import StartProgress
    from .fleet.publishing import EventPublisher
    from .health.counts import GatewayStats
    from .health.figures import GatewayHealth

    StatusHandlerT = TypeVar("StatusHandlerT", bound=Callable[[StatusChange], object])
    ProgressHandlerT = TypeVar("ProgressHandlerT", bound=Callable[[StartProgress], object])

__all__ = ["Gateway"]

log = careful_logger("fastgw.gateway")

API_URL = f"https://discord.com/api/v{API_VERSION}"


class Gateway(EventSource, CommandSender):
    """
    A bot's connection to Discord: handlers, shards and their health.

    It lives in one event loop, in one thread. What may be called from any thread says so; all else
    is refused elsewhere by a UsageError, and `call_threadsafe` is the way in.

    Args:
        token: the bot token, with or without its "Bot " prefix; None takes that of the
            environment: DISCORD_TOKEN, a file (DISCORD_TOKEN_FILE) or a systemd credential. Where
            that has none, `run()` and `start()` say so.
        intents: which groups of events to subscribe to.
        shards: which shards to run here: "auto" for all that the API recommends, a number for that
            many and no others, or ids such as `range(0, 64)`, with shard_count.
        shard_count: how many shards the bot has in all.
        compress: "zstd-stream", "zlib-stream", "payload" or "none"; "auto" is what costs least:
            zstd-stream for up to 32 shards, whose contexts hold 0.6 MB each, and zlib-stream for
            more, and does without where the service answers in text.
        info: the answer of `GET /gateway/bot` if it is known; otherwise the API is asked.
        api_url: base of the API, with its version.
        presence: presence (`d` of op 3) to start with.
        properties: `os`, `browser` and `device`, instead of our own.
        large_threshold: 50 to 250 members, above which offline ones are not sent.
        capabilities: bit field of Identify.
        identify_extra: fields of Identify that fastgw has no name for yet.
        timeouts: deadlines of every phase of a connection.
        ssl_context: for https and wss, one that verifies; None means the system's certificates.
        proxy: URL of an HTTP proxy, `http://user:password@host:port`, or of a SOCKS5 one, for all
            connections, the call of the API too; "environment" obeys HTTPS_PROXY and NO_PROXY.
        http_headers: sent with every websocket upgrade and with the call of the API.
        store: where sessions are kept; None keeps them in memory, for as long as the gateway lives.
            With `SQLiteSessionStore(path)` the next process resumes them; docs/sessions.md says
            which bots must not.
        identify_queue: who may identify when, shared by all processes of a token; None is for one
            process.
        backoff_s: the first delay of attempts that fail and its cap, in seconds, with full jitter;
            attempts to resume wait 10 s at most, repeated identifies ten times as long. Shorter
            ones are for tests.
        on_fatal: what a shard refused for good means for the others: "continue" lets those with a
            session run on, "stop" closes all of them. A refused token always stops all.
        drain_s: how many seconds running handlers may go on after the end has begun, whatever
            ended it; then they are cancelled.
        random: gives floats in [0, 1), for jitter; another one is for tests.
        early_heartbeat: send one heartbeat as soon as a shard is READY or has resumed, so that its
            `latency` is known a round trip later, instead of within one interval (41 s).
        limits: how many handlers may run at once, and how much may wait for them.
        metrics: serve `/metrics` for Prometheus (needs the extra `metrics`), `/stats.json`,
            `/healthz` and `/readyz` at this "host:port", or at this port of loopback, from
            `start()` to the end; see docs/operating.md. Under `fastgw run` its own option serves
            those of all processes, and this one does nothing.
        relief_bytes: a connection whose read buffer has grown beyond this, as it does for a large
            guild and then stays, is replaced by a free RESUME when little comes in: four in ten
            seconds at most, counted in `stats()` as `relieved`. With glibc it also sets, for the
            whole process, that freed buffers of 64 KiB and more go back to the system. None leaves
            all as it is.
        publish: where events go beside the handlers, such as `fastgw.redis.Publisher(url)`.
    Raises:
        UsageError: anything that cannot work; the text says what to do.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        intents: Intents | int,
        shards: Literal["auto"] | int | Iterable[int] = "auto",
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
        proxy: str | None = None,
        http_headers: Mapping[str, str] | None = None,
        store: SessionStore | None = None,
        identify_queue: IdentifyQueue | None = None,
        backoff_s: tuple[float, float] = BACKOFF_S,
        on_fatal: Literal["continue", "stop"] = "continue",
        drain_s: float = DRAIN_S,
        random: Callable[[], float] = _random.random,
        early_heartbeat: bool = False,
        limits: DeliveryLimits | None = None,
        metrics: str | int | None = None,
        relief_bytes: int | None = None,
        publish: EventPublisher | None = None,
    ) -> None:
        compression = check_compress(compress)
        bare_token, self._no_token = token_or_refusal(token)
        identity = Identity(
            token=bare_token,
            intents=check_intents(intents),
            compress_payload=compression == "payload",
            properties=properties,
            presence=presence,
            large_threshold=large_threshold,
            capabilities=capabilities,
            identify_extra={} if identify_extra is None else identify_extra,
        )
        options = FleetOptions(
            identity=identity,
            shard_ids=check_shards(shards, shard_count),
            shard_count=shards if isinstance(shards, int) else shard_count,
            compression=compression,
            info=check_info(info),
            api_url=check_api_url(api_url),
            timeouts=check_timeouts(timeouts),
            ssl_context=check_ssl_context(ssl_context),
            proxies=check_proxy(proxy),
            http_headers=check_http_headers(http_headers),
            metrics=check_metrics(metrics),
            relief_bytes=check_relief(relief_bytes),
            store=check_store(store),
            is_store_chosen=store is not None,
            identify_queue=check_identify_queue(identify_queue),
            backoff_s=check_backoff(backoff_s),
            on_fatal=check_on_fatal(on_fatal),
            drain_s=check_drain(drain_s),
            random=check_random(random),
            early_heartbeat=check_early_heartbeat(early_heartbeat),
            publish=check_publish(publish),
        )
        self._status_handlers: list[Callable[[StatusChange], object]] = []
        self._progress_handlers: list[Callable[[StartProgress], object]] = []
        handlers = Handlers(
            identity.intents, limits=check_limits(limits), on_interrupt=self._interrupted
        )
        EventSource.__init__(self, handlers)
        CommandSender.__init__(self, Fleet(options, handlers, self._tell_status))

    def __repr__(self) -> str:
        if not hasattr(self, "_fleet"):  # a debugger shows it while the constructor fails
            return "<Gateway not made>"
        return f"<Gateway {self._fleet.phase.value}, {len(self.shards)} shards>"

    # --- handlers --------------------------------------------------------------------------------

    def on_status(self, handler: StatusHandlerT) -> StatusHandlerT:
        """Register a function or coroutine function for each `StatusChange` of any shard."""
        self._fleet.home.check_thread("on_status")
        check_handler(handler)
        self._status_handlers.append(handler)
        return handler

    def on_progress(self, handler: ProgressHandlerT) -> ProgressHandlerT:
        """
        Register a function or coroutine function for each `StartProgress`.

        It is called when a shard becomes READY, until all are for the first time.
        """
        self._fleet.home.check_thread("on_progress")
        check_handler(handler)
        self._progress_handlers.append(handler)
        return handler

    def place(self, placement: Placement) -> None:
        """
        Run the part of the bot that whoever starts several processes says, before `start()`.

        It fills in what the gateway was not given. `fastgw run` calls it; programs need not.

        Raises:
            UsageError: the gateway has shards of its own, was started, or the part cannot be.
        """
        named = placement.shard_ids
        shard_ids = () if named is None else check_shards(named, placement.shard_count)
        assert shard_ids is not None
        now = time.monotonic()
        self._fleet.place(lambda options: placement.fill_in(options, shard_ids, now))

    # --- one life --------------------------------------------------------------------------------

    def run(self, *, drain_s: float | None = None) -> None:
        """
        Run until closed; block. On uvloop when it is installed.

        SIGINT and SIGTERM close it cleanly: sessions end, or stay if the store is durable, and
        running handlers get `drain_s` seconds. So does `sys.exit()` in a handler or any other task,
        and is raised then. A second signal ends it at once. Returns after a clean end; tasks and
        threads that do not end then are left behind after 5 seconds, with a warning.

        One line says that the bot is up, when all shards are READY: INFO of `fastgw.gateway`, and
        on standard error, as Python shows warnings, in a program that has not set up logging.

        Args:
            drain_s: takes the place of what the constructor was given.
        Raises:
            FastgwError: what stopped it: see `start` and `wait_closed`. Its traceback ends at this
                call, unless it leads through code of the program.
            SystemExit: the environment has no token. That is one line without a traceback, for
                whoever started the program, and exit code 1.
            SystemExit, KeyboardInterrupt: a handler's, or a second signal's.
            UsageError: called from a running loop; use `start()` there.
        """
        drain_s = self._fleet.drain_s if drain_s is None else check_drain(drain_s)
        self._fleet.check_new()
        if self._no_token is not None:
            raise SystemExit(f"fastgw: {self._no_token}") from self._no_token
        self._fleet.drain_s = drain_s
        self._progress_handlers.append(_say_ready)
        try:
            run_until_closed(self, self._fleet)
        except FastgwError as error:
            raise without_insides(error)  # noqa: B904 - it is the same one

    async def start(self) -> None:
        """
        Ask where to connect, and start the shards; they connect, and stay connected, by themselves.

        While the network or the API is down this waits and asks again, with a warning for each
        reason, and every ten minutes.

        Raises:
            AuthenticationFailed: the token was refused by the API.
            GatewayInfoError, CertificateRefused: the API's answer will not get better by itself.
            UsageError: called a second time, or the environment has no token.
        """
        if self._no_token is not None:
            raise anew(self._no_token)
        await self._fleet.start()

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """
        Wait until every shard is READY.

        Raises:
            FatalError, ConnectFailed: what stopped the gateway, or, when `timeout_s` seconds have
                passed, why the last attempt failed.
            UsageError: it was not started, or it was closed meanwhile.
        """
        await self._fleet.wait_ready(timeout_s)

    async def wait_closed(self) -> None:
        """
        Wait until the gateway has ended, by `close()` or because all its shards have stopped for
        good. One that has none, for `stop_shard` took the last out, stays open for `start_shard`.

        Raises:
            FatalError, ConnectFailed: what stopped it, when it was not `close()`.
            Interrupted: a handler did, by SystemExit or KeyboardInterrupt, which is the cause.
        """
        await self._fleet.wait_closed()

    async def close(self, *, end_session: bool | None = None) -> None:
        """
        End it: connections, then handlers, which get `drain_s` seconds.

        Args:
            end_session: True ends sessions with 1000, and the bot goes offline at once; False
                leaves them to be resumed, and the bot seems online for some minutes. None keeps
                them exactly when the store is durable. The first call decides.

        May be called at any time and more than once. A handler that calls it is not waited for, if
        it says `await gateway.close()` itself: through `create_task`, `gather` (before Python 3.12
        `wait_for`) it cannot be told from others, and is cancelled after `drain_s`. Never raises
        what went wrong before; see `wait_closed`.
        """
        await self._fleet.close(end_session)

    async def __aenter__(self) -> Self:
        self._fleet.check_new()  # or the close() below would end the life that it has
        try:
            await self.start()
            await self.wait_ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- single shards, at run time --------------------------------------------------------------

    async def stop_shard(self, shard_id: int) -> None:
        """
        Stop one shard and take it out, the others go on; return when its socket is gone.

        One that is away because its lease was over is not taken again. Where processes share the
        shards out, it stays stopped in this one until `start_shard`, and still counts for its
        share: another process takes it only while that one has less than its own.

        Raises:
            UsageError: it does not run here.
        """
        await self._fleet.stop_shard(shard_id)

    async def start_shard(self, shard_id: int) -> Shard:
        """
        Take one more shard of this bot in, or one that stopped; it connects by itself.

        Raises:
            UsageError: the gateway does not run, the shard does already, or there is no such one.
        """
        return await self._fleet.start_shard(shard_id)

    def reconnect_shard(self, shard_id: int) -> None:
        """
        Replace a shard's connection by a new one, by RESUME; nothing is lost with it.

        Raises:
            UsageError: it does not run here.
        """
        self._fleet.reconnect_shard(shard_id)

    # --- how it is -------------------------------------------------------------------------------

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards that run here, by id; empty before `start()`; from any thread."""
        return self._fleet.shards

    def health(self) -> GatewayHealth:
        """Return how the gateway and all its shards are at this moment; from any thread."""
        return self._fleet.health()

    def stats(self) -> GatewayStats:
        """Return what the gateway and all its shards counted since their start; from any thread."""
        return self._fleet.stats()

    # --- inside ----------------------------------------------------------------------------------

    def _tell_status(self, change: StatusChange) -> None:
        for handler in self._status_handlers:
            self._handlers.call(handler, change)
        if self._progress_handlers and change.new is State.READY:
            progress = self._fleet.progress()
            for progress_handler in self._progress_handlers:
                self._handlers.call(progress_handler, progress)
            if progress.is_done:
                self._progress_handlers.clear()

    def _interrupted(self, error: BaseException) -> None:
        self._fleet.interrupted(error)


def _say_ready(progress: StartProgress) -> None:
    if progress.is_done:
        which = "its shard is" if progress.shards == 1 else f"all {progress.shards:,} shards are"
        say(log, f"the bot is up: {which} READY")
