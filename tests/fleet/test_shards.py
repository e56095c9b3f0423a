"""How shards leave a fleet: stopped, released, and nobody is left behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from deadline import scaled, until

from fastgw.fleet import shards as module
from fastgw.fleet.roster import Membership
from fastgw.fleet.shards import Shards


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

    async def close(self, *, keep_session):
        self.done.append(("close", keep_session))
        await self.may_close.wait()
        if self.error is not None:
            raise self.error
        self.done.append("closed")


class Sessions:
    """Those of a fleet: what was asked of them, in order."""

    def __init__(self):
        self.asked = []

    def forget(self, shard_id):
        self.asked.append(("forget", shard_id))

    async def release(self, shard_id):
        self.asked.append(("release", shard_id))


class Rig:
    """The shards of a fleet that these drivers run."""

    def __init__(self, *drivers):
        self.sessions = Sessions()
        self.shards = Shards(None, None, None)
        self.shards.open(None, 8, self.sessions)
        self.roster = self.shards.roster
        ids = [driver.shard.id for driver in drivers]
        self.roster.take(ids)
        self.roster.joined(dict(zip(ids, drivers, strict=True)))


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
