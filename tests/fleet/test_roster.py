"""Which shards a fleet has: who may take one when, and when none is left."""

from __future__ import annotations

import pytest

from fastgw.errors import ShardNotHere, UsageError
from fastgw.fleet.ports import Occupied
from fastgw.fleet.roster import Membership, Roster
from fastgw.protocol.states import State


class Driver:
    """What runs a shard, and the shard itself."""

    def __init__(self, shard_id, status=State.READY):
        self.id = shard_id
        self.status = status
        self.shard = self


def roster_of(*shard_ids):
    """Return a roster with these shards here."""
    roster = Roster()
    roster.take(shard_ids)
    roster.joined({shard_id: Driver(shard_id) for shard_id in shard_ids})
    return roster


def stop(roster, *shard_ids):
    """Let these stop for good."""
    for shard_id in shard_ids:
        assert roster.stopped(roster.drivers[shard_id].shard)


def test_a_shard_is_here_from_join_to_leave():
    """Whoever asks sees it for as long as something runs it."""
    roster = Roster()
    roster.take((1,))
    assert (roster.shards, roster.state(1)) == ((), Membership.STARTING)
    driver = Driver(1)
    roster.joined({1: driver})
    assert roster.here(1) is driver
    assert roster.shards == (driver.shard,)
    assert roster.leaves(1) is driver
    with pytest.raises(ShardNotHere, match="shard 1 does not run here"):
        roster.here(1)
    roster.released(1)
    assert roster.state(1) is None


def test_a_shard_that_is_asked_for_is_not_here_yet():
    """It is ours from then on; nothing runs it, whoever joins meanwhile, so none of it stops."""
    roster = Roster()
    roster.take((1, 2))
    roster.joined({2: Driver(2)})
    assert [shard.id for shard in roster.shards] == [2]
    assert roster.is_ours(1)
    assert not roster.stopped(Driver(1).shard)


@pytest.mark.parametrize("value", [True, "0", None])
def test_what_is_no_shard_id_is_nowhere(value):
    """It is refused, though it may be equal to one."""
    with pytest.raises(UsageError, match="is no shard id"):
        roster_of(0, 1).here(value)


def test_shards_stand_in_the_order_of_their_ids():
    """Whichever came first."""
    roster = roster_of(5, 3)
    roster.take((4,))
    roster.joined({4: Driver(4)})
    assert [shard.id for shard in roster.shards] == list(roster.drivers) == [3, 4, 5]


@pytest.mark.parametrize("bring", ["starting", "running", "stopped", "leaving"])
def test_a_shard_is_taken_by_one_at_a_time(bring):
    """A store gives its holder a shard again: two starts at once would both run it."""
    roster = roster_of(0)
    if bring == "starting":
        roster.take((1,))
        error, text = Occupied, "shard 1 is being started already"
    else:
        roster.take((1,))
        roster.joined({1: Driver(1)})
        error, text = UsageError, "shard 1 runs already; see reconnect_shard"
    if bring == "stopped":
        stop(roster, 1)
    if bring == "leaving":
        roster.leaves(1)
        text = "shards 1 are being stopped: await stop_shard"
    with pytest.raises(error, match=text):
        roster.take((2, 1))
    assert roster.state(2) is None


def test_what_the_store_did_not_give_may_be_asked_for_again():
    """It never was a member."""
    roster = roster_of(0)
    roster.take((1,))
    roster.refused((1,))
    assert roster.state(1) is None
    roster.take((1,))


def test_what_others_hold_does_not_change():
    """Another thread lists the shards while one is taken out."""
    roster = roster_of(0, 1)
    shards, drivers = iter(roster.shards), iter(roster.drivers.items())
    assert next(shards).id == next(drivers)[0] == 0
    roster.leaves(1)
    assert next(shards).id == next(drivers)[0] == 1


def test_a_driver_that_was_taken_out_stops_for_nobody():
    """Its end is that of who took it out; a new one with its id is another."""
    roster = roster_of(0)
    old = roster.leaves(0)
    assert not roster.stopped(old.shard)
    roster.released(0)
    assert not roster.stopped(old.shard)
    roster.take((0,))
    roster.joined({0: Driver(0)})
    assert not roster.stopped(old.shard)
    assert roster.state(0) is Membership.RUNNING


def test_it_is_over_when_all_that_stay_have_stopped():
    """Whichever came first: the stops by themselves, or those that were asked for."""
    roster = roster_of(0, 1, 2)
    stop(roster, 0)
    assert not roster.is_over
    roster.leaves(1)
    assert not roster.is_over
    stop(roster, 2)
    assert roster.is_over
    roster.released(1)
    assert roster.is_over


def test_it_is_not_over_without_shards():
    """Whoever took them out one by one may bring others."""
    roster = roster_of(0)
    assert not Roster().is_over
    roster.leaves(0)
    assert not roster.is_over
    roster.released(0)
    assert not roster.is_over


@pytest.mark.parametrize("bring", ["starting", "put out", "away"])
def test_it_is_not_over_while_one_may_come(bring):
    """One is asked for, or comes back when the store gives it."""
    roster = roster_of(0, 1)
    if bring == "starting":
        roster.leaves(1)
        roster.released(1)
        roster.take((1,))
    else:
        roster.leaves(1, comes_back=True)
        if bring == "away":
            roster.released(1)
    stop(roster, 0)
    assert not roster.is_over


def test_a_shard_that_is_away_stays_so_until_it_is_taken():
    """An attempt that the store refuses leaves it where it was; once taken, it is as any other."""
    roster = roster_of(0)
    roster.leases_ended((0,))
    roster.leaves(0, comes_back=True)
    assert roster.state(0) is Membership.LEAVING
    roster.released(0)
    for _ in range(2):
        assert roster.state(0) is Membership.AWAY
        assert roster.shards == ()
        roster.take((0,))
        roster.refused((0,))
    roster.take((0,))
    roster.joined({0: Driver(0)})
    assert roster.is_ours(0)
    roster.leaves(0)
    roster.released(0)
    assert roster.state(0) is None


def test_a_shard_that_is_away_is_not_here_though_others_come():
    """What ran it is over: neither is it shown, nor does it stop once more."""
    roster = roster_of(0)
    old = roster.leaves(0, comes_back=True)
    roster.released(0)
    roster.take((1,))
    roster.joined({1: Driver(1)})
    assert [shard.id for shard in roster.shards] == list(roster.drivers) == [1]
    assert not roster.stopped(old.shard)


@pytest.mark.parametrize("bring", ["leaving", "away", "starting"])
def test_a_shard_that_stays_out_does_not_come_back(bring):
    """Whether it is being put out, is away, or the store is asked for it again."""
    roster = roster_of(0)
    roster.leaves(0, comes_back=True)
    if bring != "leaving":
        roster.released(0)
    if bring == "starting":
        roster.take((0,))
    assert roster.stays_out(0)
    if bring == "leaving":
        roster.released(0)
    if bring == "starting":
        roster.refused((0,))
    assert roster.state(0) is None
    assert not roster.stays_out(0)
    roster.take((0,))


@pytest.mark.parametrize("bring", ["none", "running", "stopped", "leaving", "starting", "back"])
def test_only_one_that_comes_back_can_stay_out(bring):
    """Any other is stopped, or is not here."""
    roster = roster_of(0, 1)
    if bring == "none":
        roster.leaves(1)
        roster.released(1)
    elif bring == "stopped":
        stop(roster, 1)
    elif bring == "leaving":
        roster.leaves(1)
    elif bring == "starting":
        roster.leaves(1)
        roster.released(1)
        roster.take((1,))
    elif bring == "back":
        roster.leaves(1, comes_back=True)
        roster.released(1)
        roster.take((1,))
        roster.joined({1: Driver(1)})
    before = roster.state(1)
    assert not roster.stays_out(1)
    assert roster.state(1) is before


def test_who_was_refused():
    """One that stopped with an error, for as long as it is there."""
    roster = roster_of(0, 1, 2)
    for shard_id, error in enumerate((UsageError("refused"), None, None)):
        roster.drivers[shard_id].error = error
    assert not roster.was_refused(0)
    stop(roster, 0, 1)
    refused = [roster.was_refused(shard_id) for shard_id in (0, 1, 2, 7)]
    assert refused == [True, False, False, False]
    roster.leaves(0)
    assert not roster.was_refused(0)


def test_whose_a_shard_is():
    """Ours while it is a member and its lease is not over, also on its way out."""
    roster = roster_of(0, 1)
    roster.leases_ended((1, 7))
    assert [roster.is_ours(shard_id) for shard_id in (0, 1, 7)] == [True, False, False]
    roster.leaves(0)
    assert roster.is_ours(0)
    roster.released(0)
    assert not roster.is_ours(0)


def test_it_is_ready_when_all_are():
    """And there are any."""
    roster = roster_of(0, 1)
    assert roster.is_ready
    roster.drivers[1].status = State.RESUMING
    assert not roster.is_ready
    assert not Roster().is_ready


def test_a_move_that_cannot_be_raises():
    """It would be a bug of ours, and nothing moves."""
    roster = roster_of(0)
    with pytest.raises(KeyError):
        roster.refused((0,))
    assert roster.state(0) is Membership.RUNNING
