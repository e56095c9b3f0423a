"""Heartbeats: when they go, what counts as life, and how long an answer took."""

from __future__ import annotations

import pytest
from pairing import INTERVAL_S, Client

from fastgw.protocol.signals import Cause, CloseWanted, Outcome
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.words import Action


def test_the_first_beat_is_jittered_and_the_rest_are_regular():
    """The first beat comes after interval times random, then one every interval from the write."""
    client = Client()
    client.roll = 0.25
    client.become_ready()
    assert client.proto.timer_at() == client.now + 0.25 * INTERVAL_S
    client.advance(0.25 * INTERVAL_S)
    assert client.count(Opcode.HEARTBEAT) == 1
    client.advance(10 * INTERVAL_S)
    assert client.count(Opcode.HEARTBEAT) == 11


def test_a_beat_carries_the_sessions_last_sequence():
    """`d` is null before the first dispatch, then the last sequence, wanted event or not."""
    client = Client()
    client.turns = False
    client.connect()
    client.hello()
    client.advance(INTERVAL_S)
    assert client.last(Opcode.HEARTBEAT) is None
    client.proto.identify(client.now)
    client.ready()
    client.dispatch("NOBODY_WANTS_THIS", s=9)
    client.advance(INTERVAL_S)
    assert client.last(Opcode.HEARTBEAT) == 9


def test_beats_go_while_identifying_and_resuming():
    """case 4: heartbeats start at HELLO and do not wait for READY or RESUMED."""
    client = Client()
    client.connect()
    client.hello()
    client.advance(2 * INTERVAL_S)
    assert client.count(Opcode.HEARTBEAT) == 2
    client.ready()
    client.end()
    client.start_resume()
    before = client.count(Opcode.HEARTBEAT)
    client.advance(INTERVAL_S)
    assert client.count(Opcode.HEARTBEAT) == before + 1


def test_a_missed_ack_closes_resumably():
    """case 18: no ACK and no byte until the next beat closes with 4000 and keeps the session."""
    client = Client().become_ready()
    client.acks = False
    took = client.advance_to(State.CLOSING)
    assert took == 1.5 * INTERVAL_S  # jitter of one half, then one interval
    assert client.closes == [CloseWanted(4000, "heartbeat not acknowledged", abort=False)]
    outcome = client.obey()
    assert outcome == Outcome(Action.RESUME, close_code=4000)
    assert outcome.cause is Cause.ZOMBIED
    assert client.proto.session is not None


def test_a_dead_peer_is_aborted_then_given_up():
    """case 18: a half-open TCP answers no CLOSE: abort after close_s, give up within 5 s."""
    client = Client().become_ready()
    client.acks = False
    client.advance_to(State.CLOSING)
    assert client.advance_to(State.DISCONNECTED) == pytest.approx(5.0)
    assert [close.abort for close in client.closes] == [False, True]
    assert client.ends == [Outcome(Action.RESUME, close_code=4000)]
    client.resume()


def test_no_beat_outlives_its_connection():
    """case 21: the jittered first beat is gone with the connection it belonged to."""
    client = Client()
    client.connect()
    client.hello()
    client.end()
    assert client.proto.timer_at() is None
    client.proto.handle_timer(client.now + 10 * INTERVAL_S)
    client.pump()
    assert client.count(Opcode.HEARTBEAT) == 0


def test_no_beat_goes_while_closing():
    """case 21: after our CLOSE nothing more is written."""
    client = Client().become_ready()
    client.serve(Opcode.RECONNECT)
    client.proto.handle_timer(client.now + 2.9)
    client.proto.handle_timer(client.now + INTERVAL_S)
    client.pump()
    assert client.count(Opcode.HEARTBEAT) == 0


@pytest.mark.parametrize("phase", ["identifying", "resuming", "ready"])
def test_a_beat_the_service_asks_for_is_sent_at_once(phase):
    """case 22: op 1 is answered with op 1 in every phase, and the periodic beat does not move."""
    client = Client()
    if phase == "identifying":
        client.connect()
        client.hello()
    else:
        client.become_ready()
        if phase == "resuming":
            client.end()
            client.start_resume()
    due = client.proto.timer_at()
    client.serve(Opcode.HEARTBEAT)
    assert client.count(Opcode.HEARTBEAT) == 1
    assert client.last(Opcode.HEARTBEAT) == client.proto.sequence.last
    assert client.proto.timer_at() == due


def test_bytes_still_arriving_are_life_for_one_more_interval():
    """case 24: with an ACK behind a backlog, bytes keep the connection; two intervals do not."""
    client = Client().become_ready()
    client.advance(INTERVAL_S, bytes_received=100)  # a beat, answered
    client.acks = False
    client.advance(INTERVAL_S, bytes_received=200)  # a beat, not answered
    client.advance(INTERVAL_S, bytes_received=9_000_000)  # first miss, but bytes came
    assert client.proto.state is State.READY
    client.advance(INTERVAL_S, bytes_received=18_000_000)
    assert client.ends[-1].cause is Cause.ZOMBIED


def test_an_ack_behind_a_backlog_clears_the_miss():
    """case 24: when the late ACK comes the count of misses starts anew."""
    client = Client().become_ready()
    for received in range(10):
        client.acks = False
        client.advance(INTERVAL_S, bytes_received=received)
        client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.state is State.READY


def test_misses_hours_apart_do_not_add_up():
    """case 24: an ACK that merely came late ends the count; the next miss is a first one again."""
    client = Client().become_ready()
    client.acks = False
    client.advance(INTERVAL_S, bytes_received=1)  # a beat, not answered
    client.advance(INTERVAL_S, bytes_received=2)  # a miss, but bytes came; another beat
    client.serve(Opcode.HEARTBEAT_ACK)
    client.serve(Opcode.HEARTBEAT_ACK)
    client.acks = True
    for received in range(3, 100):
        client.advance(INTERVAL_S, bytes_received=received)
    client.acks = False
    client.advance(INTERVAL_S, bytes_received=100)
    client.advance(INTERVAL_S, bytes_received=101)
    assert client.proto.state is State.READY


def test_messages_are_life_when_bytes_are_not_counted():
    """case 24: without a byte count any message the protocol sees is a sign of life."""
    client = Client().become_ready()
    client.acks = False
    client.advance(INTERVAL_S)
    client.serve(Opcode.HEARTBEAT)
    client.advance(INTERVAL_S)
    assert client.proto.state is State.READY


def test_acks_are_not_missed_while_we_do_not_read():
    """case 24: with reading paused by ourselves beats go on and nothing is judged."""
    client = Client().become_ready()
    client.acks = False
    client.proto.reading_paused()
    client.advance(5 * INTERVAL_S, bytes_received=1)
    assert client.proto.state is State.READY
    assert client.count(Opcode.HEARTBEAT) == 5
    client.proto.reading_resumed()
    client.advance(0.9 * INTERVAL_S, bytes_received=1)
    assert client.proto.state is State.READY  # the interval that a pause touched is not judged
    client.advance(2 * INTERVAL_S, bytes_received=1)
    assert client.ends[-1].cause is Cause.ZOMBIED


def test_a_pause_before_hello_is_remembered():
    """Backpressure that began before the heart did excuses it as well."""
    client = Client()
    client.connect()
    client.proto.reading_paused()
    client.hello()
    client.acks = False
    client.advance(3 * INTERVAL_S)
    assert client.proto.state is State.IDENTIFYING


def test_a_beat_that_was_asked_for_in_a_pause_measures_nothing():
    """Also when the pause began before the heart, and no periodic beat was due yet."""
    client = Client()
    client.connect()
    client.proto.reading_paused()
    client.hello()
    client.serve(Opcode.HEARTBEAT)
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.acked == 1
    assert client.proto.heartbeat.latency is None


def test_a_pause_ends_with_its_connection():
    """The next connection reads, so its ACKs are missed again."""
    client = Client().become_ready()
    client.proto.reading_paused()
    client.end()
    client.resume()
    client.acks = False
    assert client.advance_to(State.CLOSING) == 1.5 * INTERVAL_S


def test_a_late_timer_does_not_shorten_the_window():
    """case 23: after a blocked loop the ACK has a whole interval from when the beat was written."""
    client = Client().become_ready()
    client.now += 0.5 * INTERVAL_S + 35.0  # the loop was blocked for 35 s
    client.proto.handle_timer(client.now)
    assert client.proto.timer_at() == client.now + INTERVAL_S


def test_latency_is_unknown_before_the_first_ack():
    """Latency is None until it was measured, and comes with the time of its measure."""
    client = Client().become_ready()
    assert client.proto.heartbeat.latency is None
    assert client.proto.heartbeat.latency_at is None
    assert client.proto.heartbeat.last_ack_at is None
    client.acks = False
    client.advance(0.5 * INTERVAL_S)
    client.now += 0.125
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency == 0.125
    assert client.proto.heartbeat.latency_at == client.proto.heartbeat.last_ack_at == client.now


def test_a_pause_of_ours_is_not_latency():
    """An ACK that waited for us to read again measures nothing."""
    client = Client().become_ready()
    client.acks = False
    client.advance(0.5 * INTERVAL_S)
    client.proto.reading_paused()
    client.now += 30.0
    client.proto.reading_resumed()
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency is None
    assert client.proto.heartbeat.last_ack_at == client.now


def test_latency_goes_stale():
    """A figure older than two intervals is not latency any more."""
    client = Client().become_ready()
    client.advance(INTERVAL_S)
    heart = client.proto.heartbeat
    assert heart is not None
    assert heart.latency_if_fresh(client.now) == 0.0
    assert heart.latency_if_fresh(heart.latency_at + 2 * INTERVAL_S) == 0.0
    assert heart.latency_if_fresh(client.now + 2.1 * INTERVAL_S) is None
    assert client.proto.heartbeat.latency == 0.0


def test_an_ack_answers_the_oldest_beat():
    """Two beats under way: each ACK is measured from its own beat."""
    client = Client().become_ready()
    client.acks = False
    client.advance(0.5 * INTERVAL_S)
    client.now += 1.0
    client.serve(Opcode.HEARTBEAT)
    client.now += 1.0
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency == 2.0
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency == 1.0


def test_a_skipped_ack_does_not_spoil_later_latency():
    """A beat that was never answered is forgotten once a later one is."""
    client = Client().become_ready()
    client.acks = False
    client.advance(0.5 * INTERVAL_S, bytes_received=1)  # this one is never answered
    client.advance(INTERVAL_S, bytes_received=2)
    client.serve(Opcode.HEARTBEAT_ACK)
    client.acks = True
    client.advance(INTERVAL_S, bytes_received=3)
    assert client.proto.heartbeat.latency == 0.0


def test_of_two_beats_one_may_stay_unanswered():
    """A service may take a beat and the one it asked for as one; later latency is not spoilt."""
    client = Client().become_ready()
    client.acks = False
    client.advance(0.5 * INTERVAL_S)
    client.serve(Opcode.HEARTBEAT)
    client.serve(Opcode.HEARTBEAT_ACK)  # one for both
    client.acks = True
    client.advance(INTERVAL_S)
    assert client.proto.heartbeat.latency == 0.0


def test_an_ack_we_did_not_ask_for_is_harmless():
    """ACKs without beats are counted and measure nothing."""
    client = Client().become_ready()
    for _ in range(3):
        client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency is None
    assert client.proto.heartbeat.last_ack_at == client.now
    assert client.proto.state is State.READY


def test_a_machine_that_slept_resumes_at_once():
    """case 26: the wall clock ran ahead of the monotonic one: abort without good-byes, resume."""
    client = Client().become_ready()
    client.proto.handle_timer(client.now, wall=50_000.0)
    client.proto.handle_timer(client.now + 1.0, wall=50_001.0)
    assert client.proto.state is State.READY
    client.proto.handle_timer(client.now + 2.0, wall=50_302.0)
    client.pump()
    assert [close.abort for close in client.closes] == [True]
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.RESUME, Cause.SLEPT)
    client.resume()


def test_a_small_or_backward_jump_of_the_wall_clock_is_nothing():
    """case 25: wall time only tells of sleep; corrections of it move no timer."""
    client = Client().become_ready()
    due = client.proto.timer_at()
    for offset in (0.0, 4.0, -3_600.0, -3_596.0):
        client.proto.handle_timer(client.now, wall=50_000.0 + offset)
    assert client.proto.state is State.READY
    assert client.proto.timer_at() == due


def test_sleep_between_connections_is_not_counted_twice():
    """case 26: the clocks are compared within a connection only."""
    client = Client().become_ready()
    client.proto.handle_timer(client.now, wall=50_000.0)
    client.end()
    client.connect()
    client.proto.handle_timer(client.now + 1.0, wall=99_000.0)
    assert client.proto.state is State.AWAITING_HELLO


def test_beats_and_acks_are_counted():
    """Periodic and requested beats both count, as they do in the send budget."""
    client = Client().become_ready()
    client.advance(INTERVAL_S)
    client.serve(Opcode.HEARTBEAT)
    heart = client.proto.heartbeat
    assert heart is not None
    assert (heart.sent, heart.acked) == (2, 1)
    assert client.proto.heartbeat.interval_s == INTERVAL_S


@pytest.mark.parametrize(
    ("is_early", "reach", "beats"),
    [
        (False, "identifying", 0), (False, "ready", 0), (False, "resuming", 0),
        (False, "resumed", 0),
        (True, "identifying", 0), (True, "ready", 1), (True, "resuming", 1), (True, "resumed", 2),
    ],
)  # fmt: skip
def test_an_early_beat_comes_when_the_session_is_up(is_early, reach, beats):
    """One a connection, at READY or RESUMED and not before; the periodic beat does not move."""
    client = Client(early_heartbeat=is_early)
    if reach == "identifying":
        client.connect()
        client.hello()
    else:
        client.become_ready()
    if reach in ("resuming", "resumed"):
        client.end()
        client.start_resume()
    if reach == "resumed":
        client.dispatch("RESUMED")
    assert client.count(Opcode.HEARTBEAT) == beats
    assert client.proto.heartbeat.next_at == client.now + client.roll * INTERVAL_S
    if beats:
        assert client.last(Opcode.HEARTBEAT) == client.proto.sequence.last


def test_an_early_beat_makes_the_latency_known():
    """Its ACK is measured, long before the first periodic beat is due."""
    client = Client(early_heartbeat=True).become_ready()
    assert client.proto.heartbeat.latency is None
    client.now += 0.08
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency == pytest.approx(0.08)


def test_an_early_beat_is_sent_again_where_we_stopped_reading_meanwhile():
    """A start-up burst pauses reading; the beat after it measures, and is the last."""
    client = Client(early_heartbeat=True).become_ready()
    client.proto.reading_paused()
    client.now += 0.5
    client.proto.reading_resumed()
    client.serve(Opcode.HEARTBEAT_ACK)
    assert client.proto.heartbeat.latency is None
    client.proto.reading_paused()
    client.advance(2.0)
    assert client.count(Opcode.HEARTBEAT) == 1  # an ACK could not come
    client.proto.reading_resumed()
    client.acks = False
    client.advance(3.5)
    assert client.count(Opcode.HEARTBEAT) == 2  # its ACK is on its way
    client.serve(Opcode.HEARTBEAT_ACK)
    assert 2.5 <= client.proto.heartbeat.latency <= 3.5
    client.advance(3.5)
    assert client.count(Opcode.HEARTBEAT) == 2


def test_beats_that_pauses_spoil_come_once_a_second():
    """However often we stop reading: the send budget is for other things."""
    client = Client(early_heartbeat=True).become_ready()
    client.acks = False
    for _ in range(50):
        client.proto.reading_paused()
        client.proto.reading_resumed()
        client.serve(Opcode.HEARTBEAT_ACK)
        client.advance(0.1)
    assert 5 <= client.count(Opcode.HEARTBEAT) <= 6
    assert client.proto.heartbeat.latency is None


def test_an_early_beat_that_nobody_answers_zombies_nothing():
    """Judged are periodic beats: a connection that is alive is not left for the early one."""
    client = Client(early_heartbeat=True).become_ready()
    client.advance(10 * INTERVAL_S)
    assert client.proto.state is State.READY
