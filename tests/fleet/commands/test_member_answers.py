"""What becomes of a request of members, by what the service answers; in invented time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import orjson
import pytest
from invented_time import run_in_invented_time

from fastgw._decode import Decoder
from fastgw.delivery.handlers import Handlers
from fastgw.errors import (
    CommandTooBig,
    MembersRateLimited,
    ProtocolError,
    SessionLost,
    UsageError,
)
from fastgw.fleet.commands.members import _MAX_RETRY_AFTER_S, MemberQuery, MemberRequests
from fastgw.protocol.states import State
from fastgw.shard.face import Shard
from fastgw.words import Intents

ALL = {"query": "", "limit": 0}
SOME = {"user_ids": ["1"]}


class Scene:
    """Two shards, each its own driver, the requests to them, and the service's answers."""

    error = None

    def __init__(self):
        self.clock = asyncio.get_running_loop().time
        self.handlers = Handlers(Intents.all())
        self.decoders = [Decoder(interests=self.handlers.interests, shard_id=i) for i in (0, 1)]
        self.requests = MemberRequests(
            self.handlers, Intents.all(), lambda i: Shard(self, i, 2), clock=self.clock
        )
        self.status = State.READY
        self.written = []  # the `d` of each
        self.written_at = []
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.sequence = 0

    async def send(self, command, op=-1, d=None, *, wait=True):
        await self.may_write.wait()
        self.written.append(d)
        self.written_at.append(self.clock())

    async def ask(self, data=SOME, *, guild_id=7, shard_id=0, timeout_s=10.0, waits=True):
        """Begin to ask; the task ends with the indexes of the chunks that came."""
        data = {"guild_id": str(guild_id), **data}
        query = MemberQuery(guild_id, shard_id, data, timeout_s, waits)

        async def indexes():
            return [chunk.index async for chunk in self.requests.request(query)]

        task = asyncio.ensure_future(indexes())
        await asyncio.sleep(0.125)
        return task

    def receive(self, name, d, *, shard_id=0):
        """Have an event; whether somebody wants it."""
        self.sequence += 1
        raw = orjson.dumps({"t": name, "s": self.sequence, "op": 0, "d": d})
        event = self.decoders[shard_id].feed(raw, 1, True)
        target = self.handlers.target_of(name)
        if target is not None:
            target(event)
        return target is not None

    def chunk(self, index=0, count=1, *, of=-1):
        """Answer a request, the newest if nothing else is said."""
        d = {"nonce": self.written[of]["nonce"], "chunk_index": index, "chunk_count": count}
        return self.receive("GUILD_MEMBERS_CHUNK", d)

    def limited(self, retry_after=5.0, *, opcode=8, shard_id=0, **meta):
        """Refuse a request: RATE_LIMITED with these in its `meta`."""
        meta = meta or {"nonce": self.written[-1]["nonce"]}
        d = {"opcode": opcode, "retry_after": retry_after, "meta": meta}
        self.receive("RATE_LIMITED", d, shard_id=shard_id)

    def becomes(self, status, shard_id=0):
        """Let a shard change its state."""
        self.status = status
        change = SimpleNamespace(new=status, shard=SimpleNamespace(id=shard_id))
        self.requests.status_changed(change)


def played(script):
    """Run a script with a new scene."""

    async def main():
        await asyncio.sleep(1_000.0)  # no clock begins at 0
        return await script(Scene())

    return run_in_invented_time(main())


async def ended(task):
    """Return what a task ends with; it must not take long."""
    return await asyncio.wait_for(task, 200.0)


# ---------------------------------------------------------------------------- chunks


def test_chunks_are_taken_as_they_come_and_once():
    """When all have come it is complete; while nobody asks, none is wanted."""

    async def script(scene):
        assert scene.requests.intents == Intents.all()
        asking, other = await scene.ask(), await scene.ask(guild_id=8)
        for index in (1, 1, 0):
            scene.chunk(index, 2, of=0)
        assert await ended(asking) == [1, 0]
        assert scene.chunk()
        assert await ended(other) == [0]
        assert scene.handlers.target_of("GUILD_MEMBERS_CHUNK") is None
        assert scene.handlers.ledgers.bytes == 0

    played(script)


def test_what_a_chunk_holds():
    """Members, presences and ids of nobody; each may be left out."""

    async def script(scene):
        query = MemberQuery(7, 0, {"guild_id": "7", **SOME}, 10.0, True)
        chunks = aiter(scene.requests.request(query))
        for more, found in [
            ({}, ([], [], [])),
            (
                {"members": [{"a": 1}], "presences": [{"b": 2}], "not_found": [3, "4"]},
                ([{"a": 1}], [{"b": 2}], ["3", "4"]),
            ),
        ]:
            first = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0.125)
            told = {"nonce": scene.written[0]["nonce"], "chunk_count": 9}
            told["chunk_index"] = len(more)
            scene.receive("GUILD_MEMBERS_CHUNK", {**told, **more})
            chunk = await ended(first)
            assert (chunk.members, chunk.presences, chunk.not_found) == found
        await chunks.aclose()

    played(script)


@pytest.mark.parametrize(
    ("index", "count"), [("0", 1), (0, "1"), (-1, 1), (1, 1), (0, 0), (0.0, 1), (None, None)]
)
def test_a_chunk_that_cannot_be_ends_the_request(index, count):
    """Nobody can say when all have come; what goes wrong later is not the reason."""

    async def script(scene):
        asking = await scene.ask()
        scene.chunk(index, count)
        scene.requests.session_ended(0)
        with pytest.raises(ProtocolError, match="cannot be"):
            await ended(asking)

    played(script)


# ---------------------------------------------------------------------------- silence


@pytest.mark.parametrize("timeout_s", [10.0, 0.5])
def test_silence_is_waited_for_so_long(timeout_s):
    """For ever where no time was named."""

    async def script(scene):
        asking, patient = await scene.ask(timeout_s=timeout_s), await scene.ask(timeout_s=None)
        began = scene.clock() - 0.25
        with pytest.raises(asyncio.TimeoutError, match="no chunk"):
            await ended(asking)
        assert scene.clock() - began == timeout_s
        await asyncio.sleep(1_000.0)
        scene.chunk()
        assert await ended(patient) == [0]

    played(script)


def test_silence_while_the_session_is_not_up_does_not_count():
    """RESUME replays what came meanwhile, or ends the session."""

    async def script(scene):
        asking = await scene.ask()
        began = scene.clock() - 0.125
        scene.status = State.RESUMING
        await asyncio.sleep(25.0)
        assert not asking.done()
        scene.status = State.READY
        with pytest.raises(asyncio.TimeoutError):
            await ended(asking)
        assert scene.clock() - began == 30.0
        assert len(scene.written) == 1

    played(script)


@pytest.mark.parametrize("data", [ALL, SOME], ids=["all", "some"])
def test_a_request_that_may_be_lost_is_sent_again(data):
    """Once, when it was written before the connection ended and nothing came after it."""

    async def script(scene):
        asking = await scene.ask(data)
        began = scene.written_at[0]
        await asyncio.sleep(4.0 - 0.125)
        scene.becomes(State.CONNECTING)
        await asyncio.sleep(1.0)
        scene.becomes(State.READY)
        with pytest.raises(asyncio.TimeoutError):
            await ended(asking)
        assert [at - began for at in scene.written_at] == [0.0, 15.0]
        assert scene.clock() - began == 25.0

    played(script)


def test_a_request_of_which_something_came_is_not_lost():
    """Nor one that came to nothing while its connection lived."""

    async def script(scene):
        answered, late = await scene.ask(), await scene.ask(guild_id=8)
        scene.chunk(0, 2, of=0)
        scene.becomes(State.READY)
        scene.chunk(0, 2, of=1)
        for asking in (answered, late):
            with pytest.raises(asyncio.TimeoutError):
                await ended(asking)
        assert len(scene.written) == 2

    played(script)


# ---------------------------------------------------------------------------- the shard


def test_a_session_that_ends_takes_its_requests_along():
    """Those that were written, of that shard; others are written in the next session."""

    async def script(scene):
        first, second = await scene.ask(ALL), await scene.ask(ALL)
        other = await scene.ask(shard_id=1, timeout_s=None)
        scene.requests.session_ended(0)
        with pytest.raises(SessionLost, match="session of shard 0 was lost"):
            await ended(first)
        await asyncio.sleep(31.0)
        scene.chunk()
        assert await ended(second) == [0]
        assert not other.done()
        other.cancel()

    played(script)


def test_a_shard_that_stops_takes_all_of_its_requests_along():
    """Also those that are not written, wherever they wait."""

    async def script(scene):
        some, first, second, third = [await scene.ask(data) for data in (SOME, ALL, ALL, ALL)]
        scene.becomes(State.STOPPED)
        for asking in (some, first, second, third):
            with pytest.raises(SessionLost, match="shard 0 stopped"):
                await ended(asking)
        assert len(scene.written) == 2

    played(script)


def test_what_failed_while_another_was_being_written_is_not_written():
    """It stood behind that one."""

    async def script(scene):
        scene.may_write.clear()
        first, second = await scene.ask(ALL), await scene.ask(ALL)
        scene.becomes(State.STOPPED)
        scene.may_write.set()
        first.cancel()
        with pytest.raises(SessionLost, match="stopped during"):
            await ended(second)
        assert scene.written == []

    played(script)


@pytest.mark.parametrize("why", ["refused", "lost"])
def test_what_fails_while_it_is_written_again_is_told_at_once(why):
    """Not after another silence."""

    async def script(scene):
        asking = await scene.ask()
        scene.may_write.clear()
        if why == "refused":
            scene.limited(0)
        else:
            scene.becomes(State.READY)
        await asyncio.sleep(12.0)
        scene.becomes(State.STOPPED)
        scene.may_write.set()
        at = scene.clock()
        with pytest.raises(SessionLost):
            await ended(asking)
        assert scene.clock() == at

    played(script)


# ---------------------------------------------------------------------------- RATE_LIMITED


@pytest.mark.parametrize("data", [ALL, SOME], ids=["all", "some"])
@pytest.mark.parametrize(
    ("retry_after", "waited_s"),
    [
        (5.0, 5.5), (0, 0.5), (-1, 30.5), ("soon", 30.5), (None, 30.5),
        (1e9, _MAX_RETRY_AFTER_S + 0.5),
    ],
)  # fmt: skip
def test_a_refused_request_is_sent_again(data, retry_after, waited_s):
    """When the service says so, and half a second; 30 s where it says nothing of use."""

    async def script(scene):
        asking = await scene.ask(data, timeout_s=None)
        at = scene.clock()
        scene.limited(retry_after)
        await asyncio.sleep(waited_s + 1.0)
        assert [when - at for when in scene.written_at[1:]] == [waited_s]
        scene.chunk()
        assert await ended(asking) == [0]

    played(script)


def test_a_refused_request_is_nothing_that_a_session_could_lose():
    """Until it is written again."""

    async def script(scene):
        asking = await scene.ask()
        scene.limited(20.0)
        await asyncio.sleep(1.0)
        scene.requests.session_ended(0)
        await asyncio.sleep(20.0)
        assert len(scene.written) == 2
        scene.requests.session_ended(0)
        with pytest.raises(SessionLost):
            await ended(asking)

    played(script)


def test_who_does_not_wait_is_told_how_long_it_would_be():
    """By the service, or by what is known of the one before."""

    async def script(scene):
        asking = await scene.ask(waits=False)
        scene.limited(5.0)
        with pytest.raises(MembersRateLimited) as caught:
            await ended(asking)
        assert (caught.value.guild_id, caught.value.retry_after_s) == (7, 5.0)
        first = await scene.ask(ALL, waits=False)
        written_at = scene.written_at[-1]
        with pytest.raises(MembersRateLimited) as caught:
            await ended(await scene.ask(ALL, waits=False))
        assert caught.value.retry_after_s == 30.5 - 0.125
        await asyncio.sleep(written_at + 30.5 - 0.5 - scene.clock())
        with pytest.raises(MembersRateLimited):
            await ended(await scene.ask(ALL, waits=False))
        await asyncio.sleep(written_at + 30.5 - scene.clock())
        again = await scene.ask(ALL, waits=False)
        assert scene.written_at[-1] == written_at + 30.5
        for asking in (first, again):
            asking.cancel()

    played(script)


@pytest.mark.parametrize(
    "refusal",
    [
        {"opcode": 4}, {"nonce": "another", "guild_id": "7"}, {"nonce": 7, "guild_id": "7"},
        {"guild_id": "8"},
        {"guild_id": "7", "shard_id": 1},
    ],
)  # fmt: skip
def test_refusals_of_others_are_no_concern(refusal):
    """Of another command, request, guild or shard."""

    async def script(scene):
        asking = await scene.ask(waits=False, timeout_s=None)
        scene.limited(**refusal)
        await asyncio.sleep(1.0)
        assert not asking.done()
        asking.cancel()

    played(script)


def test_a_refusal_without_a_nonce_is_for_who_waits_for_that_guild():
    """The first that is written, and got nothing yet."""

    async def script(scene):
        answered = await scene.ask(timeout_s=None)
        scene.chunk(0, 2)
        refused, later = [await scene.ask(timeout_s=None) for _ in range(2)]
        scene.limited(2.0, guild_id="7")
        await asyncio.sleep(10.0)
        assert [one["nonce"] for one in scene.written[3:]] == [scene.written[1]["nonce"]]
        for asking in (answered, refused, later):
            asking.cancel()

    played(script)


# ---------------------------------------------------------------------------- what is no request


def test_a_query_that_is_too_long_is_refused_at_once():
    """With room for the nonce."""

    async def script(scene):
        query = MemberQuery(7, 0, {"guild_id": "7", "query": "x" * 4_096}, None, True)
        with pytest.raises(CommandTooBig):
            scene.requests.request(query)

    played(script)


def test_a_request_is_used_in_its_own_loop():
    """A future that another one waits for does damage."""
    kept = []

    async def script(scene):
        scene.handlers.home.enter("on")
        kept.append(scene.requests.request(MemberQuery(7, 0, {"guild_id": "7"}, None, True)))

    played(script)

    async def elsewhere():
        with pytest.raises(UsageError, match="request_members"):
            await kept[0]

    run_in_invented_time(elsewhere())
