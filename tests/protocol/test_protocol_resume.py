"""The session: how long it is kept, where it is resumed, and when it is given up."""

from __future__ import annotations

import pytest
from pairing import INTERVAL_S, MAIN_URL, QUERY, RESUME_URL, Client

from fastgw.errors import ConnectFailed, DecodeError, HandshakeRefused, UsageError
from fastgw.protocol.session import MAX_AGE_S, Session
from fastgw.protocol.signals import Cause, IdentifyWanted, Ready, Resumed, SessionEnded
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.words import Action, Initiator

# So soon that age has no part in it.
SOON = Timeouts(resumed_s=10.0)


def meet_silence(client):
    """Resume, on a connection that lives, and hear neither RESUMED nor anything else."""
    client.start_resume()
    assert client.advance_to(State.CLOSING) == SOON.resumed_s
    return client.obey().action


def test_resumed_comes_after_the_replay():
    """case 6: the shard is not READY, and says nothing, before RESUMED ends the replay."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    for _ in range(3):
        client.dispatch("MESSAGE_CREATE")
        assert client.proto.state is State.RESUMING
        assert client.of(Resumed) == []
    assert client.proto.sequence.replaying
    client.dispatch("RESUMED")
    assert len(client.of(Resumed)) == 1
    assert len(client.of(Ready)) == 1  # the first session's


def test_an_old_resumed_does_not_end_the_replay():
    """case 6: a replay that repeats an earlier RESUMED goes on, and goes on dropping duplicates."""
    client = Client().become_ready()
    client.end()
    client.resume()  # RESUMED has sequence 2
    client.dispatch("MESSAGE_CREATE")
    client.end()
    client.start_resume()
    client.dispatch("RESUMED", s=2)
    assert client.proto.state is State.RESUMING
    client.dispatch("MESSAGE_CREATE", s=3)
    client.dispatch("RESUMED", s=4)
    assert client.proto.state is State.READY
    assert client.of(Resumed)[-1] == Resumed(replayed=0, duplicates=2)


@pytest.mark.parametrize("sequence", [None, 0])
def test_a_resumed_without_a_sequence_of_its_own_is_ours(sequence):
    """Not every service numbers RESUMED; it is no event, so it counts neither as new nor twice."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE")
    client.end()
    client.start_resume()
    client.dispatch("MESSAGE_CREATE")
    client.serve(Opcode.DISPATCH, {}, s=sequence, t="RESUMED")
    assert client.proto.state is State.READY
    assert client.of(Resumed) == [Resumed(replayed=1, duplicates=0)]
    assert (client.proto.replayed, client.proto.duplicates) == (1, 0)


@pytest.mark.parametrize(("age_s", "resumes"), [(299.0, True), (300.0, False)])
def test_a_stored_session_has_its_age(age_s, resumes):
    """It ages while no process has it."""
    client = Client(session=Session("stored", 7, RESUME_URL), last_byte_at=1_000.0 - age_s)
    assert client.proto.plan(client.now).resume is resumes


def test_a_stored_session_that_resume_cannot_hold_is_refused():
    """It is told where it is passed, not at the first HELLO."""
    with pytest.raises(UsageError, match="over the limit"):
        Client(session=Session("x" * 4_000, 7, RESUME_URL))


def test_a_refused_resume_drops_everything_together():
    """case 7: op 9 false drops id, sequence and URL at once, then a new session on the main URL."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    client.serve(Opcode.INVALID_SESSION, False)
    assert client.proto.session is None
    assert client.proto.sequence.last is None
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.INVALID_SESSION)]
    outcome = client.obey()
    assert outcome.action is Action.IDENTIFY
    assert 1.0 <= outcome.delay_s <= 5.0
    client.become_ready("second")
    assert client.url == MAIN_URL + QUERY
    assert client.count(Opcode.RESUME) == 1


def test_a_resumable_op_9_waits_and_resumes():
    """Op 9 true keeps the session: wait 1 to 5 s, resume; the wait is drawn from the source."""
    client = Client().become_ready()
    for roll, delay_s in ((0.0, 1.0), (0.5, 3.0)):
        client.roll = roll
        client.serve(Opcode.INVALID_SESSION, True)
        outcome = client.obey()
        assert (outcome.action, outcome.delay_s) == (Action.RESUME, delay_s)
        client.resume()


@pytest.mark.parametrize("answer", ["op 9 true", "a broken rule", "a broken message"])
def test_what_does_not_refuse_a_session_ends_it_by_its_age_alone(answer):
    """case 9: Discord did not say that it is gone. What answers RESUME does not keep it young."""
    client = Client().become_ready()
    client.end()
    attempts = 0
    while client.proto.plan(client.now).resume:
        client.start_resume()
        if answer == "op 9 true":
            client.serve(Opcode.INVALID_SESSION, True)
            client.obey()
        elif answer == "a broken rule":
            client.serve(Opcode.DISPATCH, {}, s=None, t="READY")
            client.obey()
        else:  # of 65 MiB, or bad JSON: it would come again for ever
            client.end(4000, initiator=Initiator.CLIENT, error=DecodeError("bad JSON"))
        client.now += 10.0
        attempts += 1
    client.pump()
    assert attempts == 30
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.EXPIRED)]
    client.become_ready("second")


def test_silence_to_resume_ends_in_a_new_session():
    """case 9: no RESUMED in time, three times, on connections that live."""
    client = Client(timeouts=SOON).become_ready()
    client.end()
    actions = [meet_silence(client) for _ in range(3)]
    assert actions == [Action.RESUME, Action.RESUME, Action.IDENTIFY]
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.EXPIRED)]
    client.become_ready("second")


@pytest.mark.parametrize("close_code", [None, 1000, 1001, 1005, 1006, 4000, 4002, 4008, 4999])
def test_a_resume_that_met_a_lost_connection_is_no_answer(close_code):
    """case 9: cut, reset or closed with a code that keeps sessions: resume, until its age ends."""
    client = Client().become_ready()
    client.end()
    attempts = 0
    while client.proto.plan(client.now).resume:
        client.start_resume()
        client.end(close_code)
        client.now += 10.0
        attempts += 1
    client.pump()
    assert attempts == 30
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.EXPIRED)]


@pytest.mark.parametrize("leave", ["op 7", "zombied", "reset"])
def test_a_resume_that_ended_otherwise_is_no_answer(leave):
    """case 9: nor is op 7, or a connection that is dead: only the host is at fault."""
    client = Client().become_ready()
    client.end()
    for _ in range(6):
        client.connect()
        client.hello(1_000)
        if leave == "op 7":
            client.serve(Opcode.RECONNECT)
            assert client.obey().action is Action.RESUME
        elif leave == "zombied":
            client.acks = False
            client.advance_to(State.CLOSING)
            assert client.obey().action is Action.RESUME
        else:
            assert client.end(None, error=ConnectionResetError()).action is Action.RESUME


def test_silences_between_other_ends_are_three_all_the_same():
    """case 9: cuts and answers neither count nor forgive; silence stands until RESUMED."""
    client = Client(timeouts=SOON).become_ready()
    client.end()
    for _ in range(2):
        assert meet_silence(client) is Action.RESUME
        client.start_resume()
        assert client.end().action is Action.RESUME
        client.start_resume()
        client.serve(Opcode.INVALID_SESSION, True)
        assert client.obey().action is Action.RESUME
    assert meet_silence(client) is Action.IDENTIFY


def test_progress_of_a_replay_forgives_the_silence_before():
    """case 9: the service took the session; the silences to come are the first ones again."""
    client = Client(timeouts=SOON).become_ready()
    client.end()
    for _ in range(3):
        for _ in range(2):
            assert meet_silence(client) is Action.RESUME
        client.start_resume()
        client.dispatch("MESSAGE_CREATE")
        assert client.end().action is Action.RESUME
    assert client.of(SessionEnded) == []


def test_resumed_forgives_everything_and_nothing_less():
    """case 10: after it, three silences and two failures of the host are needed as before."""
    client = Client(timeouts=SOON).become_ready()
    client.end()
    meet_silence(client)
    client.resume()
    client.end()
    client.refuse()
    client.connect()
    assert client.url == RESUME_URL + QUERY
    client.end()
    for action in (Action.RESUME, Action.RESUME, Action.IDENTIFY):
        assert meet_silence(client) is action


def test_silences_are_forgotten_at_resumed_not_at_open():
    """case 10: neither upgrade nor HELLO clears the count of silent resumes; RESUMED does."""
    client = Client(timeouts=SOON).become_ready()
    for _ in range(4):
        client.end()
        for _ in range(2):
            meet_silence(client)
        client.resume()
    assert client.of(SessionEnded) == []


def test_outcome_says_how_long_it_had_been_ready():
    """case 10: the shard resets its backoff by ready_for_s, which an attempt that failed lacks."""
    client = Client()
    assert client.refuse().ready_for_s is None
    client.connect()
    assert client.end().ready_for_s is None
    client.become_ready()
    client.advance(12.5)
    client.serve(Opcode.RECONNECT)
    client.advance(1.0)
    assert client.obey().ready_for_s == 12.5


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed("refused"),
        HandshakeRefused("upgrade answered with 503", status=503),
        OSError(111, "Connection refused"),
    ],
)
def test_a_dead_resume_host_gives_way_to_the_main_url(error):
    """case 11: after two failures on the resume host RESUME goes to the main URL."""
    client = Client().become_ready()
    client.end()
    urls = []
    for _ in range(4):
        assert client.refuse(error).action is Action.RESUME
        urls.append(client.url)
    assert urls == [RESUME_URL + QUERY] * 2 + [MAIN_URL + QUERY] * 2
    client.start_resume()
    assert client.last(Opcode.RESUME)["session_id"] == "first"
    assert client.count(Opcode.IDENTIFY) == 1


def test_a_resume_host_without_hello_gives_way_too():
    """case 12: a host that upgrades and stays silent has failed as well."""
    client = Client().become_ready()
    client.end()
    urls = []
    for _ in range(3):
        client.connect()
        urls.append(client.url)
        client.advance_to(State.CLOSING)
        outcome = client.obey()
        assert (outcome.action, outcome.cause) == (Action.RESUME, Cause.HELLO_TIMEOUT)
    assert urls == [RESUME_URL + QUERY] * 2 + [MAIN_URL + QUERY]


def test_failures_of_the_main_url_are_not_the_resume_hosts():
    """case 11: however often main failed meanwhile, the resume host has failed twice."""
    client = Client().become_ready()
    client.end()
    for _ in range(5):
        client.refuse()
    client.resume()
    assert client.url == MAIN_URL + QUERY
    client.end()
    client.connect()
    assert client.url == RESUME_URL + QUERY


def test_failures_of_the_main_url_are_counted():
    """Whoever can ask for another URL sees how long the one we have has been of no use."""
    client = Client()
    counts = []
    for end in (client.refuse, client.connect, client.refuse):
        end()
        if end == client.connect:
            client.end(1001)
        counts.append(client.proto.main_failures)
    client.become_ready()
    counts.append(client.proto.main_failures)
    client.end()
    for _ in range(3):  # twice at the resume host, once at main
        client.refuse()
    counts.append(client.proto.main_failures)
    client.resume()
    counts.append(client.proto.main_failures)
    assert counts == [1, 2, 3, 0, 1, 0]


def test_a_verdict_on_an_identify_is_no_failure_of_the_main_url():
    """Op 9 comes from a host that works."""
    client = Client()
    client.connect()
    client.hello()
    client.serve(Opcode.INVALID_SESSION, False)
    client.obey()
    assert client.proto.main_failures == 0


def test_a_new_main_url_begins_without_failures():
    """It is used from the next attempt on."""
    client = Client()
    client.refuse()
    client.proto.url = "wss://new.example"
    assert client.proto.main_failures == 0
    client.connect()
    assert client.url == "wss://new.example" + QUERY


def test_a_host_that_was_avoided_gets_one_more_chance():
    """case 11: after RESUMED over the main URL one failure sends us there again."""
    client = Client().become_ready()
    client.end()
    client.refuse()
    client.refuse()
    client.resume()
    assert client.url == MAIN_URL + QUERY
    client.end()
    client.refuse()
    assert client.url == RESUME_URL + QUERY
    client.resume()
    assert client.url == MAIN_URL + QUERY


def test_the_resume_url_is_kept_over_many_resumes():
    """case 13: RESUMED carries no URL; the one of READY stays for the whole session."""
    client = Client().become_ready()
    for _ in range(5):
        client.end(1000)
        client.resume()
        assert client.url == RESUME_URL + QUERY


@pytest.mark.parametrize(
    "given",
    [
        RESUME_URL,
        RESUME_URL + "/",
        RESUME_URL + "/?v=6&encoding=etf",
        RESUME_URL + "?v=10&encoding=json&compress=zlib-stream",
    ],
)
def test_the_resume_url_gets_our_query_once(given):
    """case 14: version, encoding and compression are added again and never doubled."""
    client = Client()
    client.connect()
    client.hello()
    client.ready(resume_url=given)
    client.end()
    client.connect()
    assert client.url == RESUME_URL + QUERY


@pytest.mark.parametrize(
    "given", [None, "", 7, "gateway.discord.gg", "https://x.example", "ws://plain.example"]
)
def test_an_unusable_resume_url_gives_way_to_the_main_url(given):
    """No URL, no websocket, or plain text where the main URL is encrypted: resume on main."""
    client = Client()
    client.connect()
    client.hello()
    client.ready(resume_url=given)
    client.end()
    client.start_resume()
    assert client.url == MAIN_URL + QUERY


def test_network_down_is_no_fault_of_the_session():
    """case 27: attempts that never reach RESUME are repeated; only the session's age ends it."""
    client = Client().become_ready()
    client.end()
    for _ in range(29):
        assert client.refuse(OSError("name resolution failed")).action is Action.RESUME
        client.now += 10.0
    client.now += 10.0
    assert client.refuse().action is Action.IDENTIFY
    for _ in range(500):
        assert client.refuse().action is Action.IDENTIFY
        client.now += 60.0
    client.become_ready("second")


def test_a_session_ages_from_its_drop():
    """case 27: 300 s without connection and the plan says identify, whatever the attempts were."""
    client = Client().become_ready()
    client.end()
    client.now += 299.0
    assert client.proto.plan(client.now).resume
    client.now += 1.0
    plan = client.proto.plan(client.now)
    assert (plan.resume, plan.url) == (False, MAIN_URL + QUERY)
    client.pump()
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.EXPIRED)]


def test_a_session_ages_from_its_last_byte():
    """A connection that fell silent and was noticed late has aged meanwhile."""
    client = Client().become_ready()
    client.acks = False
    heard_at = client.now
    client.advance_to(State.CLOSING)
    client.obey()
    assert client.now - heard_at == 1.5 * INTERVAL_S
    client.now = heard_at + 299.0
    assert client.proto.plan(client.now).resume
    client.now = heard_at + 300.0
    assert not client.proto.plan(client.now).resume


def test_bytes_of_events_keep_a_session_young():
    """Events do not pass through the protocol; their bytes are seen at the tick."""
    client = Client().become_ready()
    for received in range(1, 400):
        client.now += 1.0
        client.proto.handle_timer(client.now, bytes_received=received)
        client.serve(Opcode.HEARTBEAT_ACK)
    client.proto.handle_timer(client.now, bytes_received=400)
    client.end()
    client.now += 299.0
    assert client.proto.plan(client.now).resume


def test_bytes_alone_keep_a_session_young():
    """No message of the protocol was among them."""
    client = Client().become_ready()
    client.now += 100.0
    client.proto.handle_timer(client.now, bytes_received=1)
    client.now += 10.0
    client.end()
    client.now += 289.0
    assert client.proto.plan(client.now).resume
    client.now += 1.0
    assert not client.proto.plan(client.now).resume


def test_a_new_session_has_no_age_and_no_failures():
    """What its predecessor had met is not its own."""
    client = Client(timeouts=SOON).become_ready()
    client.end()
    client.refuse()
    client.refuse()
    meet_silence(client)
    meet_silence(client)
    client.now += 300.0
    client.become_ready("second")
    client.end()
    assert client.refuse().action is Action.RESUME
    assert client.url == RESUME_URL + QUERY
    client.resume()
    client.end()
    for action in (Action.RESUME, Action.RESUME, Action.IDENTIFY):
        assert meet_silence(client) is action


def test_a_session_ages_from_its_last_drop():
    """Each RESUMED makes the session young again."""
    client = Client().become_ready()
    client.end()
    client.now += 200.0
    client.resume()
    client.now += 200.0
    client.end()
    assert client.proto.plan(client.now).resume


def test_a_verdict_on_the_session_is_no_fault_of_the_host():
    """Op 9 true shows a host that works: it is asked again, not avoided."""
    client = Client().become_ready()
    client.end()
    for _ in range(2):
        client.start_resume()
        client.serve(Opcode.INVALID_SESSION, True)
        client.obey()
    client.connect()
    assert client.url == RESUME_URL + QUERY


def test_sleep_is_no_fault_of_session_or_host():
    """case 26: a machine that sleeps through its resumes loses nothing by it."""
    client = Client().become_ready()
    client.end()
    for _ in range(5):
        client.start_resume()
        client.proto.handle_timer(client.now, wall=0.0)
        client.proto.handle_timer(client.now, wall=60.0)
        client.pump()
        assert client.end().action is Action.RESUME
        assert client.url == RESUME_URL + QUERY


def test_old_sequences_never_lower_the_stored_one():
    """case 34: redelivery is allowed, and the next heartbeat and RESUME are not set back by it."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE", s=10)
    client.dispatch("MESSAGE_CREATE", s=4)
    assert client.proto.sequence.last == 10
    client.end()
    client.start_resume()
    assert client.last(Opcode.RESUME)["seq"] == 10
    client.dispatch("MESSAGE_CREATE", s=4)
    assert client.proto.sequence.last == 10
    assert client.proto.sequence.duplicates == 1


def test_late_data_of_a_killed_session_stays_out_of_the_new_one():
    """case 35: what the old connection still delivers touches neither session nor sequence."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE", s=500)
    client.serve(Opcode.INVALID_SESSION, False)
    client.dispatch("MESSAGE_CREATE", s=501)
    client.dispatch("READY", {"session_id": "first", "resume_gateway_url": RESUME_URL}, s=502)
    assert client.proto.session is None
    client.obey()
    client.connect()
    client.hello(1_000)
    client.advance(1.0)
    assert client.last(Opcode.HEARTBEAT) is None
    client.ready("second")
    assert client.proto.session == Session("second", 1, RESUME_URL)


def test_a_connection_given_up_cannot_touch_the_next_session():
    """case 35: a transport that never ended delivers on; the new session starts clean anyway."""
    client = Client().become_ready()
    client.serve(Opcode.INVALID_SESSION, False)
    client.advance_to(State.DISCONNECTED)
    assert client.decoder is not None
    client.decoder.feed(b'{"t":"LATE","s":999,"op":0,"d":{}}', 1, True)
    client.turns = False
    client.connect()
    client.hello()
    client.advance(INTERVAL_S)
    assert client.last(Opcode.HEARTBEAT) is None


def test_a_new_session_starts_without_sequence():
    """case 36: the first heartbeat of a new session carries null, not the old session's number."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE", s=500)
    client.end(4009)
    client.turns = False
    client.connect()
    client.hello()
    client.advance(INTERVAL_S)
    assert client.last(Opcode.HEARTBEAT) is None


def test_a_lost_session_is_reported_so_that_waiting_commands_fail():
    """case 37: commands are held until READY or RESUMED; SessionEnded ends their wait."""
    client = Client().become_ready()
    client.end()
    assert client.of(SessionEnded) == []  # a drop alone loses nothing
    client.start_resume()
    client.serve(Opcode.INVALID_SESSION, False)
    assert [end[:2] for end in client.of(SessionEnded)] == [("first", Cause.INVALID_SESSION)]


def test_the_end_of_a_session_says_how_far_it_came():
    """Its sequence, and when its own connection was heard last, not one that tried to resume it."""
    client = Client().become_ready()
    client.dispatch("MESSAGE_CREATE")
    heard_at, last = client.now, client.proto.sequence.last
    client.end()
    client.advance(9.0)
    client.start_resume()
    client.serve(Opcode.INVALID_SESSION, False)
    assert [end[2:] for end in client.of(SessionEnded)] == [(last, heard_at)]


def test_a_session_that_ends_out_of_the_blue_was_heard_just_now():
    """Op 9 on a connection that is READY is its last byte."""
    client = Client().become_ready()
    client.advance(9.0)
    client.serve(Opcode.INVALID_SESSION, False)
    assert [end.last_byte_at for end in client.of(SessionEnded)] == [client.now]


def test_nothing_but_the_protocols_own_is_written_before_ready():
    """case 37: between HELLO and RESUMED there is RESUME, and heartbeats, and nothing else."""
    client = Client().become_ready()
    client.end()
    before = len(client.sent)
    client.start_resume()
    client.advance(3 * INTERVAL_S, stop=State.CLOSING)
    written = {command["op"] for command in client.sent[before:]}
    assert written == {Opcode.RESUME, Opcode.HEARTBEAT}


def test_the_replay_is_over_when_the_connection_is():
    """A replay cut short ends; the next one starts at the sequence reached."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    client.dispatch("MESSAGE_CREATE", s=2)
    client.dispatch("MESSAGE_CREATE", s=3)
    client.end()
    assert not client.proto.sequence.replaying
    client.start_resume()
    assert client.last(Opcode.RESUME)["seq"] == 3
    client.dispatch("MESSAGE_CREATE", s=3)
    assert client.proto.sequence.duplicates == 1


def test_a_replay_that_makes_progress_keeps_its_session():
    """A replay cut again and again, but further each time, is no refusal and does not age."""
    client = Client().become_ready()
    client.end()
    for _ in range(20):
        client.start_resume()
        client.dispatch("MESSAGE_CREATE")
        client.now += 100.0
        assert client.end().action is Action.RESUME
    client.resume()
    assert client.of(SessionEnded) == []


def test_a_replay_that_is_over_is_waited_for_no_more():
    """What it brought just before RESUMED, and a pause later on, begin no deadline of it."""
    client = Client().become_ready()
    client.end()
    client.start_resume()
    client.dispatch("MESSAGE_CREATE")
    client.dispatch("RESUMED")
    due = client.proto.timer_at()
    client.proto.handle_timer(client.now)
    client.proto.reading_paused()
    client.proto.handle_timer(client.now)
    assert client.proto.timer_at() == due
    client.proto.reading_resumed()
    client.advance(5 * INTERVAL_S)
    assert client.proto.state is State.READY


def test_a_session_that_goes_while_its_attempt_is_under_way_is_not_resumed():
    """It was found too old: an identify turn is asked for instead."""
    client = Client().become_ready()
    client.turns = False
    client.end()
    client.connect()
    client.proto.plan(client.now + MAX_AGE_S + 1.0)
    client.hello()
    assert client.count(Opcode.RESUME) == 0
    assert client.proto.state is State.IDENTIFYING
    assert isinstance(client.signals[-1], IdentifyWanted)


def test_a_session_without_sequence_cannot_be_resumed():
    """A service that numbers nothing gets a new IDENTIFY, not a RESUME without seq."""
    client = Client()
    client.connect()
    client.hello()
    client.serve(
        Opcode.DISPATCH, {"session_id": "first", "resume_gateway_url": RESUME_URL}, t="READY"
    )  # fmt: skip
    assert client.proto.state is State.READY
    assert client.end().action is Action.IDENTIFY
    client.connect()
    client.hello()
    assert (client.count(Opcode.IDENTIFY), client.count(Opcode.RESUME)) == (2, 0)


def test_an_error_of_our_decoder_resumes():
    """case 15: a broken stream cannot be read on: the transport closes and the session resumes."""
    client = Client().become_ready()
    error = DecodeError("bad zlib data")
    outcome = client.end(4000, initiator=Initiator.CLIENT, error=error)
    assert (outcome.action, outcome.cause) == (Action.RESUME, Cause.PROTOCOL_ERROR)
    assert outcome.error is error


def test_a_retry_after_of_the_upgrade_is_obeyed():
    """HTTP 429 with Retry-After on the upgrade stands in the outcome's delay."""
    client = Client()
    refusal = HandshakeRefused("upgrade answered with 429", status=429, retry_after_s=17.0)
    outcome = client.refuse(refusal)
    assert (outcome.delay_s, outcome.error, outcome.action) == (17.0, refusal, Action.IDENTIFY)


@pytest.mark.parametrize(
    "error",
    [
        HandshakeRefused("upgrade answered with 503", status=503),
        HandshakeRefused("upgrade answered with 429", status=429, retry_after_s=0.0),
        OSError(111, "Connection refused"),
    ],
)
def test_a_refusal_that_names_no_wait_asks_for_none(error):
    """How long to wait then is the shard's to say."""
    assert Client().refuse(error).delay_s == 0.0
