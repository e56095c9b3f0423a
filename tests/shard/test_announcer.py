"""What is told of a shard when its connection ends: a log line, a StatusChange, a reason."""

import logging

import pytest

from fastgw.errors import ConnectFailed, ConnectionClosed
from fastgw.protocol.signals import Cause, Outcome, StateChanged
from fastgw.protocol.states import State
from fastgw.shard.announcer import Announcer
from fastgw.words import Action, Initiator

TOKEN = "a-token-as-long-as-real-ones"


class Thing:
    """A shard, and its host."""

    id = 7

    def __init__(self):
        self.changes = []

    def status_changed(self, change):
        self.changes.append(change)


def told_of(outcome, *, new=State.DISCONNECTED, stopped_by=None):
    """Tell of the end of a connection; return the change that the host heard of."""
    host = Thing()
    announcer = Announcer(host, host, token=TOKEN)
    change = StateChanged(State.IDENTIFYING, new, outcome.cause)
    announcer.changed(change, outcome, stopped_by=stopped_by)
    (told,) = host.changes
    assert announcer.reason is told.error or stopped_by is not None
    return told


def test_a_close_by_the_service_is_a_reason():
    """With its code and its words, as attributes and in the text."""
    error = told_of(
        Outcome(
            Action.RESUME,
            close_code=4000,
            reason="no room",
            initiator=Initiator.SERVICE,
            cause=Cause.CLOSED_BY_SERVICE,
        )
    ).error
    assert isinstance(error, ConnectionClosed)
    assert str(error) == "shard 7: closed by service: code 4000: no room"
    assert (error.close_code, error.reason) == (4000, "no room")
    assert (error.initiator, error.outcome) == (Initiator.SERVICE, Action.RESUME)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome(Action.RESUME, cause=Cause.CONNECTION_LOST), "shard 7: connection lost"),
        (
            Outcome(Action.RESUME, initiator=Initiator.SERVICE, cause=Cause.CLOSED_BY_SERVICE),
            "shard 7: closed by service: no code",
        ),
        (
            Outcome(
                Action.IDENTIFY,
                close_code=4000,
                reason="no READY",
                initiator=Initiator.CLIENT,
                cause=Cause.READY_TIMEOUT,
            ),
            "shard 7: ready timeout: no READY",
        ),
    ],
)
def test_every_other_end_has_its_reason(outcome, text):
    """The network's, and those that we began because something was missing."""
    assert str(told_of(outcome).error) == text


@pytest.mark.parametrize("cause", [Cause.STOPPED, Cause.RECONNECT_ASKED])
def test_an_end_that_was_asked_for_is_no_error(cause):
    """Nothing went wrong."""
    assert told_of(Outcome(Action.RESUME, cause=cause)).error is None


def test_what_broke_is_the_reason():
    """The error itself, not another around it."""
    error = ConnectFailed("refused")
    outcome = Outcome(Action.RESUME, cause=Cause.CONNECT_FAILED, error=error)
    assert told_of(outcome).error is error


def test_what_stops_a_shard_is_told_with_the_last_transition():
    """When the connection itself says nothing."""
    error = ConnectFailed("this certificate will not do")
    outcome = Outcome(Action.STOP, cause=Cause.STOPPED)
    assert told_of(outcome, new=State.STOPPED, stopped_by=error).error is error


def test_the_log_does_not_tell_the_token(caplog):
    """Whatever stands in an error's text."""
    caplog.set_level(logging.INFO, logger="fastgw")
    error = ConnectFailed(f"who is {TOKEN}?")
    told_of(Outcome(Action.RESUME, cause=Cause.CONNECT_FAILED, error=error))
    assert TOKEN not in caplog.text
    assert "who is <token>?" in caplog.text


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            Outcome(
                Action.RESUME, close_code=4000, reason="no room", initiator=Initiator.SERVICE,
                cause=Cause.CLOSED_BY_SERVICE,
            ),
            "(closed by service: code 4000: no room)",
        ),
        (
            Outcome(
                Action.RESUME, close_code=4000, reason="no HELLO", initiator=Initiator.CLIENT,
                cause=Cause.HELLO_TIMEOUT,
            ),
            "(hello timeout: no HELLO)",  # our own code says nothing
        ),
        (Outcome(Action.RESUME, cause=Cause.CONNECTION_LOST), "(connection lost)"),
        (
            Outcome(Action.RESUME, cause=Cause.CONNECT_FAILED, error=ConnectFailed("refused")),
            "(connect failed: refused)",
        ),
        (Outcome(Action.STOP, cause=Cause.STOPPED, reason="stopped"), "(stopped)"),
    ],
)  # fmt: skip
def test_the_log_says_why(caplog, outcome, words):
    """The cause, the service's code, and what was said; nothing twice."""
    caplog.set_level(logging.INFO, logger="fastgw")
    told_of(outcome)
    assert caplog.messages == [f"shard 7: identifying -> disconnected {words}"]


def test_the_outcome_of_an_older_connection_is_no_reason():
    """Only the end of a connection is told with one; the way up has none."""
    host = Thing()
    announcer = Announcer(host, host, token=TOKEN)
    assert announcer.reason is None
    older = Outcome(Action.RESUME, cause=Cause.CONNECTION_LOST)
    announcer.changed(
        StateChanged(State.DISCONNECTED, State.CONNECTING, None), older, stopped_by=None
    )
    assert (host.changes[0].error, announcer.reason) == (None, None)


def test_what_stops_a_shard_is_told_at_no_other_transition():
    """It is told when the shard is stopped."""
    error = ConnectFailed("this certificate will not do")
    host = Thing()
    Announcer(host, host, token=TOKEN).changed(
        StateChanged(State.READY, State.CLOSING, Cause.STOPPED), None, stopped_by=error
    )
    assert host.changes[0].error is None


def test_a_transition_is_logged_with_its_facts(caplog):
    """Whose, why, and the how many-th attempt since it was READY."""
    caplog.set_level(logging.INFO, logger="fastgw")
    host = Thing()
    announcer = Announcer(host, host, token=TOKEN)
    down, up = State.DISCONNECTED, State.CONNECTING
    for old, new, cause in (
        (State.READY, down, Cause.ZOMBIED), (down, up, None), (up, down, Cause.CONNECT_FAILED),
        (down, up, None), (up, State.READY, None), (State.READY, down, Cause.CONNECTION_LOST),
    ):  # fmt: skip
        announcer.changed(StateChanged(old, new, cause), None, stopped_by=None)
    facts = [(record.shard_id, record.cause, record.attempt) for record in caplog.records]
    assert facts == [
        (7, "zombied", None), (7, None, 1), (7, "connect failed", 1), (7, None, 2), (7, None, 2),
        (7, "connection lost", None),
    ]  # fmt: skip
