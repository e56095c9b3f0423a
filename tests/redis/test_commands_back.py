"""Commands of a consumer, on their way back to the process that has the shard."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from deadline import scaled, until
from gateways import gateway_to, quick_queue
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

import fastgw
from fastgw import CommandTimeout, Opcode, ShardNotRunning, UsageError
from fastgw.connection.time_limit import time_limit
from fastgw.errors import CommandTooBig, WaitFailed
from fastgw.redis import Consumer, Publisher
from fastgw.redis.answers import decode_error, encode_error
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis]

GUILD = 7 << 22
MEMBERS = [{"user": {"id": str(n), "username": f"user {n}"}, "roles": []} for n in range(1, 24)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of the file; each has a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def bot(server, request):
    """Make a consumer and the gateway that has its shards, both running."""

    @asynccontextmanager
    async def run(*, shards=1, is_gateway=True, command_timeout_s=10.0, **service):
        prefix = request.node.name
        consumer = Consumer(
            server.url, group="bot", shards=shards, prefix=prefix,
            command_timeout_s=command_timeout_s,
        )  # fmt: skip
        service = {"recommended_shards": shards, "max_concurrency": shards, **service}
        async with consumer, FakeGateway(**service) as fake:
            if not is_gateway:
                yield consumer, fake, None
                return
            publisher = Publisher(server.url, prefix=prefix)
            async with gateway_to(
                fake, shards=shards, identify_queue=quick_queue(shards), publish=publisher
            ) as gateway:
                await until_announced(consumer, shards)
                yield consumer, fake, gateway

    return run


async def until_announced(consumer, count):
    """Wait until so many shards have an owner."""
    owners, streams = consumer._streams.key("owners"), consumer._streams
    for _ in range(1000):
        if await streams.client.hlen(owners) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody took the shards")


def commands(fake):
    return [command for command in fake.received if command.op != Opcode.IDENTIFY]


async def test_commands_are_sent_on_the_shard_of_their_guild(bot):
    """By the methods of a gateway, and with what they say."""
    async with bot(shards=3) as (consumer, fake, _):
        await consumer.update_voice_state(GUILD, 5, self_deaf=True)
        sent = await fake.expect(Opcode.VOICE_STATE_UPDATE)
        await consumer.send(Opcode.REQUEST_CHANNEL_INFO, {"guild_id": "1"}, shard_id=2)
        await consumer.request_soundboard_sounds([GUILD, GUILD + (1 << 22)])
        infos = await fake.expect(Opcode.REQUEST_CHANNEL_INFO)
        sounds = [await fake.expect(Opcode.REQUEST_SOUNDBOARD_SOUNDS) for _ in range(2)]
    assert sent.data == {
        "guild_id": str(GUILD), "channel_id": "5", "self_mute": False, "self_deaf": True
    }  # fmt: skip
    assert (sent.shard_id, infos.shard_id) == (1, 2)
    assert sorted(sound.shard_id for sound in sounds) == [1, 2]


async def test_members_are_asked_for_and_come_in_chunks(bot):
    """More of them than may be on their way at once, and to who asked alone."""
    async with bot(members={GUILD: MEMBERS}, members_per_chunk=2) as (consumer, _, _gateway):
        chunks = [chunk async for chunk in consumer.request_members(GUILD)]
        found = await consumer.request_members(GUILD, query="user 1", limit=3)
    assert [member for chunk in chunks for member in chunk.members] == MEMBERS
    assert [chunk.count for chunk in chunks] == [12] * 12
    assert [member["user"]["username"] for member in found] == ["user 1", "user 10", "user 11"]


async def test_who_stops_taking_members_is_sent_no_more(bot):
    """Leaving the iterator ends the request where it was sent."""
    async with bot(members={GUILD: MEMBERS}, members_per_chunk=1) as (consumer, _, gateway):
        async for _ in consumer.request_members(GUILD):
            break
        await until(lambda: not gateway._fleet.members._pending)


async def test_what_the_gateway_refuses_is_raised_here(bot):
    """An error keeps its class, its text and its numbers."""
    async with bot() as (consumer, _, gateway):
        with pytest.raises(UsageError, match="sent by fastgw itself"):
            await consumer.send(Opcode.IDENTIFY, {}, shard_id=0)
        gateway._fleet.members.intents = fastgw.Intents.GUILDS
        with pytest.raises(UsageError, match="GUILD_MEMBERS"):
            await consumer.request_members(GUILD)
    limited = decode_error(encode_error(fastgw.MembersRateLimited(GUILD, 3.5)))
    assert type(limited) is fastgw.MembersRateLimited
    assert (limited.guild_id, limited.retry_after_s) == (GUILD, 3.5)


async def test_what_nobody_would_take_is_refused_before_it_leaves(bot):
    """A command that is too big, no shard that can be, and what is for no shard in particular."""
    async with bot(shards=2) as (consumer, fake, _):
        with pytest.raises(CommandTooBig):
            await consumer.send(Opcode.PRESENCE_UPDATE, {"a": "b" * 5000}, shard_id=0)
        with pytest.raises(UsageError, match="number of a shard"):
            await consumer.send(Opcode.PRESENCE_UPDATE, {}, shard_id=-1)
        with pytest.raises(UsageError, match="pass shard_id="):
            await consumer.send(Opcode.PRESENCE_UPDATE, {})
        with pytest.raises(ShardNotRunning) as caught:
            await consumer.send(Opcode.PRESENCE_UPDATE, {}, shard_id=9)
        assert caught.value.shard_id == 9
        assert commands(fake) == []


async def test_a_shard_that_nobody_has_is_an_error_at_once(bot):
    """Also when its gateway has just left."""
    async with bot(is_gateway=False) as (consumer, _, _gateway):
        with pytest.raises(ShardNotRunning):
            await consumer.update_voice_state(GUILD, None)
    async with bot() as (consumer, _, gateway):
        await gateway.close()
        with pytest.raises(ShardNotRunning):
            await consumer.update_voice_state(GUILD, None)


async def test_nobody_knows_whether_an_unanswered_command_was_sent(bot):
    """The process that has the shard stands still: it is not sent when it goes on, late."""
    async with bot(command_timeout_s=0.3) as (consumer, fake, gateway):
        orders = gateway._fleet._options.publish._orders
        orders._task.cancel()
        await asyncio.wait((orders._task,))
        with pytest.raises(CommandTimeout) as caught:
            await consumer.update_voice_state(GUILD, None)
        assert caught.value.may_be_sent
        orders._task = asyncio.ensure_future(orders._serve())
        await until(lambda: orders.taken == 1 and not orders._under_way)
        assert commands(fake) == []


async def test_what_the_budget_has_no_room_for_is_taken_back(bot):
    """It was not sent, and the error says so; it will not be sent later either."""
    async with bot() as (consumer, fake, gateway):
        room = gateway.shards[0].send_room
        await asyncio.gather(*(consumer.request_channel_info(GUILD) for _ in range(room)))
        consumer._shards._timeout_s = 2.0  # for these alone: a busy machine takes long for all
        sends = [consumer.request_channel_info(GUILD) for _ in range(5)]
        refused = await asyncio.gather(*sends, return_exceptions=True)
        assert all(type(error) is CommandTimeout for error in refused)
        assert not any(error.may_be_sent for error in refused)
        assert len(commands(fake)) == room


async def test_another_number_of_shards_is_learnt(bot, server, request):
    """A consumer that knows an old number finds the shard all the same."""
    async with bot(shards=3) as (consumer, fake, _):
        consumer._shards.shard_count = 2
        await consumer.update_voice_state(GUILD, None)
        sent = await fake.expect(Opcode.VOICE_STATE_UPDATE)
    assert sent.shard_id == 1
    assert consumer._shards.shard_count == 3


async def test_a_presence_is_shown_now_and_by_gateways_that_start_later(bot, server, request):
    """It is kept in Redis, and in IDENTIFY."""
    shown = {"status": "idle", "afk": False, "since": None, "activities": []}
    async with bot() as (consumer, fake, gateway):
        consumer.set_presence(shown)
        assert (await fake.expect(Opcode.PRESENCE_UPDATE)).data["status"] == "idle"
        await gateway.close()
        publisher = Publisher(server.url, prefix=request.node.name)
        async with gateway_to(fake, publish=publisher):
            assert fake.identifies[-1]["presence"]["status"] == "idle"


async def test_commands_need_a_consumer_that_runs(server):
    """Before start(), and after close()."""
    consumer = Consumer(server.url, group="bot", shards=1, prefix="never")
    with pytest.raises(UsageError, match="between start"):
        await consumer.update_voice_state(GUILD, None)
    with pytest.raises(UsageError, match="between start"):
        await consumer.request_members(GUILD)
    async with consumer:
        pass
    with pytest.raises(UsageError, match="between start"):
        await consumer.update_voice_state(GUILD, None)


async def test_who_takes_members_too_slowly_is_told_that_some_are_missing(bot, monkeypatch):
    """Half of them must not look like all of them."""
    monkeypatch.setattr("fastgw.redis.orders.IDLE_S", 0.2)
    got = []
    async with bot(members={GUILD: MEMBERS}, members_per_chunk=1) as (consumer, _, gateway):
        orders = gateway._fleet._options.publish._orders

        async def take():
            async for chunk in consumer.request_members(GUILD):
                got.append(chunk.index)
                await until(lambda: not orders._under_way)  # the gateway has given up

        with pytest.raises(WaitFailed, match="of 23 chunks"):
            await take()
    assert 0 < len(got) < len(MEMBERS)


async def test_members_that_break_off_are_an_error(bot, monkeypatch):
    """Of whatever kind it is: who asked would wait for the rest for ever."""
    async with bot(members={GUILD: MEMBERS}, members_per_chunk=1) as (consumer, _, gateway):
        orders = gateway._fleet._options.publish._orders

        async def cut(*_):
            raise ConnectionError

        monkeypatch.setattr(orders, "_has_room", cut)
        with pytest.raises(WaitFailed, match="ConnectionError"), time_limit(scaled(20.0)):
            await consumer.request_members(GUILD)


async def test_a_connection_that_is_cut_costs_no_members(bot, server):
    """What cannot be said now is said again; no error of redis-py comes through."""
    got = []
    async with bot(members={GUILD: MEMBERS}, members_per_chunk=1) as (consumer, _, _gateway):
        pool = consumer._streams.client.connection_pool
        with time_limit(scaled(20.0)):
            async for chunk in consumer.request_members(GUILD):
                got += chunk.members
                if len(got) == 2:
                    for connection in list(pool._available_connections):
                        connection._writer.transport.abort()
    assert got == MEMBERS


async def test_a_server_that_is_away_is_an_error_of_ours_for_who_asks_members(tmp_path):
    """As it is for any other command."""
    server = RedisServer(tmp_path)
    async with Consumer(server.url, group="bot", shards=1, prefix="away") as consumer:
        server.stop()
        with pytest.raises(CommandTimeout):
            await consumer.request_members(GUILD)


async def test_a_presence_that_is_wanted_just_before_the_close_is_told(bot, server, request):
    """Whoever says it and leaves has said it."""
    async with bot(is_gateway=False) as (consumer, fake, _):
        consumer.set_presence({"status": "dnd", "afk": False, "since": None, "activities": []})
        await consumer.close()
        publisher = Publisher(server.url, prefix=request.node.name)
        async with gateway_to(fake, shards=1, publish=publisher):
            assert fake.identifies[-1]["presence"]["status"] == "dnd"


async def test_a_close_does_not_wait_for_a_server_that_takes_no_presence(bot, monkeypatch):
    """It says so in the log, and ends."""
    monkeypatch.setattr("fastgw.redis.remote.CLOSE_S", 0.1)
    async with bot(is_gateway=False) as (consumer, _, _):

        def away(**_):
            raise OSError("away")

        monkeypatch.setattr(consumer._streams.client, "pipeline", away)
        consumer.set_presence({"status": "dnd", "afk": False, "since": None, "activities": []})
        await asyncio.wait_for(consumer.close(), scaled(20))
        assert not consumer._shards.is_open


class Breaking:
    """Lets removals of commands break off, once they are done: `times` of them, `done` so far."""

    def __init__(self, client, times):
        self._make, self._left, self.done = client.pipeline, times, 0
        client.pipeline = self._pipeline

    def _pipeline(self, **options):
        pipeline = self._make(**options)
        execute, xdel, removes = pipeline.execute, pipeline.xdel, []

        async def breaking(*words, **more):
            found = await execute(*words, **more)
            if removes and self.done < self._left:
                self.done += 1
                raise OSError("the answer was lost")
            return found

        def removing(*words):
            removes.append(words)
            return xdel(*words)

        pipeline.execute, pipeline.xdel = breaking, removing
        return pipeline


async def test_a_command_whose_removal_broke_off_is_sent_once(bot):
    """It was read, and nobody else reads it: it is carried out when the server answers again."""
    async with bot() as (consumer, fake, gateway):
        breaking = Breaking(gateway._fleet._options.publish._streams.client, 2)
        await consumer.update_voice_state(GUILD, 5)
        assert breaking.done == 2
        await consumer.request_channel_info(GUILD)  # what was to come twice would be here by now
        assert [command.op for command in commands(fake)] == [
            Opcode.VOICE_STATE_UPDATE, Opcode.REQUEST_CHANNEL_INFO
        ]  # fmt: skip


async def test_a_command_of_an_owner_that_dies_with_it_is_sent_by_nobody(bot, server, request):
    """Read and not carried out: who follows has another stream, and who asked may not know."""
    async with bot(command_timeout_s=2.0) as (consumer, fake, gateway):
        breaking = Breaking(gateway._fleet._options.publish._streams.client, 10**9)
        sending = asyncio.ensure_future(consumer.update_voice_state(GUILD, 5))
        await until(lambda: breaking.done > 0)
        heir = Publisher(server.url, prefix=request.node.name)
        async with FakeGateway() as other, gateway_to(other, publish=heir):
            with pytest.raises(CommandTimeout) as raised:
                await sending
            assert raised.value.may_be_sent
            assert commands(fake) == commands(other) == []


async def test_answers_come_though_those_before_could_not_be_removed(bot, monkeypatch):
    """One task reads for all who wait: an error in its tidying up costs none of them an answer."""
    async with bot() as (consumer, _fake, _):
        calls, trim = [], consumer._streams.client.xtrim

        async def fails(*args, **options):
            calls.append(args)
            if len(calls) < 3:
                raise ConnectionError("cut")
            return await trim(*args, **options)

        monkeypatch.setattr(consumer._streams.client, "xtrim", fails)
        asked = consumer._shards._asked
        asked[b"another"] = None  # somebody whose answer is not there yet
        reader = None
        for number in range(3):
            await consumer.update_voice_state(GUILD, number)
            reader = reader or consumer._shards._reader
        assert consumer._shards._reader is reader
        assert not reader.done()
        del asked[b"another"]
        assert len(calls) >= 1


async def test_a_command_that_is_none_costs_no_other(bot, caplog):
    """It was read with others, and removed with them: they are carried out."""
    async with bot() as (consumer, fake, gateway):
        orders = gateway._fleet._options.publish._orders
        good = {
            b"shard": b"0", b"ms": b"10000", b"id": b"1", b"kind": b"send",
            b"body": b'[4,{"guild_id":"1"},true]', b"answer": consumer._shards._answers.encode(),
        }  # fmt: skip
        now, _ = await consumer._streams.client.time()
        orders._read = [(b"%d-1" % (now * 1000), one) for one in ({}, good)]
        sent = await fake.expect(Opcode.VOICE_STATE_UPDATE)
    assert sent.data == {"guild_id": "1"}
    assert "a command of a consumer could not be answered" in caplog.text


async def test_a_presence_after_the_close_is_refused(server, request):
    """It waits for a start that never comes; before the first one it does not."""
    consumer = Consumer(server.url, group="bot", shards=1, prefix=request.node.name)
    consumer.set_presence({"status": "idle"})
    async with consumer:
        pass
    with pytest.raises(UsageError, match="the consumer is closed"):
        consumer.set_presence({"status": "dnd"})
    streams = consumer._streams
    streams.open()
    said = await streams.client.hgetall(streams.key("presence"))
    await streams.close()
    assert said == {b"all": b'{"status":"idle"}'}
