"""The face of a shard, and the shard of a guild; without any connection."""

from __future__ import annotations

import pytest

from fastgw.errors import SessionLost, UsageError
from fastgw.protocol.session import Session
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.shard.face import Shard, shard_id_for


class Keeper:
    """Whoever keeps it connected: writes down what is asked of it."""

    def __init__(self, status=State.READY):
        self.status = status
        self.session = None
        self.asked = []

    async def send(self, command, op, d, *, wait):
        self.asked.append((command, op, d, wait))

    def pause_reading(self):
        self.asked.append("pause")

    def resume_reading(self):
        self.asked.append("resume")


@pytest.mark.parametrize(
    ("guild_id", "shard_count", "shard_id"),
    [
        (0, 1, 0),
        ((1 << 22) - 1, 4, 0),
        (1 << 22, 4, 1),
        (str(7 << 22), 4, 3),
        ((1 << 64) - 1, 1 << 30, ((1 << 42) - 1) % (1 << 30)),
    ],
)
def test_the_shard_of_a_guild_follows_from_its_id(guild_id, shard_count, shard_id):
    """Discord's formula, for a number or its text."""
    assert shard_id_for(guild_id, shard_count) == shard_id


@pytest.mark.parametrize("guild_id", [-1, 1 << 64, True, 1.0, float("nan"), "x", "", None])
def test_what_is_no_guild_has_no_shard(guild_id):
    """64 bits, no more and no less."""
    with pytest.raises(UsageError, match="guild_id="):
        shard_id_for(guild_id, 4)


@pytest.mark.parametrize("shard_count", [0, -1, True, 1.0, "4", None])
def test_a_bot_has_at_least_one_shard(shard_count):
    """As a number."""
    with pytest.raises(UsageError, match="shard_count="):
        shard_id_for(0, shard_count)


def test_it_says_which_it_is():
    """Its number, of how many, and how it is."""
    shard = Shard(Keeper(), 3, 8)
    assert (shard.id, shard.count) == (3, 8)
    assert repr(shard) == "<Shard 3/8 ready>"


def test_a_session_is_shown_while_there_is_one():
    """Its id and where it would be resumed."""
    keeper = Keeper()
    shard = Shard(keeper, 0, 1)
    assert (shard.session_id, shard.resume_url) == (None, None)
    keeper.session = Session("a", 7, "wss://gateway.example")
    assert (shard.session_id, shard.resume_url) == ("a", "wss://gateway.example")


@pytest.mark.parametrize("wait", [True, False])
async def test_a_command_is_passed_on_encoded(wait):
    """With what it says, also when somebody else has encoded it."""
    keeper = Keeper()
    shard = Shard(keeper, 0, 1)
    await shard.send(Opcode.PRESENCE_UPDATE, {"a": 1}, wait=wait)
    await shard.send_encoded(b'{"d":{"a":1},"op":3}', wait=wait)
    assert keeper.asked == [
        (b'{"op":3,"d":{"a":1}}', 3, {"a": 1}, wait), (b'{"d":{"a":1},"op":3}', 3, {"a": 1}, wait)
    ]  # fmt: skip


@pytest.mark.parametrize("op", [Opcode.HEARTBEAT, Opcode.IDENTIFY, Opcode.RESUME])
async def test_what_is_ours_to_send_is_refused(op):
    """Encoded or not."""
    keeper = Keeper()
    with pytest.raises(UsageError, match="sent by fastgw itself"):
        await Shard(keeper, 0, 1).send(op)
    with pytest.raises(UsageError, match="sent by fastgw itself"):
        await Shard(keeper, 0, 1).send_encoded(b'{"op":%d,"d":null}' % op)
    assert keeper.asked == []


async def test_a_stopped_shard_sends_nothing():
    """Nobody would ever write it."""
    keeper = Keeper(State.STOPPED)
    with pytest.raises(SessionLost, match="shard 3 is stopped"):
        await Shard(keeper, 3, 8).send(Opcode.PRESENCE_UPDATE, {})
    assert keeper.asked == []


class Elsewhere:
    """The home of a gateway whose loop runs somewhere else."""

    def check_loop(self, name):
        raise UsageError(name)


async def test_it_is_used_on_its_own_loop():
    """Nothing is done from elsewhere."""
    keeper = Keeper()
    shard = Shard(keeper, 0, 1, Elsewhere())
    with pytest.raises(UsageError, match=r"shard\.send"):
        await shard.send(Opcode.PRESENCE_UPDATE, {})
    with pytest.raises(UsageError, match=r"shard\.pause_reading"):
        shard.pause_reading()
    with pytest.raises(UsageError, match=r"shard\.resume_reading"):
        shard.resume_reading()
    assert keeper.asked == []


def test_reading_is_paused_and_resumed():
    """By whoever keeps it connected."""
    keeper = Keeper()
    shard = Shard(keeper, 0, 1)
    shard.pause_reading()
    shard.resume_reading()
    assert keeper.asked == ["pause", "resume"]
