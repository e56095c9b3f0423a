"""One shard's public face on loopback: reading paused and resumed, a service that floods."""

import time

import pytest
from deadline import scaled, until
from gateways import gateway_to
from inside import inside

from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.shard.budget import MAX_ANSWERS
from fastgw.testing import FakeGateway


@pytest.fixture
async def quick():
    """A service that wants a heartbeat every 200 ms: a process that waits for a core has time."""
    async with FakeGateway(heartbeat_interval_ms=round(scaled(200))) as fake:
        yield fake


async def beats(gateway, count):
    """Wait until that many more heartbeats were written."""
    heartbeat = inside(gateway).heartbeat
    end = heartbeat.sent + count
    await until(lambda: heartbeat.sent >= end, 10.0)


async def test_a_long_pause_of_reading_is_no_zombie():
    """case 24: many intervals without an ACK that we could read; then everything is delivered."""
    seen = []
    async with (
        # An ACK comes behind ten megabytes, which must be read in less than an interval.
        FakeGateway(heartbeat_interval_ms=round(scaled(200))) as fake,
        gateway_to(fake, compress="none") as gateway,
    ):
        gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data["n"]))
        shard = gateway.shards[0]
        await until(lambda: shard.latency is not None)
        shard.pause_reading()
        acked = inside(gateway).heartbeat.acked
        for n in range(200):  # more than any socket buffers: the service has to wait, too
            fake.dispatch("MESSAGE_CREATE", {"n": n, "content": "x" * 50_000})
        await beats(gateway, 4)
        assert shard.status is State.READY
        assert inside(gateway).heartbeat.acked == acked
        assert len(seen) < 200
        shard.resume_reading()
        await until(lambda: len(seen) == 200, 10.0)
        await beats(gateway, 2)
        assert shard.stats().reconnects == {}
        assert seen == list(range(200))
    assert len(fake.upgrades) == 1


async def test_after_a_pause_missing_acks_count_again(quick):
    """The excuse ends with the pause."""
    async with gateway_to(quick) as gateway:
        shard = gateway.shards[0]
        await until(lambda: shard.latency is not None)
        quick.mute(Opcode.HEARTBEAT_ACK)
        shard.pause_reading()
        await beats(gateway, 5)
        assert shard.stats().reconnects == {}
        shard.resume_reading()
        await until(lambda: shard.stats().reconnects == {Cause.ZOMBIED.value: 1}, 10.0)


async def test_a_pause_ends_with_its_connection(quick):
    """The next connection reads; resuming what is not paused does nothing."""
    async with gateway_to(quick) as gateway:
        shard = gateway.shards[0]
        shard.resume_reading()
        shard.pause_reading()
        shard.pause_reading()
        quick.cut()
        quick.dispatch("MESSAGE_CREATE", {})
        await until(lambda: len(quick.upgrades) == 2, 10.0)
        await until(lambda: shard.stats().resumes_won == 1)
        shard.resume_reading()
        await beats(gateway, 3)
        assert shard.status is State.READY


async def test_pausing_without_a_connection_does_nothing():
    """Before, and after the end."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        async with gateway:
            shard = gateway.shards[0]
        shard.pause_reading()
        shard.resume_reading()
        assert shard.status is State.STOPPED


async def test_a_flood_of_op_1_gets_a_few_answers():
    """case 22: the connection lives, and users can still send."""
    async with FakeGateway(heartbeat_interval_ms=600_000) as fake, gateway_to(fake) as gateway:
        for _ in range(500):
            fake.request_heartbeat()
        await until(lambda: inside(gateway).heartbeat.sent >= MAX_ANSWERS)
        await gateway.shards[0].send(Opcode.PRESENCE_UPDATE, {"status": "idle"})
        await fake.wait_command(Opcode.PRESENCE_UPDATE)
        await until(lambda: inside(gateway).heartbeat.acked == MAX_ANSWERS)
        assert gateway.shards[0].status is State.READY


async def test_a_blocked_loop_is_no_zombie():
    """case 23: user code blocks for many intervals: the late beat has its whole time for an ACK."""
    interval_s = scaled(0.3)  # a process that waits for a core must not seem dead for it
    async with FakeGateway(heartbeat_interval_ms=round(interval_s * 1000)) as fake:
        gateway = gateway_to(fake)

        @gateway.on("MESSAGE_CREATE")
        def handler(event):
            time.sleep(4 * interval_s)  # what this test is about

        async with gateway:
            shard = gateway.shards[0]
            await until(lambda: shard.latency is not None)
            heartbeat = inside(gateway).heartbeat
            for _ in range(2):
                # The service shares the loop: it must have answered before both stand still.
                await until(lambda: heartbeat.acked == heartbeat.sent)
                fake.dispatch("MESSAGE_CREATE", {})
                await beats(gateway, 1)
            assert shard.stats().dispatches == 3
            assert shard.stats().reconnects == {}


async def test_outages_of_guilds_are_passed_as_they_are():
    """case 43: `unavailable` says outage or removal; we keep no guilds and judge nothing."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        seen = []
        gateway.on("GUILD_CREATE", "GUILD_DELETE")(
            lambda event: seen.append((event.name, event.guild_id, event.data))
        )
        expected = []
        async with gateway:
            for n in range(300):  # guilds flap in masses
                guild_id = (n % 100 + 1) << 22
                outage, back = {"id": str(guild_id), "unavailable": True}, {"id": str(guild_id)}
                fake.dispatch("GUILD_DELETE", outage)
                fake.dispatch("GUILD_CREATE", back)
                expected += [("GUILD_DELETE", guild_id, outage), ("GUILD_CREATE", guild_id, back)]
            fake.dispatch("GUILD_DELETE", {"id": "1"})  # this one removed us
            expected.append(("GUILD_DELETE", 1, {"id": "1"}))
            await until(lambda: len(seen) == len(expected))
            assert gateway.shards[0].stats().reconnects == {}
        assert seen == expected


async def test_what_nobody_has_documented_disturbs_nobody():
    """case 45: unknown opcodes, events and fields, and presences of the wrong types."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        seen = []
        gateway.on("PRESENCE_UPDATE")(lambda event: seen.append(event.data))
        oddities = [{"user": {"id": "1"}}, {"user": 7, "status": None, "activities": {}}, [], None]
        async with gateway:
            peer = fake.connection().peer
            for op in (4, 12, 13, 99, 255):
                peer.send({"op": op, "d": {"new": True}})
            fake.dispatch("BRAND_NEW", 1)
            for data in oddities:
                fake.dispatch("PRESENCE_UPDATE", data)
            peer.send({"t": "PRESENCE_UPDATE", "s": 7, "op": 0, "d": "x", "new": [{"d": 1}]})
            fake.flush()
            await until(lambda: len(seen) == len(oddities) + 1)
            assert gateway.shards[0].status is State.READY
        assert seen == [*oddities, "x"]


@pytest.mark.parametrize("compress", ["none", "zlib-stream", "zstd-stream"])
async def test_a_huge_guild_is_received(compress):
    """case 46: with the limit as it is, 17 MB in one message pass, and no 1009 comes."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake, compress=compress)
        sizes = []
        gateway.on("GUILD_CREATE")(lambda event: sizes.append(len(event.raw)))
        async with gateway:
            fake.dispatch("GUILD_CREATE", {"id": "1", "name": "x" * 17_000_000})
            await until(lambda: sizes, 20.0)
            assert sizes[0] > 17_000_000
            assert gateway.shards[0].stats().reconnects == {}
