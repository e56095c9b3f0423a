"""What a test expects a bot to send: `await fake.expect(...)`."""

import asyncio

import pytest
from gateways import gateway_to

from fastgw.errors import UsageError
from fastgw.protocol.wire import Opcode

VOICE = Opcode.VOICE_STATE_UPDATE


def voice(guild_id, channel_id):
    return {"guild_id": guild_id, "channel_id": channel_id}


async def test_a_command_that_comes(fake):
    """It is waited for."""
    async with gateway_to(fake) as gateway:
        expected = asyncio.ensure_future(fake.expect(VOICE))
        await asyncio.sleep(0)
        await gateway.shards[0].send(VOICE, voice("1", "2"))
        assert (await expected).data == voice("1", "2")


async def test_each_command_is_returned_once(fake):
    """Also what came before it was expected, in whatever order it is expected."""
    async with gateway_to(fake) as gateway:
        for n in ("1", "2", "3"):
            await gateway.shards[0].send(VOICE, voice(n, n))
        await fake.wait_command(VOICE, count=3)
        assert (await fake.expect(VOICE, guild_id="2")).data == voice("2", "2")
        assert (await fake.expect(VOICE)).data == voice("1", "1")
        assert (await fake.expect(VOICE)).data == voice("3", "3")
        with pytest.raises(AssertionError):
            await fake.expect(VOICE, timeout_s=0.01)


async def test_values_that_must_be_there(fake):
    """None is a value, and not what is absent."""
    async with gateway_to(fake) as gateway:
        await gateway.shards[0].send(VOICE, {"guild_id": "1"})
        await gateway.shards[0].send(VOICE, voice("1", None))
        assert (await fake.expect(VOICE, channel_id=None)).data == voice("1", None)


async def test_what_came_instead_is_told(fake):
    """A failed test says what the bot did."""
    with pytest.raises(AssertionError, match="none came at all"):
        await fake.expect(VOICE, timeout_s=0.01)
    async with gateway_to(fake) as gateway:
        await gateway.shards[0].send(VOICE, voice("1", "2"))
        await fake.wait_command(VOICE)
        with pytest.raises(AssertionError) as caught:
            await fake.expect(VOICE, channel_id="3", timeout_s=0.01)
    told = str(caught.value)
    assert "no command of op 4 with {'channel_id': '3'} within 0.01 s" in told
    assert "op 2 {" in told
    assert "op 4 {'guild_id': '1', 'channel_id': '2'}" in told
    assert "not.a.token" not in told


async def test_heartbeats_cannot_be_expected(fake):
    """They are counted only, so it would wait for ever."""
    with pytest.raises(UsageError, match="only counted"):
        await fake.expect(Opcode.HEARTBEAT)
