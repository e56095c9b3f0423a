"""How shards come into a fleet and leave it: stopped, released, and nobody is left behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from deadline import scaled, until

from fastgw import Intents
from fastgw.errors import ShardNotHere, UsageError
from fastgw.fleet import shards as module
from fastgw.fleet.ports import StoredSession
from fastgw.fleet.roster import Membership
from fastgw.fleet.shards import Shards
from fastgw.protocol.identity import Identity
from fastgw.protocol.session import Session

IDENTITY = Identity(token="t", intents=Intents(1))
IDLE = {"since": None, "activities": [], "status": "idle", "afk": False}


class Setup(NamedTuple):
    """What the shards of a fleet have in common, as far as a fleet looks into it."""

    url: str = "ws://main"
    stores_handled: bool = False


class Driver:
    """Of one shard: what was done to it, and what its close() waits for or raises."""

    def __init__(self, shard_id=0, error=None):
        self.shard = SimpleNamespace(id=shard_id)
        self.done = []
        self.error = error
        self.may_close = asyncio.Event()
        self.may_close.set()

    def deafen(self):
        self.done.append("deafen")

    def stopped(self, error):
        self.done.append(("stopped", error))

    def use_url(self, url):
        self.done.append(("use_url", url))

    def set_presence(self, identity):
        self.done.append((identity.shard_id, identity.shard_count, identity.presence["status"]))

    async def close(self, *, keep_session):
        self.done.append(("close", keep_session))
        await self.may_close.wait()
        if self.error is not None:
            raise self.error
        self.done.append("closed")


class NewDriver(Driver):
    """What the fleet makes for a shard that comes in: with what."""

    def __init__(self, identity, setup, host, *, session, last_byte_at):
        super().__init__(identity.shard_id)
        self.identity, self.url, self.host = identity, setup.url, host
        self.session, self.last_byte_at = session, last_byte_at

    def stored_sequence(self):
        return 7


class Sessions:
    """Those of a fleet: what was asked of them, in order; `stored` is what they have."""

    def __init__(self):
        self.asked = []
        self.stored = {}
        self.watched = {}

    async def take(self, identities):
        self.asked.append(("take", sorted(identities)))
        return {i: one for i, one in self.stored.items() if i in identities}

    def watch(self, shard_id, sequence):
        self.watched[shard_id] = sequence()

    def forget(self, shard_id):
        self.asked.append(("forget", shard_id))

    async def release(self, shard_id):
        self.asked.append(("release", shard_id))


class Rig:
    """The shards of a fleet that these drivers run."""

    def __init__(self, *drivers):
        self.sessions = Sessions()
        handlers = SimpleNamespace(wanted_by_name=list)
        self.shards = Shards("host", handlers, IDENTITY)
        self.shards.open(Setup(), 8, self.sessions)
        self.roster = self.shards.roster
        ids = [driver.shard.id for driver in drivers]
        self.roster.take(ids)
        self.roster.joined(dict(zip(ids, drivers, strict=True)))


@pytest.fixture
def makes_drivers(monkeypatch):
    monkeypatch.setattr(module, "ShardDriver", NewDriver)


def nothing():
    """Whoever asked for a shard wants it still."""


def test_a_fleet_that_is_not_open_has_nothing():
    """Not how many shards the bot has, and nobody is told what was handled."""
    shards = Shards(None, None, IDENTITY)
    assert (shards.count, shards.stores_handled) == (0, False)
    shards.use_url("ws://other")
    for stores_handled in (False, True):
        shards.open(Setup(stores_handled=stores_handled), 8, Sessions())
        assert (shards.count, shards.stores_handled) == (8, stores_handled)


async def test_a_shard_comes_in_with_its_stored_session(monkeypatch, makes_drivers):
    """And with when a byte of it came last, where anybody can tell; the store hears of all."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    rig = Rig()
    known, ageless = (Session(name, 1, "ws://main") for name in ("known", "ageless"))
    rig.sessions.stored = {
        1: StoredSession(session=known, terms="", age_s=30.0),
        2: StoredSession(session=ageless, terms=""),
    }
    await rig.shards.take((0, 1, 2), nothing)
    drivers = rig.roster.drivers.values()
    assert [(one.session, one.last_byte_at) for one in drivers] == [
        (None, None), (known, 970.0), (ageless, None),
    ]  # fmt: skip
    identities = [one.identity for one in drivers]
    assert [(one.shard_id, one.shard_count) for one in identities] == [(0, 8), (1, 8), (2, 8)]
    assert {one.host for one in drivers} == {"host"}
    assert rig.sessions.asked == [("take", [0, 1, 2])]
    assert rig.sessions.watched == {0: 7, 1: 7, 2: 7}


@pytest.mark.parametrize("stored", [False, True])
async def test_who_misses_events_of_stored_sessions_is_told(caplog, makes_drivers, stored):
    """READY and GUILD_CREATE come for new sessions only."""
    rig = Rig()
    if stored:
        session = Session("a", 1, "ws://main")
        rig.sessions.stored = {0: StoredSession(session=session, terms="")}
    await rig.shards.take((0,), nothing)
    assert ("no READY and no GUILD_CREATE comes for them" in caplog.text) is stored


async def test_it_is_told_once_however_shards_come_in(caplog, makes_drivers):
    """Those that machines share come one by one, some of them with new sessions."""
    rig = Rig()
    for shard_id in range(1, 4):
        session = Session("a", 1, "ws://main")
        rig.sessions.stored[shard_id] = StoredSession(session=session, terms="")
    for shard_id in range(4):
        await rig.shards.take((shard_id,), nothing)
        assert len(caplog.records) == (shard_id > 0)


async def test_nobody_is_told_of_what_no_handler_wants(caplog, makes_drivers):
    """Until one does."""
    rig = Rig()
    session = Session("a", 1, "ws://main")
    rig.sessions.stored = {i: StoredSession(session=session, terms="") for i in range(2)}
    wanted = []
    rig.shards._handlers.wanted_by_name = lambda names: wanted
    await rig.shards.take((0,), nothing)
    assert not caplog.records
    wanted.append("READY")
    await rig.shards.take((1,), nothing)
    assert "no READY comes for them" in caplog.text


async def test_a_shard_that_nobody_wants_any_more_does_not_come_in(makes_drivers):
    """It may be asked for again."""
    rig = Rig()

    def refuse():
        raise RuntimeError("closing")

    with pytest.raises(RuntimeError, match="closing"):
        await rig.shards.take((0,), refuse)
    assert rig.roster.state(0) is None
    await rig.shards.take((0,), nothing)
    assert rig.roster.state(0) is Membership.RUNNING


async def test_a_shard_comes_in_once(makes_drivers):
    """While another call asks the store for it, it is refused."""
    rig = Rig()
    first = asyncio.ensure_future(rig.shards.take((0,), nothing))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="shard 0"):
        await rig.shards.take((0,), nothing)
    await first
    assert rig.sessions.asked == [("take", [0])]


async def test_all_shards_use_another_url(makes_drivers):
    """Those that are here, and those that come."""
    driver = Driver(0)
    rig = Rig(driver)
    rig.shards.use_url("ws://other")
    assert driver.done == [("use_url", "ws://other")]
    await rig.shards.take((1,), nothing)
    assert rig.roster.drivers[1].url == "ws://other"


async def test_a_presence_is_for_all_or_for_some(makes_drivers):
    """Also for those that come later."""
    drivers = Driver(0), Driver(1)
    rig = Rig(*drivers)
    rig.shards.set_presence(IDLE, None)
    rig.shards.set_presence({**IDLE, "status": "dnd"}, [1])
    assert [one.done for one in drivers] == [[(0, 8, "idle")], [(1, 8, "idle"), (1, 8, "dnd")]]
    await rig.shards.take((2,), nothing)
    assert rig.roster.drivers[2].identity.presence == IDLE


def test_a_presence_for_a_shard_that_is_not_here_is_shown_by_none():
    """Else half of a call would be done."""
    driver = Driver(0)
    rig = Rig(driver)
    with pytest.raises(ShardNotHere):
        rig.shards.set_presence(IDLE, [0, 1])
    assert not driver.done


def test_deaf_shards_are_so_at_once():
    """All of them."""
    drivers = Driver(0), Driver(1)
    Rig(*drivers).shards.deafen()
    assert [one.done for one in drivers] == [["deafen"], ["deafen"]]


@pytest.mark.parametrize("keep_session", [False, True])
async def test_a_shard_is_released_when_it_is_closed(keep_session):
    """And is on its way out until then."""
    driver = Driver(5)
    rig = Rig(driver)
    driver.may_close.clear()
    stopping = rig.shards.take_out(5, keep_session=keep_session)
    await until(lambda: driver.done == [("close", keep_session)])
    assert rig.roster.state(5) is Membership.LEAVING
    assert not rig.sessions.asked
    driver.may_close.set()
    await stopping
    assert rig.roster.state(5) is None
    assert rig.sessions.asked == [("release", 5)]
    assert driver.done == [("close", keep_session), "closed"]


async def test_a_shard_that_others_may_own_ends_no_session():
    """Whatever was asked for: it says nothing any more, and leaves the session alone."""
    driver = Driver(5)
    rig = Rig(driver)
    rig.roster.leases_ended([5])
    await rig.shards.take_out(5, keep_session=False)
    assert driver.done == ["deafen", ("close", True), "closed"]
    assert rig.sessions.asked == [("forget", 5)]


async def test_a_shard_that_does_not_close_has_left_all_the_same():
    """Else nobody could ever start it again."""
    rig = Rig(Driver(0, OSError("bad")))
    with pytest.raises(OSError, match="bad"):
        await rig.shards.take_out(0, keep_session=True)
    assert rig.roster.state(0) is None
    assert not rig.sessions.asked


async def test_the_end_of_all_ends_no_session_of_others():
    """A shard whose lease is over says nothing; those that are ours are closed as asked."""
    ours, theirs = Driver(1), Driver(2)
    rig = Rig(ours, theirs)
    rig.roster.leases_ended([2])
    await rig.shards.close(keep_session=False)
    assert ours.done == [("close", False), "closed"]
    assert theirs.done == ["deafen", ("close", True), "closed"]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_end_of_all_waits_for_single_ones(is_cancelled):
    """Also for one that nobody waits for any more: the store is closed next."""
    one, other = Driver(1), Driver(2)
    rig = Rig(one, other)
    one.may_close.clear()

    async def stop_one():
        await asyncio.shield(rig.shards.take_out(1, keep_session=True))

    stopping = asyncio.ensure_future(stop_one())
    await until(lambda: one.done)
    if is_cancelled:
        stopping.cancel()
    ending = asyncio.ensure_future(rig.shards.close(keep_session=False))
    await until(lambda: "closed" in other.done)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ending.done()
    one.may_close.set()
    await asyncio.wait_for(ending, scaled(5.0))
    assert rig.sessions.asked == [("release", 1)]
    await asyncio.wait((stopping,))


async def test_all_are_closed_though_one_cannot(caplog):
    """It is dropped, and told."""
    bad, good = Driver(1, RuntimeError("bad")), Driver(2)
    await Rig(bad, good).shards.close(keep_session=True)
    assert bad.done == [("close", True), ("stopped", None)]
    assert good.done == [("close", True), "closed"]
    assert "shard 1 did not close, and is dropped" in caplog.text


async def test_a_shard_that_is_out_is_not_waited_for(monkeypatch):
    """With nothing under way, the end comes at once; nothing is kept of it."""
    rig = Rig(Driver())
    await rig.shards.take_out(0, keep_session=True)
    await until(lambda: not rig.shards._stops)
    monkeypatch.setattr(module, "STORE_CLOSE_S", 3_600.0)
    await asyncio.wait_for(rig.shards.close(keep_session=True), scaled(5.0))
