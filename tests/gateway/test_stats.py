"""What a gateway counts since its start."""

import asyncio
import dataclasses
import threading

import pytest
from deadline import until
from gateways import gateway_to
from inside import inside

from fastgw import DeliveryLimits, GatewayHealth, GatewayStats, ShardHealth, ShardStats, field
from fastgw.health.streams import PublisherHealth, PublisherStats
from fastgw.testing import FakeGateway


@pytest.fixture
async def fake():
    async with FakeGateway(heartbeat_interval_ms=1_000) as fake:
        yield fake


def names(kind):
    return {each.name for each in dataclasses.fields(kind)}


def test_no_figure_is_in_both():
    """A figure holds now, or was counted."""
    assert names(ShardHealth) & names(ShardStats) == {"shard_id"}
    assert names(PublisherHealth) & names(PublisherStats) == set()
    assert names(GatewayHealth) & names(GatewayStats) == {"shards", "publisher"}


async def test_events_by_name(fake):
    """Seen, delivered, rejected by a filter, and bytes after decompression."""
    gateway = gateway_to(fake)
    got = []
    gateway.on("MESSAGE_CREATE", where=field("n").is_in([2, 3]))(got.append)
    async with gateway:
        for n in range(4):
            fake.dispatch("MESSAGE_CREATE", {"n": n})
            fake.dispatch("TYPING_START", {"n": n})
        await until(lambda: len(got) == 2 and "TYPING_START" in gateway.stats().events)
        await until(lambda: gateway.stats().events["TYPING_START"].seen == 4)
    message, typing = (gateway.stats().events[name] for name in ("MESSAGE_CREATE", "TYPING_START"))
    assert (message.seen, message.delivered, message.filtered, message.dropped) == (4, 2, 2, 0)
    assert (typing.seen, typing.delivered, typing.filtered) == (4, 0, 0)
    assert typing.bytes > 4 * len('{"t":"TYPING_START"}')


async def test_what_a_policy_drops_is_counted_by_name(fake):
    """Of the event, and of the handler that lost it."""
    gateway = gateway_to(fake, limits=DeliveryLimits(running=1))
    gate = asyncio.Event()

    @gateway.on("MESSAGE_CREATE", policy="drop_newest", bound=1)
    async def slow(event):
        await gate.wait()

    async with gateway:
        for n in range(5):
            fake.dispatch("MESSAGE_CREATE", {"n": n})
        await until(lambda: gateway.stats().events_dropped)
        await until(lambda: gateway.stats().events["MESSAGE_CREATE"].seen == 5)
        stats, health = gateway.stats(), gateway.health()
        gate.set()
    assert stats.events["MESSAGE_CREATE"].dropped == sum(stats.events_dropped.values()) == 3
    assert health.unhandled == 2
    assert health.unhandled_bytes > 0


@pytest.mark.parametrize("compress", ["none", "payload", "zlib-stream", "zstd-stream"])
async def test_times_are_sampled(fake, compress):
    """Decompression and decoding take time, and deliveries wait and are handled."""
    gateway = gateway_to(fake, compress=compress)
    got = []
    gateway.on("MESSAGE_CREATE")(got.append)
    async with gateway:
        for n in range(200):
            fake.dispatch("MESSAGE_CREATE", {"n": n, "content": "x" * 500})
        await until(lambda: len(got) == 200)
        total, latency = gateway.stats().total, gateway.stats().latency
    assert total.decode_s > 0.0
    assert (total.decompression_s > 0.0) is (compress != "none")
    assert total.bytes_decoded > 200 * 500
    assert (total.bytes_received < total.bytes_decoded) is (compress != "none")
    assert latency.delivery.count == 200 // 64
    assert latency.handler.count == 200 // 64
    assert latency.delivery.mean_s >= 0.0
    assert len(latency.delivery.buckets) == len(latency.delivery.bounds_s) + 1


async def test_queue_and_handler_of_async_handlers(fake):
    """What waited for its turn, and how long handlers took, of one in 64."""
    gateway = gateway_to(fake, limits=DeliveryLimits(running=1))
    done = []

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        await asyncio.sleep(0)
        done.append(event)

    async with gateway:
        for n in range(640):
            fake.dispatch("MESSAGE_CREATE", {"n": n})
        await until(lambda: len(done) == 640)
        latency = gateway.stats().latency
    assert latency.queue.count >= 5
    assert latency.handler.count >= 10


async def test_network_and_loop(fake):
    """Round trips of heartbeats, and how late the loop was at its ticks."""
    async with gateway_to(fake) as gateway:
        await until(lambda: gateway.stats().latency.network.count, 10.0)
        await until(lambda: gateway.stats().latency.loop.count, 10.0)
        stats = gateway.stats()
        health = gateway.health().shards[0]
    assert stats.total.heartbeats == stats.latency.network.count
    assert 0.0 < stats.total.heartbeat_s == stats.latency.network.total_s
    assert health.heartbeat_interval_s == 1.0


async def test_what_is_sent_is_counted(fake):
    """Commands and their bytes; the room that is left is a figure of now."""
    async with gateway_to(fake) as gateway:
        shard = gateway.shards[0]
        before, room = shard.stats(), shard.health().send_room
        await shard.send_encoded(b'{"op":8,"d":{}}')
        after = shard.stats()
        assert after.commands_sent > before.commands_sent
        assert after.bytes_sent - before.bytes_sent >= 15
        assert shard.health().send_room < room
        await until(lambda: shard.health().buffer_bytes > 0)


async def test_another_thread_counts_nothing(fake):
    """What a shard sees is noted by its own thread alone, or a heartbeat would count twice."""
    async with gateway_to(fake) as gateway:
        counters, threads = inside(gateway).counters, []
        look = counters.look
        counters.look = lambda *seen: (threads.append(threading.get_ident()), look(*seen))
        await asyncio.to_thread(gateway.health)
        gateway.health()
    assert set(threads) == {threading.get_ident()}


async def test_a_sum_over_shards():
    """Numbers and causes add up; counts of connections that have ended stay."""
    async with FakeGateway(recommended_shards=2) as fake, gateway_to(fake, shards=2) as gateway:
        fake.cut()
        await until(lambda: gateway.stats().total.resumes_won == 2, 10.0)
        stats = gateway.stats()
    assert [shard.shard_id for shard in stats.shards] == [0, 1]
    assert stats.total.shard_id is None
    assert stats.total.reconnects == {"connection lost": 2}
    assert stats.total.identifies == 2
    assert stats.total.dispatches == sum(shard.dispatches for shard in stats.shards)


async def test_how_long_a_shard_is_away(fake):
    """Since it was READY last; None while it is, and before the first time."""
    gateway = gateway_to(fake)
    async with gateway:
        assert gateway.health().shards[0].away_for_s is None
        fake.refuse_upgrade(503, times=None)
        fake.cut()
        await until(lambda: gateway.health().shards[0].away_for_s)
        fake.forget_instructions()
        await until(lambda: gateway.stats().total.resumes_won, 10.0)
        assert gateway.health().shards[0].away_for_s is None


async def test_another_thread_sees_a_blocked_loop(fake):
    """`health()` and `stats()` answer there, and tell by how much the loop is late."""
    async with gateway_to(fake) as gateway:
        seen, over = [], threading.Event()

        def look():
            while gateway.health().loop_silent_for_s <= 0.0 and not over.wait(0.01):
                pass
            seen.append(gateway.stats().total.identifies)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(30.0)  # blocks the loop, until the thread has seen it
        over.set()
    assert seen == [1]
