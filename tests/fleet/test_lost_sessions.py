"""Lost sessions are told of, in one line for all shards, with from when on events are gone."""

import logging

import pytest

from fastgw.fleet.lost_sessions import AGAIN_S, GATHER_S, LostSessions
from fastgw.protocol.signals import Cause, SessionEnded


class _Fleet:
    """Lost sessions and a clock, and what they said."""

    def __init__(self, caplog, shards):
        self.caplog = caplog
        self.shards = shards
        self.now = 1_000.0
        self.lost = LostSessions()

    def loses(self, shard_id=0, cause=Cause.INVALID_SESSION, sequence=42, heard_s=9.0):
        heard_at = None if heard_s is None else self.now - heard_s
        self.lost.note(shard_id, SessionEnded("s", cause, sequence, heard_at), self.now)

    def passes(self, seconds):
        """Let seconds pass, with a tick in each; return the warnings that came."""
        self.caplog.clear()
        for _ in range(round(seconds)):
            self.now += 1.0
            self.lost.tick(self.now, self.shards)
        return self.said()

    def said(self):
        assert all(record.levelno == logging.WARNING for record in self.caplog.records)
        return [record.getMessage() for record in self.caplog.records]


@pytest.fixture
def one(caplog):
    return _Fleet(caplog, 1)


@pytest.fixture
def many(caplog):
    return _Fleet(caplog, 500)


def test_a_lost_session_is_told_with_from_when_events_are_gone(one):
    """The age of its last byte, and its sequence; once."""
    one.loses()
    assert one.passes(1) == [
        "shard 0 lost its session (invalid session): events from 10 s ago on, after sequence 42, "
        "until its next READY are gone"
    ]
    assert one.passes(2 * AGAIN_S) == []


def test_its_record_says_whose(one):
    """For whoever reads logs by machine."""
    one.loses()
    one.passes(1)
    (record,) = one.caplog.records
    assert (record.shard_id, record.cause) == (0, "invalid session")


@pytest.mark.parametrize(
    ("heard_s", "said"), [(-0.5, "less than a second ago"), (None, "since it was heard last")]
)
def test_an_age_is_told_as_far_as_it_is_known(one, heard_s, said):
    """Op 9 out of the blue ends what was alive a moment ago."""
    one.loses(heard_s=heard_s)
    assert said in one.passes(1)[0]


@pytest.mark.parametrize(("cause", "sequence"), [(Cause.STOPPED, 42), (Cause.EXPIRED, None)])
def test_what_is_no_loss_is_not_told(one, cause, sequence):
    """An end that was asked for, and a session without any event."""
    one.loses(cause=cause, sequence=sequence)
    one.lost.note(0, None, one.now)
    assert one.passes(AGAIN_S) == []


def test_many_shards_are_told_of_in_one_line(many):
    """case 55: not one for each; the oldest says from when on."""
    for shard_id in range(500):
        many.loses(shard_id, heard_s=30.0 if shard_id == 7 else 9.0)
    assert many.passes(AGAIN_S) == [
        "500 shards lost their sessions (0, 1, 2, 3, 4, 5, 6, 7, ...; the first: invalid session): "
        f"events from {30 + GATHER_S:.0f} s ago on, until the next READY of each, are gone"
    ]


def test_those_that_follow_are_gathered(many):
    """Sessions of an outage expire one after the other."""
    lines = []
    for shard_id in range(500):
        many.loses(shard_id)
        lines += many.passes(1)
    assert len(lines) == 1 + (500 - GATHER_S) // AGAIN_S


def test_one_shard_that_loses_several_sessions_says_how_many(one):
    """It may lose each that it begins."""
    one.loses()
    one.passes(1)
    for _ in range(3):
        one.loses()
        one.passes(2)
    assert "shard 0 lost 3 sessions (invalid session)" in one.passes(AGAIN_S)[0]


def test_what_waits_is_told_at_the_end(many):
    """A program that ends must not keep it to itself."""
    many.loses(3)
    many.lost.tell(many.now)
    assert "shard 3 lost its session" in many.said()[0]
    many.lost.tell(many.now)
    assert len(many.said()) == 1
