"""Calling into the gateway's loop from other threads."""

import asyncio
import threading

import pytest
from deadline import until
from gateways import gateway_to

from fastgw.errors import UsageError
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakeGateway


async def in_thread(function, *args, **kwargs):
    """Call it in another thread, and return what comes of it."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def test_a_function_is_called_in_the_loop(fake):
    """Its result comes back, and so does what it raises."""
    async with gateway_to(fake) as gateway:
        here = threading.get_ident()

        def call():
            future = gateway.call_threadsafe(lambda *a, **k: (threading.get_ident(), a, k), 1, b=2)
            return future.result()

        assert await in_thread(call) == (here, (1,), {"b": 2})

        def failing():
            with pytest.raises(UsageError, match="does not run here"):
                gateway.call_threadsafe(gateway.reconnect_shard, 7).result()

        await in_thread(failing)


async def test_a_coroutine_runs_to_its_end(fake):
    """A command sent from a thread is written when the future is done."""
    async with gateway_to(fake) as gateway:
        send = gateway.shards[0].send

        def call():
            gateway.call_threadsafe(send, Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"}).result()

        await in_thread(call)
        await fake.wait_command(Opcode.VOICE_STATE_UPDATE)


async def test_cancelling_the_future_takes_the_command_back(fake):
    """As cancelling the coroutine does."""
    async with gateway_to(fake) as gateway:
        shard = gateway.shards[0]
        fake.refuse_upgrade(503, times=None)
        fake.cut()
        await until(lambda: not shard.health().is_ready)
        future = await in_thread(
            gateway.call_threadsafe, shard.send, Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"}
        )
        await until(lambda: shard.health().commands_waiting == 1)
        await in_thread(future.cancel)
        await until(lambda: shard.health().commands_waiting == 0)


async def test_before_the_start_and_in_its_own_thread_it_refuses(fake):
    """Waiting for the future there would never end."""
    gateway = gateway_to(fake)
    with pytest.raises(UsageError, match="before start"):
        await in_thread(gateway.call_threadsafe, print)
    async with gateway:
        with pytest.raises(UsageError, match="call the function itself"):
            gateway.call_threadsafe(print)


def test_after_the_loop_has_ended_it_refuses():
    """With an error of ours, and no coroutine left behind."""
    gateway = None

    async def main():
        nonlocal gateway
        async with FakeGateway() as fake:
            gateway = gateway_to(fake)
            async with gateway:
                pass

    asyncio.run(main())
    with pytest.raises(UsageError, match="loop has ended"):
        gateway.call_threadsafe(print)
