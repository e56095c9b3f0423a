"""Commands of a whole gateway, each on its way to the shard that it is for."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from deadline import scaled

from fastgw.errors import ShardNotHere, UsageError
from fastgw.fleet.commands.face import CommandSender
from fastgw.home import Home
from fastgw.protocol.wire import Opcode
from fastgw.words import Intents

ON_3 = (3 << 22) + 1  # of 4 shards
ON_0 = (4 << 22) + 1


class Shard:
    """Writes down what it is sent."""

    def __init__(self, shard_id, sent):
        self.id = shard_id
        self._sent = sent

    async def send(self, op, d=None, *, wait=True):
        self._sent.append((self.id, op, d) if wait else (self.id, op, d, "at once"))


class Fleet:
    """Runs some of 4 shards."""

    def __init__(self, *here, count=4):
        self.sent = []
        self.shard_count = count
        self.shards = tuple(Shard(i, self.sent) for i in here)
        self.members = SimpleNamespace(intents=Intents.GUILD_MEMBERS, request=self._request)
        self.home = Home()

    def shard(self, shard_id):
        return next((shard for shard in self.shards if shard.id == shard_id), None)

    def running_shard(self, shard_id):
        if (shard := self.shard(shard_id)) is None:
            raise ShardNotHere(shard_id, [one.id for one in self.shards])
        return shard

    def set_presence(self, presence, shard_ids):
        self.sent.append(("presence", presence, shard_ids))

    def _request(self, query):
        return query


def gateway(*here, count=4):
    fleet = Fleet(*here, count=count)
    return CommandSender(fleet), fleet.sent


async def test_a_command_goes_to_the_shard_of_its_guild():
    """Of the id that its data has; or to the one that is named."""
    sender, sent = gateway(0, 3)
    await sender.send(4, {"guild_id": str(ON_3)})
    await sender.send(4, {"guild_id": ON_3}, shard_id=0, wait=False)
    await sender.send(43, None, shard_id=3)
    assert sent == [
        (3, 4, {"guild_id": str(ON_3)}), (0, 4, {"guild_id": ON_3}, "at once"), (3, 43, None)
    ]  # fmt: skip


async def test_a_command_of_no_guild_needs_a_shard():
    """Unless there is only one."""
    sender, sent = gateway(0, count=1)
    await sender.send(3, {"a": 1})
    await sender.send(3, b"{}")
    assert sent == [(0, 3, {"a": 1}), (0, 3, b"{}")]
    for count in (2, 4):
        sender, sent = gateway(0, 1, count=count)
        with pytest.raises(UsageError, match=r"op 3 without guild_id .*pass shard_id="):
            await sender.send(3, {"a": 1})
        assert sent == []


async def test_a_shard_that_is_not_here_is_named():
    """With its guild, where one was named."""
    sender, _ = gateway(1)
    with pytest.raises(ShardNotHere) as caught:
        await sender.send(4, {"guild_id": ON_3})
    assert (caught.value.shard_id, caught.value.guild_id) == (3, ON_3)
    with pytest.raises(ShardNotHere) as caught:
        await sender.send(4, shard_id=2)
    assert (caught.value.shard_id, caught.value.guild_id) == (2, None)
    with pytest.raises(ShardNotHere):
        sender.request_members(ON_3)


async def test_before_the_start_nobody_knows_the_shard():
    """Their number is not known."""
    sender, _ = gateway(count=0)
    for ask in (sender.shard_for, sender.request_members):
        with pytest.raises(UsageError, match="not known before start"):
            ask(ON_3)


def test_the_shard_of_a_guild():
    """None when it does not run here."""
    sender, _ = gateway(3)
    assert sender.shard_for(ON_3).id == 3
    assert sender.shard_for(ON_0) is None


async def test_a_voice_state_has_every_field():
    """Ids as text, and None to leave."""
    sender, sent = gateway(3)
    await sender.update_voice_state(ON_3, 9, self_mute=True)
    await sender.update_voice_state(str(ON_3), None, self_deaf=True)
    guild = {"guild_id": str(ON_3)}
    assert sent == [
        (3, Opcode.VOICE_STATE_UPDATE, guild | {"channel_id": "9", "self_mute": True,
                                                "self_deaf": False}),
        (3, Opcode.VOICE_STATE_UPDATE, guild | {"channel_id": None, "self_mute": False,
                                                "self_deaf": True}),
    ]  # fmt: skip


async def test_sounds_are_asked_for_in_commands_that_fit():
    """Of each shard as many as there must be, with each guild once."""
    sender, sent = gateway(0, 3)
    on_3 = [str((3 + 4 * n) << 22) for n in range(301)]
    await sender.request_soundboard_sounds([*on_3, ON_0, on_3[0]])
    assert {op for _, op, _ in sent} == {Opcode.REQUEST_SOUNDBOARD_SOUNDS}
    of_3 = [d["guild_ids"] for shard_id, _, d in sent if shard_id == 3]
    assert [len(ids) for ids in of_3] == [150, 150, 1]
    assert [one for ids in of_3 for one in ids] == on_3
    assert [d["guild_ids"] for shard_id, _, d in sent if shard_id == 0] == [[str(ON_0)]]


async def test_sounds_of_a_shard_elsewhere_send_nothing():
    """The guild is named."""
    sender, sent = gateway(0)
    with pytest.raises(ShardNotHere) as caught:
        await sender.request_soundboard_sounds([ON_0, ON_3])
    assert caught.value.guild_id == str(ON_3)
    assert sent == []


@pytest.mark.parametrize(
    ("options", "fields"),
    [({}, ["status", "voice_start_time"]), ({"fields": ["status"]}, ["status"]),
     ({"fields": "status"}, ["status"]), ({"fields": ("a", "b")}, ["a", "b"])],
)  # fmt: skip
async def test_channels_are_asked_about(options, fields):
    """One field may be written as text."""
    sender, sent = gateway(3)
    await sender.request_channel_info(ON_3, **options)
    data = {"guild_id": str(ON_3), "fields": fields}
    assert sent == [(3, Opcode.REQUEST_CHANNEL_INFO, data)]


async def test_a_question_without_fields_is_refused():
    """Nobody would answer."""
    sender, sent = gateway(3)
    with pytest.raises(UsageError, match="needs fields"):
        await sender.request_channel_info(ON_3, [])
    assert sent == []


def test_members_are_asked_for_on_the_guilds_shard():
    """As `check_query` writes it."""
    sender, _ = gateway(3)
    query = sender.request_members(ON_3, query="a", limit=5, timeout_s=1.0, on_rate_limit="raise")
    assert (query.shard_id, query.guild_id, query.waits) == (3, ON_3, False)
    assert query.data == {"guild_id": str(ON_3), "query": "a", "limit": 5}


@pytest.mark.parametrize(("given", "taken"), [(None, None), ([1, 2], (1, 2))])
def test_a_presence_is_passed_on(given, taken):
    """For all, or for those that are named."""
    sender, sent = gateway(1, 2)
    sender.set_presence({"status": "idle"}, shard_ids=given)
    assert sent == [("presence", {"status": "idle"}, taken)]


# --- from other threads --------------------------------------------------------------------------


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_another_thread_calls_into_the_loop(is_coroutine):
    """And gets what is returned, or what the coroutine does."""
    sender, _ = gateway(0)
    sender._fleet.home.loop = asyncio.get_running_loop()
    threads = []

    def plain(a, *, b):
        threads.append(threading.current_thread())
        return a + b

    async def slow(a, *, b):
        return plain(a, b=b)

    function = slow if is_coroutine else plain

    def call():
        return sender.call_threadsafe(function, 1, b=2).result(timeout=scaled(5.0))

    assert await asyncio.to_thread(call) == 3
    assert threads == [threading.main_thread()]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("send", (4, {"guild_id": ON_3})), ("update_voice_state", (ON_3, 9)),
        ("request_soundboard_sounds", ([ON_3],)), ("request_channel_info", (ON_3, ["status"])),
        ("request_members", (ON_3,)),
    ],
)  # fmt: skip
async def test_a_command_of_another_loop_is_refused(name, arguments):
    """Before anything of it goes out."""
    sender, sent = gateway(0, 3)
    sender._home.enter("on")

    async def command():
        await getattr(sender, name)(*arguments)

    with pytest.raises(UsageError, match=rf"{name}\(\) was called in another thread"):
        await asyncio.to_thread(asyncio.run, command())
    assert sent == []


async def test_its_own_thread_need_not_ask():
    """To wait there would stop everything."""
    sender, _ = gateway(0)
    with pytest.raises(UsageError, match="before start"):
        sender.call_threadsafe(print)
    sender._fleet.home.loop = asyncio.get_running_loop()
    with pytest.raises(UsageError, match="the thread of the gateway's loop"):
        sender.call_threadsafe(print)


def test_a_loop_that_has_ended_is_not_called_into():
    """And the call is not left behind, never awaited."""
    sender, _ = gateway(0)
    sender._fleet.home.loop = loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(UsageError, match="has ended"):
        sender.call_threadsafe(print)
