"""What a publisher and a consumer say of themselves: health(), stats(), and the metrics of them."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
from deadline import until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis
from stream_groups import until_nothing_is_held

pytest.importorskip("redis")

from fastgw.metrics.verdict import what_is_away
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
    # Longer than a busy machine stands still: a mailbox that is lost is counted, and taken again.
    options = {"group": "bot", "shards": 1, "lease_s": 3.0, **options}
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
    async with consumer_of(server, prefix, group="quick") as quick, FakeGateway() as fake:
        publisher = Publisher(server.url, prefix=prefix, max_entries=6, max_entry_bytes=1_000)
        async with gateway_to(fake, publish=publisher) as gateway:
            for number in range(12):
                fake.dispatch("MESSAGE_CREATE", message(number, 2_000 if number == 3 else 10))
                await until(lambda: publisher.stats().appended == number + 1)  # noqa: B023
                await until_nothing_is_held(quick)
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


async def test_a_consumer_counts_what_it_does(server, prefix):
    """Handed out and removed; how far it is behind, and how old its leases are."""
    bot = consumer_of(server, prefix)
    async with bot, FakeGateway() as fake:
        async with gateway_to(fake, publish=Publisher(server.url, prefix=prefix)):
            send(fake, 20)
            await until(lambda: bot.stats().handled == 20)
        await until(lambda: bot.health().lag.entries == 0)
        counted, now = bot.stats(), bot.health()
        assert (counted.taken, counted.redelivered, counted.lost) == (20, 0, 0)
        assert (counted.session_resets, counted.mailboxes_taken) == (1, 1)
        assert counted.events["MESSAGE_CREATE"].delivered == 20
        assert (now.group, now.shard_ids, now.share, now.backlog) == ("bot", (0,), 1, 0)
        assert now.lease_age_s >= 0.0
        assert now.answer_age_s >= 0.0


async def test_who_takes_over_counts_what_comes_again(server, prefix):
    """What the one before had handed out and not finished; new events are not among it."""
    dead, started = Consumer(server.url, group="bot", shards=1, prefix=prefix, lease_s=3.0), []

    @dead.on("MESSAGE_CREATE")
    async def hang(event):
        started.append(event.data["n"])
        await asyncio.sleep(3600)

    async with FakeGateway() as fake:
        await dead.start()
        async with gateway_to(fake, publish=Publisher(server.url, prefix=prefix)):
            send(fake, 5)
            await until(lambda: len(started) == 5)
            (mailbox,) = dead._mailboxes.values()
            await until(lambda: mailbox.told == mailbox.handed)
            dead.drain_s = 0.0
            await dead.close()
            async with consumer_of(server, prefix) as bot:
                send(fake, 3)
                await until(lambda: bot.stats().handled == 8)
                assert bot.stats().redelivered == 5


async def test_mailboxes_that_were_lost_are_counted(server, prefix):
    """One whose leases are another's by now had not given them back."""
    async with consumer_of(server, prefix, lease_s=60.0) as bot:
        await until(lambda: bot.shard_ids == (0,))
        owners = bot._streams.key("group", "bot", "owners")
        leases = bot._streams.key("group", "bot", "leases")
        await bot._streams.client.hset(owners, "0", "another")
        await bot._streams.client.zadd(leases, {"0": 10**15})
        bot._renew_at = 0.0
        await until(lambda: bot.stats().mailboxes_lost == 1)
        assert bot.shard_ids == ()


async def test_the_endpoint_of_a_consumer(server, prefix):
    """The same paths as a gateway's; ready while its leases are renewed."""
    pytest.importorskip("prometheus_client")
    bot = consumer_of(server, prefix, metrics="127.0.0.1:0")
    async with bot:
        await until(lambda: bot.shard_ids == (0,))
        url = bot._figures._endpoint.url
        for path in ("healthz", "readyz"):
            assert await asyncio.to_thread(get, f"{url}/{path}") == "ok\n"
        document = json.loads(await asyncio.to_thread(get, f"{url}/stats.json"))
        text = await asyncio.to_thread(get, f"{url}/metrics")
    assert document["processes"][0]["consumer"]["shard_ids"] == [0]
    assert document["counts"]["consumer"]["mailboxes_taken"] == 1
    for line in (
        'fastgw_stream_consumer_mailboxes{group="bot"} 1.0',
        'fastgw_stream_consumer_lag_oldest_age_seconds{group="bot"} 0.0',
        'fastgw_stream_consumer_redelivered_events_total{group="bot"} 0.0',
        'fastgw_loop_silent_seconds{process="0"}',
    ):
        assert line in text
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(get, f"{url}/healthz")


async def test_a_consumer_without_leases_is_not_ready():
    """It never had one, or has not renewed them for too long."""
    now = {"group": "bot", "lease_age_s": None}
    document = {"processes": [{"consumer": now}], "shards": []}
    assert what_is_away(document) == ["a consumer of group bot: has had no mailbox yet"]
    now["lease_age_s"] = 61.0
    assert what_is_away(document) == [
        "a consumer of group bot: has not renewed its leases for 61.0 s"
    ]
    now["lease_age_s"] = 1.0
    assert what_is_away(document) == []
