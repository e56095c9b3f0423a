"""
`FakeGateway`: a Discord gateway on loopback, for tests, demos and benchmarks.

    async with FakeGateway() as fake, Gateway("token", intents=..., info=fake.info) as bot:
        await fake.wait_ready()
        fake.dispatch("MESSAGE_CREATE", {"content": "!ping", "channel_id": "1"})

It speaks v10 JSON over ws or wss with every compression the service knows, serves any number of
shards, answers `GET /api/v10/gateway/bot` on the same port, and breaks on command: connections are
cut, closed, frozen, refused; ACKs, HELLO or any other message are withheld. What it does with
commands is `FakePeer`; what outlives connections is `FakeService`, reachable as `service`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...delivery.names import likely_meant
from ...errors import UsageError
from ...fleet.http.gateway_info import GatewayInfo, SessionStartLimit
from ...protocol.wire import Opcode
from ..service.peer import Command, Cut, FakePeer, Moment
from ..service.script import Script
from ..service.service import FakeService, ServiceOptions
from ..traffic.traffic import Dispatch
from .connection import FakeConnection
from .frames import Encoder, Framing
from .http import Answer, Request, Silence, answer_api, check_upgrade
from .listen import serve

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["FakeGateway"]

# To listen on all addresses has a name of its own, which is none to connect to.
_LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class FakeGateway:
    """
    A gateway on a loopback port, for any number of shards. Use it as `async with`.

    It is the one door for tests: what happens to connections and sessions is said here, and asked
    here, also where `service` could be told the same; a test goes to `service` for what only it
    has (single sessions, settings that change while it runs).

    Args:
        tls: serve wss and https with a certificate made on the fly (needs trustme); clients trust
            it through `client_ssl_context`.
        framing: how messages become frames.
        service: share sessions with another FakeGateway (the resume host, for example); else one
            is made from `options`.
        host, port: where to listen; port 0 takes a free one.
        path: of the websocket URL; Discord's is "/", and a gateway behind a proxy may have another.
        options: those of `FakeService`: token, heartbeat_interval_ms, guilds, ...
    Attributes:
        service: sessions, identifies, resumes, commands.
        connections: those that are open, oldest first.
        upgrades: the query of every websocket URL that was opened, in order.
        api_requests: how often the HTTP API was asked.
    Raises:
        UsageError: an option that cannot work; tls without trustme; it is used in another event
            loop than its own, which does not run (from its URLs on, for nothing would answer).
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        framing: Framing | None = None,
        service: FakeService | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "/",
        **options: Unpack[ServiceOptions],
    ) -> None:
        if service is not None and options:
            raise UsageError("give the options to the FakeService that is shared")
        _check(host, port, path, framing, service)
        self.service = FakeService(**options) if service is None else service
        self.framing = Framing() if framing is None else framing
        self.connections: list[FakeConnection] = []
        self.upgrades: list[Mapping[str, str]] = []
        self.api_requests = 0
        self.client_ssl_context: ssl.SSLContext | None = None
        self._host = host
        self._path = path
        self._server_context: ssl.SSLContext | None = None
        if tls:
            from .certificates import make_contexts

            self._server_context, self.client_ssl_context = make_contexts(self.host)
        self._port = port
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # while it listens
        self._instead_of_upgrade: Script[Answer | Silence] = Script()
        self._instead_of_api: Script[Answer] = Script()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._errors: list[BaseException] = []
        self._expected: set[int] = set()  # indexes of commands that `expect` returned

    # --- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """
        Listen.

        Raises:
            UsageError: it listens already.
        """
        if self._server is not None:
            raise UsageError("this FakeGateway is running already")
        self._loop = asyncio.get_running_loop()
        self._server = await serve(
            self._accept, self._host, self._port, self._server_context, self.connections
        )
        # Port 0 gives each address family a port of its own.
        sockets = sorted(self._server.sockets, key=lambda sock: sock.family != socket.AF_INET)
        self._port = sockets[0].getsockname()[1]
        if self.service.resume_url is None:
            self.service.resume_url = self.url

    async def stop(self) -> None:
        """
        Drop all connections and stop listening; sessions stay in `service`.

        Raises:
            Exception: what an instruction of the test raised inside, the first one.
        """
        server, self._server = self._server, None
        if server is None:
            return
        self._loop = None
        server.close()
        for connection in list(self.connections):
            connection.abort()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UsageError("the fake gateway was stopped"))
        # Each abort is reported in a later turn of the loop.
        await self.wait_for(lambda: not self.connections, what="its connections to end")
        with suppress(asyncio.TimeoutError):  # 3.12 and later wait for plain HTTP clients as well
            await asyncio.wait_for(server.wait_closed(), 1.0)
        if self._errors:
            raise self._errors[0]

    async def __aenter__(self) -> FakeGateway:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    # --- where it is -----------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on; 0 before `start()`."""
        return self._port

    @property
    def host(self) -> str:
        """The name or address to connect to; loopback when it listens on all addresses."""
        return _LOOPBACK_OF.get(self._host, self._host)

    @property
    def url(self) -> str:
        """The websocket URL, without query, as `GET /gateway/bot` gives it."""
        return self._url("ws", "" if self._path == "/" else self._path)

    @property
    def api_url(self) -> str:
        """The base of the HTTP API, as `Gateway(api_url=...)` takes it."""
        return self._url("http", "/api/v10")

    @property
    def info(self) -> GatewayInfo:
        """What `GET /gateway/bot` answers, for `Gateway(info=...)`."""
        service = self.service
        limit = SessionStartLimit(
            total=service.identifies_total,
            remaining=max(0, service.identifies_left),
            reset_after_s=14_400.0,
            max_concurrency=service.max_concurrency,
        )
        return GatewayInfo(self.url, service.recommended_shards, limit)

    # --- events ----------------------------------------------------------------------------------

    def dispatch(
        self,
        name: str,
        data: Any = None,
        *,
        guild_id: int | None = None,
        shard_id: int | None = None,
    ) -> int:
        """Send an event, with a warning of a slip in its name; see `FakeService.dispatch`."""
        if meant := likely_meant(name):
            warnings.warn(f"{name} is not a documented event; did you mean {meant}?", stacklevel=2)
        taken = self.service.dispatch(name, data, guild_id=guild_id, shard_id=shard_id)
        self._flush_soon()
        return taken

    def dispatch_many(self, dispatches: Iterable[Dispatch]) -> int:
        """Send events, also to nobody; see `FakeService.dispatch_many`. Then `wait_sent()`."""
        sent = self.service.dispatch_many(dispatches)
        self._flush_soon()
        return sent

    async def wait_sent(self, *, timeout_s: float = 60.0) -> None:
        """Wait until all that was sent is with the operating system: the clients keep up."""
        self.flush()
        await self.wait_for(
            lambda: all(connection.has_sent_all for connection in self.connections),
            timeout_s=timeout_s,
            what="clients to read",
        )

    def flush(self) -> None:
        """Write what peers want to send; needed only after calling their methods directly."""
        for connection in list(self.connections):
            connection.flush()

    # --- faults ----------------------------------------------------------------------------------

    def connection(self, shard_id: int = 0) -> FakeConnection:
        """
        Return the connection of a shard's session.

        Raises:
            UsageError: it has none.
        """
        for connection in self.connections:
            if connection.shard_id == shard_id:
                return connection
        raise UsageError(f"shard {shard_id} is not connected")

    def cut(self, how: Cut = Cut.RESET, *, shard_id: int | None = None) -> int:
        """Cut the TCP of one shard, or of all connections; return how many."""
        return self._each(shard_id, lambda peer: peer.cut(how))

    def close(
        self, close_code: int | None = None, reason: str = "", *, shard_id: int | None = None
    ) -> int:
        """Close the websocket of one shard, or all, with this code (None: without a code)."""
        return self._each(shard_id, lambda peer: peer.close(close_code, reason))

    def reconnect(self, *, shard_id: int | None = None) -> int:
        """Send op 7 to one shard, or to all connections."""
        return self._each(shard_id, lambda peer: peer.reconnect())

    def invalid_session(self, *, resumable: bool, shard_id: int | None = None) -> int:
        """Send op 9 to one shard, or to all connections."""
        return self._each(shard_id, lambda peer: peer.invalid_session(resumable=resumable))

    def request_heartbeat(self, *, shard_id: int | None = None) -> int:
        """Send op 1 to one shard, or to all connections."""
        return self._each(shard_id, lambda peer: peer.request_heartbeat())

    def mute(self, *what: int | str) -> None:
        """Withhold messages with these opcodes or event names, on all connections."""
        self.service.mute(*what)

    def unmute(self, *what: int | str) -> None:
        """Let these through again; without arguments, everything."""
        self.service.unmute(*what)

    def instead_of(
        self, moment: Moment, action: Callable[[FakePeer], None], *, times: int | None = 1
    ) -> None:
        """Do something else at the next such moments; see `FakeService.instead_of`."""
        self.service.instead_of(moment, action, times=times)

    def never_hello(self, *, times: int | None = 1) -> None:
        """Upgrade the next connections and then say nothing."""
        self.instead_of(Moment.OPENED, lambda peer: None, times=times)

    def refuse_upgrade(
        self,
        status: int,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer the next websocket upgrades with this HTTP status instead of 101."""
        self._instead_of_upgrade.add(Answer(status, body, headers or {}), times)

    def garble_upgrade(self, data: bytes, *, times: int | None = 1) -> None:
        """Answer the next upgrades with these bytes (none: hang up) and close TCP."""
        self._instead_of_upgrade.add(Answer(0, data, {}), times)

    def ignore_upgrade(self, *, times: int | None = 1) -> None:
        """Take the next connections and never answer their upgrade."""
        self._instead_of_upgrade.add(Silence(), times)

    def answer_api(
        self,
        status: int,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer the next calls of the HTTP API with this status and body."""
        self._instead_of_api.add(Answer(status, body, headers or {}), times)

    def forget_instructions(self) -> None:
        """Behave ordinarily again: drop what is left of all instructions, and unmute everything."""
        self.service.forget_instructions()
        self._instead_of_upgrade.clear()
        self._instead_of_api.clear()

    # --- what came, and waiting for it -----------------------------------------------------------

    @property
    def received(self) -> list[Command]:
        """The commands that clients sent, without heartbeats."""
        return self.service.commands

    @property
    def identifies(self) -> list[dict[str, Any]]:
        """The `d` of every IDENTIFY, without the token."""
        return self.service.identifies

    @property
    def resumes(self) -> list[dict[str, Any]]:
        """The `d` of every RESUME, without the token."""
        return self.service.resumes

    def is_ready(self, shard_id: int = 0) -> bool:
        """Whether a connection of that shard has a session (READY or RESUMED was sent)."""
        return any(connection.shard_id == shard_id for connection in self.connections)

    async def wait_ready(self, shard_id: int = 0, *, timeout_s: float = 10.0) -> None:
        """Wait until that shard has identified or resumed."""
        await self.wait_for(
            lambda: self.is_ready(shard_id), timeout_s=timeout_s, what=f"shard {shard_id}"
        )

    async def wait_command(self, op: int, *, count: int = 1, timeout_s: float = 10.0) -> Command:
        """Wait until `count` commands of that opcode came in all; return the last of them."""

        def found() -> list[Command]:
            return [command for command in self.received if command.op == op]

        await self.wait_for(
            lambda: len(found()) >= count, timeout_s=timeout_s, what=f"{count} commands of op {op}"
        )
        return found()[count - 1]

    async def expect(self, op: int, *, timeout_s: float = 10.0, **fields: Any) -> Command:
        """
        Wait for the next command of an opcode, whose data has these values; return it.

        `await fake.expect(Opcode.VOICE_STATE_UPDATE, channel_id=None)`. One that came before counts
        as well, unless an earlier `expect` returned it: a test says what it expects in any order.

        Raises:
            AssertionError: none came within `timeout_s` seconds; the text lists what did.
            UsageError: a heartbeat, which is only counted.
        """
        if op == Opcode.HEARTBEAT:
            raise UsageError("heartbeats are only counted: see FakeConnection.peer.heartbeats")

        def find() -> int | None:
            for index, command in enumerate(self.received):
                if index not in self._expected and command.op == op:
                    data = command.data if isinstance(command.data, dict) else {}
                    if all(name in data and data[name] == fields[name] for name in fields):
                        return index
            return None

        with suppress(TimeoutError):
            await self.wait_for(lambda: find() is not None, timeout_s=timeout_s)
        if (index := find()) is None:
            wanted = f"op {int(op)}" + (f" with {fields!r}" if fields else "")
            others = [f"op {c.op} {c.data!r:.200}" for c in self.received[-10:]]
            came = "\n  ".join(["the last that came:", *others]) if others else "none came at all"
            raise AssertionError(f"no command of {wanted} within {timeout_s:g} s; {came}")
        self._expected.add(index)
        return self.received[index]

    async def wait_for(
        self, condition: Callable[[], bool], *, timeout_s: float = 10.0, what: str = "a condition"
    ) -> None:
        """
        Wait until `condition()` holds; it is asked after everything that happens here.

        Raises:
            TimeoutError: it did not within `timeout_s` seconds.
        """
        self._check_loop()
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (condition, waiter)
        self._waiters.append(entry)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except asyncio.TimeoutError:
            raise TimeoutError(
                f"the fake gateway waited {timeout_s:g} s for {what}; {self._describe()}"
            ) from None
        finally:
            self._waiters.remove(entry)

    # --- inside ----------------------------------------------------------------------------------

    def _url(self, scheme: str, path: str) -> str:
        self._check_loop()
        host = f"[{self.host}]" if ":" in self.host else self.host  # RFC 3986 3.2.2
        return f"{scheme}{'s' if self._server_context else ''}://{host}:{self._port}{path}"

    def _check_loop(self) -> None:
        """Refuse to be used where nothing would ever answer: the caller would wait for ever."""
        if self._loop is None or self._loop.is_running():
            return
        with suppress(RuntimeError):  # no loop runs here: a test that only looks
            asyncio.get_running_loop()
            raise UsageError(
                "this FakeGateway was started in another event loop, which does not run now, so "
                "it cannot answer; start it in the loop of the test (the fixture that starts it "
                "and the test need the same loop_scope)"
            )

    def _accept(self, asked: Request) -> FakeConnection | Answer | Silence:
        """Decide about a request: a websocket, an HTTP answer, or no answer at all."""
        if not asked.is_upgrade:
            self.api_requests += 1
            return self._instead_of_api.take() or answer_api(asked, self.service, self.info)
        refused = self._instead_of_upgrade.take() or check_upgrade(asked, self._path)
        if refused is not None:
            return refused
        self.upgrades.append(asked.query)
        return FakeConnection(
            self.service.connect(time.monotonic(), version=int(asked.query.get("v", 6))),
            Encoder(asked.query.get("compress"), self.framing),
            query=asked.query,
            headers=asked.headers,
            changed=self._changed,
            failed=self._errors.append,
        )

    def _each(self, shard_id: int | None, deed: Callable[[FakePeer], None]) -> int:
        chosen = list(self.connections) if shard_id is None else [self.connection(shard_id)]
        for connection in chosen:
            deed(connection.peer)
            connection.flush()
        return len(chosen)

    def _flush_soon(self) -> None:
        for connection in self.connections:
            connection.flush_soon()

    def _changed(self) -> None:
        for condition, waiter in self._waiters:
            if waiter.done():
                continue
            try:
                if condition():
                    waiter.set_result(None)
            except Exception as error:  # it belongs to who waits, not to the connection at hand
                waiter.set_exception(error)

    def _describe(self) -> str:
        service = self.service
        return (
            f"{len(self.upgrades)} websockets were opened, {len(self.connections)} are open, "
            f"{len(service.identifies)} identifies and {len(service.resumes)} resumes came"
        )


def _check(host: object, port: object, path: object, framing: object, service: object) -> None:
    """Raise UsageError where nothing could listen."""
    if not isinstance(host, str):
        raise UsageError(f"host={host!r} is not a name or an address, such as '127.0.0.1'")
    if type(port) is not int or not 0 <= port <= 65_535:
        raise UsageError(f"port={port!r} is not a port, 0 to 65535; 0 takes a free one")
    if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path) or {"?", "#"} & set(path):
        raise UsageError(f"path={path!r} is not the path of a URL, such as '/'")
    if not isinstance(framing, (Framing, type(None))):
        raise UsageError(f"framing={framing!r} is not a Framing, such as Framing(split_bytes=100)")
    if not isinstance(service, (FakeService, type(None))):
        raise UsageError(f"service={service!r} is not a FakeService")
