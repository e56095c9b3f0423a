"""
A shard's driver without sockets: its dials are answered in invented time by a service in memory.

Everything of the driver's room is the real thing, down to the decoder; only `Dial` is another.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from fastgw.connection.websocket import CloseInfo
from fastgw.delivery.handlers import Handlers
from fastgw.errors import ConnectFailed
from fastgw.fleet.turns.identify import IdentifyGate, LocalIdentifyQueue
from fastgw.protocol.identity import Identity
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.shard.compression import Compression
from fastgw.shard.driver import ShardDriver
from fastgw.shard.link import ShardSetup
from fastgw.words import Initiator, Intents

STEP_S = 0.125  # that the service takes for everything; a fraction that floats hold exactly


class FakeConnection:
    """One connection, seen by the driver as those of `fastgw.connection`; the service answers."""

    def __init__(self, dial: FakeDial) -> None:
        self.service = dial.service
        self.dial = dial
        self.is_open = True
        self.is_reading_paused = False
        self.is_deaf = False
        self.has_ended = False
        self.closes: list[tuple[int, str]] = []
        self.aborted_at: float | None = None
        self.read_buffer_bytes = 4_096
        self.buffer_bytes = 512
        self.sequence = 0
        self._bytes = 0
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- what the driver calls -------------------------------------------------------------------

    def send(self, command: bytes) -> None:
        text = orjson.loads(command)
        self.service.sent.append((time.monotonic(), text["op"], text["d"]))
        if text["op"] not in self.service.mute:
            asyncio.get_running_loop().call_later(STEP_S, self.answer, text["op"])

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        self.is_open = False
        if not self.service.never_closes:
            end = CloseInfo(code, reason, Initiator.CLIENT)
            asyncio.get_running_loop().call_later(STEP_S, self.end, end)

    def abort(self) -> None:
        self.aborted_at = time.monotonic()
        self.is_open = False
        if not self.service.never_ends:
            self.end(CloseInfo(None, "", Initiator.CLIENT))

    def abandon(self) -> None:
        self.is_open = False
        self.has_ended = True
        settle_s = self.service.settle_s
        if settle_s is not None:
            asyncio.get_running_loop().call_later(settle_s, self._settle)

    def deafen(self) -> None:
        self.is_deaf = True

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def bytes_received(self) -> int:
        return self._bytes

    look = bytes_received

    # --- what the service does -------------------------------------------------------------------

    def answer(self, op: int) -> None:
        if self.has_ended:
            return
        if op == Opcode.IDENTIFY:
            self.sequence = 0
            self.dispatch("READY", {"session_id": "s", "resume_gateway_url": "wss://resume"})
        elif op == Opcode.RESUME:
            self.sequence = self.service.sequence
            self.dispatch("RESUMED")
        elif op == Opcode.HEARTBEAT:
            self.serve(Opcode.HEARTBEAT_ACK)

    def dispatch(self, name: str, d: Any = None) -> None:
        self.sequence += 1
        self.service.sequence = self.sequence
        self.serve(Opcode.DISPATCH, {} if d is None else d, s=self.sequence, t=name)

    def serve(self, op: int, d: Any = None, *, s: int | None = None, t: str | None = None) -> None:
        raw = orjson.dumps({"t": t, "s": s, "op": int(op), "d": d})
        self._bytes += len(raw)
        message = self.dial.decoder.feed(raw, 1, True)
        if message is not None:
            self.dial.owner.message_received(message)

    def end(self, info: CloseInfo | None = None) -> None:
        """The connection is over: cut, unless the service says more."""
        if not self.has_ended:
            self.has_ended, self.is_open = True, False
            self.dial.owner.connection_ended(info or CloseInfo(None, "", Initiator.TRANSPORT))

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)


class FakeDial:
    """One attempt at a connection."""

    def __init__(self, service: Service, decoder: Any, owner: Any, **options: Any) -> None:
        self.service = service
        self.decoder = decoder
        self.owner = owner
        self.options = options
        self.connection: FakeConnection | None = None
        self.is_abandoned = False
        self.url: str | None = None
        self.opened_with: dict[str, Any] = {}
        self.began_at = time.monotonic()

    async def open(self, url: str, **options: Any) -> FakeConnection:
        self.url, self.opened_with = url, options
        await asyncio.sleep(self.service.opens_s)
        if self.is_abandoned:
            raise ConnectFailed("abandoned")
        if self.service.refusals:
            raise self.service.refusals.pop(0)
        self.connection = FakeConnection(self)
        self.owner.connection_made(self.connection)
        if self.service.says_hello:
            hello = {"heartbeat_interval": self.service.interval_ms}
            asyncio.get_running_loop().call_later(STEP_S, self._hello, hello)
        return self.connection

    def _hello(self, hello: Any) -> None:
        if self.connection is not None and not self.connection.has_ended:
            self.connection.serve(Opcode.HELLO, hello)

    def abandon(self) -> None:
        self.is_abandoned = True
        if self.connection is not None:
            self.connection.abandon()


class Host:
    """Who runs the shard: writes down what it hears, and does what a test wants then."""

    def __init__(self) -> None:
        self.was_ready = True
        self.keeps_sessions = False
        self.changes: list[Any] = []
        self.story: list[tuple[Any, ...]] = []
        self.on_change: Any = None

    def status_changed(self, change: Any) -> None:
        self.changes.append(change)
        if self.on_change is not None:
            self.on_change(change)

    def session_began(self, session: Any, ready: Any) -> None:
        self.story.append(("began", session.session_id, ready["session_id"]))

    def session_ended(self, shard_id: int, end: object) -> None:
        self.story.append(("ended", shard_id))

    def shard_stopped(self, shard: Any, error: Any) -> None:
        self.story.append(("stopped", shard.id, error))


class Service:
    """
    What one shard connects to.

    Attributes:
        sent: what was written, as (when, op, d). mute: opcodes that get no answer.
        dials: attempts, the newest last. refusals: what the next ones fail with.
        opens_s: how long an upgrade takes.
        settle_s: after an end, until the socket is gone; None is never.
        never_closes: CLOSE is not answered. never_ends: nor does an abort end anything.
        sequence: of the session that it has.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[float, int, Any]] = []
        self.mute: set[int] = set()
        self.dials: list[FakeDial] = []
        self.refusals: list[Exception] = []
        self.opens_s = STEP_S
        self.settle_s: float | None = 0.0
        self.never_closes = self.never_ends = False
        self.says_hello = True
        self.interval_ms = 40_000
        self.sequence = 0

    def dial(self, decoder: Any, owner: Any, **options: Any) -> FakeDial:
        """Stand in for `Dial`."""
        self.dials.append(FakeDial(self, decoder, owner, **options))
        return self.dials[-1]

    @property
    def connection(self) -> FakeConnection:
        """The newest."""
        connection = self.dials[-1].connection
        assert connection is not None
        return connection

    def count(self, op: int) -> int:
        """How many commands with this opcode were written."""
        return sum(each == op for _, each, _ in self.sent)


async def until(condition: Any, seconds: float = 100.0) -> None:
    """Let time pass, in steps, until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(STEP_S / 8)


class World(Service):
    """A driver, its host, and the service that it connects to."""

    def __init__(self, monkeypatch: Any, *, presence: Any = None, **options: Any) -> None:
        super().__init__()
        self.is_ours = True
        self.host = Host()
        monkeypatch.setattr("fastgw.shard.link.Dial", self.dial)
        self.delivery = Handlers(Intents.all())
        self.queue = LocalIdentifyQueue(padding_s=(0.0, 0.0), clock=time.monotonic)
        self.gate = IdentifyGate(self.queue, clock=time.monotonic)
        stored = {
            name: options.pop(name) for name in ("session", "last_byte_at") if name in options
        }
        if stored.get("session") is not None:
            self.sequence = stored["session"].sequence
        setup: dict[str, Any] = {
            "url": "wss://gateway.example", "compression": Compression("none", shards=1),
            "interests": self.delivery.interests, "delivery": self.delivery, "gate": self.gate,
            "timeouts": Timeouts(), "ssl_context": None, "headers": {"x": "y"}, "proxies": None,
            "random": lambda: 0.5, "backoff_s": (1.0, 60.0), "opening": asyncio.Semaphore(1),
            "turns": None, "stores_handled": False, "early_heartbeat": False,
            "may_speak": lambda shard_id: self.is_ours,
        }  # fmt: skip
        self.setup = ShardSetup(**{**setup, **options})
        self.identity = Identity(
            token="not.a.token", intents=Intents.all(), shard_id=3, shard_count=8, presence=presence
        )
        self.driver = ShardDriver(self.identity, self.setup, self.host, **stored)

    async def ready(self, *, seconds: float = 100.0) -> FakeConnection:
        """Start it, if need be, and wait until it is READY."""
        if self.driver._owner._task is None:
            self.driver.start()
        await self.until(lambda: self.driver.status.value == "ready", seconds)
        return self.connection

    async def until(self, condition: Any, seconds: float = 100.0) -> None:
        """Let time pass, in steps, until something holds."""
        await until(condition, seconds)
