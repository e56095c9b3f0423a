"""What one shard counts, and what its figures are made of."""

from __future__ import annotations

import pytest

from fastgw._decode import Decoder, Interests
from fastgw.durations import Durations
from fastgw.errors import ConnectFailed
from fastgw.protocol.heartbeat import Heartbeat
from fastgw.protocol.signals import (
    Cause,
    Ended,
    Outcome,
    Ready,
    Resumed,
    SessionEnded,
    StateChanged,
)
from fastgw.protocol.states import State
from fastgw.shard.counters import ShardCounters
from fastgw.words import Action


@pytest.fixture
def counters():
    return ShardCounters(Durations())


@pytest.fixture
def decoder():
    interests = Interests()
    interests.want_everything()
    return Decoder(interests=interests)


def feed(decoder, *sequences):
    for sequence in sequences:
        decoder.feed(b'{"t":"X","s":%d,"op":0,"d":{}}' % sequence, 1, True)


def ended(cause, ready_for_s=None):
    return Ended(Outcome(Action.RESUME, cause=cause, ready_for_s=ready_for_s))


def test_nothing_is_counted_at_first(counters):
    """Counts are 0, moments unknown."""
    moments = "session_at away_at last_byte_at last_dispatch_at last_ack_at last_error"
    counts = (
        "connections identifies resumes_won resumes_lost sessions_lost messages dispatches "
        "delivered bytes_received bytes_decoded decompression_s decode_s heartbeats heartbeat_s"
    )
    assert [getattr(counters, name) for name in moments.split()] == [None] * 6
    assert [getattr(counters, name) for name in counts.split()] == [0] * 14
    assert counters.reconnects == counters.close_codes == {}


@pytest.mark.parametrize(
    ("resume", "signal", "lost"),
    [
        (True, ended(Cause.CONNECTION_LOST), 1),
        (True, ended(Cause.CONNECTION_LOST, ready_for_s=0.0), 0),  # it was won, and ended later
        (False, ended(Cause.CONNECTION_LOST), 0),
        (True, ended(Cause.STOPPED), 0),
    ],
)
def test_a_resume_is_lost_when_its_attempt_never_came_up(counters, resume, signal, lost):
    """And not by a stop."""
    counters.connection_began(resume=resume)
    counters.note(signal, 1.0)
    assert counters.resumes_lost == lost
    assert counters.connections == 1


def test_ends_are_counted_by_cause_and_stops_are_not(counters):
    """A stop is no reconnect."""
    for cause in (Cause.ZOMBIED, Cause.ZOMBIED, Cause.CONNECTION_LOST, Cause.STOPPED):
        counters.note(ended(cause), 1.0)
    assert counters.reconnects == {"zombied": 2, "connection lost": 1}


def test_sessions_begin_and_are_lost(counters):
    """By whatever ends them but a stop."""
    counters.note(Ready({}), 5.0)
    assert counters.session_at == 5.0
    counters.note(SessionEnded("a", Cause.INVALID_SESSION), 6.0)
    assert (counters.session_at, counters.sessions_lost) == (None, 1)
    counters.note(SessionEnded("b", Cause.STOPPED), 7.0)
    assert counters.sessions_lost == 1
    counters.note(Resumed(3, 2), 8.0)
    assert counters.resumes_won == 1


def test_it_is_away_from_ready_to_ready(counters):
    """And the last error is of no interest any more then."""
    counters.last_error = ConnectFailed("refused")
    counters.note(StateChanged(State.READY, State.CLOSING, Cause.ZOMBIED), 5.0)
    counters.note(StateChanged(State.CLOSING, State.DISCONNECTED, Cause.ZOMBIED), 6.0)
    assert (counters.away_at, counters.last_error is None) == (5.0, False)
    counters.note(StateChanged(State.RESUMING, State.READY, None), 7.0)
    assert (counters.away_at, counters.last_error) == (None, None)


def test_connections_that_ended_add_up(counters, decoder):
    """What their decoders counted."""
    feed(decoder, 1, 2, 3)
    counters.connection_ended(decoder)
    counters.connection_ended(decoder)
    assert (counters.messages, counters.dispatches, counters.delivered) == (6, 6, 6)
    assert counters.bytes_received == 2 * decoder.bytes_received > 0
    assert counters.bytes_decoded == 2 * decoder.bytes_decoded > 0


class Read:
    """What a look sees of a decoder: when it was fed last, and how many dispatches it has had."""

    def __init__(self, received_at=0.0, dispatches=0):
        self.received_at = received_at
        self.dispatches = dispatches


@pytest.mark.parametrize(
    ("looks", "last_byte_at", "last_dispatch_at"),
    [
        ([(1.0, 0, Read())], None, None),
        ([(1.0, 10, Read())], 1.0, None),  # of a frame that is not whole: they count from now
        ([(1.0, 10, Read(0.5))], 0.5, None),
        ([(1.0, 10, Read(0.5, 1))], 0.5, 0.5),
        ([(1.0, 10, Read(0.5, 1)), (2.0, 10, Read(0.5, 1))], 0.5, 0.5),
        ([(1.0, 10, Read(0.5, 1)), (2.0, 20, Read(0.5, 1))], 2.0, 0.5),
        ([(1.0, 10, Read(0.5, 1)), (2.0, 20, Read(1.0, 2))], 2.0, 1.0),
        ([(1.0, 10, Read(0.5, 1)), (2.0, 20, Read(1.5, 2))], 1.5, 1.5),
    ],
)
def test_only_what_moved_since_the_last_look_is_new(
    counters, looks, last_byte_at, last_dispatch_at
):
    """Bytes that no read explains came now, those of a read when it was made."""
    counters.connection_began(resume=False)
    for now, bytes_received, decoder in looks:
        counters.look(now, decoder, bytes_received, None)
    assert (counters.last_byte_at, counters.last_dispatch_at) == (last_byte_at, last_dispatch_at)


def test_the_next_connection_is_compared_with_nothing(counters):
    """As many bytes and dispatches as the last one had are new."""
    for at, resume in ((1.0, False), (5.0, True)):
        counters.connection_began(resume=resume)
        counters.look(at + 1.0, Read(at, 1), 50, None)
        assert (counters.last_byte_at, counters.last_dispatch_at) == (at, at)


def test_a_round_trip_is_counted_once(counters, decoder):
    """However often it is looked at; an ACK by itself is no measure."""
    heartbeat = Heartbeat(40.0, first_at=0.0, paused=False)
    counters.look(1.0, decoder, 0, heartbeat)
    assert (counters.last_ack_at, counters.heartbeats) == (None, 0)
    heartbeat.ack(2.0)
    counters.look(3.0, decoder, 0, heartbeat)
    assert (counters.last_ack_at, counters.heartbeats) == (2.0, 0)
    for at in (10.0, 50.0):
        heartbeat.beat(at, 1)
        heartbeat.ack(at + 0.25)
        for _ in range(2):
            counters.look(at + 1.0, decoder, 0, heartbeat)
    assert (counters.last_ack_at, counters.heartbeats, counters.heartbeat_s) == (50.25, 2, 0.5)
