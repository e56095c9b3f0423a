"""The ordinary life of a connection: up, working, and what is said to whom."""

from __future__ import annotations

import itertools

import pytest
from pairing import INTERVAL_S, MAIN_URL, QUERY, RESUME_URL, TOKEN, Client, an_identity

from fastgw._decode import Message, Sequence
from fastgw.errors import UsageError
from fastgw.protocol.machine import GatewayProtocol
from fastgw.protocol.session import Session
from fastgw.protocol.signals import Cause, IdentifyWanted, Ready, Resumed, StateChanged
from fastgw.protocol.states import TRANSITIONS, State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.words import Action, Initiator


def test_a_new_session_goes_up_by_identify():
    """Without a session the way is HELLO, IDENTIFY, READY, on the main URL."""
    client = Client()
    client.become_ready()
    assert client.url == MAIN_URL + QUERY
    assert client.path == [
        State.CONNECTING, State.AWAITING_HELLO, State.IDENTIFYING, State.READY
    ]  # fmt: skip
    assert [command["op"] for command in client.sent] == [Opcode.IDENTIFY]
    assert client.of(Ready)[0].data["session_id"] == "first"
    assert client.proto.ready_at == client.now
    assert client.proto.session == Session("first", 1, RESUME_URL, 0, 1)


@pytest.mark.parametrize("url", ["https://gateway.discord.gg", "", "wss://a..b"])
def test_a_main_url_that_cannot_work_is_refused(url):
    """When it is given, and when it is replaced; not at the first attempt."""
    with pytest.raises(UsageError, match="not a websocket URL"):
        Client(url=url)
    client = Client()
    with pytest.raises(UsageError, match="not a websocket URL"):
        client.proto.url = url
    assert client.proto.url == MAIN_URL


def test_an_attempt_that_is_not_open_yet_needs_no_timer():
    """Its deadline is the transport's."""
    client = Client()
    client.dial()
    assert client.proto.timer_at() is None


def test_identify_waits_for_a_turn():
    """IDENTIFY is written when the shard grants the turn and not before, and only once."""
    client = Client()
    client.turns = False
    client.connect()
    client.hello()
    client.advance(300)
    assert len(client.of(IdentifyWanted)) == 1
    assert client.count(Opcode.IDENTIFY) == 0
    assert client.proto.state is State.IDENTIFYING
    client.proto.identify(client.now)
    with pytest.raises(UsageError, match="no identify is wanted"):
        client.proto.identify(client.now)
    client.pump()
    assert client.count(Opcode.IDENTIFY) == 1


def test_identify_says_who_we_are():
    """Every option of the identity, and fields yet to come, stand in IDENTIFY."""
    identity = an_identity(
        shard_id=3, shard_count=8, presence={"status": "dnd"}, large_threshold=250,
        capabilities=1 << 15, compress_payload=True, identify_extra={"new_field": [1]},
        properties={"os": "linux", "browser": "x", "device": "y"},
    )  # fmt: skip
    client = Client(identity=identity)
    client.connect()
    client.hello()
    assert client.last(Opcode.IDENTIFY) == {
        "token": TOKEN, "intents": int(identity.intents), "shard": [3, 8],
        "presence": {"status": "dnd"}, "large_threshold": 250, "capabilities": 1 << 15,
        "compress": True, "new_field": [1],
        "properties": {"os": "linux", "browser": "x", "device": "y"},
    }  # fmt: skip


def test_a_dropped_session_goes_up_by_resume():
    """With a session the way is HELLO, RESUME, RESUMED, on the resume URL."""
    client = Client().become_ready()
    for _ in range(5):
        client.dispatch("MESSAGE_CREATE")
    outcome = client.end()
    assert (outcome.action, outcome.cause) == (Action.RESUME, Cause.CONNECTION_LOST)
    client.start_resume()
    assert client.url == RESUME_URL + QUERY
    assert client.last(Opcode.RESUME) == {"token": TOKEN, "session_id": "first", "seq": 6}
    client.dispatch("RESUMED")
    assert client.proto.state is State.READY
    assert client.count(Opcode.IDENTIFY) == 1
    assert client.path[-4:] == [
        State.CONNECTING, State.AWAITING_HELLO, State.RESUMING, State.READY
    ]  # fmt: skip


def test_resumed_counts_what_was_replayed():
    """The Resumed signal says how much came again and how much of it we had."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE")
    client.end()
    client.start_resume()
    for sequence in (2, 3, 4):
        client.dispatch("MESSAGE_CREATE", s=sequence)
    client.dispatch("RESUMED")
    assert client.of(Resumed) == [Resumed(replayed=2, duplicates=1)]  # RESUMED not counted
    assert not client.proto.sequence.replaying


def test_resumed_with_an_old_sequence_is_not_a_duplicate():
    """Some services do not number RESUMED anew: it ends the replay and counts as nothing."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    client.dispatch("RESUMED", s=1)
    assert client.of(Resumed) == [Resumed(replayed=0, duplicates=0)]


def test_a_stored_session_is_resumed_at_once():
    """A session from the store resumes with its id, sequence and URL."""
    client = Client(session=Session("stored", 77, RESUME_URL))
    client.start_resume()
    assert client.last(Opcode.RESUME)["seq"] == 77
    assert client.url == RESUME_URL + QUERY


def test_a_session_of_another_shard_is_refused():
    """case 42: stored data is only good for the same id and count."""
    with pytest.raises(UsageError, match="shard 0 of 2"):
        Client(session=Session("stored", 77, RESUME_URL, 0, 2))


def test_hello_before_open_returns_counts_as_opened():
    """HELLO in the same read as the upgrade reaches the protocol before `opened()` does."""
    client = Client()
    client.dial()
    client.hello()
    assert client.proto.state is State.IDENTIFYING
    client.proto.opened(client.now)
    assert client.proto.state is State.IDENTIFYING


def test_generation_moves_with_every_connection():
    """case 19: a callback that remembers an ended connection's generation can be told as stale."""
    client = Client().become_ready()
    first = client.proto.generation
    client.end()
    between = client.proto.generation
    client.connect()
    assert len({first, between, client.proto.generation}) == 3


def test_a_stale_callback_raises_instead_of_moving():
    """case 19: messages and ends without a connection are the caller's mistake, not a move."""
    client = Client().become_ready()
    client.end()
    with pytest.raises(UsageError, match="old connection"):
        client.proto.receive(Message(Opcode.HEARTBEAT_ACK), client.now)
    with pytest.raises(UsageError, match="no connection to end"):
        client.proto.connection_ended(client.now, close_code=None, initiator=Initiator.TRANSPORT)
    with pytest.raises(UsageError, match="being opened"):
        client.proto.connect_failed(client.now, OSError())
    with pytest.raises(UsageError, match="no identify"):
        client.proto.identify(client.now)


def test_a_second_connection_is_no_move():
    """case 20: while one connection is under way or alive, no second one can begin."""
    client = Client()
    plan = client.proto.plan(client.now)
    client.proto.connecting(plan)
    with pytest.raises(UsageError, match="is no move from 'connecting'"):
        client.proto.connecting(plan)


def test_two_causes_make_one_end():
    """case 20: a zombie timer and a close event together give one Ended and one way back."""
    client = Client().become_ready()
    client.acks = False
    client.advance_to(State.CLOSING)
    client.serve(Opcode.RECONNECT)
    client.serve(Opcode.INVALID_SESSION, True)
    client.end(1006)
    assert len(client.ends) == 1
    assert client.proto.state is State.DISCONNECTED


def test_status_is_ready_only_while_it_is():
    """case 47: state, ready_at and heartbeat follow the connection down at once."""
    client = Client().become_ready()
    client.advance(2 * INTERVAL_S)
    assert client.proto.heartbeat.latency is not None
    client.serve(Opcode.RECONNECT)
    assert client.proto.state is State.CLOSING
    assert client.proto.ready_at is None
    client.obey()
    assert client.proto.heartbeat is None
    client.connect()
    assert client.proto.heartbeat is None
    assert client.proto.state is not State.READY


def test_every_transition_is_reported_with_its_cause():
    """StateChanged signals are a chain from the first state, with a cause on the way down."""
    client = Client().become_ready()
    client.serve(Opcode.RECONNECT)
    client.obey()
    client.resume()
    changes = client.of(StateChanged)
    assert changes[0].old is State.DISCONNECTED
    assert all(a.new is b.old for a, b in itertools.pairwise(changes))
    for change in changes:
        down = change.new in (State.CLOSING, State.DISCONNECTED, State.STOPPED)
        assert (change.cause is not None) == down


def test_the_table_reaches_every_state_and_stops_for_good():
    """Every state can be reached, every one but STOPPED can be left, and STOPPED is final."""
    reached = {State.DISCONNECTED} | set(TRANSITIONS.values())
    left = {state for state, _ in TRANSITIONS}
    assert reached == set(State)
    assert left == set(State) - {State.STOPPED}


def test_a_new_main_url_is_used_from_the_next_attempt():
    """`GET /gateway/bot` may give another URL after failures."""
    client = Client()
    client.refuse()
    client.proto.url = "wss://other.example/"
    client.connect()
    assert client.url == "wss://other.example" + QUERY
    with pytest.raises(UsageError, match="not a websocket URL"):
        client.proto.url = "https://gateway.discord.gg"


def test_before_the_first_connection_there_is_nothing_to_tell():
    """No outcome, no session, no heart, nothing due."""
    proto = Client().proto
    assert (proto.outcome, proto.session, proto.session_sequence) == (None, None, None)
    assert (proto.heartbeat, proto.ready_at, proto.timer_at()) == (None, None, None)
    assert (proto.replayed, proto.duplicates, proto.main_failures) == (0, 0, 0)


def test_the_sequence_of_the_session_goes_with_it():
    """What came for a session that is gone is nobody's."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE", s=7)
    assert client.proto.session_sequence == 7
    client.serve(Opcode.INVALID_SESSION, False)
    client.dispatch("MESSAGE_CREATE", s=8)
    assert client.proto.session_sequence is None


def test_another_compression_is_asked_for_from_the_next_attempt():
    """On both hosts."""
    client = Client().become_ready()
    client.proto.compress = None
    assert client.proto.compress is None
    client.end()
    client.refuse()
    urls = [client.url]
    for _ in range(2):
        client.refuse()
        urls.append(client.url)
    assert urls == [f"{url}/?v=10&encoding=json" for url in (RESUME_URL, RESUME_URL, MAIN_URL)]


def test_an_old_plan_is_refused():
    """A plan to resume does not outlive its session."""
    client = Client(session=Session("stored", 1, RESUME_URL))
    plan = client.proto.plan(client.now)
    client.connect()
    client.hello()
    client.serve(Opcode.INVALID_SESSION, False)
    client.obey()
    with pytest.raises(UsageError, match="out of date"):
        client.proto.connecting(plan)


def test_the_sequence_may_be_shared_from_outside():
    """The decoder's sequence object can be made first and given to the protocol."""
    sequence = Sequence(5)
    proto = GatewayProtocol(
        an_identity(), url=MAIN_URL, sequence=sequence, random=lambda: 0.0
    )  # fmt: skip
    assert proto.sequence is sequence


def test_the_token_shows_in_no_repr():
    """Neither the machine nor its parts name the token."""
    client = Client(identity=an_identity(token=f"Bot {TOKEN}"))
    client.become_ready()
    shown = [client.proto, client.proto.identity, client.proto.session, client.signals]
    assert all(TOKEN not in repr(thing) + str(thing) for thing in shown)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_timeouts_are_positive_seconds(value):
    """A deadline of nothing or never is refused when it is made."""
    with pytest.raises(UsageError, match="hello_s"):
        Timeouts(hello_s=value)
