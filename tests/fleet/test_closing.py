"""Steps of a fleet's end: each is taken, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from deadline import scaled, until

from fastgw.fleet import closing
from fastgw.fleet.closing import Stops, close_store


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

    def __init__(self, *, is_fenced=False):
        self.asked = []
        self._is_fenced = is_fenced

    def leaves(self, shard_id):
        self.asked.append(("leaves", shard_id))

    def left(self, shard_id):
        self.asked.append(("left", shard_id))

    def is_fenced(self, shard_id):
        return self._is_fenced

    async def release(self, shard_id):
        self.asked.append(("release", shard_id))

    async def close(self):
        self.asked.append("close")


@pytest.mark.parametrize("keep_session", [False, True])
async def test_a_shard_is_released_when_it_is_closed(keep_session):
    """And nobody takes it here meanwhile."""
    driver, sessions = Driver(5), Sessions()
    driver.may_close.clear()
    stopping = asyncio.ensure_future(Stops().one(driver, sessions, keep_session=keep_session))
    await until(lambda: driver.done == [("close", keep_session)])
    assert sessions.asked == [("leaves", 5)]
    assert not stopping.done()
    driver.may_close.set()
    await stopping
    assert sessions.asked == [("leaves", 5), ("release", 5), ("left", 5)]
    assert driver.done == [("close", keep_session), "closed"]


async def test_a_shard_without_a_store_is_closed():
    """Of a fleet that did not get so far."""
    driver = Driver()
    await Stops().one(driver, None, keep_session=False)
    assert driver.done == [("close", False), "closed"]


async def test_a_shard_that_others_may_own_ends_no_session():
    """Whatever was asked for: it says nothing any more, and leaves the session alone."""
    driver = Driver()
    await Stops().one(driver, Sessions(is_fenced=True), keep_session=False)
    assert driver.done == ["deafen", ("close", True), "closed"]


async def test_a_shard_that_does_not_close_has_left_all_the_same():
    """Else nobody could ever start it again."""
    sessions = Sessions()
    with pytest.raises(OSError, match="bad"):
        await Stops().one(Driver(error=OSError("bad")), sessions, keep_session=True)
    assert sessions.asked == [("leaves", 0), ("left", 0)]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_end_of_all_waits_for_single_ones(is_cancelled):
    """Also for one that nobody waits for any more: the store is closed next."""
    stops, one, other, sessions = Stops(), Driver(1), Driver(2), Sessions()
    one.may_close.clear()
    stopping = asyncio.ensure_future(stops.one(one, sessions, keep_session=True))
    await until(lambda: one.done)
    if is_cancelled:
        stopping.cancel()
    ending = asyncio.ensure_future(stops.all([other], keep_session=False))
    await until(lambda: "closed" in other.done)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ending.done()
    one.may_close.set()
    await asyncio.wait_for(ending, scaled(5.0))
    assert ("release", 1) in sessions.asked
    await asyncio.wait((stopping,))


async def test_all_are_closed_though_one_cannot(caplog):
    """It is dropped, and told."""
    bad, good = Driver(1, RuntimeError("bad")), Driver(2)
    await Stops().all([bad, good], keep_session=True)
    assert bad.done == [("close", True), ("stopped", None)]
    assert good.done == [("close", True), "closed"]
    assert "shard 1 did not close, and is dropped" in caplog.text


async def test_a_shard_that_is_out_is_not_waited_for(monkeypatch):
    """With nothing under way, the end comes at once."""
    stops = Stops()
    await stops.one(Driver(), Sessions(), keep_session=True)
    monkeypatch.setattr(closing, "STORE_CLOSE_S", 3_600.0)
    await asyncio.wait_for(stops.all([], keep_session=True), scaled(5.0))


async def test_a_store_is_closed():
    """If there is one."""
    sessions = Sessions()
    await close_store(sessions)
    await close_store(None)
    assert sessions.asked == ["close"]


async def test_a_store_that_does_not_close_is_told(caplog):
    """And holds nothing up."""
    sessions = Sessions()

    async def fail():
        raise OSError("full")

    sessions.close = fail
    await close_store(sessions)
    assert "the session store did not close" in caplog.text


async def test_a_store_that_hangs_is_given_up(monkeypatch, caplog):
    """After its time."""
    monkeypatch.setattr(closing, "STORE_CLOSE_S", 0.01)
    sessions = Sessions()
    sessions.close = asyncio.Event().wait
    await asyncio.wait_for(close_store(sessions), scaled(5.0))
    assert "the session store did not close" in caplog.text
