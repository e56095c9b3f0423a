"""A server that goes back to an earlier state: what it acknowledged since is lost there."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest
from deadline import scaled, until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

import fastgw
from fastgw.redis import Publisher
from fastgw.redis import publisher as publishing
from fastgw.redis.interests import encode_interests
from fastgw.redis.streams import EventStreams
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis]


class Past:
    """A server, with a state of it that it can go back to; and the group `audit`, read by none."""

    def __init__(self, folder):
        self.server = RedisServer(folder)
        self._dump, self._kept = folder / "dump.rdb", folder / "kept.rdb"
        self.streams = EventStreams(self.server.url, "fgw")
        self.streams.open()
        self.publisher = Publisher(self.server.url)

    async def keep(self):
        """Go back to this, later."""
        await self.streams.client.save()
        shutil.copy(self._dump, self._kept)

    async def go_back(self):
        """Die, and start with what was kept."""
        await asyncio.to_thread(self.server.stop)
        shutil.copy(self._kept, self._dump)
        await asyncio.to_thread(self.server.start)

    async def entries(self):
        """What is in the mailbox: epochs and names; numbers instead of names of messages."""
        found = []
        for entry_id, values in await self.streams.client.xrange(self.streams.mailbox("audit", 0)):
            name, data = values[b"t"].decode(), values[b"d"]
            is_message = name == "MESSAGE_CREATE"
            what = int(data[data.index(b'"n":') + 4 : -1]) if is_message else name
            found.append((int(entry_id.partition(b"-")[0]), what))
        return found

    async def until(self, *what):
        """Wait until this, and nothing else, is in the mailbox."""
        end = time.monotonic() + scaled(20.0)
        found = await self.entries()
        while [each for _, each in found] != list(what):
            assert time.monotonic() < end, found
            await asyncio.sleep(0.01)
            found = await self.entries()
        return found

    async def has(self, *what):
        """Wait until this is in the mailbox, all in one epoch; return that."""
        (epoch,) = {epoch for epoch, _ in await self.until(*what)}
        return epoch


@pytest.fixture
async def past(tmp_path):
    past = Past(tmp_path)
    key = past.streams.key
    await past.streams.client.hset(
        key("groups"), "audit", encode_interests([("MESSAGE_CREATE", None)])
    )
    await past.streams.client.incr(key("groups", "version"))
    yield past
    await past.streams.close()
    past.server.stop()


def send(fake, *numbers):
    for number in numbers:
        fake.dispatch("MESSAGE_CREATE", {"id": "1", "n": number})


async def test_a_session_that_was_lost_is_refilled(past):
    """It resumes from its READY, and its entries have the ids that they had."""
    await past.keep()
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher):
        send(fake, *range(10))
        epoch = await past.has("SESSION_RESET", *range(10))
        await past.go_back()
        send(fake, 10, 11)
        assert await past.has("SESSION_RESET", *range(12)) == epoch
    assert len(fake.identifies) == 1
    assert len(fake.resumes) == 1


async def test_a_session_whose_entries_were_all_lost_is_refilled(past):
    """The server knows it, and none of its events."""
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher):
        epoch = await past.has("SESSION_RESET")
        await past.keep()
        send(fake, *range(10))
        await past.has("SESSION_RESET", *range(10))
        await past.go_back()
        send(fake, 10, 11)
        assert await past.has("SESSION_RESET", *range(12)) == epoch
    assert len(fake.identifies) == 1
    assert len(fake.resumes) == 1


async def test_an_older_session_that_was_lost_says_so(past, monkeypatch):
    """SESSION_RESET of a new epoch stands before what comes next; nothing identifies for it."""
    monkeypatch.setattr(publishing, "YOUNG_S", 0.0)
    await past.keep()
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher):
        send(fake, *range(10))
        epoch = await past.has("SESSION_RESET", *range(10))
        await past.go_back()
        send(fake, 10, 11)
        assert await past.has("SESSION_RESET", 10, 11) > epoch
    assert len(fake.identifies) == 1
    assert not fake.resumes


async def test_a_session_that_cannot_be_refilled_gives_way_to_another(past):
    """Discord keeps too little of it: SESSION_RESET stands before the events of the next."""
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher) as gateway:
        first = await past.has("SESSION_RESET")
        await past.keep()
        send(fake, *range(10))
        await past.has("SESSION_RESET", *range(10))
        fake.service.forget_replay()
        await past.go_back()
        send(fake, 10)
        await until(lambda: len(fake.identifies) == 2, 20.0)  # op 9 is waited for
        await until(lambda: gateway.shards[0].status is fastgw.State.READY, 20.0)
        send(fake, 11)
        found = await past.until("SESSION_RESET", "SESSION_RESET", 11)
    assert found[0][0] == first < found[1][0] == found[2][0]


async def test_a_ready_that_comes_again_begins_nothing(past):
    """As any dispatch may be delivered twice."""
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher) as gateway:
        await past.has("SESSION_RESET")
        (run,) = past.publisher._runs[0]
        fake.dispatch("READY", {"session_id": gateway.shards[0].session_id})
        send(fake, 0)
        await past.has("SESSION_RESET", 0)
        assert past.publisher._runs[0][-1] is run


async def test_no_session_is_rewound_but_the_one_that_is_meant(past):
    """While a shard has none, or another, it goes its way."""
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher) as gateway:
        send(fake, 0)
        await past.has("SESSION_RESET", 0)
        gateway.shards[0]._keeper._protocol.sequence.clear()  # as if op 9 had come
        assert not past.publisher._shards.rewind(0, past.publisher._runs[0][0].session_id, 1)
        assert gateway.shards[0].status is fastgw.State.READY
    assert not fake.resumes


async def test_a_shard_that_leaves_while_it_begins_stops_nothing(past):
    """What the server lost of it is for who has it now; the others go on."""
    async with FakeGateway() as fake, gateway_to(fake, publish=past.publisher):
        send(fake, 0)
        await past.has("SESSION_RESET", 0)
        run = past.publisher._runs.pop(0)[0]  # as `_forget_who_left` does
        run.claim, run.tail = None, 9
        await past.publisher._begin(0, run)
        assert run.tail == 2
    assert not fake.resumes
