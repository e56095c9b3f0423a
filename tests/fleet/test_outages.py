"""Shards that do not come back are told of, in one line for all of them, and rarely."""

import logging

import pytest

from fastgw.errors import ConnectFailed
from fastgw.fleet.outages import AGAIN_S, FAILURES, LONG_S, Outages
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.shard.face import Shard, StatusChange
from fastgw.shard.reconnect import STABLE_S

TOKEN = "a.token-of-this.test"


class _Keeper:
    status = State.DISCONNECTED


class _Fleet:
    """Outages and a clock, and what they said."""

    def __init__(self, caplog, shards):
        self.caplog = caplog
        self.shards = shards
        self.now = 1_000.0
        self.outages = Outages(TOKEN)

    def _move(self, shard_id, new, error=None, cause=None):
        shard = Shard(_Keeper(), shard_id, self.shards)
        change = StatusChange(shard, State.CONNECTING, new, cause, error)
        self.outages.note(change, self.now)

    def fails(self, shard_id=0, error="refused by the network", times=1):
        for _ in range(times):
            self._move(shard_id, State.DISCONNECTED, ConnectFailed(error), Cause.CONNECT_FAILED)

    def is_asked_to_reconnect(self, shard_id=0):
        self._move(shard_id, State.DISCONNECTED, None, Cause.RECONNECT_ASKED)

    def is_ready(self, shard_id=0):
        self._move(shard_id, State.READY)

    def stops(self, shard_id=0):
        self._move(shard_id, State.STOPPED)

    def passes(self, seconds):
        """Let seconds pass, with a tick in each; return the warnings that came."""
        self.caplog.clear()
        for _ in range(round(seconds)):
            self.now += 1.0
            self.outages.tick(self.now, self.shards)
        assert all(record.levelno == logging.WARNING for record in self.caplog.records)
        return [record.getMessage() for record in self.caplog.records]


@pytest.fixture
def one(caplog):
    return _Fleet(caplog, 1)


@pytest.fixture
def many(caplog):
    return _Fleet(caplog, 500)


def test_a_lost_connection_is_nothing_to_tell(one):
    """It comes back as it should."""
    one.fails()
    one.is_ready()
    assert one.passes(LONG_S + AGAIN_S) == []


def test_failing_again_and_again_is_told_with_the_reason(one):
    """case 55: python's default logging shows it: it is a warning."""
    one.fails(times=FAILURES)
    (said,) = one.passes(1)
    assert "shard 0 has been away for 1 s" in said
    assert f"failed {FAILURES} times in a row" in said
    assert "refused by the network" in said


def test_it_is_told_again_rarely(one):
    """Whoever looks at the log tomorrow finds it at its end."""
    one.fails(times=FAILURES)
    one.passes(1)
    one.fails(times=100)
    assert one.passes(AGAIN_S - 1) == []
    assert "failed 103 times" in one.passes(1)[0]


def test_one_attempt_that_hangs_is_told_as_well(one):
    """Each may take until its deadline: what counts then is the time."""
    one.fails()
    assert one.passes(LONG_S - 1) == []
    (said,) = one.passes(1)
    assert "failed 1 time in a row" in said


def test_coming_back_is_told_once(one):
    """With how long it took."""
    one.fails(times=FAILURES)
    one.passes(10)
    one.is_ready()
    (said,) = one.passes(STABLE_S + 1)
    assert (
        said
        == f"the shard is back after {10 + STABLE_S:.0f} s and at most 3 attempts failed in a row"
    )
    assert one.passes(AGAIN_S) == []


def test_a_ready_that_does_not_hold_is_a_failure(one):
    """A service that closes each session at once keeps nobody connected either."""
    for _ in range(FAILURES):
        one.is_ready()
        one.fails(error="closed by service: code 4000")
    assert "code 4000" in one.passes(1)[0]
    one.is_ready()
    assert one.passes(STABLE_S - 1) == []
    one.fails()
    assert one.passes(1) == []


def test_a_ready_that_held_begins_the_count_anew(one):
    """Also where no tick came in between: a loop may be blocked for long."""
    one.fails(times=FAILURES - 1)
    one.is_ready()
    one.now += STABLE_S
    one.fails(times=FAILURES - 1)
    assert one.passes(1) == []


def test_an_end_without_an_error_has_its_cause(one):
    """Op 7 in answer to every connection."""
    for _ in range(FAILURES):
        one.is_asked_to_reconnect()
    assert "reconnect asked" in one.passes(1)[0]


def test_many_shards_are_told_of_in_one_line(many):
    """case 55: not one for each."""
    for shard_id in range(500):
        many.fails(shard_id, times=FAILURES + (shard_id == 7))
    (said,) = many.passes(AGAIN_S)
    assert "500 of 500 shards are away (0, 1, 2, 3, 4, 5, 6, 7, ...)" in said
    assert "shard 7 failed 4 times" in said


def test_an_outage_that_grows_is_told_sooner(many):
    """Three shards away and all of them are two different things."""
    for shard_id in range(3):
        many.fails(shard_id, times=FAILURES)
    assert "3 of 500" in many.passes(1)[0]
    for shard_id in range(3, 400):
        many.fails(shard_id, times=FAILURES)
    (said,) = many.passes(LONG_S)
    assert "400 of 500" in said


@pytest.mark.parametrize(("more", "lines"), [(2, 0), (3, 1)])
def test_twice_as_many_are_another_outage(many, more, lines):
    """One fewer is the same one; then it is told again when it is time to."""
    for shard_id in range(3):
        many.fails(shard_id, times=FAILURES)
    many.passes(1)
    for shard_id in range(3, 3 + more):
        many.fails(shard_id, times=FAILURES)
    assert len(many.passes(AGAIN_S - 1)) == lines


def test_an_outage_is_as_long_as_that_of_the_first(many):
    """Whoever joined later, and also when it is over."""
    many.fails(0, times=FAILURES)
    many.now += 20.0
    many.fails(1, times=FAILURES)
    assert "for 21 s" in many.passes(1)[0]
    many.is_ready(0)
    many.is_ready(1)
    assert f"after {21 + STABLE_S:.0f} s" in many.passes(STABLE_S)[0]


def test_an_outage_goes_on_while_anybody_is_away(many):
    """Those of the first line are back, and others are not: it began with the first."""
    many.fails(0, times=FAILURES)
    many.passes(1)
    many.now += 19.0
    many.fails(1, times=FAILURES)
    many.is_ready(0)
    (said,) = many.passes(AGAIN_S)
    assert f"for {AGAIN_S + 1:.0f} s" in said


def test_a_line_that_names_all_says_so(many):
    """Eight are named, of nine there are more."""
    for shard_id in range(8):
        many.fails(shard_id, times=FAILURES)
    assert "(0, 1, 2, 3, 4, 5, 6, 7)" in many.passes(1)[0]


def test_it_is_over_when_the_last_is_back(many):
    """The line says how long it was in all."""
    for shard_id in range(2):
        many.fails(shard_id, times=FAILURES)
    many.passes(1)
    many.is_ready(0)
    assert many.passes(100) == []
    many.is_ready(1)
    (said,) = many.passes(STABLE_S + 1)
    assert said.startswith(f"the shards that were away are back after {101 + STABLE_S:.0f} s")


@pytest.mark.parametrize("ends", [_Fleet.stops, lambda fleet: fleet.outages.forget(0)])
def test_a_shard_that_stops_does_not_come_back(one, ends):
    """Its end is told elsewhere, or was asked for."""
    one.fails(times=FAILURES)
    one.passes(1)
    ends(one)
    assert one.passes(AGAIN_S) == []
    one.fails(times=FAILURES)
    assert "away for 1 s" in one.passes(1)[0]


def test_the_token_is_not_told(one):
    """Whatever error it stands in."""
    one.fails(error=f"the proxy said: {TOKEN}", times=FAILURES)
    assert "the proxy said: <token>" in one.passes(1)[0]


def test_nobody_is_away_for_0_s(one):
    """A tick may come at the very moment."""
    one.fails(times=FAILURES)
    one.outages.tick(one.now, 1)
    assert "shard 0 has been away for less than a second; it failed" in one.caplog.text
