"""What one shard counts, and what its figures are made of."""

from __future__ import annotations

import pytest
from pairing import INTERVAL_S, Client

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
from fastgw.shard.budget import SendBudget
from fastgw.shard.commands import CommandQueue
from fastgw.shard.counters import ShardCounters, shard_health, shard_stats
from fastgw.words import Action


@pytest.fixture
def counters():
    return ShardCounters(Durations())


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


class Read:
    """What is seen of a decoder: when it was fed last, and what it has counted."""

    def __init__(self, received_at=0.0, dispatches=0):
        self.received_at = received_at
        self.dispatches = dispatches
        self.messages, self.delivered = dispatches + 2, dispatches - 1
        self.bytes_received, self.bytes_decoded = 100, 300
        self.decompression_s, self.decode_s = 0.25, 0.5


def test_connections_that_ended_add_up(counters):
    """What their decoders counted."""
    for dispatches in (5, 7):
        counters.connection_ended(Read(1.0, dispatches))
    assert (counters.messages, counters.dispatches, counters.delivered) == (16, 12, 10)
    assert (counters.bytes_received, counters.bytes_decoded) == (200, 600)
    assert (counters.decompression_s, counters.decode_s) == (0.5, 1.0)


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
        ([(1.0, 10, Read(0.5, 1)), (2.0, 20, Read(1.5, 1))], 1.5, 0.5),  # an ACK, say
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


def test_a_round_trip_is_counted_once():
    """However often it is looked at; an ACK by itself is no measure."""
    counters, decoder = ShardCounters(round_trips := Durations()), Read()
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
    assert (sum(round_trips.buckets), round_trips.total_s) == (2, 0.5)


def figures(counters, decoder=None, *, now=1_010.0, client=None):
    """Put the figures of a shard together as its driver does."""
    proto, queue = (client or Client()).proto, CommandQueue(SendBudget())
    return (
        shard_stats(proto, counters, queue, decoder),
        shard_health(now, proto, counters, queue, 7, ("a reason",)),
    )


def test_the_connection_that_is_up_counts_as_well(counters):
    """On top of those that have ended; and there may be none."""
    counters.connection_ended(Read(1.0, 5))
    without, _ = figures(counters)
    stats, _ = figures(counters, Read(1.0, 7))
    for name, alone, both in (
        ("messages", 7, 16), ("dispatches", 5, 12), ("delivered", 4, 10),
        ("bytes_received", 100, 200), ("bytes_decoded", 300, 600),
        ("decompression_s", 0.25, 0.5), ("decode_s", 0.5, 1.0),
    ):  # fmt: skip
        assert (getattr(without, name), getattr(stats, name)) == (alone, both)


def test_ages_are_of_now_and_never_negative(counters):
    """What has not been has none."""
    _, health = figures(counters)
    assert (health.last_byte_age_s, health.away_for_s, health.session_for_s) == (None, None, None)
    assert (health.latency_s, health.latency_age_s) == (None, None)
    assert health.heartbeat_interval_s is None
    assert (health.buffer_bytes, health.reading_paused_by) == (7, ("a reason",))
    counters.last_byte_at, counters.away_at, counters.session_at = 1_007.5, 1_010.0, 1_020.0
    _, health = figures(counters)
    assert (health.last_byte_age_s, health.away_for_s, health.session_for_s) == (2.5, 0.0, 0.0)


def test_latency_is_told_with_its_age_while_it_is_fresh(counters):
    """A figure older than two intervals is none any more."""
    client = Client().become_ready()
    _, health = figures(counters, client=client)
    assert (health.latency_s, health.heartbeat_interval_s) == (None, INTERVAL_S)
    client.advance(0.5 * INTERVAL_S)
    measured_at = client.proto.heartbeat.latency_at
    _, health = figures(counters, client=client, now=measured_at + 4.0)
    assert (health.latency_s, health.latency_age_s) == (0.0, 4.0)
    _, health = figures(counters, client=client, now=measured_at + 3 * INTERVAL_S)
    assert (health.latency_s, health.latency_age_s) == (None, None)
