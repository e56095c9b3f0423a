"""Which stored sessions are resumed, and how those of a fleet get into the store."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from deadline import scaled

from fastgw import Intents, UsageError
from fastgw.fleet.ports import StoredSession
from fastgw.fleet.stores.sessions import (
    TOUCH_S,
    MemorySessionStore,
    SessionWriter,
    encode_terms,
    usable_sessions,
    warn_of_cold_resumes,
)
from fastgw.protocol.identity import Identity
from fastgw.protocol.session import MAX_AGE_S, Session

OLD = {"intents": Intents(513), "large_threshold": 250, "identify_extra": {"a": [1]}}


def identity(shard_id=0, **changes):
    return Identity(token="t", shard_id=shard_id, shard_count=8, **{**OLD, **changes})


def stored(shard_id=0, *, age_s=1.0, terms=None):
    session = Session("s", 5, "wss://r", shard_id, 8)
    terms = encode_terms(identity()) if terms is None else terms
    return StoredSession(session=session, terms=terms, age_s=age_s)


def usable(*sessions, **changes):
    by_shard = {one.session.shard_id: one for one in sessions}
    return list(usable_sessions(by_shard, {i: identity(i, **changes) for i in range(8)}))


# ---------------------------------------------------------------------------- which


def test_what_is_fresh_and_unchanged_is_resumed():
    """Presence and properties belong to no session."""
    assert usable(stored(1), stored(3)) == [1, 3]
    assert usable(stored(), presence={"status": "idle"}, properties={"os": "x"}) == [0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intents": Intents(1)}, "intents (513 -> 1) changed"),
        ({"large_threshold": None}, "large_threshold (250 -> 50) changed"),
        ({"capabilities": 1 << 15}, "capabilities (0 -> 32768) changed"),
        ({"identify_extra": {"a": [2]}}, "identify_extra changed"),
        ({"compress_payload": True}, "compress (False -> True) changed"),
        (
            {"intents": Intents(0), "identify_extra": {}},
            "identify_extra, intents (513 -> 0) changed",
        ),
    ],
)
def test_what_identify_fixed_makes_a_new_session(change, said, caplog):
    """One line names what changed, for all shards together."""
    caplog.set_level(logging.INFO)
    assert usable(*map(stored, (0, 1, 2, 5)), **change) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"shards 0-2, 5 begin new sessions: {said}, which RESUME cannot"
    ]


def test_terms_that_cannot_be_read_are_other_terms(caplog):
    """Of a version to come, or of nobody."""
    caplog.set_level(logging.INFO)
    assert usable(stored(0, terms="{"), stored(1, terms="[]")) == []
    assert "everything changed" in caplog.text


def test_an_old_session_is_not_tried(caplog):
    """It is gone, and a connection would be made for nothing."""
    caplog.set_level(logging.INFO)
    assert usable(stored(0, age_s=MAX_AGE_S), stored(1, age_s=MAX_AGE_S + 1)) == [0]
    assert "shards 1 begin new sessions: the stored ones are too old" in caplog.text


def test_a_session_of_unknown_age_is_tried():
    """The service will say, and a refused RESUME costs nothing."""
    assert usable(stored(age_s=None)) == [0]


def test_what_a_stored_session_does_not_bring_is_told(caplog):
    """With what to do, also where the store is one that machines share."""
    warn_of_cold_resumes(["READY", "GUILD_CREATE"])
    assert "no READY and no GUILD_CREATE comes for them" in caplog.text
    assert "no store=, or `fastgw run` with --in-memory and without --redis" in caplog.text


# ---------------------------------------------------------------------------- how


class Rig:
    """A writer on a memory store, with invented time."""

    def __init__(self):
        self.now = 0.0
        self.sequence = 1
        self.store = MemorySessionStore(clock=lambda: self.now)

    async def start(self, bot_id=None):
        self.opened = opened = await self.store.open(bot_id)
        await opened.take([0], 1)
        self.writer = SessionWriter(opened, "{}", clock=lambda: self.now)
        self.writer.watch(0, lambda: self.sequence)
        self.saved = []
        save = opened.save_sequences
        opened.save_sequences = lambda moved: (self.saved.append(dict(moved)), save(moved))
        return self.writer

    def tick(self, seconds=1.0):
        self.now += seconds
        self.writer.tick()
        return self.saved[-1]

    async def also_stored(self):
        """What is stored while the writer goes on."""
        await self.opened.release([0])
        return await self.opened.take([0], 1)

    async def left(self):
        opened = await self.store.open(None)
        found = await opened.take([0], 1)
        await opened.close()
        return {i: (s.session.sequence, s.age_s) for i, s in found.items()}


def ready_of(bot_id):
    return {"user": {"id": str(bot_id)}, "session_id": "s"}


def session(sequence=1, session_id="s"):
    return Session(session_id, sequence, "wss://r", 0, 1)


async def test_sequences_are_stored_by_the_look_of_each_second():
    """Only what moved; the supplier says how far."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {})
    assert rig.tick() == {}
    rig.sequence = 40
    assert rig.tick() == {0: 40}
    assert rig.tick() == {}
    await writer.close()
    assert await rig.left() == {0: (40, 1.0)}


async def test_a_quiet_session_is_seen_alive():
    """Its age in the store stays small, or a restart would take it for dead."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {})
    saved = [rig.tick() for _ in range(60)]
    assert saved.count({0: 1}) == 60 // TOUCH_S
    await writer.close()


async def test_a_shard_without_connection_is_not_alive():
    """The age counts from the last look at which it was."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {})
    rig.sequence = None
    for _ in range(100):
        assert rig.tick() == {}
    await writer.close()
    assert await rig.left() == {0: (1, 100.0)}


async def test_the_last_of_it_is_stored_at_close():
    """Events that came after the last look."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {})
    rig.sequence = 77
    await writer.close()
    assert (await rig.left())[0][0] == 77


async def test_who_closes_second_waits_for_the_first():
    """A start that fails closes it, and so does the end that made it fail."""
    done, may_end = [], asyncio.Event()

    class Slow:
        def save_sequences(self, sequences):
            pass

        async def close(self):
            done.append("begun")
            await may_end.wait()

    writer = SessionWriter(Slow(), "")
    first, second = [asyncio.ensure_future(writer.close()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not second.done()
    may_end.set()
    await asyncio.wait_for(asyncio.gather(first, second), scaled(5.0))
    assert done == ["begun"]


async def test_shards_are_taken_where_there_are_any():
    """A fleet that begins without one asks for none."""
    taken = []

    class Store:
        async def take(self, shard_ids, shard_count):
            taken.append((shard_ids, shard_count))
            return {1: stored(1)}

    writer = SessionWriter(Store(), "")
    assert await writer.take({}) == {}
    assert list(await writer.take({1: identity(1), 2: identity(2)})) == [1]
    assert taken == [((1, 2), 8)]


async def test_a_session_that_is_over_is_removed():
    """And the next one stored, from its own first sequence on."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(900), {})
    rig.sequence = None
    writer.ended(0)
    assert await rig.also_stored() == {}
    rig.tick()
    writer.began(session(1, "t"), {})
    rig.sequence = 1
    rig.tick()
    await writer.close()
    assert (await rig.left())[0][0] == 1


async def test_a_shard_that_is_stopped_keeps_what_is_stored():
    """Its last sequence with it."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {})
    rig.sequence = 9
    await writer.release(0)
    rig.sequence = 10
    rig.tick()
    assert (await rig.left())[0][0] == 9  # another takes it, while this one is open
    await writer.close()


async def test_a_shard_that_is_started_again_is_seen_alive_at_once():
    """However short its stop was, and wherever its session is by then."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {})
    await writer.release(0)
    writer.watch(0, lambda: 1)
    assert rig.tick() == {0: 1}
    await writer.close()


async def test_nothing_is_stored_of_a_shard_whose_lease_is_over():
    """Somebody else may have it by now, until it is taken again."""
    rig = Rig()
    writer = await rig.start()
    assert writer.look_s is None
    assert writer.expired() == []
    expired = [0]
    rig.opened.look_s, rig.opened.expired = 0.5, lambda: [expired.pop() for _ in expired[:]]
    writer.began(session(), {})
    assert writer.look_s == 0.5
    assert writer.expired() == [0]
    assert writer.expired() == []
    released = []
    rig.opened.release, release = lambda ids: released.extend(ids), rig.opened.release
    rig.sequence = 50
    writer.forget(0)
    writer.tick()
    assert released == []
    rig.opened.release = release
    assert (await rig.also_stored())[0].session.sequence == 1
    await release([0])
    await writer.take({0: Identity(token="t", shard_id=0, shard_count=1, **OLD)})
    writer.watch(0, lambda: 1)
    assert rig.tick() == {0: 1}
    await writer.close()


@pytest.mark.parametrize("refused", ["save", "forget", "save_sequences"])
async def test_a_store_that_fails_is_told_of(refused, caplog):
    """Whichever call it is."""
    rig = Rig()
    writer = await rig.start()

    def fail(*_):
        raise OSError("full")

    setattr(rig.opened, refused, fail)
    writer.began(session(), {})
    writer.tick()
    writer.ended(0)
    assert caplog.text.count("the session store failed; the bot goes on without it") == 1


@pytest.mark.parametrize(
    ("said", "bot_id"),
    [
        ({"id": str((1 << 63) - 1)}, (1 << 63) - 1),
        ({"id": str(1 << 63)}, None),  # more than a column of a database holds
        ({"id": "²"}, None),
        ({"id": 5}, None),
        ("5", None),
    ],
)
async def test_whose_a_session_is_comes_from_ready(said, bot_id):
    """Where it says so in a form that a store can keep."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(), {"user": said})
    assert (await rig.also_stored())[0].bot_id == bot_id
    await writer.close()


async def test_two_fleets_of_one_memory_store_are_of_one_bot():
    """Also when neither token told whose it is."""
    store = MemorySessionStore()
    first, second = await store.open(None), await store.open(None)
    await first.take([0], 8)
    await second.take([1], 8)
    first.save(replace(stored(0), bot_id=111))
    with pytest.raises(UsageError, match="111, and this is bot 222"):
        second.save(replace(stored(1), bot_id=222))


async def test_a_store_that_refuses_costs_no_connection(caplog):
    """Whatever it raises, of the user's or of ours, is told once and goes no further."""
    rig = Rig()
    writer = await rig.start()

    def refuse(*_):
        raise UsageError("not this one")

    writer._store.forget = writer._store.save_sequences = refuse
    writer.began(session(), {})
    writer.tick()
    writer.ended(0)
    assert caplog.text.count("the session store failed; the bot goes on without it") == 1


async def test_another_bots_store_is_told_once_and_left_alone(caplog):
    """READY names another bot than the store: nothing of ours goes into it."""
    rig = Rig()
    writer = await rig.start()
    writer.began(session(5), ready_of(111))
    await writer.close()
    writer = await rig.start()
    rig.opened.is_durable = True
    assert writer.is_durable
    for sequence in (6, 7):
        writer.began(session(sequence), ready_of(222))
    assert not writer.is_durable
    forgotten = []
    rig.opened.forget = forgotten.append
    writer.ended(0)
    assert forgotten == []
    await writer.close()
    assert caplog.text.count("sessions are kept in memory only") == 1
    assert "bot 111" in caplog.text
    assert (await rig.left())[0][0] == 5
    with pytest.raises(UsageError, match="222"):
        await rig.store.open(222)
