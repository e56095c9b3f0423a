"""
Events into Redis Streams and out of them, against redis-py's plain XADD and XREADGROUP.

One redis-server in a process of its own; 1, 4 and 16 events of a thousand bytes in each call. The
figures are CPU of the client; beside them stand the server's CPU and the time from call to answer,
both by event. The third comparison needs no call: an event that a group's filter rejects ends in
the scanner, as it does where handlers are in the same process.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis_server import REDIS, RedisServer

import fastgw
from fastgw._decode import Calls, Decoder
from fastgw.delivery.handlers import Handlers
from fastgw.redis import Consumer, Publisher, consumer
from fastgw.redis.interests import decode_interests, encode_interests

from .rig import inprocess
from .rig.comparison import Comparison, Measure, Target, UnavailableError
from .rig.inprocess import later
from .rig.replay import replayed_cpu_time

PER_CALL = (1, 4, 16)
NAME = "MESSAGE_CREATE"
PLAIN_APPEND = "redis-py, XADD in a pipeline"
OURS_APPEND = "fastgw, Publisher"
PLAIN_CONSUME = "redis-py, XREADGROUP and XACK"
OURS_CONSUME = "fastgw, Consumer"
ONE_PROCESS = "handlers in this process"
PUBLISHED = "a group's handlers, elsewhere"
# Nobody in the traffic has this id.
FILTER = fastgw.field("channel_id").is_in(["1"])

Work = Callable[["Clock", str, int, int], Awaitable[None]]
_prefixes = itertools.count()
_servers: list[Any] = []


@pytest.fixture(scope="module", autouse=True)
def _no_server_left() -> Iterator[None]:
    yield
    while _servers:
        _servers.pop().stop()


class Clock:
    """
    What a measured part takes, `async with` it: CPU of this process and of the server, and time.

    Attributes:
        client: of redis-py.
        cpu_s, server_s, wall_s: seconds, after the part.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __aenter__(self) -> None:
        self._server_s = await self._server_cpu_s()
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    async def __aexit__(self, *_: object) -> None:
        self.cpu_s = time.process_time() - self._cpu_s
        self.wall_s = time.perf_counter() - self._wall_s
        self.server_s = await self._server_cpu_s() - self._server_s

    async def _server_cpu_s(self) -> float:
        said = await self.client.info("cpu")
        return float(said["used_cpu_user"] + said["used_cpu_sys"])


def comparisons(size: Any, _runner: Any) -> list[Comparison]:
    """Return those with a server for each number of events a call, and that of a filter."""
    count, rounds = (2_000, size.batches) if size.batches > 3 else (160, 1)
    appending: dict[str, Work] = {PLAIN_APPEND: _xadd, OURS_APPEND: _publish}
    consuming: dict[str, Work] = {PLAIN_CONSUME: _xreadgroup, OURS_CONSUME: _consume}
    compared = [
        Comparison(
            name=f"streams, {what}, {per_call} a call",
            baseline=tuple(works),
            entrants={label: _entrant(work, count, per_call) for label, work in works.items()},
            rounds=rounds,
        )
        for what, works in (("append", appending), ("consume", consuming))
        for per_call in PER_CALL
    ]
    batch = 20_000 if size.batches > 3 else 1_000
    filtering = {
        ONE_PROCESS: later(lambda: _filtering(FILTER, batch), batch),
        PUBLISHED: later(lambda: _filtering(_travelled(FILTER), batch), batch),
    }
    filtered = Comparison(
        name="streams, an event that a filter rejects",
        baseline=(ONE_PROCESS,),
        entrants=filtering,
        rounds=size.batches,
        targets=(Target(PUBLISHED, 1.05, of=ONE_PROCESS),),
    )
    return [*compared, filtered]


def _entrant(work: Work, count: int, per_call: int) -> Measure:
    """Measure one way to handle so many events, in a loop and under a prefix of its own."""
    others: list[tuple[float, float]] = []

    async def measured() -> float:
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(_server()) as client:
            clock = Clock(client)
            await work(clock, f"bench-{next(_prefixes)}", count, per_call)
            others.append((clock.server_s / count * 1e6, clock.wall_s / count * 1e6))
            await client.flushall()
        return clock.cpu_s / count

    def measure() -> tuple[float, dict[str, Any]]:
        if REDIS is None:
            raise UnavailableError("there is no redis-server")
        figure = _run(measured)
        server, wall = (statistics.median(each) for each in zip(*others, strict=True))
        return figure, {"batch": count, "beside": f"server {server:5.1f} us, wall {wall:6.1f} us"}

    return measure


def _server() -> str:
    """Return where the server is; started once, before the first call."""
    if not _servers:
        _servers.append(RedisServer(Path(tempfile.mkdtemp(prefix="fastgw-bench-"))))
    url: str = _servers[0].url
    return url


def _run(main: Callable[[], Awaitable[float]]) -> float:
    async def whole() -> float:
        return await main()

    try:
        import uvloop
    except ImportError:
        return asyncio.run(whole())
    return uvloop.run(whole())


def _datas(count: int) -> list[bytes]:
    texts = inprocess.messages(NAME, 1_000, 200)
    datas = [bytes(Decoder(interests=_wanting_all()).feed(text, 1, True).raw) for text in texts]
    return (datas * (count // 200 + 1))[:count]


def _wanting_all() -> Any:
    interests = fastgw._decode.Interests()
    interests.want_everything()
    return interests


# --- append -----------------------------------------------------------------------------------


async def _xadd(clock: Clock, prefix: str, count: int, per_call: int) -> None:
    key, datas = f"{{{prefix}}}:mailbox", _datas(count)
    async with clock:
        for at in range(0, count, per_call):
            pipeline = clock.client.pipeline(transaction=False)
            for number in range(at, at + per_call):
                entry = {b"t": NAME, b"d": datas[number]}
                pipeline.xadd(key, entry, id=f"1-{number + 1}")
            await pipeline.execute()
    assert await clock.client.xlen(key) == count


class _NoShards:
    """Shards whose connections nobody looks at, and for which no commands come."""

    fleet = SimpleNamespace(shards=())
    bot_id = None
    ids = ()

    def is_here(self, shard_id: int) -> bool:
        return True

    def tenure(self, shard_id: int) -> object:
        return self


async def _publish(clock: Clock, prefix: str, count: int, per_call: int) -> None:
    """Append as a gateway does: from the handlers' table to the answer of the script."""
    group = Consumer(_server(), group="bot", shards=1, prefix=prefix)
    group.on(NAME)(lambda event: None)
    group._streams.open()
    await group._tell()
    handlers = Handlers(fastgw.Intents.all())
    publisher, nobody = Publisher(_server(), prefix=prefix), cast("Any", _NoShards())
    await publisher.open(handlers, nobody)
    await cast("Any", publisher._orders).end()
    publisher._is_flushing = True  # so much a call, not so much in 4 ms
    decoder = Decoder(interests=handlers.interests, shard_id=0)
    ready = b'{"t":"READY","s":1,"op":0,"d":{"session_id":"s"}}'
    began: Any = handlers.target_of("READY")
    began(decoder.feed(ready, 1, True))
    await publisher._turn()
    texts = [
        b'{"t":"%s","s":%d,"op":0,"d":%b}' % (NAME.encode(), sequence, data)
        for sequence, data in enumerate(_datas(count), 2)
    ]
    events = [decoder.feed(text, 1, True) for text in texts]
    take: Any = handlers.target_of(NAME)
    async with clock:
        for at in range(0, count, per_call):
            for event in events[at : at + per_call]:
                take(event)
            await publisher._turn()
    assert publisher.appended == count
    cast("Any", publisher._poll).cancel()
    await publisher._streams.close()
    await group._streams.close()


# --- consume ----------------------------------------------------------------------------------


async def _fill(client: Any, key: str, count: int) -> None:
    pipeline = client.pipeline(transaction=False)
    for number, data in enumerate(_datas(count), 1):
        pipeline.xadd(key, {b"t": NAME, b"d": data}, id=f"1-{number}")
    await pipeline.execute()


async def _xreadgroup(clock: Clock, prefix: str, count: int, per_call: int) -> None:
    key, seen, client = f"{{{prefix}}}:mailbox:bot:0", 0, clock.client
    await _fill(client, key, count)
    await client.xgroup_create(key, "bot", id="0")
    async with clock:
        while seen < count:
            ((_, entries),) = await client.xreadgroup("bot", "me", {key: ">"}, count=per_call)
            await client.xack(key, "bot", *(entry_id for entry_id, _ in entries))
            seen += len(entries)


async def _consume(clock: Clock, prefix: str, count: int, per_call: int) -> None:
    """Consume as `start()` does, so much a call: read, hand out, acknowledge and remove."""
    one = Consumer(_server(), group="bot", shards=1, prefix=prefix)
    seen: deque[int] = deque()
    one.on(NAME)(lambda event: seen.append(event.sequence))
    one._streams.open()
    key, usual = one._streams.mailbox("bot", 0), consumer.READ_ENTRIES
    await _fill(clock.client, key, count)
    consumer.READ_ENTRIES = per_call
    try:
        await one._lease(time.monotonic())
        async with clock:
            while len(seen) < count:
                await one._turn()
    finally:
        consumer.READ_ENTRIES = usual
    assert list(seen) == list(range(1, count + 1))
    assert await clock.client.xlen(key) == 0
    await one._streams.close()


# --- what nobody wants ------------------------------------------------------------------------


def _travelled(where: Any) -> Any:
    """Return a filter as a publisher has it: from the text that a consumer sent."""
    return decode_interests(encode_interests([(NAME, where)]))[NAME]


def _filtering(where: Any, batch: int) -> Callable[[], int]:
    handlers = Handlers(fastgw.Intents.all())
    handlers.on((NAME,), lambda event: None, where=where)
    feed = Decoder(interests=handlers.interests).feed
    texts = (inprocess.messages(NAME, 1_000, 200) * (batch // 200 + 1))[:batch]

    def run() -> int:
        return sum(type(feed(text, 1, True)) is Calls for text in texts)

    return run


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_streams(case, replay):
    """Replay the CPU seconds by event of one way."""
    replay(case)
