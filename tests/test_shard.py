"""One shard's public face on loopback: reading paused and resumed, a service that floods."""

import pytest

from deadline import until
from fastgw.gateway import Gateway
from fastgw.pacing import MAX_ANSWERS
from fastgw.signals import Cause
from fastgw.states import State
from fastgw.testing import FakeGateway
from fastgw.wire import Intents, Opcode

TOKEN = "not.a.token"


@pytest.fixture
async def quick():
    """A service that wants a heartbeat every 50 ms."""
    async with FakeGateway(heartbeat_interval_ms=50) as fake:
        yield fake


def gateway_to(fake, **options):
    return Gateway(TOKEN, intents=Intents.all(), info=fake.info, **options)


def heartbeat_of(gateway):
    return gateway._drivers[0]._protocol.heartbeat


async def beats(gateway, count):
    """Wait until that many more heartbeats were written."""
    heartbeat = heartbeat_of(gateway)
    end = heartbeat.sent + count
    await until(lambda: heartbeat.sent >= end, 10.0)


async def test_a_long_pause_of_reading_is_no_zombie(quick):
    """case 24: many intervals without an ACK that we could read; then everything is delivered."""
    gateway = gateway_to(quick, compress="none")
    seen = []
    gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data["n"]))
    async with gateway:
        shard = gateway.shards[0]
        await until(lambda: shard.latency is not None)
        shard.pause_reading()
        acked = heartbeat_of(gateway).acked
        for n in range(200):  # more than any socket buffers: the service has to wait, too
            quick.dispatch("MESSAGE_CREATE", {"n": n, "content": "x" * 50_000})
        await beats(gateway, 8)
        assert shard.status is State.READY
        assert heartbeat_of(gateway).acked == acked
        assert len(seen) < 200
        shard.resume_reading()
        await until(lambda: len(seen) == 200, 10.0)
        await beats(gateway, 4)
        assert shard.health().reconnects == {}
        assert seen == list(range(200))
    assert len(quick.upgrades) == 1


async def test_after_a_pause_missing_acks_count_again(quick):
    """The excuse ends with the pause."""
    async with gateway_to(quick) as gateway:
        shard = gateway.shards[0]
        await until(lambda: shard.latency is not None)
        quick.mute(Opcode.HEARTBEAT_ACK)
        shard.pause_reading()
        await beats(gateway, 5)
        assert shard.health().reconnects == {}
        shard.resume_reading()
        await until(lambda: shard.health().reconnects == {Cause.ZOMBIED.value: 1}, 10.0)


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
        await until(lambda: shard.health().resumes_won == 1)
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
        await until(lambda: heartbeat_of(gateway).sent >= MAX_ANSWERS)
        await gateway.shards[0].send(Opcode.PRESENCE_UPDATE, {"status": "idle"})
        await fake.wait_command(Opcode.PRESENCE_UPDATE)
        assert heartbeat_of(gateway).acked == MAX_ANSWERS
        assert gateway.shards[0].status is State.READY
