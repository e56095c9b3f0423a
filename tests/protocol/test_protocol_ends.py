"""How connections end: deadlines, closes from either side, broken rules, stop in every state."""

from __future__ import annotations

import pytest
from pairing import INTERVAL_S, TOKEN, Client, an_identity

from fastgw.errors import (
    AuthenticationFailed,
    DisallowedIntents,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    ShardingRequired,
    UsageError,
)
from fastgw.protocol.close_codes import CLOSE_RULES
from fastgw.protocol.signals import Cause, Ended, Outcome, SessionEnded
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.words import Action, Initiator, Intents

FATAL = {
    4004: AuthenticationFailed,
    4010: InvalidShard,
    4011: ShardingRequired,
    4012: InvalidApiVersion,
    4013: InvalidIntents,
    4014: DisallowedIntents,
}


# --- the way up is cut short ------------------------------------------------------------


@pytest.mark.parametrize("close_code", [None, 1000, 1001, 4000])
def test_an_end_before_hello_is_a_failed_attempt(close_code):
    """case 1: the attempt settles with one outcome; nothing is half open, the next may begin."""
    client = Client()
    client.connect()
    outcome = client.end(close_code)
    assert outcome.action is Action.IDENTIFY
    assert outcome.ready_for_s is None
    assert client.ends == [outcome]
    assert client.proto.timer_at() is None
    client.become_ready()


def test_a_close_as_the_very_first_frame_is_a_failed_attempt():
    """case 1: CLOSE may even arrive before `opened()` was called."""
    client = Client().become_ready()
    client.end()
    client.dial()
    assert client.end(1001).action is Action.RESUME
    assert client.proto.state is State.DISCONNECTED


def test_hello_has_its_own_deadline():
    """case 2: an upgrade without HELLO is closed after hello_s; no heartbeat could tell."""
    client = Client(timeouts=Timeouts(hello_s=7.0))
    client.connect()
    assert client.advance_to(State.CLOSING) == 7.0
    outcome = client.obey()
    assert outcome == Outcome(Action.IDENTIFY, close_code=4000)
    assert outcome.cause is Cause.HELLO_TIMEOUT


def test_the_deadline_of_hello_ends_with_hello():
    """case 2: once HELLO came the connection lives as long as it beats."""
    client = Client()
    client.turns = False
    client.connect()
    client.hello()
    client.advance(3_600)
    assert client.proto.state is State.IDENTIFYING


@pytest.mark.parametrize("had_session", [False, True])
def test_op_7_may_come_instead_of_hello(had_session):
    """case 3: it closes resumably, keeps the session, and counts as a failed attempt."""
    client = Client()
    if had_session:
        client.become_ready()
        client.end()
    client.connect()
    client.serve(Opcode.RECONNECT)
    assert client.closes[-1].close_code == 4000
    outcome = client.obey()
    assert outcome.action is (Action.RESUME if had_session else Action.IDENTIFY)
    assert (outcome.cause, outcome.error) == (Cause.RECONNECT_ASKED, None)  # no rule was broken
    assert outcome.ready_for_s is None
    assert (client.proto.session is not None) == had_session


def test_ready_is_waited_for_as_long_as_acks_flow():
    """case 4: IDENTIFY is not repeated early; after ready_s the session is asked for anew."""
    client = Client()
    client.connect()
    client.hello()
    client.advance(179.0)
    assert client.proto.state is State.IDENTIFYING
    assert client.count(Opcode.IDENTIFY) == 1
    client.advance_to(State.CLOSING)
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.IDENTIFY, Cause.READY_TIMEOUT)


def test_ready_is_not_waited_for_without_acks():
    """case 4: heartbeats watch over the wait for READY too."""
    client = Client()
    client.acks = False
    client.connect()
    client.hello()
    assert client.advance_to(State.CLOSING) == 1.5 * INTERVAL_S
    assert client.obey().cause is Cause.ZOMBIED


def test_the_wait_for_resumed_starts_anew_with_each_replayed_dispatch():
    """case 5: a replay of many minutes is waited for; silence of resumed_s is not."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    for _ in range(20):
        client.advance(55.0)
        client.dispatch("MESSAGE_CREATE")
        client.proto.handle_timer(client.now)
    assert client.proto.state is State.RESUMING
    assert client.advance_to(State.CLOSING) == 60.0
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.RESUME, Cause.RESUMED_TIMEOUT)


def test_a_replay_that_we_do_not_read_is_waited_for():
    """case 24: with reading paused by ourselves RESUMED cannot come; afterwards it has to."""
    client = Client().become_ready()
    client.end(None)
    client.start_resume()
    client.proto.reading_paused()
    client.advance(600.0)
    assert client.proto.state is State.RESUMING
    client.proto.reading_resumed()
    assert 0 < client.advance_to(State.CLOSING) <= 60.0
    assert client.obey().cause is Cause.RESUMED_TIMEOUT


def test_a_pause_after_the_replay_waits_for_nothing():
    """case 24: RESUMED has come; no deadline of it may begin anew."""
    client = Client().become_ready()
    client.end()
    client.resume()
    client.proto.reading_paused()
    client.advance(600.0)
    assert client.proto.state is State.READY


def test_a_ready_that_we_do_not_read_is_waited_for():
    """case 24: with reading paused by ourselves READY cannot come; afterwards it has to."""
    client = Client()
    client.connect()
    client.hello()
    client.proto.reading_paused()
    client.advance(600.0)
    assert client.proto.state is State.IDENTIFYING
    client.proto.reading_resumed()
    assert 0 < client.advance_to(State.CLOSING) <= 180.0
    assert client.obey().cause is Cause.READY_TIMEOUT
    assert client.count(Opcode.IDENTIFY) == 1


def test_a_pause_sets_no_deadline_before_identify_is_written():
    """The identify turn may take its time, whether we read or not."""
    client = Client()
    client.turns = False
    client.connect()
    client.hello()
    client.proto.reading_paused()
    client.advance(100.0)
    client.proto.reading_resumed()
    client.advance(600.0)
    assert client.proto.state is State.IDENTIFYING


def test_acks_alone_do_not_prolong_the_wait_for_resumed():
    """case 5: only replayed dispatches show that a replay is under way."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    assert client.advance_to(State.CLOSING) == 60.0


@pytest.mark.parametrize("resumable", [True, False])
def test_op_9_in_answer_to_identify_waits_for_the_key(resumable):
    """case 8: rate limited or an inner error, whatever `d` says: at least 5 s, then IDENTIFY."""
    client = Client()
    client.roll = 0.0
    client.connect()
    client.hello()
    client.serve(Opcode.INVALID_SESSION, resumable)
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.IDENTIFY, Cause.INVALID_SESSION)
    assert outcome.delay_s >= 5.0


@pytest.mark.parametrize(("roll", "delay_s"), [(0.0, 5.25), (0.5, 5.875)])
def test_the_key_is_waited_for_with_padding(roll, delay_s):
    """case 8: the interval is counted at Discord, so some is drawn on top of it."""
    client = Client()
    client.roll = roll
    client.connect()
    client.hello()
    client.serve(Opcode.INVALID_SESSION, False)
    assert client.obey().delay_s == delay_s


# --- closed by the service --------------------------------------------------------------


@pytest.mark.parametrize("close_code", sorted(CLOSE_RULES))
def test_every_close_code_does_what_the_table_says(close_code):
    """The outcome follows the one table, and the session goes exactly when it says so."""
    client = Client().become_ready()
    outcome = client.end(close_code)
    assert outcome.action is CLOSE_RULES[close_code].action
    assert outcome.close_code == close_code
    assert outcome.initiator is Initiator.SERVICE
    assert (client.proto.session is not None) == (outcome.action is Action.RESUME)
    stopped = outcome.action is Action.STOP
    assert client.proto.state is (State.STOPPED if stopped else State.DISCONNECTED)


@pytest.mark.parametrize(("close_code", "kind"), FATAL.items())
def test_a_fatal_close_stops_with_a_typed_error(close_code, kind):
    """case 29: the shard stops, the error is typed, and no further attempt is a move."""
    client = Client()
    client.connect()
    client.hello()
    outcome = client.end(close_code)
    assert type(outcome.error) is kind
    assert outcome.error.close_code == close_code
    assert client.proto.state is State.STOPPED
    with pytest.raises(UsageError, match="no move"):
        client.proto.connecting(client.proto.plan(client.now))


def test_a_refused_token_is_never_tried_again():
    """case 30: 4004 may mean a reset for abuse; the session goes too, the token stays unnamed."""
    client = Client().become_ready()
    outcome = client.end(4004)
    assert client.proto.state is State.STOPPED
    assert client.proto.session is None
    assert client.of(SessionEnded)
    assert TOKEN not in f"{outcome!r}{outcome.error}"


def test_disallowed_intents_are_named():
    """4014 names the privileged ones of those asked for."""

    identity = an_identity(intents=Intents.GUILDS | Intents.GUILD_MEMBERS | Intents.MESSAGE_CONTENT)
    client = Client(identity=identity)
    client.connect()
    client.hello()
    error = client.end(4014).error
    assert isinstance(error, DisallowedIntents)
    assert error.intents == Intents.GUILD_MEMBERS | Intents.MESSAGE_CONTENT
    assert "GUILD_MEMBERS, MESSAGE_CONTENT" in str(error)


@pytest.mark.parametrize("close_code", [1000, 1001])
def test_a_clean_close_by_the_service_is_not_the_end(close_code):
    """case 31: 1000 and 1001 from the service mean deploys; the session resumes."""
    client = Client().become_ready()
    assert client.end(close_code).action is Action.RESUME
    client.resume()


@pytest.mark.parametrize(
    ("close_code", "initiator"),
    [(None, Initiator.SERVICE), (1005, Initiator.SERVICE), (1006, Initiator.TRANSPORT),
     (None, Initiator.TRANSPORT)],
)  # fmt: skip
def test_an_end_without_code_resumes(close_code, initiator):
    """case 32: a CLOSE frame without code, or no CLOSE frame at all."""
    client = Client().become_ready()
    assert client.end(close_code, initiator=initiator).action is Action.RESUME
    client.resume()


def test_too_many_sends_wait_before_the_resume():
    """4008 keeps the session and asks for a wait."""
    client = Client().become_ready()
    client.roll = 0.0
    outcome = client.end(4008)
    assert (outcome.action, outcome.delay_s) == (Action.RESUME, 1.0)
    client.resume()
    client.roll = 0.75  # drawn anew, so that the shards of a fleet do not come back together
    assert client.end(4008).delay_s == 4.0


# --- closed by us -----------------------------------------------------------------------


def test_we_never_end_a_session_we_want_to_keep():
    """case 33: every close of ours but the final stop uses a resumable code."""
    client = Client(timeouts=Timeouts(hello_s=1.0)).become_ready()
    client.serve(Opcode.RECONNECT)
    client.obey()
    client.start_resume()
    client.serve(Opcode.INVALID_SESSION, True)
    client.obey()
    client.connect()
    client.advance_to(State.CLOSING)
    client.obey()
    client.resume()
    client.acks = False
    client.advance_to(State.CLOSING)
    client.obey()
    client.start_resume()
    client.proto.close(client.now, keep_session=True)
    client.pump()
    assert len(client.closes) == 5
    assert not {1000, 1001, 1005, 1006, 1015} & {close.close_code for close in client.closes}


def test_op_7_resumes_at_once():
    """Op 7 closes resumably without any wait."""
    client = Client().become_ready()
    client.serve(Opcode.RECONNECT)
    outcome = client.obey()
    assert outcome == Outcome(Action.RESUME, close_code=4000)
    assert outcome.delay_s == 0.0
    client.resume()


def test_a_connection_that_is_replaced_resumes():
    """Somebody wants another one: closed resumably, and nothing was wrong."""
    client = Client().become_ready()
    client.proto.replace(client.now)
    client.pump()
    assert client.closes[-1].close_code == 4000
    outcome = client.obey()
    assert (outcome.action, outcome.cause, outcome.error) == (Action.RESUME, Cause.REPLACED, None)


@pytest.mark.parametrize(
    "state", [State.DISCONNECTED, State.CONNECTING, State.CLOSING, State.STOPPED]
)
def test_there_may_be_nothing_to_replace(state):
    """While no connection is up there will be another one anyway, or none."""
    client = Client()
    reach(client, state)
    closes = len(client.closes)
    client.proto.replace(client.now)
    client.pump()
    assert client.proto.state is state
    assert len(client.closes) == closes


def test_a_graver_close_of_the_service_wins_while_we_close():
    """Two CLOSE frames cross: what the service said is not lost."""
    client = Client().become_ready()
    client.now += 7.0
    client.serve(Opcode.RECONNECT)
    outcome = client.end(4009)
    assert (outcome.action, outcome.ready_for_s) == (Action.IDENTIFY, 7.0)
    assert client.proto.session is None
    client.become_ready("second")
    client.serve(Opcode.RECONNECT)
    assert client.end(4004).action is Action.STOP


def test_nothing_is_written_once_we_close():
    """case 37: what was about to be written when op 7 came in the same read is not."""
    client = Client().become_ready()
    assert client.decoder is not None
    for raw in (b'{"op":1,"d":null}', b'{"op":7,"d":null}'):
        message = client.decoder.feed(raw, 1, True)
        client.proto.receive(message, client.now)
    client.pump()
    assert client.count(Opcode.HEARTBEAT) == 0


def test_a_resume_that_was_not_pulled_yet_goes_when_we_close():
    """case 37: HELLO and op 7 in one read: RESUME would be the first thing after our CLOSE."""
    client = Client().become_ready()
    client.end()
    client.connect()
    for raw in (b'{"op":10,"d":{"heartbeat_interval":40000}}', b'{"op":7,"d":null}'):
        client.proto.receive(client.decoder.feed(raw, 1, True), client.now)
    assert client.proto.commands_to_send() == []
    client.pump()
    client.obey()
    assert client.proto.commands_to_send() == []


def test_a_resume_that_was_not_pulled_yet_goes_with_its_connection():
    """case 37: the next connection would begin with it, before HELLO."""
    client = Client().become_ready()
    client.end()
    client.connect()
    hello = client.decoder.feed(b'{"op":10,"d":{"heartbeat_interval":40000}}', 1, True)
    client.proto.receive(hello, client.now)
    client.proto.connection_ended(client.now, close_code=None, initiator=Initiator.TRANSPORT)
    client.connect()
    assert client.sent[-1]["op"] != Opcode.RESUME


def test_a_stop_while_we_close_for_an_error_is_a_clean_stop():
    """case 48: what had begun to go wrong is no reason any more."""
    client = Client()
    client.connect()
    client.serve(Opcode.HEARTBEAT_ACK)  # a broken rule: HELLO comes first
    client.proto.close(client.now, keep_session=False)
    outcome = client.obey()
    assert (outcome.action, outcome.cause) == (Action.STOP, Cause.STOPPED)
    assert outcome.error is None


def test_a_lost_session_is_noticed_while_we_close():
    """Op 9 false after our CLOSE still drops the session: a RESUME would be in vain."""
    client = Client().become_ready()
    client.serve(Opcode.RECONNECT)
    client.serve(Opcode.INVALID_SESSION, False)
    assert client.obey().action is Action.IDENTIFY
    assert client.proto.session is None


@pytest.mark.parametrize(
    ("op", "data"),
    [(Opcode.INVALID_SESSION, True), (Opcode.HEARTBEAT_ACK, None), (Opcode.HELLO, {})],
)
def test_whatever_else_comes_while_we_close_loses_no_session(op, data):
    """What was on its way when we closed says nothing about it."""
    client = Client().become_ready()
    client.serve(Opcode.RECONNECT)
    client.serve(op, data)
    assert client.obey().action is Action.RESUME
    assert client.proto.session is not None


def test_silence_after_our_close_is_not_waited_out():
    """case 18: close_s, then an abort, then tls_shutdown_s, then it is over without an answer."""
    client = Client(timeouts=Timeouts(close_s=2.0, tls_shutdown_s=0.5)).become_ready()
    client.serve(Opcode.RECONNECT)
    assert client.advance_to(State.DISCONNECTED) == 2.5
    assert [close.abort for close in client.closes] == [False, True]
    assert client.ends == [Outcome(Action.RESUME, close_code=4000)]


# --- stop -------------------------------------------------------------------------------


def reach(client: Client, state: State) -> None:
    """Bring a fresh client to a state by the ordinary way."""
    if state is State.CONNECTING:
        client.dial()
    elif state is State.AWAITING_HELLO:
        client.connect()
    elif state is State.IDENTIFYING:
        client.connect()
        client.hello()
    elif state is not State.DISCONNECTED:
        client.become_ready()
        if state is State.RESUMING:
            client.end()
            client.start_resume()
        elif state is State.CLOSING:
            client.serve(Opcode.RECONNECT)
        elif state is State.STOPPED:
            client.end(4004)


@pytest.mark.parametrize("keep_session", [True, False])
@pytest.mark.parametrize("state", State)
def test_stop_wins_in_every_state(state, keep_session):
    """case 48: after close() no state but CLOSING and STOPPED is seen, and nothing is written."""
    client = Client()
    reach(client, state)
    assert client.proto.state is state
    written, ended = len(client.sent), len(client.of(Ended))
    client.proto.close(client.now, keep_session=keep_session)
    client.proto.close(client.now, keep_session=keep_session)
    client.pump()
    assert client.proto.state in (State.CLOSING, State.STOPPED)
    if client.proto.state is State.CLOSING:
        client.hello()
        client.serve(Opcode.HEARTBEAT)
        client.obey()
    assert client.proto.state is State.STOPPED
    assert len(client.sent) == written
    assert len(client.of(Ended)) == ended + (state is not State.STOPPED)
    assert client.proto.timer_at() is None
    with pytest.raises(UsageError, match="no move"):
        client.proto.connecting(client.proto.plan(client.now))


def test_a_stop_while_connecting_cancels_the_attempt():
    """case 48: CloseWanted with abort tells the shard to cancel; a late open is no move."""
    client = Client()
    client.dial()
    client.proto.close(client.now, keep_session=True)
    client.pump()
    assert [close.abort for close in client.closes] == [True]
    with pytest.raises(UsageError, match="no move"):
        client.proto.opened(client.now)


@pytest.mark.parametrize(("keep_session", "close_code"), [(True, 4000), (False, 1000)])
def test_a_stop_keeps_the_session_when_asked_to(keep_session, close_code):
    """case 33: a durable store means a resumable close; otherwise 1000 ends the session."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE")
    client.proto.close(client.now, keep_session=keep_session)
    client.pump()
    assert client.closes[-1].close_code == close_code
    client.dispatch("MESSAGE_CREATE")  # on its way when we closed; delivered, so it counts
    outcome = client.obey()
    assert outcome == Outcome(Action.STOP, close_code=close_code)
    assert (outcome.cause, outcome.error) == (Cause.STOPPED, None)
    session = client.proto.session
    assert session is None if not keep_session else session is not None and session.sequence == 3


def test_a_stop_does_not_keep_a_session_that_went_meanwhile():
    """Op 9 false after our CLOSE: the store must not get a session that is dead."""
    client = Client().become_ready()
    client.proto.close(client.now, keep_session=True)
    client.serve(Opcode.INVALID_SESSION, False)
    assert client.obey().action is Action.STOP
    assert client.proto.session is None


def test_a_stop_that_nobody_answers_ends():
    """case 48: the closing deadlines hold for a stop too."""
    client = Client().become_ready()
    client.proto.close(client.now, keep_session=False)
    client.pump()
    client.advance_to(State.STOPPED)
    assert [(close.abort, close.close_code) for close in client.closes] == [
        (False, 1000), (True, 1000)
    ]  # fmt: skip


# --- the token ------------------------------------------------------------------------------------


def test_a_token_that_comes_back_as_a_reason_is_cut_out():
    """What the service says may hold the token, also the short one of a test."""
    client = Client(identity=an_identity(token="token")).become_ready()
    client.proto.connection_ended(
        client.now, close_code=4000, reason="bad token: tokens", initiator=Initiator.SERVICE
    )
    client.pump()
    assert client.outcome.reason == "bad <token>: tokens"


def test_an_example_token_leaves_our_own_advice_readable():
    """The example "token" is a word of the sentence, and stays there."""
    client = Client(identity=an_identity(token="token")).become_ready()
    assert "the token was refused; copy a fresh bot token" in str(client.end(4004).error)
