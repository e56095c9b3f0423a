"""What streams may hold: of a group that does not read, of one event, and while Redis is away."""

from __future__ import annotations

import asyncio

import pytest
from deadline import until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis
from stream_groups import until_nothing_is_held

pytest.importorskip("redis")

from fastgw import DeliveryLimits, UsageError
from fastgw.redis import Consumer, Publisher
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop]

MB = 1024 * 1024


@pytest.fixture
def server(tmp_path):
    """A server of this test's own, that keeps what it has."""
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.stop()


def consumer_of(server, group, got, lost=None):
    """Make a consumer that notes the numbers of messages, and the counts of LOST."""
    consumer = Consumer(server.url, group=group, shards=1, lease_s=3.0)
    consumer.on("MESSAGE_CREATE")(lambda event: got.append(event.data["n"]))
    if lost is not None:
        consumer.on("LOST")(lambda event: lost.append(event.data["count"]))
    return consumer


def message(number, size=10):
    return {"id": str(number), "guild_id": "7", "n": number, "content": "x" * size}


async def test_a_group_that_stands_still_holds_what_it_may(server):
    """Another group gets everything, its own loss is counted exactly, and Redis stays small."""
    slow, lost, quick, count = [], [], [], 3_000
    stopped = consumer_of(server, "slow", slow, lost)
    async with stopped:
        pass  # its group is known from now on, and nobody reads
    async with consumer_of(server, "quick", quick) as reads, FakeGateway() as fake:
        client = reads._streams.client
        before = (await client.info("memory"))["used_memory"]
        publisher = Publisher(server.url, max_bytes=MB)
        async with gateway_to(fake, publish=publisher):
            for number in range(count):
                fake.dispatch("MESSAGE_CREATE", message(number, 1_000))
                if number % 100 == 99:
                    await until(lambda: len(quick) > number - 100, 30.0)  # noqa: B023 - waited for
            await until(lambda: len(quick) == count, 30.0)
            used = (await client.info("memory"))["used_memory"] - before
            lags = await publisher.lag()
            async with consumer_of(server, "slow", slow, lost) as reader:
                await until_nothing_is_held(reader)
                fake.dispatch("MESSAGE_CREATE", message(count))
                await until(lambda: slow[-1] == count, 30.0)
    assert quick[:count] == list(range(count))
    numbers = [number for number in slow if number < count]
    assert numbers == list(range(len(numbers)))  # what there was room for, in order
    assert lost == [count - len(numbers)]
    assert 0 < len(numbers) < count
    assert used < 2 * MB
    assert lags["slow"].entries == len(numbers) + 1  # and the mark of the session
    assert lags["slow"].lost == lost[0]
    assert 0 < lags["slow"].bytes <= MB
    assert lags["slow"].deepest == 0


async def test_an_event_that_is_too_big_is_counted_as_lost(server):
    """The others come, and the one behind it says so."""
    got, lost = [], []
    async with consumer_of(server, "bot", got, lost), FakeGateway() as fake:
        publisher = Publisher(server.url, max_entry_bytes=10_000)
        async with gateway_to(fake, publish=publisher):
            for number, size in enumerate((10, 20_000, 10)):
                fake.dispatch("MESSAGE_CREATE", message(number, size))
            await until(lambda: got == [0, 2])
            await until(lambda: publisher.appended == 3)
    assert lost == [1]
    assert publisher.too_big == 1


async def test_what_does_not_fit_here_stays_with_discord(server):
    """
    Redis is away for longer than events may wait: the socket is not read. Where Discord drops it
    then, the session stays, and everything comes once, without an IDENTIFY.
    """
    got, count = [], 1_500
    bot = consumer_of(server, "bot", got)
    async with bot, FakeGateway() as fake:
        publisher = Publisher(server.url)
        limits = DeliveryLimits(shard_bytes=100_000)
        async with gateway_to(fake, publish=publisher, limits=limits) as gateway:
            fake.dispatch("MESSAGE_CREATE", message(0))
            await until(lambda: got == [0])
            await asyncio.to_thread(server.stop)
            for number in range(1, count):
                fake.dispatch("MESSAGE_CREATE", message(number, 1_000))
            await until(lambda: gateway.health().reading_held_by, 10.0)
            fake.cut()
            await until(lambda: fake.resumes, 30.0)
            await asyncio.to_thread(server.start)
            await until(lambda: len(set(got)) == count, 60.0)
    assert list(dict.fromkeys(got)) == list(range(count))
    assert publisher.appended == count
    assert len(fake.identifies) == 1


async def test_the_lag_is_known_of_a_gateway_that_runs():
    """Before its start nobody knows how many shards there are."""
    with pytest.raises(UsageError, match="start"):
        await Publisher("redis://localhost").lag()


async def test_the_lag_is_not_asked_for_after_the_end(server):
    """A question would open the client again, which nobody would close."""
    publisher = Publisher(server.url)
    async with FakeGateway() as fake:
        async with gateway_to(fake, publish=publisher):
            assert await publisher.lag() == {}
        with pytest.raises(UsageError, match="closed"):
            await publisher.lag()


@pytest.mark.parametrize("name", ["max_entries", "max_bytes", "max_entry_bytes"])
def test_bounds_are_numbers(name):
    """Nothing, or no number, is refused."""
    for value in (0, "1"):
        with pytest.raises(UsageError, match=name):
            Publisher("redis://localhost", **{name: value})
