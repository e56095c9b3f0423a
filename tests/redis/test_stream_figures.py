"""What a publisher and a consumer say of themselves: health(), stats(), and the metrics of them."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
from deadline import until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

from fastgw.redis import Consumer, Publisher
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of the file; each has a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def prefix(request):
    """The keys of one bot."""
    return request.node.name


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    """A publisher looks at its groups each time that it looks at anything."""
    monkeypatch.setattr("fastgw.redis.lag.LOOK_S", 0.0)
    monkeypatch.setattr("fastgw.redis.publisher.POLL_S", 0.05)


def consumer_of(server, prefix, **options):
    """Make a consumer of messages that is done with each at once."""
    options = {"group": "bot", "shards": 1, "lease_s": 0.6, **options}
    consumer = Consumer(server.url, prefix=prefix, **options)
    consumer.on("MESSAGE_CREATE")(lambda event: None)
    return consumer


def message(number, size=10):
    return {"id": str(number), "guild_id": "7", "n": number, "content": "x" * size}


def send(fake, count, size=10):
    for number in range(count):
        fake.dispatch("MESSAGE_CREATE", message(number, size))


def entries_of(publisher):
    lag = publisher.health().groups.get("bot")
    return 0 if lag is None else lag.entries


async def test_a_gateway_says_how_far_its_groups_are_behind(server, prefix):
    """Entries, bytes and the age of the oldest, of a group that nobody reads for."""
    async with consumer_of(server, prefix):
        pass  # the group is known
    async with FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher) as gateway:
            send(fake, 20)
            await until(lambda: entries_of(publisher) == 21)
            now = gateway.health().publisher
            assert now.groups["bot"].bytes > 20 * len(b"MESSAGE_CREATE")
            assert now.groups["bot"].deepest == 0
            assert now.waiting == now.waiting_bytes == 0
            assert now.answer_age_s >= 0.0
            age_s = now.groups["bot"].oldest_age_s
            await until(lambda: publisher.health().groups["bot"].oldest_age_s > age_s)
            assert gateway.stats().publisher.appended == 20


async def test_losses_are_counted_by_bound(server, prefix):
    """Of the group that lost them: full, and too big; the other group lost nothing."""
    async with consumer_of(server, prefix, group="slow"):
        pass
    async with consumer_of(server, prefix, group="quick"), FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix, max_entries=6, max_entry_bytes=1_000)
        async with gateway_to(fake, publish=publisher) as gateway:
            for number in range(12):
                fake.dispatch("MESSAGE_CREATE", message(number, 2_000 if number == 3 else 10))
                await until(lambda: publisher.stats().appended == number + 1)  # noqa: B023
            counted = gateway.stats().publisher
    assert counted.lost_full == {"slow": 6}  # the mark of the session is an entry, too
    assert counted.lost_too_big == {"slow": 1, "quick": 1}


async def test_what_waits_for_redis_is_shown(server, prefix, monkeypatch):
    """Events and bytes, from another thread as well; and since when Redis is silent."""
    async with consumer_of(server, prefix), FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher):
            send(fake, 1)
            await until(lambda: publisher.stats().appended == 1)

            async def away(*_, **__):
                raise OSError("away")

            with monkeypatch.context() as patched:
                patched.setattr(publisher._streams, "run_all", away)
                send(fake, 5, size=1_000)
                await until(lambda: publisher.health().waiting == 5)
                now = await asyncio.to_thread(publisher.health)
                assert now.waiting_bytes > 5_000
            await until(lambda: publisher.health().waiting == 0)
            assert publisher.stats().appended == 6


def get(url):
    with urllib.request.urlopen(url, timeout=20.0) as answer:
        return answer.read().decode()


async def test_the_endpoint_of_a_gateway_has_its_streams(server, prefix):
    """In /stats.json, and as metrics; a group and a shard are never labels of one."""
    pytest.importorskip("prometheus_client")
    async with consumer_of(server, prefix), FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix)
        async with gateway_to(fake, publish=publisher, metrics="127.0.0.1:0") as gateway:
            url = gateway._fleet._endpoint.url
            send(fake, 3)
            await until(lambda: publisher.stats().appended == 3)
            await until(lambda: "bot" in publisher.health().groups)
            document = json.loads(await asyncio.to_thread(get, f"{url}/stats.json"))
            text = await asyncio.to_thread(get, f"{url}/metrics")
    assert document["counts"]["publisher"]["appended"] == 3
    assert document["processes"][0]["publisher"]["groups"]["bot"]["lost"] == 0
    for line in (
        "fastgw_stream_appended_events_total 3.0",
        'fastgw_stream_waiting_events{process="0"} 0.0',
        'fastgw_stream_lost_events_total{bound="full",group="bot"} 0.0',
        'fastgw_stream_group_untold_events{group="bot"} 0.0',
    ):
        assert line in text
    streams = [line for line in text.splitlines() if line.startswith("fastgw_stream_")]
    assert not [line for line in streams if "shard=" in line]
