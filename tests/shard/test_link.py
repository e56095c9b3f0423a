"""One attempt at a connection, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import weakref

import pytest
from deadline import until

from fastgw import ConnectFailed, Gateway, Intents
from fastgw.connection.dial import Dial
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.shard.link import _forget_locals


def dials() -> int:
    """Count the attempts that are in memory."""
    return sum(type(thing) is Dial for thing in gc.get_objects())


class Held:
    """What a frame holds."""


def test_an_error_lets_go_of_what_its_causes_held():
    """Of those it was raised from, and of those that were being handled then."""
    held = []

    def fail(error, cause=None):
        mine = Held()
        held.append(weakref.ref(mine))
        raise error from cause

    def fail_while_handling():
        try:
            fail(ValueError())
        except ValueError:
            mine = Held()
            held.append(weakref.ref(mine))
            raise KeyError from None

    with pytest.raises(KeyError) as inner:
        fail_while_handling()
    with pytest.raises(OSError) as outer:  # noqa: PT011  (its frames are what matters)
        fail(OSError(), inner.value)
    assert all(one() is not None for one in held)
    _forget_locals(outer.value)
    assert [one() for one in held] == [None, None, None]


async def test_failed_attempts_are_freed_at_once():
    """Their errors live on in health(), but not the sockets and decoders in the tracebacks."""
    accepted = []

    async def hang_up(reader, writer):
        accepted.append(await reader.read(100))
        writer.write(b"this is no TLS")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        gateway = Gateway(
            "not.a.token",
            intents=Intents.none(),
            info=GatewayInfo(f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"),
            ssl_context=ssl.create_default_context(),
            backoff_s=(0.001, 0.001),
        )
        gc.collect()
        before = dials()
        gc.disable()
        try:
            await gateway.start()
            await until(lambda: len(accepted) > 10)
            error = gateway.shards[0].health().last_error
            alive = dials() - before
        finally:
            gc.enable()
            await gateway.close()
    assert "TLS" in str(error)
    assert error.__cause__.__traceback__ is not None
    assert alive <= 2  # the last one, and the one under way


async def test_a_handler_that_raises_the_error_it_is_told_goes_on():
    """Its frame is in the error's traceback from then on, and is not ours to clear."""
    survived = asyncio.Event()
    gateway = Gateway(
        "not.a.token",
        intents=Intents.none(),
        info=GatewayInfo("ws://127.0.0.1:1"),
        backoff_s=(0.001, 0.001),
    )

    @gateway.on_status
    async def told(change):
        if change.error is not None:
            with contextlib.suppress(ConnectFailed):
                raise change.error
            for _ in range(9):
                await asyncio.sleep(0)
            survived.set()

    await gateway.start()
    try:
        await asyncio.wait_for(survived.wait(), 10)
        assert not gateway.stats().handler_failures
    finally:
        await gateway.close()
