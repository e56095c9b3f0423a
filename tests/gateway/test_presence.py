"""The presence of a whole gateway: sent where a session is up, said by every later IDENTIFY."""

import pytest
from deadline import scaled, until
from gateways import gateway_to, no_jitter

from fastgw.errors import UsageError
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakeGateway


def presence(status):
    return {"since": None, "activities": [], "status": status, "afk": False}


def shown(fake, shard_id=0):
    """Return the statuses that the service heard for a shard, as commands."""
    return [
        command.data["status"]
        for command in fake.received
        if command.op == Opcode.PRESENCE_UPDATE and command.shard_id == shard_id and command.heard
    ]


def identified(fake):
    """Return (shard, status) of each IDENTIFY."""
    return [
        (one["shard"][0], one.get("presence", {"status": None})["status"])
        for one in fake.identifies
    ]


async def test_it_is_sent_by_all_shards(fake):
    """And a copy of it is kept."""
    async with gateway_to(fake, shards=3) as gateway:
        wanted = presence("idle")
        gateway.set_presence(wanted)
        wanted["status"] = "changed afterwards"
        for shard_id in range(3):
            await until(lambda i=shard_id: shown(fake, i) == ["idle"])


async def test_every_later_identify_says_it(fake):
    """A session that was lost comes back with it, without a command on top."""
    async with gateway_to(fake, presence=presence("dnd"), random=no_jitter) as gateway:
        gateway.set_presence(presence("idle"))
        await fake.wait_command(Opcode.PRESENCE_UPDATE)
        fake.service.kill_sessions()
        fake.cut()
        await until(lambda: len(fake.identifies) == 2, 10.0)
        await gateway.wait_ready(scaled(10.0))
        await gateway.shards[0].send(Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"})
        await fake.wait_command(Opcode.VOICE_STATE_UPDATE)
    assert identified(fake) == [(0, "dnd"), (0, "idle")]
    assert shown(fake) == ["idle"]


async def test_before_the_start_identify_says_it(fake):
    """Nothing else is needed."""
    gateway = gateway_to(fake)
    gateway.set_presence(presence("idle"))
    async with gateway:
        await gateway.shards[0].send(Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"})
        await fake.wait_command(Opcode.VOICE_STATE_UPDATE)
    assert identified(fake) == [(0, "idle")]
    assert shown(fake) == []


async def test_one_shard_may_have_its_own(fake):
    """Also after it was stopped and started; what is said for all ends that."""
    async with gateway_to(fake, shards=2) as gateway:
        gateway.set_presence(presence("dnd"), shard_ids=[1])
        await until(lambda: shown(fake, 1) == ["dnd"])
        await gateway.stop_shard(1)
        await gateway.start_shard(1)
        await gateway.wait_ready(scaled(10.0))
        assert identified(fake) == [(0, None), (1, None), (1, "dnd")]
        gateway.set_presence(presence("online"))
        await until(lambda: shown(fake, 0) == ["online"] and shown(fake, 1)[-1] == "online")
    assert shown(fake, 0) == ["online"]


async def test_of_many_the_last_is_shown(fake):
    """Discord drops the sixth in 20 seconds; here it waits, and only the last is sent."""
    async with gateway_to(fake) as gateway:
        for n in range(50):
            gateway.set_presence(presence(f"{n}"))
        assert gateway.shards[0].health().commands_waiting == 1
        await until(lambda: len(shown(fake)) == 5)
    assert shown(fake) == [f"{n}" for n in range(5)]
    assert all(command.heard for command in fake.received)


async def test_while_the_connection_is_away_it_waits_for_the_resume(fake):
    """RESUME says nothing of presence, so it is sent after it."""
    async with gateway_to(fake, random=no_jitter) as gateway:
        fake.refuse_upgrade(503, times=2)
        fake.cut()
        await until(lambda: not gateway.shards[0].health().is_ready)
        gateway.set_presence(presence("idle"))
        await until(lambda: shown(fake) == ["idle"], 15.0)
    assert len(fake.identifies) == 1


async def test_what_is_said_right_before_the_close_is_sent(fake):
    """It goes before CLOSE, as with libraries that wait for the write."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready()
    gateway.set_presence(presence("invisible"))
    await gateway.close(end_session=False)
    assert shown(fake) == ["invisible"]


async def test_what_waits_for_the_limit_at_the_close_is_not_sent(fake):
    """The limit is Discord's; a close waits for it as little as for a session that is away."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready()
    for number in range(8):
        gateway.set_presence(presence(str(number)))
    await gateway.close()
    assert shown(fake) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [(None, "a presence is a mapping"), ("idle", "presence is a mapping"),
     ({"status": object()}, "JSON"), ({"status": "x" * 4096}, "4096")],
)  # fmt: skip
async def test_a_bad_presence_changes_nothing(fake, bad, message):
    """One clear error, and no shard shows anything new."""
    async with gateway_to(fake, shards=2, presence=presence("dnd")) as gateway:
        with pytest.raises(UsageError, match=message):
            gateway.set_presence(bad)
        await gateway.stop_shard(1)
        await gateway.start_shard(1)
        await gateway.wait_ready(scaled(10.0))
    assert identified(fake) == [(0, "dnd"), (1, "dnd"), (1, "dnd")]
    assert shown(fake) == []


async def test_a_shard_that_runs_elsewhere():
    """It is named, and the others show nothing new either."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        with pytest.raises(UsageError, match="shard 7 does not run here"):
            gateway.set_presence(presence("idle"), shard_ids=[0, 7])
        assert gateway.shards[0].health().commands_waiting == 0
