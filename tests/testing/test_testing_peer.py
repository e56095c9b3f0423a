"""`fastgw.testing`: `FakePeer` and `FakeService`, the server half without IO."""

from __future__ import annotations

import inspect
from typing import Any

import orjson
import pytest

from fastgw.errors import UsageError
from fastgw.protocol.wire import Opcode
from fastgw.testing import Cut, FakePeer, FakeService, Moment, Traffic
from fastgw.testing.service.service import ServiceOptions
from fastgw.words import Intents

ALL = int(Intents.all())


def identify(peer: FakePeer, now: float = 0.0, **fields: Any) -> None:
    """Send IDENTIFY; a field given as None is left out."""
    data = {"token": "t", "intents": ALL, "properties": {}, "shard": [0, 1], **fields}
    data = {key: value for key, value in data.items() if value is not None}
    peer.receive(orjson.dumps({"op": 2, "d": data}), now)


def resume(peer: FakePeer, session_id: str, sequence: Any, now: float = 0.0) -> None:
    """Send RESUME."""
    data = {"token": "t", "session_id": session_id, "seq": sequence}
    peer.receive(orjson.dumps({"op": 6, "d": data}), now)


def sent(peer: FakePeer) -> list[dict[str, Any]]:
    """Take and decode what the peer sends."""
    return [orjson.loads(message) for message in peer.messages_to_send()]


def brief(peer: FakePeer) -> list[tuple[int, str | None, int | None]]:
    """Take what the peer sends as (op, name, sequence)."""
    return [(m["op"], m["t"], m["s"]) for m in sent(peer)]


def ready(service: FakeService | None = None, now: float = 0.0, **fields: Any) -> FakePeer:
    """Return a peer whose client is ready, nothing waiting."""
    peer = (service or FakeService()).connect(now)
    identify(peer, now, **fields)
    assert peer.session is not None
    peer.messages_to_send()
    return peer


def come_back(service: FakeService, peer: FakePeer, sequence: Any) -> FakePeer:
    """Lose the connection, and resume its session on another one."""
    session_id = peer.session.session_id
    peer.closed(None, 1.0)
    again = service.connect(2.0)
    resume(again, session_id, sequence, 2.0)
    return again


def test_hello_comes_first_with_the_interval():
    """HELLO waits as soon as the connection is open, in the envelope of the wire."""
    peer = FakeService(heartbeat_interval_ms=1_234).connect()
    (message,) = peer.messages_to_send()
    assert message.startswith(b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":1234')


def test_identify_makes_a_session_and_ready_is_sequence_one():
    """READY names session, resume URL and shard, and is the first dispatch."""
    peer = FakeService(resume_url="wss://resume.invalid").connect()
    identify(peer, shard=[3, 16])
    hello, answer = sent(peer)
    assert hello["op"] == Opcode.HELLO
    assert (answer["t"], answer["s"], answer["op"]) == ("READY", 1, 0)
    assert answer["d"]["shard"] == [3, 16]
    assert answer["d"]["resume_gateway_url"] == "wss://resume.invalid"
    assert answer["d"]["session_id"] == peer.session.session_id
    assert answer["d"]["v"] == 10


def test_guilds_of_the_shard_follow_ready():
    """READY lists the shard's guilds as unavailable; each then comes whole."""
    traffic = Traffic(1, guilds=8)
    service = FakeService(guilds=traffic.startup())
    mine = [guild for guild in traffic.guild_ids if (guild >> 22) % 2 == 1]
    peer = service.connect(0.0)
    identify(peer, shard=[1, 2])
    _hello, answer, *guilds = sent(peer)
    assert answer["d"]["guilds"] == [{"unavailable": True, "id": str(guild)} for guild in mine]
    assert [int(guild["d"]["id"]) for guild in guilds] == mine
    assert [guild["s"] for guild in guilds] == list(range(2, 2 + len(mine)))


def test_first_sequence_may_be_zero():
    """Some servers count from 0."""
    peer = FakeService(first_sequence=0).connect()
    identify(peer)
    assert brief(peer)[-1] == (0, "READY", 0)


def test_heartbeats_are_acknowledged_also_before_identify():
    """Op 1 gets op 11, at any time; the sequence it carried is kept."""
    peer = FakeService().connect()
    peer.messages_to_send()
    peer.receive(b'{"op":1,"d":null}', 1.0)
    peer.receive('{"op":1,"d":41}', 2.0)
    assert peer.messages_to_send() == [b'{"t":null,"s":null,"op":11,"d":null}'] * 2
    assert (peer.heartbeats, peer.last_heartbeat) == (2, 41)


def test_missing_heartbeats_time_out():
    """With patience set, a silent client is closed with 4009 and its session is gone."""
    service = FakeService(heartbeat_interval_ms=1_000, heartbeat_patience=2.5)
    peer = ready(service)
    peer.receive(b'{"op":1,"d":1}', 1.0)
    assert peer.timer_at() == 3.5
    peer.timer(3.4)
    assert not peer.is_closed
    peer.timer(3.5)
    peer.messages_to_send()
    assert peer.close_to_send() == (4009, "Session timed out.")
    assert service.sessions == {}
    assert peer.timer_at() is None


@pytest.mark.parametrize(
    ("command", "close_code"),
    [
        (b"not json", 4002),
        (b"[1]", 4002),
        (b'{"op":"1"}', 4002),
        (b'{"op":true}', 4002),
        (b'{"d":1}', 4002),
        (b'{"op":1,"d":"' + b"x" * 4096 + b'"}', 4002),
        (b'{"op":99,"d":null}', 4001),
        (b'{"op":0,"d":null}', 4001),
        (b'{"op":3,"d":{}}', 4003),
        (b'{"op":2,"d":7}', 4002),
        (b'{"op":6,"d":{"session_id":"x","seq":1}}', 4002),
    ],
)
def test_bad_commands_close(command, close_code):
    """What cannot be decoded, is unknown, or comes before IDENTIFY closes with its code."""
    peer = FakeService().connect()
    peer.messages_to_send()
    peer.receive(command, 0.0)
    assert peer.close_to_send()[0] == close_code
    assert peer.is_closed


@pytest.mark.parametrize(
    ("fields", "close_code"),
    [
        ({"token": "wrong"}, 4004),
        ({"intents": None}, 4002),
        ({"intents": "1"}, 4002),
        ({"properties": None}, 4002),
        ({"shard": [1, 1]}, 4010),
        ({"shard": [0, 3]}, 4010),
        ({"shard": [0, 0]}, 4010),
        ({"shard": ["0", 1]}, 4010),
        ({"shard": 5}, 4010),
        ({"intents": 1 << 17}, 4013),
        ({"intents": -1}, 4013),
        ({"intents": int(Intents.MESSAGE_CONTENT)}, 4014),
    ],
)
def test_identify_is_checked(fields, close_code):
    """Each part of IDENTIFY has the close code of the documentation; no session is made."""
    service = FakeService(
        token="t",
        shard_counts=(1, 2),
        allowed_intents=Intents.default() | Intents.GUILD_MEMBERS,
    )
    peer = service.connect(0.0)
    peer.messages_to_send()
    identify(peer, **fields)
    assert peer.close_to_send()[0] == close_code
    assert service.sessions == {}


def test_too_many_guilds_need_sharding():
    """More than 2500 guilds on a shard close with 4011; two shards are enough again."""
    dispatch = Traffic(1, guilds=1).startup()[0]
    service = FakeService(guilds=[dispatch] * 2_501)
    peer = service.connect(0.0)
    peer.messages_to_send()
    identify(peer)
    assert peer.close_to_send()[0] == 4011
    other = 1 - (dispatch.guild_id >> 22) % 2
    assert ready(service, shard=[other, 2]).session is not None


def test_wrong_version_closes():
    """A connection of another API version is closed with 4012 instead of HELLO."""
    peer = FakeService().connect(0.0, version=9)
    assert peer.messages_to_send() == []
    assert peer.close_to_send()[0] == 4012


def test_identifying_twice_closes():
    """4005, also for RESUME on a session that is up."""
    peer = ready()
    identify(peer)
    assert peer.close_to_send()[0] == 4005
    peer = ready()
    resume(peer, "x", 1)
    assert peer.close_to_send()[0] == 4005


def test_121_commands_in_60_seconds_close():
    """120 are allowed in any 60 seconds, heartbeats counted; the next closes with 4008."""
    peer = FakeService().connect()
    for index in range(120):
        peer.receive(b'{"op":1,"d":null}', index * 0.1)
    assert not peer.is_closed
    peer.receive(b'{"op":1,"d":null}', 60.0)  # the first has just left the window
    assert not peer.is_closed
    peer.receive(b'{"op":1,"d":null}', 60.05)
    assert peer.is_closed
    peer.messages_to_send()
    assert peer.close_to_send()[0] == 4008


def test_sixth_presence_is_not_heard():
    """Five presences in 20 seconds; the sixth is dropped silently."""
    service = FakeService()
    peer = ready(service)
    for index in range(6):
        peer.receive(b'{"op":3,"d":{}}', index * 1.0)
    peer.receive(b'{"op":3,"d":{}}', 20.0)
    assert [command.heard for command in service.commands[1:]] == [True] * 5 + [False, True]
    assert not peer.is_closed


def test_tokens_are_not_kept():
    """Recorded commands and their repr hold no token."""
    service = FakeService()
    peer = service.connect(0.0)
    identify(peer, token="very-secret")
    assert "very-secret" not in repr(service.commands) + repr(service.identifies)
    assert service.identifies[0]["token"] == "<token>"


def test_dispatches_count_up_and_wait_for_the_connection():
    """Sequences are those of the session, and go on while nobody is connected."""
    service = FakeService()
    peer = ready(service)
    service.dispatch("TYPING_START", b'{"a":1}')
    assert peer.messages_to_send() == [b'{"t":"TYPING_START","s":2,"op":0,"d":{"a":1}}']
    peer.closed(None, 1.0)
    assert service.dispatch("TYPING_START", {}) == 1
    assert service.session().sequence == 3


def test_dispatch_goes_to_the_shard_of_its_guild():
    """guild_id decides, as argument or in the data; without one it is shard 0; shard_id wins."""
    service = FakeService()
    peers = [ready(service, shard=[index, 2]) for index in (0, 1)]
    odd = 1 << 22
    service.dispatch("TYPING_START", {"guild_id": str(odd)})
    service.dispatch("TYPING_START", b"{}", guild_id=odd)
    service.dispatch("GUILD_DELETE", {"id": str(odd)})
    service.dispatch("ENTITLEMENT_CREATE", {})
    service.dispatch("TYPING_START", {"guild_id": str(odd)}, shard_id=0)
    assert [len(peer.messages_to_send()) for peer in peers] == [2, 3]


def test_dispatch_to_nobody_says_why():
    """No session, or none with the intent: a usage error; a stream of traffic just passes."""
    service = FakeService()
    with pytest.raises(UsageError, match="none has identified"):
        service.dispatch("TYPING_START", {})
    peer = ready(service, intents=int(Intents.GUILDS))
    with pytest.raises(UsageError, match="intent"):
        service.dispatch("TYPING_START", {})
    assert service.dispatch("INTERACTION_CREATE", {}) == 1
    dispatches = Traffic(1).dispatches(200)
    wanted = [d for d in dispatches if d.name in ("INTERACTION_CREATE", "CHANNEL_UPDATE")]
    peer.messages_to_send()
    assert service.dispatch_many(dispatches) >= len(wanted)
    assert {m["t"] for m in sent(peer)}.isdisjoint({"TYPING_START", "MESSAGE_CREATE"})


def test_resume_replays_what_was_missed():
    """The missed dispatches come with their own sequences, then RESUMED as a new one."""
    service = FakeService()
    peer = ready(service)
    session_id = peer.session.session_id
    for _ in range(3):
        service.dispatch("TYPING_START", {})
    peer.closed(None, 1.0)
    service.dispatch("CHANNEL_CREATE", {})
    again = service.connect(2.0)
    resume(again, session_id, 3, 2.0)
    assert brief(again)[1:] == [
        (0, "TYPING_START", 4),
        (0, "CHANNEL_CREATE", 5),
        (0, "RESUMED", 6),
    ]
    service.dispatch("TYPING_START", {})
    assert brief(again) == [(0, "TYPING_START", 7)]


def test_resume_without_misses_is_only_resumed():
    """Nothing missed: RESUMED alone, also right after READY."""
    service = FakeService()
    peer = ready(service)
    again = come_back(service, peer, 1)
    assert brief(again)[1:] == [(0, "RESUMED", 2)]


def test_replay_may_repeat_what_was_received():
    """With an overlap, dispatches come again that the client has."""
    service = FakeService(replay_overlap=2)
    peer = ready(service)
    for _ in range(5):
        service.dispatch("TYPING_START", {})
    again = come_back(service, peer, 5)
    assert [sequence for _, _, sequence in brief(again)[1:]] == [4, 5, 6, 7]


def test_overflown_replay_log_is_an_invalid_session():
    """Who misses more than the log holds gets op 9 false; the session is gone."""
    service = FakeService(replay_limit=2)
    peer = ready(service)
    for _ in range(4):
        service.dispatch("TYPING_START", {})
    again = come_back(service, peer, 2)
    assert sent(again)[1:] == [{"t": None, "s": None, "op": 9, "d": False}]
    assert service.sessions == {}
    assert service.sessions_lost == 1


def test_replay_log_is_bounded_in_bytes():
    """The oldest dispatches go when the log is too large."""
    service = FakeService(replay_limit_bytes=1_000)
    session = ready(service).session
    for _ in range(10):
        service.dispatch("TYPING_START", {"a": "x" * 300})
    assert session.log_bytes <= 1_000
    assert len(session.log) == 2


def test_forgotten_replay_still_resumes_who_missed_nothing():
    """`forget_replay()` hurts only clients that are behind."""
    service = FakeService()
    peer = ready(service)
    session_id = peer.session.session_id
    service.dispatch("TYPING_START", {})
    peer.closed(None, 1.0)
    service.forget_replay()
    again = service.connect(2.0)
    resume(again, session_id, 2, 2.0)
    assert brief(again)[1:] == [(0, "RESUMED", 3)]


@pytest.mark.parametrize("sequence", [99, "1", None])
def test_bad_sequence_in_resume_closes(sequence):
    """4007, and the session is gone."""
    service = FakeService()
    again = come_back(service, ready(service), sequence)
    again.messages_to_send()
    assert again.close_to_send()[0] == 4007
    assert service.sessions == {}


def test_unknown_session_can_identify_on_the_same_connection():
    """Op 9 false leaves the connection open; IDENTIFY is taken on it."""
    peer = FakeService().connect()
    resume(peer, "nonsense", 1)
    identify(peer)
    assert [(m["op"], m["t"]) for m in sent(peer)][1:] == [(9, None), (0, "READY")]


@pytest.mark.parametrize(("close_code", "survives"), [(1000, False), (1001, False), (4000, True)])
def test_client_close_decides_about_the_session(close_code, survives):
    """1000 and 1001 from the client end the session, any other code keeps it."""
    service = FakeService()
    peer = ready(service)
    peer.closed(close_code, 1.0)
    assert bool(service.sessions) is survives
    assert peer.close_code == close_code
    assert service.sessions_lost == 0


@pytest.mark.parametrize(
    ("close_code", "survives"),
    [(None, True), (1000, True), (1011, True), (4000, True), (4008, True), (4009, False),
     (4004, False), (4014, False)],
)  # fmt: skip
def test_service_close_decides_about_the_session(close_code, survives):
    """The fake keeps the session exactly when a client should resume; the echo changes nothing."""
    service = FakeService()
    peer = ready(service)
    peer.close(close_code, "why")
    assert peer.close_to_send() == (close_code, "why")
    assert peer.close_to_send() is None
    peer.closed(close_code, 1.0)
    assert bool(service.sessions) is survives


def test_close_comes_after_what_is_queued():
    """Messages that wait go out before the CLOSE; nothing is queued behind it."""
    service = FakeService()
    peer = ready(service)
    service.dispatch("TYPING_START", {})
    peer.close(4000)
    service.dispatch("TYPING_START", {})
    assert peer.close_to_send() is None
    assert brief(peer) == [(0, "TYPING_START", 2)]
    assert peer.close_to_send() == (4000, "")


def test_cut_loses_what_is_queued():
    """A cut drops the queue; the session replays it later."""
    service = FakeService()
    peer = ready(service)
    session_id = peer.session.session_id
    service.dispatch("TYPING_START", {})
    peer.cut(Cut.END)
    assert peer.cut_to_make() is Cut.END
    assert peer.messages_to_send() == []
    again = service.connect(1.0)
    resume(again, session_id, 1, 1.0)
    assert brief(again)[1:] == [(0, "TYPING_START", 2), (0, "RESUMED", 3)]


def test_session_expires_without_connection():
    """After the time to live RESUME gets op 9 false; a connected session does not age."""
    service = FakeService(session_ttl_s=90.0)
    peer = ready(service)
    session_id = peer.session.session_id
    peer.closed(None, 1_000.0)
    again = service.connect(1_090.0)
    resume(again, session_id, 1, 1_090.0)
    assert brief(again)[-1][1] == "RESUMED"
    again.closed(None, 2_000.0)
    late = service.connect(2_091.0)
    resume(late, session_id, 2, 2_091.0)
    assert sent(late)[-1]["d"] is False


def test_resuming_takes_the_session_from_the_old_connection():
    """A half-open old connection is closed; dispatches go to the new one only."""
    service = FakeService()
    old = ready(service)
    new = service.connect(1.0)
    resume(new, old.session.session_id, 1, 1.0)
    assert old.close_to_send()[0] == 4000
    service.dispatch("TYPING_START", {})
    assert old.messages_to_send() == []
    old.closed(1000, 2.0)
    assert brief(new)[-1] == (0, "TYPING_START", 3)
    assert len(service.sessions) == 1


def test_mute_swallows_opcodes_and_names():
    """By opcode or event name, on one connection or on all; sequences go on."""
    service = FakeService()
    peer = ready(service)
    peer.mute(Opcode.HEARTBEAT_ACK, "TYPING_START")
    peer.receive(b'{"op":1,"d":1}', 1.0)
    service.dispatch("TYPING_START", {})
    service.dispatch("CHANNEL_CREATE", {})
    assert brief(peer) == [(0, "CHANNEL_CREATE", 3)]
    peer.unmute("TYPING_START")
    service.mute(0)
    service.dispatch("TYPING_START", {})
    assert brief(peer) == []
    service.unmute()
    peer.unmute()
    peer.receive(b'{"op":1,"d":1}', 1.0)
    assert brief(peer) == [(11, None, None)]


def test_muted_resumed_never_comes():
    """Replay without its end: RESUMED is withheld."""
    service = FakeService()
    peer = ready(service)
    session_id = peer.session.session_id
    service.dispatch("TYPING_START", {})
    peer.closed(None, 1.0)
    service.mute("RESUMED")
    again = service.connect(1.0)
    resume(again, session_id, 1, 1.0)
    assert brief(again)[1:] == [(0, "TYPING_START", 2)]


def test_instructions_replace_moments_and_run_out():
    """Op 7 before HELLO, a wrong first message, silence; then the ordinary HELLO again."""
    service = FakeService()
    service.instead_of(Moment.OPENED, lambda peer: peer.reconnect())
    service.instead_of(Moment.OPENED, lambda peer: peer.send({"op": 11, "d": None}), times=2)
    service.instead_of(Moment.OPENED, lambda peer: None)
    opcodes = [[message["op"] for message in sent(service.connect(0.0))] for _ in range(5)]
    assert opcodes == [[7], [11], [11], [], [10]]


def test_instruction_may_answer_identify_and_resume_otherwise():
    """Op 9 in answer to IDENTIFY, for ever until it is forgotten; requests before READY."""
    service = FakeService()
    service.instead_of(
        Moment.IDENTIFY, lambda peer: peer.invalid_session(resumable=False), times=None
    )
    peer = service.connect(0.0)
    for _ in range(3):
        identify(peer)
    assert [m["op"] for m in sent(peer)] == [10, 9, 9, 9]
    service.forget_instructions()
    service.instead_of(Moment.IDENTIFY, lambda peer: (peer.request_heartbeat(), peer.ready()))
    identify(peer)
    assert [m["op"] for m in sent(peer)] == [1, 0]


def test_instruction_at_heartbeat_and_command():
    """An ACK may become op 9 true; a command may be answered."""
    service = FakeService()
    peer = ready(service)
    service.instead_of(Moment.HEARTBEAT, lambda peer: peer.invalid_session(resumable=True))
    peer.receive(b'{"op":1,"d":1}', 1.0)
    assert sent(peer) == [{"t": None, "s": None, "op": 9, "d": True}]
    assert len(service.sessions) == 1
    service.instead_of(Moment.COMMAND, lambda peer: peer.dispatch("GUILD_MEMBERS_CHUNK", {}))
    peer.receive(b'{"op":8,"d":{}}', 1.0)
    assert brief(peer) == [(0, "GUILD_MEMBERS_CHUNK", 2)]


def test_op_9_false_on_a_live_session_kills_it():
    """The session is gone at once; the client may identify anew on the same connection."""
    service = FakeService()
    peer = ready(service)
    peer.invalid_session(resumable=False)
    assert service.sessions == {}
    identify(peer)
    assert [m["op"] for m in sent(peer)] == [9, 0]
    assert len(service.sessions) == 1


def test_identifying_too_fast_gets_op_9_and_is_spent():
    """One identify a key and interval; keys are shard_id % max_concurrency."""
    service = FakeService(identify_interval_s=5.0, max_concurrency=2, identifies_total=10)
    peers = [service.connect(0.0) for _ in range(4)]
    identify(peers[0], 0.0, shard=[0, 4])
    identify(peers[1], 0.0, shard=[1, 4])
    identify(peers[2], 4.9, shard=[2, 4])
    identify(peers[3], 5.0, shard=[3, 4])
    assert [sent(peer)[-1]["op"] for peer in peers] == [0, 0, 9, 0]
    assert service.identifies_refused == 1
    assert service.identifies_left == 6


def test_exhausted_identifies_reset_the_token():
    """The identify too many ends all sessions with 4004, and no token is right any more."""
    service = FakeService(identifies_total=1)
    first = ready(service)
    second = service.connect(1.0)
    identify(second, 1.0)
    second.messages_to_send()
    assert first.close_to_send()[0] == 4004
    assert second.close_to_send()[0] == 4004
    assert service.sessions == {}
    third = service.connect(2.0)
    third.messages_to_send()
    identify(third, 2.0)
    assert third.close_to_send()[0] == 4004


def test_nothing_is_taken_after_the_end():
    """Commands of a closed connection are ignored, and it leaves the service."""
    service = FakeService()
    peer = ready(service)
    assert service.peers == [peer]
    peer.closed(None, 1.0)
    identify(peer, 2.0)
    assert service.peers == []
    assert len(service.identifies) == 1


def test_batches_of_messages():
    """`messages_to_send(max_bytes)` takes some and leaves the rest."""
    service = FakeService()
    peer = ready(service)
    for _ in range(10):
        service.dispatch("TYPING_START", {"a": "x" * 60})
    assert len(peer.messages_to_send(250)) == 3
    assert peer.backlog == 7


def test_session_of_a_shard():
    """`session()` finds the newest session of a shard, or says that there is none."""
    service = FakeService()
    with pytest.raises(UsageError, match="shard 0 has no session"):
        service.session()
    first = ready(service).session
    second = ready(service).session
    assert service.session() is second is not first


def test_the_typed_options_are_those_of_the_service():
    """What FakeGateway passes on has the names and types that FakeService takes."""
    taken = {
        name: parameter.annotation
        for name, parameter in inspect.signature(FakeService).parameters.items()
    }
    typed = {name: kind.__forward_arg__ for name, kind in ServiceOptions.__annotations__.items()}
    assert typed == taken
