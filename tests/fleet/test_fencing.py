"""Shards whose lease is over: put out, and taken again however often that fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from deadline import until

from fastgw.errors import UsageError
from fastgw.fleet import fencing
from fastgw.fleet.fencing import Fencing
from fastgw.fleet.roster import Membership, Roster


class Driver:
    """What runs a shard."""

    shard = None


class Leases:
    """Those of one process; `over` are told of at the next look."""

    def __init__(self, *over, look_s=0.01):
        self.over = list(over)
        self.look_s = look_s
        self.looks = 0

    def expired(self):
        self.looks += 1
        over, self.over = self.over, []
        return over


class Rig:
    """Fences of a fleet that runs shards 3 and 4, and what was asked of it."""

    def __init__(self):
        self.roster = Roster()
        self.join(3)
        self.join(4)
        self.asked = []
        self.fences = Fencing(self.roster, self.put_out, self.start)

    def join(self, shard_id):
        """Have a shard run here."""
        self.roster.take((shard_id,))
        self.roster.joined({shard_id: Driver()})

    def leave(self, shard_id, *, comes_back=False):
        """Have it run here no more."""
        self.roster.leaves(shard_id, comes_back=comes_back)
        self.roster.released(shard_id)

    async def put_out(self, shard_id, comes_back):
        """What fences ask for first."""
        self.asked.append(("stop", shard_id))
        self.leave(shard_id, comes_back=comes_back)

    async def start(self, shard_id):
        """What they ask for then."""
        self.asked.append(("start", shard_id))
        self.join(shard_id)

    async def all_done(self):
        """Wait for all that was begun to end."""
        await until(lambda: not self.fences._tasks)


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    rig.fences.stop()


@pytest.mark.parametrize("error", [UsageError("another has it"), ConnectionError("away")])
async def test_a_shard_is_taken_again_when_the_store_gives_it(monkeypatch, caplog, error):
    """Whatever a store raises, ours or a user's, the next attempt follows; the first is told."""
    monkeypatch.setattr(fencing, "AGAIN_S", 0.01)
    rig, attempts = Rig(), []

    async def start(shard_id):
        rig.roster.take((shard_id,))
        attempts.append(shard_id)
        if len(attempts) < 3:
            rig.roster.refused((shard_id,))
            raise error
        rig.roster.joined({shard_id: Driver()})

    rig.fences._start = start
    rig.fences.begin(Leases(3), takes_again=True)
    try:
        await until(lambda: len(attempts) == 3 and rig.fences.may_speak(3))
        await until(lambda: "shard 3 is taken again" in caplog.messages)
    finally:
        rig.fences.stop()
    assert caplog.messages.count(f"shard 3 is not taken again yet: {error}") == 1


async def test_it_looks_again_and_again(rig):
    """A lease may be over at any time."""
    leases = Leases()
    rig.fences.begin(leases, takes_again=True)
    await until(lambda: leases.looks == 3)
    leases.over = [4]
    await until(lambda: ("start", 4) in rig.asked)
    assert rig.asked == [("stop", 4), ("start", 4)]


async def test_a_store_without_leases_is_not_looked_at(rig):
    """Whoever runs a shard may always write."""
    leases = Leases(3, look_s=None)
    rig.fences.begin(leases, takes_again=True)
    assert rig.fences.may_speak(3)
    assert leases.looks == 0


async def test_who_was_frozen_writes_nothing_for_others(rig):
    """Before any timer: it is looked at when a shard is about to write."""
    leases = Leases(look_s=3_600.0)
    rig.fences.begin(leases, takes_again=True)
    assert rig.fences.may_speak(3)
    leases.over = [3]
    assert not rig.fences.may_speak(3)
    assert rig.fences.may_speak(4)
    await until(lambda: ("stop", 3) in rig.asked)


async def test_who_is_told_from_elsewhere_takes_nothing_again(rig):
    """Where it runs next is not decided here."""
    rig.fences.begin(Leases(3), takes_again=False)
    await until(lambda: rig.asked)
    await rig.all_done()
    assert rig.asked == [("stop", 3)]


async def test_a_shard_that_its_program_stopped_is_not_taken_again(rig):
    """At the same time as its lease was over."""
    rig.leave(3)
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.asked)
    await rig.all_done()
    assert rig.asked == [("stop", 3)]


async def test_a_shard_that_its_program_started_is_not_taken_twice(rig):
    """While it was being put out."""

    async def put_out_and_start(shard_id, comes_back):
        await rig.put_out(shard_id, comes_back)
        rig.join(shard_id)

    rig.fences._put_out = put_out_and_start
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.asked)
    await rig.all_done()
    assert rig.asked == [("stop", 3)]


async def test_after_the_end_nothing_is_looked_at_and_nothing_taken(rig):
    """What was under way is given up."""
    given_up = []

    async def never(shard_id):
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(shard_id)

    rig.fences._start = never
    leases = Leases(3)
    rig.fences.begin(leases, takes_again=True)
    await until(lambda: ("stop", 3) in rig.asked)
    await asyncio.sleep(0)
    rig.fences.stop()
    looks = leases.looks
    await asyncio.sleep(3 * leases.look_s)  # a timer of before would have come by then
    assert leases.looks == looks
    assert given_up == [3]


async def test_a_lease_that_is_over_during_the_end_is_seen_and_no_more(rig):
    """Its shard is on its way out already; nobody would end a task that takes it again."""
    leases = Leases(look_s=3_600.0)
    rig.fences.begin(leases, takes_again=True)
    rig.fences.stop()
    leases.over = [3]
    assert not rig.fences.may_speak(3)
    assert rig.fences.may_speak(4)
    assert not rig.fences._tasks
    assert rig.roster.state(3) is Membership.RUNNING


async def test_who_was_frozen_and_ends_looks_once_more(rig):
    """Else it would end a session that another process has."""
    leases = Leases(look_s=3_600.0)
    rig.fences.begin(leases, takes_again=True)
    leases.over = [3]
    rig.fences.stop()
    assert not rig.roster.is_ours(3)
    assert rig.roster.is_ours(4)


def test_fences_that_never_began_may_end():
    """A gateway that did not get so far is closed all the same, and its shards may write."""
    fences = Rig().fences
    assert fences.may_speak(3)
    fences.stop()


async def test_a_store_that_refuses_is_not_asked_all_the_time(rig, monkeypatch):
    """It has others to answer, too."""
    monkeypatch.setattr(fencing, "AGAIN_S", 3_600.0)

    async def refuse(shard_id):
        rig.asked.append(("start", shard_id))
        await asyncio.sleep(0)
        raise UsageError("another has it")

    rig.fences._start = refuse
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: ("start", 3) in rig.asked)
    for _ in range(10):
        await asyncio.sleep(0)
    assert rig.asked == [("stop", 3), ("start", 3)]


async def test_a_shard_that_its_program_stops_meanwhile_is_not_taken_again(rig, monkeypatch):
    """It was put out, started by the program and stopped by it, while the store gave nothing."""
    monkeypatch.setattr(fencing, "AGAIN_S", 0.01)
    attempts = []

    async def refuse(shard_id):
        attempts.append(shard_id)
        raise UsageError("another has it")

    rig.fences._start = refuse
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: attempts)
    rig.join(3)
    rig.leave(3)
    await rig.all_done()
    assert rig.roster.state(3) is None


async def test_a_shard_that_is_away_is_given_up_at_once(rig, monkeypatch):
    """Its program does not want it any more: nobody asks the store again."""
    monkeypatch.setattr(fencing, "AGAIN_S", 3_600.0)

    async def refuse(shard_id):
        rig.asked.append(("start", shard_id))
        raise UsageError("another has it")

    rig.fences._start = refuse
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: ("start", 3) in rig.asked)
    assert await rig.fences.gives_up(3)
    assert rig.roster.state(3) is None
    assert not rig.fences._tasks
    assert not await rig.fences.gives_up(3)


async def test_a_shard_that_is_asked_for_again_is_given_up(rig):
    """The question is cancelled, and its end waited for: it gives back what it was given."""
    ended = []

    async def ask(shard_id):
        rig.roster.take((shard_id,))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            rig.roster.refused((shard_id,))
            ended.append(shard_id)

    rig.fences._start = ask
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.roster.state(3) is Membership.STARTING)
    assert await rig.fences.gives_up(3)
    assert ended == [3]
    assert rig.roster.state(3) is None


async def test_a_shard_that_is_being_put_out_is_given_up_when_it_is_out(rig):
    """Its socket is gone by then, and nobody takes it."""
    may_end = asyncio.Event()

    async def put_out(shard_id, comes_back):
        rig.roster.leaves(shard_id, comes_back=comes_back)
        await may_end.wait()
        rig.roster.released(shard_id)

    rig.fences._put_out = put_out
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.roster.state(3) is Membership.LEAVING)
    giving_up = asyncio.ensure_future(rig.fences.gives_up(3))
    await asyncio.sleep(0)
    assert not giving_up.done()
    may_end.set()
    assert await giving_up
    assert rig.asked == []
    assert rig.roster.state(3) is None


async def test_who_gives_up_and_is_cancelled_has_given_up(rig):
    """A shard would be away for ever that nobody takes."""
    may_end = asyncio.Event()

    async def ask(shard_id):
        rig.roster.take((shard_id,))
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            rig.roster.refused((shard_id,))

    rig.fences._start = ask
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.roster.state(3) is Membership.STARTING)
    giving_up = asyncio.ensure_future(rig.fences.gives_up(3))
    await asyncio.sleep(0)
    giving_up.cancel()
    await asyncio.gather(giving_up, return_exceptions=True)
    may_end.set()
    await rig.all_done()
    assert rig.roster.state(3) is None


async def test_one_that_the_program_starts_meanwhile_is_not_given_up(rig, monkeypatch):
    """What its own question is answered decides, not that of the fences."""
    monkeypatch.setattr(fencing, "AGAIN_S", 0.01)

    async def refuse(shard_id):
        raise UsageError("it is being started already")

    rig.fences._start = refuse
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.roster.state(3) is Membership.AWAY)
    rig.roster.take((3,))  # by the program
    assert not await rig.fences.gives_up(3)
    rig.roster.joined({3: Driver()})
    await rig.all_done()
    assert rig.roster.state(3) is Membership.RUNNING


def stop(rig, shard_id, error):
    """Let a shard stop by itself."""
    driver = rig.roster.drivers[shard_id]
    driver.shard, driver.error = SimpleNamespace(id=shard_id), error
    assert rig.roster.stopped(driver.shard)


async def test_a_shard_that_was_refused_stays_stopped_when_its_lease_is_over(rig, caplog):
    """Only its program starts it again; others may own it by then."""
    stop(rig, 3, UsageError("refused"))
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: not rig.roster.is_ours(3))
    assert not rig.fences._tasks
    assert rig.roster.state(3) is Membership.STOPPED
    assert caplog.messages == []


async def test_a_shard_that_stopped_for_another_process_is_taken_again(rig):
    """Its publisher was fenced before anybody looked at the lease: the other may be gone later."""
    stop(rig, 3, None)
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: rig.roster.state(3) is Membership.RUNNING)
    assert rig.asked == [("stop", 3), ("start", 3)]


async def test_a_shard_that_could_not_be_put_out_well_is_taken_again(rig, caplog):
    """Whatever its end raised, it has no connection now, and waits for the store."""

    async def put_out(shard_id, comes_back):
        rig.leave(shard_id, comes_back=comes_back)
        raise OSError("odd")

    rig.fences._put_out = put_out
    rig.fences.begin(Leases(3), takes_again=True)
    await until(lambda: ("start", 3) in rig.asked)
    assert "shard 3 was not put out as it should be" in caplog.messages
