"""Who appends a shard's events when it left here: whoever has it now, and nobody else."""

from __future__ import annotations

import asyncio

import pytest
from deadline import scaled, until
from gateways import gateway_to
from partition import Partition
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

from fastgw.redis import Consumer, Publisher
from fastgw.redis.streams import EventStreams
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop]

SOON = 10**14  # the end of a `begin`, ms


@pytest.fixture
def server(tmp_path):
    """A server of this test's own."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def way(server):
    """The publisher's way to it, which can be cut."""
    way = Partition(server.socket)
    await way.start()
    yield way
    await way.stop()


@pytest.fixture
async def rival(server):
    """Another process's way to the streams."""
    streams = EventStreams(server.url, "fgw")
    streams.open()
    yield streams
    await streams.close()


@pytest.fixture
async def bot(server):
    """A consumer that wants messages."""
    consumer = Consumer(server.url, group="bot", shards=1, lease_s=3.0)
    consumer.got = []
    consumer.on("MESSAGE_CREATE")(lambda event: consumer.got.append(event.data["n"]))
    async with consumer:
        yield consumer


def message(number):
    return {"id": "1", "n": number}


async def begin(streams, session_id):
    """Begin to append the events of shard 0; return the claim."""
    keys = [streams.shard(0), streams.mailbox("bot", 0)]
    return (await streams.run("begin", keys, [session_id, 0, SOON]))[0]


async def test_a_shard_that_left_fences_nobody_when_redis_is_back(way, rival, bot):
    """What waits of it is not appended, and counts as not handled."""
    async with FakeGateway() as fake:
        publisher = Publisher(f"redis://127.0.0.1:{way.port}")
        async with gateway_to(fake, publish=publisher) as gateway:
            fake.dispatch("MESSAGE_CREATE", message(0))
            await until(lambda: bot.got == [0], 20.0)
            await until(lambda: not publisher._runs[0][0].waiting)  # it knows that it is appended
            session_id = gateway.shards[0].session_id
            way.cut()
            publisher._runs[0][0].claim = None  # as after GONE
            fake.dispatch("MESSAGE_CREATE", message(1))
            await until(lambda: publisher._runs[0][0].waiting)
            delivery = publisher._runs[0][0].waiting[0][2]
            await gateway.stop_shard(0)
            claim = await begin(rival, session_id)
            way.mend()
            await until(lambda: 0 not in publisher._runs, 20.0)
            await until(lambda: not publisher._is_flushing, 20.0)
            assert await rival.client.hget(rival.shard(0), "claim") == claim
    assert publisher.fenced == 0
    assert delivery in delivery.ledger.deliveries


async def test_a_shard_that_came_back_with_events_waiting_goes_on(way, rival, bot, monkeypatch):
    """Another process had it meanwhile: it begins with a claim of its own, and nothing is lost."""
    async with FakeGateway() as fake:
        publisher = Publisher(f"redis://127.0.0.1:{way.port}")
        async with gateway_to(fake, publish=publisher) as gateway:
            fake.dispatch("MESSAGE_CREATE", message(0))
            await until(lambda: bot.got == [0], 20.0)
            way.cut()
            fake.dispatch("MESSAGE_CREATE", message(1))
            await until(lambda: publisher._runs[0][0].waiting)
            await begin(rival, gateway.shards[0].session_id)
            monkeypatch.setattr(publisher._shards, "tenure", lambda shard_id: "another")
            way.mend()
            fake.dispatch("MESSAGE_CREATE", message(2))
            await until(lambda: bot.got == [0, 1, 2], 20.0)
    assert publisher.fenced == 0


async def test_a_group_that_redis_forgot_is_published_for_until_it_says_so_again(server, bot):
    """Another group may be quicker to say so: its version says nothing of those that were not."""
    slow, got = Consumer(server.url, group="slow", shards=1, lease_s=60.0), []
    slow.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    async with slow, FakeGateway() as fake:
        publisher = Publisher(server.url)
        async with gateway_to(fake, publish=publisher):
            fake.dispatch("MESSAGE_CREATE", message(0))
            await until(lambda: got == [0], 20.0)
            client, key = slow._streams.client, slow._streams.key
            known = publisher._version
            await client.flushall()
            end = asyncio.get_running_loop().time() + scaled(20.0)
            while not await client.hexists(key("groups"), "bot"):  # `slow` says so in 20 s
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0.01)
            await until(lambda: publisher._version != known, 20.0)
            fake.dispatch("MESSAGE_CREATE", message(1))
            await until(lambda: got == [0, 1], 20.0)


async def test_a_publisher_that_starts_before_a_forgotten_group_tells_it_of_the_hole(server):
    """What came meanwhile was for nobody; a group that is new has missed nothing."""
    got, new = [], []
    bot = Consumer(server.url, group="bot", shards=1, lease_s=300.0)
    bot.on("MESSAGE_CREATE", "SESSION_RESET")(lambda event: got.append(event.data.get("n")))
    fresh = Consumer(server.url, group="fresh", shards=1)
    fresh.on("MESSAGE_CREATE", "SESSION_RESET")(lambda event: new.append(event.data.get("n")))
    async with bot, FakeGateway() as fake:
        await until(lambda: bot._turns, 20.0)  # it has looked what Redis knows, for a long time
        await bot._streams.client.flushall()
        publisher = Publisher(server.url)
        async with gateway_to(fake, publish=publisher):
            await until(lambda: publisher._runs and publisher._runs[0][0].claim, 20.0)
            fake.dispatch("MESSAGE_CREATE", message(0))
            async with fresh:
                await until(lambda: publisher._groups == ["fresh"], 20.0)
                fake.dispatch("MESSAGE_CREATE", message(1))
                await until(lambda: new == [1], 20.0)
                bot._renew_at = 0.0  # it looks what Redis knows
                await until(lambda: got == [None], 20.0)
                fake.dispatch("MESSAGE_CREATE", message(2))
                await until(lambda: (got, new) == ([None, 2], [1, 2]), 20.0)


async def test_a_group_that_was_removed_gets_nothing_more(server, bot):
    """An operator took it out, and Redis lost nothing."""
    async with Consumer(server.url, group="other", shards=1) as other, FakeGateway() as fake:
        publisher = Publisher(server.url)
        async with gateway_to(fake, publish=publisher):
            assert len(publisher._wanted) == 2
            await bot.close()
            client, key = other._streams.client, other._streams.key
            await client.hdel(key("groups"), "bot")
            await client.incr(key("groups", "version"))
            await until(lambda: list(publisher._wanted) == [b"other"], 20.0)
