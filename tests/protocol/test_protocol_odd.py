"""Odd, unknown and malformed messages: ignored, or a typed error, never an exception."""

from __future__ import annotations

import pytest
from pairing import MAIN_URL, QUERY, Client

from fastgw.errors import DecodeError, ProtocolError
from fastgw.protocol.signals import Cause, Ready, SessionEnded
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.words import Action


@pytest.mark.parametrize("op", [Opcode.DISPATCH, 1, 9, 11, 5, 99])
def test_anything_else_before_hello_breaks_the_protocol(op):
    """The first message has to be HELLO (or op 7): a typed error stands in the outcome."""
    client = Client()
    client.connect()
    name = "READY" if op == Opcode.DISPATCH else None
    client.serve(op, {"session_id": "x"}, s=1 if name else None, t=name)
    outcome = client.obey()
    assert outcome.cause is Cause.PROTOCOL_ERROR
    assert isinstance(outcome.error, ProtocolError)
    assert "not HELLO" in str(outcome.error)


@pytest.mark.parametrize(
    "data", [None, [], 7, True, "x", {}, {"heartbeat_interval": None}, {"heartbeat_interval": 0},
             {"heartbeat_interval": -1}, {"heartbeat_interval": True}, {"heartbeat_interval": "1"},
             {"heartbeat_interval": 1e-305}, {"heartbeat_interval": 9.99},
             {"heartbeat_interval": 3_600_001}, {"heartbeat_interval": 1e300},
             {"heartbeat_interval": 2**63 - 1}]
)  # fmt: skip
def test_hello_without_an_interval_breaks_the_protocol(data):
    """case 44: whatever `d` is, it closes the connection and never raises."""
    client = Client()
    client.connect()
    client.serve(Opcode.HELLO, data)
    assert isinstance(client.obey().error, ProtocolError)


@pytest.mark.parametrize("data", [None, True, 7, "x", [], [1], {}, {"_trace": [1]}])
@pytest.mark.parametrize("op", [2, 3, 5, 6, 8, 10, 11, 12, 31, 42, 255])
def test_unknown_and_odd_messages_are_ignored(op, data):
    """cases 44, 45: odd opcodes with any `d` neither raise nor move anything."""
    client = Client().become_ready()
    client.serve(op, data)
    assert client.proto.state is State.READY
    assert client.closes == []


@pytest.mark.parametrize("data", [None, True, 7, "x", []])
@pytest.mark.parametrize(
    "name", ["PRESENCES_REPLACE", "RATE_LIMITED", "GUILD_MEMBERS_CHUNK", "NEW_THING", "RESUMED"]
)
def test_dispatches_with_any_data_are_passed(name, data):
    """cases 44, 45: arrays, numbers and null as `d`, and names never heard of."""
    client = Client().become_ready()
    client.serve(Opcode.DISPATCH, data, s=2, t=name)
    assert client.proto.state is State.READY
    assert client.proto.sequence.last == 2


@pytest.mark.parametrize("data", [None, 7, "false", {}, [], False])
def test_op_9_is_resumable_only_when_it_says_true(data):
    """case 44: anything but `true` means that the session is gone."""
    client = Client().become_ready()
    client.serve(Opcode.INVALID_SESSION, data)
    assert client.obey().action is Action.IDENTIFY


@pytest.mark.parametrize("data", [None, [], 7, {}, {"session_id": 7}, {"session_id": ""}])
def test_a_ready_without_session_is_a_broken_rule(data):
    """case 44: READY that names no session is closed with a typed error and asked for again."""
    client = Client()
    client.connect()
    client.hello()
    client.serve(Opcode.DISPATCH, data, s=1, t="READY")
    outcome = client.obey()
    assert outcome.action is Action.IDENTIFY
    assert isinstance(outcome.error, ProtocolError)


def test_a_ready_that_does_not_parse_is_a_broken_rule():
    """READY's data is decoded lazily: its DecodeError stands in the outcome."""
    client = Client()
    client.connect()
    client.hello()
    message = client.decoder.feed(b'{"t":"READY","s":1,"op":0,"d":{"session_id":nope}}', 1, True)
    client.proto.receive(message, client.now)
    client.pump()
    assert isinstance(client.obey().error, DecodeError)


def test_a_ready_nobody_asked_for_is_a_broken_rule():
    """READY of another session means that ours is not what we think: new session."""
    client = Client().become_ready()
    client.ready("other")
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.PROTOCOL_ERROR)]
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.IDENTIFY, Cause.PROTOCOL_ERROR)


@pytest.mark.parametrize("resuming", [False, True])
def test_a_ready_that_is_delivered_again_changes_nothing(resuming):
    """Dispatches may come N times: the session is the one we have, and goes on."""
    client = Client().become_ready()
    if resuming:
        client.end()
        client.start_resume()
    state, session = client.proto.state, client.proto.session
    client.ready("first")
    assert (client.proto.state, client.proto.session) == (state, session)
    assert client.of(SessionEnded) == client.closes == []
    assert len(client.of(Ready)) == 1


def test_a_ready_that_is_damaged_keeps_the_session_we_have():
    """What cannot be read says nothing about the session: RESUME asks the service."""
    client = Client().become_ready()
    client.dispatch("READY", {"session_id": None})
    assert client.obey().action is Action.RESUME


@pytest.mark.parametrize("session_id", ["x" * 4_000, "\x01" * 1_000, "\u00e9" * 3_000])
def test_a_session_id_that_resume_cannot_hold_breaks_the_protocol(session_id):
    """A RESUME over 4096 bytes could never be sent; it is told at READY, and briefly."""
    client = Client()
    client.connect()
    client.hello()
    client.ready(session_id)
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.IDENTIFY, Cause.PROTOCOL_ERROR)
    assert "session_id that RESUME cannot hold" in str(outcome.error)
    assert len(str(outcome.error)) < 400


@pytest.mark.parametrize("resume_url", ["wss://x.gg/" + "y" * 10_000, "wss://" + "a." * 5_000])
def test_a_resume_url_longer_than_any_server_takes_is_not_used(resume_url):
    """It gives way to the main URL, as any that cannot be connected to."""
    client = Client()
    client.connect()
    client.hello()
    client.ready(resume_url=resume_url)
    client.end()
    client.start_resume()
    assert client.url == MAIN_URL + QUERY


def test_a_huge_value_in_hello_is_quoted_briefly():
    """What arrives in an error becomes a log line of its size."""
    client = Client()
    client.connect()
    client.hello("x" * 500_000)
    assert len(str(client.obey().error)) < 400


def test_a_ready_before_identify_was_written_is_a_broken_rule():
    """Waiting for the turn, nobody has asked for a session yet."""
    client = Client()
    client.turns = False
    client.connect()
    client.hello()
    client.ready()
    assert client.obey().cause is Cause.PROTOCOL_ERROR
