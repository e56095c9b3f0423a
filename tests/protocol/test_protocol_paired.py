"""The protocol against the fake service: both halves real, only the wire and time invented."""

from __future__ import annotations

import pytest
from pairing import RESUME_URL, Pair, paired

from fastgw.protocol.signals import Cause, Outcome, Resumed, SessionEnded
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakePeer, Moment
from fastgw.words import Action

HOST = RESUME_URL.removeprefix("wss://")


def last_session(pair: Pair) -> list[int]:
    """What of the service's newest session was delivered."""
    return pair.delivered[pair.service.session().session_id]


def complete(pair: Pair) -> list[int]:
    """What should have been."""
    return list(range(1, pair.service.session().sequence + 1))


def test_missed_ack_asks_for_resume():
    """case 18: a heartbeat still without ACK at the next one closes with 4000, keeps session."""
    pair = paired(interval_ms=1_000)
    assert pair.peer is not None
    pair.peer.mute(Opcode.HEARTBEAT_ACK)
    pair.advance(2.1)
    assert Outcome(Action.RESUME, close_code=4000) == pair.proto.outcome
    assert pair.proto.state is State.READY
    assert len(pair.service.identifies) == 1


def test_a_cut_loses_nothing():
    """Dispatches during a cut are replayed once and in order, and RESUMED ends the replay."""
    pair = paired()
    for number in range(5):
        pair.service.dispatch("MESSAGE_CREATE", {"content": str(number)})
    pair.advance(0.1)
    assert pair.peer is not None
    pair.peer.cut()
    for number in range(5):
        pair.service.dispatch("MESSAGE_CREATE", {"content": str(number)})
    pair.advance(0.1)
    assert pair.proto.state is State.READY
    assert last_session(pair) == complete(pair)
    assert pair.client.of(Resumed) == [Resumed(replayed=5, duplicates=0)]


def test_an_overlapping_replay_is_dropped():
    """case 34: what a replay repeats is dropped and counted, never delivered twice."""
    pair = paired(replay_overlap=3)
    for _ in range(5):
        pair.service.dispatch("MESSAGE_CREATE", {})
    pair.advance(0.1)
    assert pair.peer is not None
    pair.peer.cut()
    pair.advance(0.1)
    assert last_session(pair) == complete(pair)
    assert pair.client.of(Resumed)[0].duplicates == 3


def test_a_half_open_connection_is_left():
    """case 18: a wire that swallows everything costs two intervals and the closing deadlines."""
    pair = paired(interval_ms=1_000)
    pair.frozen = True
    pair.service.dispatch("MESSAGE_CREATE", {})
    pair.advance(6.0)
    assert [close.abort for close in pair.client.closes] == [False, True]
    assert pair.proto.outcome is not None
    pair.frozen = False
    pair.advance(2.0)
    assert pair.proto.state is State.READY
    assert last_session(pair) == complete(pair)


def test_a_transport_that_never_ends_is_given_up():
    """case 18: even an abort that is not answered leads to the next attempt."""
    pair = paired(interval_ms=1_000)
    pair.frozen = pair.hangs = True
    pair.advance(8.0)
    pair.frozen = False
    pair.advance(2.0)
    assert pair.proto.state is State.READY
    assert len(pair.service.identifies) == 1


def test_a_killed_session_begins_anew():
    """case 7: op 9 false on RESUME; the new session has its own sequence from the start."""
    pair = paired()
    pair.service.dispatch("MESSAGE_CREATE", {})
    pair.advance(0.1)
    pair.service.kill_sessions()
    assert pair.peer is not None
    pair.peer.cut()
    pair.advance(10.0)
    assert pair.proto.state is State.READY
    assert len(pair.client.of(SessionEnded)) == 1
    assert last_session(pair) == complete(pair) == [1]


def test_a_resume_host_that_is_gone_is_avoided():
    """case 11: the session survives its host, over the main URL."""
    pair = paired()
    pair.refused_hosts.add(HOST)
    for _ in range(3):
        assert pair.peer is not None
        pair.peer.cut()
        pair.advance(5.0)
        assert pair.proto.state is State.READY
    assert len(pair.service.identifies) == 1
    assert len(pair.service.resumes) == 3


def test_a_silent_resume_host_is_avoided():
    """case 12: upgraded and silent counts as failed, until RESUME works elsewhere."""
    pair = paired()
    pair.service.instead_of(Moment.OPENED, lambda peer: None, times=2)
    assert pair.peer is not None
    pair.peer.cut()
    pair.advance(50.0)
    assert pair.proto.state is State.READY
    assert len(pair.service.identifies) == 1
    causes = [outcome.cause for outcome in pair.client.ends]
    assert causes.count(Cause.HELLO_TIMEOUT) == 2


def test_resume_refused_for_ever():
    """case 9: op 9 true to every RESUME ends in one new session, by its age and at no heat."""
    pair = paired()
    pair.service.instead_of(
        Moment.RESUME, lambda peer: peer.invalid_session(resumable=True), times=None
    )
    assert pair.peer is not None
    pair.peer.cut()
    pair.advance(290.0)
    assert len(pair.service.identifies) == 1
    pair.advance(40.0)
    assert pair.proto.state is State.READY
    assert 60 < len(pair.service.resumes) < 300  # 1 to 5 s between two
    assert len(pair.service.identifies) == 2


def test_identify_refused_by_rate_limit():
    """case 8: op 9 to IDENTIFY is waited out for the key's interval and not repeated early."""
    pair = Pair(identify_interval_s=5.0)
    pair.service.instead_of(Moment.IDENTIFY, lambda peer: peer.invalid_session(resumable=False))
    pair.advance(4.9)
    assert len(pair.service.identifies) == 1
    pair.advance(5.0)
    assert pair.proto.state is State.READY
    assert pair.service.identifies_refused == 0


def test_a_deploy_costs_no_identify():
    """case 31: op 7, then 1001, on one connection after another: only resumes."""
    pair = paired()
    for close in (1001, 1000, None, 4000) * 3:
        assert pair.peer is not None
        if close is None:
            pair.peer.reconnect()
        else:
            pair.peer.close(close)
        pair.service.dispatch("MESSAGE_CREATE", {})
        pair.advance(0.5)
        assert pair.proto.state is State.READY
    assert len(pair.service.identifies) == 1
    assert last_session(pair) == complete(pair)


def test_a_large_replay_over_a_bad_wire_completes():
    """case 5: a replay that is cut each time it gets a bit further still delivers everything."""

    def replay_some(peer: FakePeer) -> None:
        peer.replay()
        some = peer.messages_to_send(1_000)
        peer.messages_to_send()  # the rest is lost with the wire, but stays in the log
        for message in some:
            peer.send(message)

    pair = paired()
    pair.service.instead_of(Moment.RESUME, replay_some, times=10)
    assert pair.peer is not None
    pair.peer.cut()
    for _ in range(400):
        pair.service.dispatch("MESSAGE_CREATE", {})
    for _ in range(10):
        pair.advance(2.0)
        assert pair.proto.state is State.RESUMING
        pair.peer.cut()
    pair.advance(2.0)
    assert pair.proto.state is State.READY
    assert last_session(pair) == complete(pair)
    assert len(pair.service.identifies) == 1


@pytest.mark.parametrize("first_sequence", [0, 1, 5])
def test_any_first_sequence_will_do(first_sequence):
    """Some services count from 0: nothing is dropped and the session resumes."""
    pair = paired(first_sequence=first_sequence)
    pair.service.dispatch("MESSAGE_CREATE", {})
    pair.advance(0.1)
    assert pair.peer is not None
    pair.peer.cut()
    pair.advance(0.1)
    assert pair.proto.state is State.READY
    assert len(pair.service.identifies) == 1
    expected = list(range(first_sequence, pair.service.session().sequence + 1))
    assert last_session(pair) == expected
