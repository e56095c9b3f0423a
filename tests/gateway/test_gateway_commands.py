"""Commands of a shard's public face: encoded ones, the room that is left, many at once."""

import asyncio

import pytest
from deadline import until
from gateways import gateway_to

from fastgw.errors import SendQueueFull, UsageError
from fastgw.protocol.wire import Opcode
from fastgw.shard.commands import MAX_WAITING


async def test_an_encoded_command_is_sent_as_it_is(fake):
    """Its bytes are the program's; only opcode and size are looked at."""
    async with gateway_to(fake) as gateway:
        await gateway.shards[0].send_encoded(b'{ "d" : {"guild_id": "1"}, "op" : 4 }')
        command = await fake.wait_command(Opcode.VOICE_STATE_UPDATE)
    assert command.data == {"guild_id": "1"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('{"op":4,"d":{}}', "an encoded command is bytes"),
        (b"{", "is JSON, and this is not"),
        (b'{"op":4,"d":"\xff"}', "is JSON, and this is not"),
        (b"[4, {}]", "one JSON object"),
        (b'{"op":"4","d":{}}', "a number `op`"),
        (b'{"op":true,"d":{}}', "a number `op`"),
        (b'{"op":4}', "with `d`"),
        (b'{"op":1,"d":null}', "op 1 is sent by fastgw itself"),
        (b'{"op":2,"d":{}}', "op 2 is sent by fastgw itself"),
        (b'{"op":6,"d":{}}', "op 6 is sent by fastgw itself"),
        (b'{"op":4,"d":"%s"}' % (b"x" * 4096), "4096"),
    ],
)
async def test_a_bad_encoded_command_is_refused(fake, command, message):
    """Before anything is sent that would cost the session."""
    async with gateway_to(fake) as gateway:
        with pytest.raises(UsageError, match=message):
            await gateway.shards[0].send_encoded(command)
        assert gateway.shards[0].health().commands_waiting == 0


async def test_an_encoded_voice_state_takes_the_place_of_one_that_waits(fake):
    """It is read, so it is known what it is about."""
    async with gateway_to(fake) as gateway:
        shard = gateway.shards[0]
        fake.refuse_upgrade(503)
        fake.cut()
        await until(lambda: not shard.health().is_ready)
        first = asyncio.ensure_future(
            shard.send(Opcode.VOICE_STATE_UPDATE, {"guild_id": "1", "channel_id": "2"})
        )
        await asyncio.sleep(0)
        await shard.send_encoded(b'{"op":4,"d":{"guild_id":"1","channel_id":null}}')
        await first
        command = await fake.wait_command(Opcode.VOICE_STATE_UPDATE)
    assert command.data == {"guild_id": "1", "channel_id": None}
    assert [c.op for c in fake.received].count(Opcode.VOICE_STATE_UPDATE) == 1


async def test_seven_hundred_requests_all_wait(fake):
    """As many as go now do; the others wait, and who would rather not is told."""
    async with gateway_to(fake) as gateway:
        shard = gateway.shards[0]
        left = shard.send_room
        waiting = [
            asyncio.ensure_future(shard.send(Opcode.REQUEST_GUILD_MEMBERS, {"guild_id": f"{n}"}))
            for n in range(700)
        ]
        await until(lambda: sum(task.done() for task in waiting) == left)
        assert shard.send_room == 0
        assert shard.health().commands_waiting == 700 - left > MAX_WAITING
        with pytest.raises(SendQueueFull, match="500 commands wait"):
            await shard.send(Opcode.REQUEST_GUILD_MEMBERS, {"guild_id": "1"}, wait=False)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_session_may_be_looked_at(fake):
    """For a program that keeps it elsewhere; nothing that is printed shows it."""
    gateway = gateway_to(fake)
    async with gateway:
        shard = gateway.shards[0]
        assert shard.session_id in fake.service.sessions
        assert shard.resume_url is not None
        assert shard.resume_url.startswith("ws://127.0.0.1")
        assert shard.session_id not in repr(shard) + repr(gateway) + repr(gateway.health())
    assert shard.session_id is None
    assert shard.resume_url is None
