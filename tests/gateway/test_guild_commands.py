"""Commands of a whole gateway: the shard that they find, and what is checked before they go."""

import asyncio

import pytest
from deadline import until
from gateways import gateway_to, quick_queue

from fastgw.errors import CommandTooBig, ShardNotHere, UsageError
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakeGateway

ON_SHARD_3 = (3 << 22) + 1


@pytest.fixture
async def fake():
    """Serve four shards."""
    async with FakeGateway(recommended_shards=4, max_concurrency=4) as fake:
        yield fake


@pytest.fixture
async def gateway(fake):
    async with gateway_to(fake, identify_queue=quick_queue(4)) as gateway:
        yield gateway


@pytest.fixture
async def half(fake):
    """Run two of the four."""
    options = {"shards": [0, 1], "shard_count": 4, "identify_queue": quick_queue(4)}
    async with gateway_to(fake, **options) as gateway:
        yield gateway


def sent(fake):
    """Return what came in sessions: shard, opcode, data."""
    return [(c.shard_id, c.op, c.data) for c in fake.received if c.op not in (2, 6)]


async def test_a_voice_state_goes_to_its_guilds_shard(fake, gateway):
    """With every field that Discord wants, ids as text."""
    await gateway.update_voice_state(ON_SHARD_3, 9, self_deaf=True)
    await gateway.update_voice_state(str(ON_SHARD_3), None)
    await fake.wait_command(Opcode.VOICE_STATE_UPDATE, count=2)
    joined = {"channel_id": "9", "self_mute": False, "self_deaf": True}
    left = {"channel_id": None, "self_mute": False, "self_deaf": False}
    guild = {"guild_id": str(ON_SHARD_3)}
    assert sent(fake) == [(3, 4, guild | joined), (3, 4, guild | left)]


async def test_the_latest_voice_state_of_a_guild_wins(fake, gateway):
    """While it waits, it is the only one, and it goes before requests."""
    shard = gateway.shards[3]
    fake.refuse_upgrade(503)
    fake.cut(shard_id=3)
    await until(lambda: not shard.health().is_ready)
    waiting = [
        asyncio.ensure_future(command)
        for command in (
            gateway.request_channel_info(ON_SHARD_3),
            gateway.update_voice_state(ON_SHARD_3, 8),
            gateway.update_voice_state(ON_SHARD_3, 9),
        )
    ]
    await asyncio.gather(*waiting)
    await fake.wait_command(Opcode.REQUEST_CHANNEL_INFO)
    assert [(op, data.get("channel_id")) for _, op, data in sent(fake)] == [(4, "9"), (43, None)]


async def test_soundboard_sounds_of_many_guilds(fake, gateway):
    """Each shard is asked for its own, in commands that are no longer than may be."""
    ids = [(n << 22) + 1 for n in range(4 * 151)]
    sounds = gateway.events("SOUNDBOARD_SOUNDS")
    await gateway.request_soundboard_sounds([*ids, ids[0]])
    answered = {int((await sounds.__anext__()).data["guild_id"]) for _ in ids}
    await sounds.aclose()
    commands = sent(fake)
    assert sorted((shard, len(d["guild_ids"])) for shard, _, d in commands) == [
        (shard, size) for shard in range(4) for size in (1, 150)
    ]
    assert answered == set(ids)


async def test_soundboard_sounds_of_a_shard_elsewhere(fake, half):
    """Nothing is sent then, not even for the others."""
    with pytest.raises(ShardNotHere, match=f"shard 3, on which guild {ON_SHARD_3} is"):
        await half.request_soundboard_sounds([1, ON_SHARD_3])
    assert sent(fake) == []


async def test_channel_info(fake, gateway):
    """Both fields, or those that are named."""
    await gateway.request_channel_info(ON_SHARD_3)
    await gateway.request_channel_info(ON_SHARD_3, ["status"])
    await fake.wait_command(Opcode.REQUEST_CHANNEL_INFO, count=2)
    fields = [data["fields"] for _, _, data in sent(fake)]
    assert fields == [["status", "voice_start_time"], ["status"]]


async def test_any_command_finds_its_shard(fake, gateway):
    """By the guild in its data, or by what is said beside it."""
    await gateway.send(43, {"guild_id": str(ON_SHARD_3), "fields": ["status"]})
    await gateway.send(Opcode.PRESENCE_UPDATE, {"status": "idle"}, shard_id=2)
    await fake.wait_command(Opcode.REQUEST_CHANNEL_INFO)
    await fake.wait_command(Opcode.PRESENCE_UPDATE)
    assert sorted(shard for shard, *_ in sent(fake)) == [2, 3]


async def test_one_shard_needs_no_name(fake):
    """It is the only one that can be meant."""
    async with gateway_to(fake, shards=1) as gateway:
        await gateway.send(Opcode.PRESENCE_UPDATE, {"status": "idle"})
        await fake.wait_command(Opcode.PRESENCE_UPDATE)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: g.send(3, {}), UsageError, "pass shard_id="),
        (lambda g: g.send(3, {}, shard_id=3), ShardNotHere, "shard 3 does not run here"),
        (lambda g: g.send(43, {"guild_id": "me"}), UsageError, "not the id of a guild"),
        (lambda g: g.send(43, {"guild_id": "1", "x": "y" * 4096}), CommandTooBig, "4096"),
        (lambda g: g.send(1, None, shard_id=0), UsageError, "sent by fastgw itself"),
        (lambda g: g.update_voice_state(ON_SHARD_3, 1), ShardNotHere, "0 to 1"),
        (lambda g: g.update_voice_state(1, "here"), UsageError, "channel_id='here' is not an id"),
        (lambda g: g.update_voice_state(True, 1), UsageError, "guild_id=True"),
        (lambda g: g.request_channel_info(ON_SHARD_3), ShardNotHere, "shard 3"),
        (lambda g: g.request_channel_info(1, []), UsageError, "needs fields"),
        (lambda g: g.request_soundboard_sounds("123"), UsageError, "pass a list"),
        (lambda g: g.request_soundboard_sounds([-1]), UsageError, "is not an id"),
    ],
)
async def test_what_cannot_be_sent(fake, half, call, error, message):
    """It is told before anything goes out that costs the session."""
    with pytest.raises(error, match=message):
        await call(half)
    assert sent(fake) == []


async def test_a_shard_that_was_stopped_is_named(gateway):
    """As one that never ran here."""
    await gateway.stop_shard(3)
    with pytest.raises(ShardNotHere) as caught:
        await gateway.update_voice_state(ON_SHARD_3, 1)
    assert (caught.value.shard_id, caught.value.running) == (3, (0, 1, 2))
    assert caught.value.guild_id == ON_SHARD_3
