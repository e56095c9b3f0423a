"""One member of those that share the shards of a bot out, with a thread and a server that obey."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from deadline import until

from fastgw.protocol.states import State
from fastgw.redis import sharing as module
from fastgw.redis.sharing import Sharing


class Thread:
    """Does jobs at once, and looks when the test says."""

    def __init__(self, name):
        self.look = None

    def call(self, work):
        done = asyncio.get_running_loop().create_future()
        done.set_result(work())
        return done

    def post(self, work, failed):
        work()

    def every(self, seconds, work):
        self.look = work

    async def end(self, within_s, last):
        last()


class Redis:
    """Knows one member, and writes down which scripts it was asked to run."""

    def __init__(self, url, prefix):
        self.shown = url
        self.asked = []
        self.owners = {}

    def script(self, name, keys, arguments):
        self.asked.append(name)
        pairs = [word for shard, owner in self.owners.items() for word in (shard, owner)]
        return [1, -2, ["me"], [None], list(self.owners), pairs]

    def close(self):
        pass


class Bot:
    """Starts and stops shards; a stop waits for the test."""

    def __init__(self):
        self.shards = []
        self.may_stop = asyncio.Event()

    async def start_shard(self, shard_id):
        self.shards.append(SimpleNamespace(id=shard_id, status=State.READY, error=None))

    async def stop_shard(self, shard_id):
        await self.may_stop.wait()
        self.shards = [shard for shard in self.shards if shard.id != shard_id]


@pytest.fixture
async def bot(monkeypatch):
    """Return a gateway that has to do with neither threads nor Redis."""
    monkeypatch.setattr(module, "JobThread", Thread)
    monkeypatch.setattr(module, "Server", Redis)
    return Bot()


async def joined(bot):
    """Return a member that runs all of two shards."""
    member = Sharing(bot, "redis://nowhere", prefix="x", lease_s=10.0, me="me", shard_count=2)
    await member.join()
    member._thread.look()
    await until(lambda: len(bot.shards) == 2)
    return member


async def test_who_leaves_looks_no_more_while_its_shards_stop(bot):
    """A look would join again, and tell all others that Redis had lost its memory."""
    member = await joined(bot)
    thread, asked = member._thread, member._server.asked
    leaving = asyncio.create_task(member.leave())
    await until(lambda: "depart" in asked)
    thread.look()
    assert asked[-1] == "depart"
    bot.may_stop.set()
    await leaving
    assert bot.shards == []


async def test_a_shard_that_its_program_stopped_stays_so_until_it_starts_it(bot):
    """It is not this member that takes it again, and it was put out by nobody."""
    member = await joined(bot)
    bot.may_stop.set()
    member.stopped(1)
    await bot.stop_shard(1)
    for _ in range(3):
        member._thread.look()
        await asyncio.sleep(0)
    assert [shard.id for shard in bot.shards] == [0]
    assert member.fenced == 0
    await bot.start_shard(1)
    member._thread.look()
    await asyncio.sleep(0)
    await bot.stop_shard(1)  # put out, as its lease is over
    member._thread.look()
    await until(lambda: len(bot.shards) == 2)
    assert member.fenced == 1


async def test_what_it_hands_over_itself_it_may_take_again(bot):
    """The same call stops a shard for the program and for the others."""
    member = await joined(bot)

    async def stop_shard(shard_id):
        member.stopped(shard_id)
        bot.shards = [shard for shard in bot.shards if shard.id != shard_id]

    bot.stop_shard = stop_shard
    await member._give(1)
    assert [shard.id for shard in bot.shards] == [0]
    member._thread.look()
    await until(lambda: len(bot.shards) == 2)


async def test_who_is_cancelled_while_it_joins_is_no_member(bot, monkeypatch):
    """Its thread would say for ever that it lives, and the others would wait for it."""
    member = Sharing(bot, "redis://nowhere", prefix="x", lease_s=10.0, me="me", shard_count=2)
    ended = []

    class Slow(Thread):
        def call(self, work):
            return asyncio.get_running_loop().create_future()

        async def end(self, within_s, last):
            ended.append(within_s)
            last()

    monkeypatch.setattr(module, "JobThread", Slow)
    joining = asyncio.ensure_future(member.join())
    await asyncio.sleep(0)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert ended
    assert member._server.asked == ["depart"]


async def test_a_shard_that_cannot_be_handed_over_keeps_nobody_a_member(bot):
    """Its thread ends, whatever the store raised."""
    member = await joined(bot)
    ended, thread = [], member._thread

    async def end(within_s, last):
        ended.append(within_s)

    async def fails(shard_id):
        raise OSError("odd")

    thread.end, bot.stop_shard = end, fails
    with pytest.raises(OSError, match="odd"):
        await member.leave()
    assert ended


async def test_a_shard_that_cannot_be_taken_is_tried_again(bot, caplog):
    """Whatever a store of the user's raises; a look comes twice a second."""
    member = await joined(bot)
    start, asked = bot.start_shard, []
    bot.shards.pop()

    async def fails(shard_id):
        asked.append(shard_id)
        if len(asked) == 1:
            raise OSError("odd")
        await start(shard_id)

    bot.start_shard = fails
    member._thread.look()
    await until(lambda: "could not be taken" in caplog.text)
    member._thread.look()
    await until(lambda: len(bot.shards) == 2)


async def test_a_table_that_cannot_be_read_ends_no_thread(bot, caplog):
    """Somebody has written something else there: it is told, and looked at again."""
    member = await joined(bot)
    member._server.owners = {"no shard": "me"}
    member._thread.look()
    await until(lambda: ", which is tried again: they stay as they are" in caplog.text)
    member._server.owners = {}
    bot.shards.pop()
    member._thread.look()
    await until(lambda: len(bot.shards) == 2)
    assert "is there again: shards are shared out" in caplog.text
