"""
Client, service and clock played against each other by hypothesis, in any order it can think of.

Held at all times: no identify without a turn, one end for each beginning, at most one connection,
the sequence of a session never falls, everything delivered once and in order. Held in the end: when
the faults stop, the shard is READY within minutes, and nothing of its session is missing.
"""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pairing import RESUME_URL, Pair

from fastgw.protocol.close_codes import CLOSE_RULES
from fastgw.protocol.signals import Ended, SessionEnded, StateChanged
from fastgw.protocol.states import CONNECTED, State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakePeer, Moment
from fastgw.testing.service.peer import Cut
from fastgw.words import Action

HOST = RESUME_URL.removeprefix("wss://")
# Codes after which the service may be asked again; the fatal ones have a rule of their own.
MENDABLE = sorted(
    {code for code, rule in CLOSE_RULES.items() if rule.action is not Action.STOP} | {1011, 4999}
)
FATAL = sorted(code for code, rule in CLOSE_RULES.items() if rule.action is Action.STOP)
# Silence, op 7, op 9 both ways, a close or a cut in the place of the ordinary answer.
FAULTS = {
    "silence": lambda peer: None,
    "reconnect": FakePeer.reconnect,
    "refuse": lambda peer: peer.invalid_session(resumable=False),
    "put off": lambda peer: peer.invalid_session(resumable=True),
    "close": lambda peer: peer.close(4000),
    "expire": lambda peer: peer.close(4009),
    "cut": FakePeer.cut,
    "beat": FakePeer.request_heartbeat,
    "garbage": lambda peer: peer.send({"op": 10, "d": {"heartbeat_interval": "x"}}),
}
ODD_DATA = st.sampled_from([None, True, False, 0, -1, "x", [], [None], {}, {"a": 1}])
TIMEOUTS = Timeouts(hello_s=5.0, ready_s=30.0, resumed_s=10.0)


class ShardAndService(RuleBasedStateMachine):
    """Rules are what may happen; invariants are what must hold."""

    @initialize(
        interval_ms=st.sampled_from([4_000, 41_250]),
        overlap=st.sampled_from([0, 0, 4]),
        roll=st.floats(0, 1, exclude_max=True),
    )
    def begin(self, interval_ms, overlap, roll):
        self.pair = Pair(
            interval_ms=interval_ms, timeouts=TIMEOUTS, replay_overlap=overlap,
            identify_interval_s=5.0,
        )  # fmt: skip
        self.pair.client.roll = roll
        self.pair.advance(0.0)
        self.last: dict[str, int] = {}

    # --- time and the wire -----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.5, 6.0, 21.0, 45.0, 301.0]))
    def wait(self, seconds):
        self.pair.advance(seconds)

    @rule(roll=st.floats(0, 1, exclude_max=True))
    def roll(self, roll):
        self.pair.client.roll = roll

    @rule()
    def freeze_or_thaw(self):
        self.pair.frozen = not self.pair.frozen
        self.pair.settle()

    @rule()
    def hang_or_not(self):
        self.pair.hangs = not self.pair.hangs

    @rule(host=st.sampled_from([HOST, "gateway.discord.gg"]))
    def refuse_or_take(self, host):
        self.pair.refused_hosts ^= {host}

    @rule(gap=st.sampled_from([0.0, 4.0, -100.0, 600.0]))
    def tick(self, gap):
        """The once-a-second tick of a shard, perhaps after a sleep of the machine."""
        client = self.pair.client
        for wall in (1e9, 1e9 + gap):
            self.pair.proto.handle_timer(client.now, wall=wall)
        self.pair.settle()

    # --- the service -----------------------------------------------------------------------------

    @rule(count=st.integers(1, 20))
    def dispatch(self, count):
        """Sessions without connection take dispatches too: they wait for the RESUME."""
        for _ in range(count if self.pair.service.sessions else 0):
            self.pair.service.dispatch("MESSAGE_CREATE")
        self.pair.settle()

    @precondition(lambda self: self.pair.peer is not None)
    @rule(how=st.sampled_from(list(Cut)))
    def cut(self, how):
        self.pair.peer.cut(how)
        self.pair.settle()

    @precondition(lambda self: self.pair.peer is not None)
    @rule(close_code=st.sampled_from([None, *MENDABLE]))
    def close(self, close_code):
        self.pair.peer.close(close_code)
        self.pair.settle()

    @precondition(lambda self: self.pair.peer is not None)
    @rule(what=st.sampled_from(sorted(FAULTS)))
    def misbehave(self, what):
        FAULTS[what](self.pair.peer)
        self.pair.settle()

    @precondition(lambda self: self.pair.peer is not None)
    @rule(op=st.integers(0, 50), data=ODD_DATA)
    def say_something_odd(self, op, data):
        if op not in (Opcode.DISPATCH, Opcode.INVALID_SESSION):
            self.pair.peer.send({"op": op, "d": data})
            self.pair.settle()

    @precondition(lambda self: self.pair.peer is not None)
    @rule()
    def mute_acks(self):
        self.pair.peer.mute(Opcode.HEARTBEAT_ACK)

    @rule(
        moment=st.sampled_from([Moment.OPENED, Moment.IDENTIFY, Moment.RESUME, Moment.HEARTBEAT]),
        what=st.sampled_from(sorted(FAULTS)),
        times=st.integers(1, 4),
    )
    def prepare_fault(self, moment, what, times):
        self.pair.service.instead_of(moment, FAULTS[what], times=times)

    @precondition(lambda self: self.pair.peer is not None)
    @rule()
    def lose_the_session(self):
        """A service that forgets its sessions drops their connections too."""
        self.pair.service.kill_sessions()
        self.pair.peer.cut()
        self.pair.settle()

    @rule()
    def forget_replay(self):
        self.pair.service.forget_replay()

    # --- the client ------------------------------------------------------------------------------

    @precondition(lambda self: self.pair.peer is not None)
    @rule(paused=st.booleans())
    def pause_reading(self, paused):
        (self.pair.proto.reading_paused if paused else self.pair.proto.reading_resumed)()

    # Rare, for a stopped shard plays no more.
    @precondition(lambda self: self.pair.attempts >= 4)
    @rule(keep_session=st.booleans())
    def stop(self, keep_session):
        self.pair.proto.close(self.pair.client.now, keep_session=keep_session)
        self.pair.settle()

    @precondition(lambda self: self.pair.attempts >= 4 and self.pair.peer is not None)
    @rule(close_code=st.sampled_from(FATAL))
    def refuse_for_good(self, close_code):
        self.pair.peer.close(close_code)
        self.pair.settle()

    # --- what must hold --------------------------------------------------------------------------

    @invariant()
    def no_identify_without_a_turn(self):
        assert self.pair.client.count(Opcode.IDENTIFY) == self.pair.granted

    @invariant()
    def one_end_for_each_beginning(self):
        client = self.pair.client
        ends = len(client.of(Ended))
        alive = self.pair.proto.state not in (State.DISCONNECTED, State.STOPPED)
        # A stop between attempts is an end without a beginning.
        extra = ends + alive - self.pair.attempts
        assert extra == 0 or (extra == 1 and self.pair.proto.state is State.STOPPED)

    @invariant()
    def somebody_will_move(self):
        """No deadlock: a timer is armed, an attempt is due, or it is over."""
        proto = self.pair.proto
        assert (
            proto.timer_at() is not None
            or self.pair.retry_at is not None
            or proto.state is State.STOPPED
        )

    @invariant()
    def the_sequence_never_falls_within_a_session(self):
        session = self.pair.proto.session
        if session is not None:
            assert session.sequence >= self.last.get(session.session_id, 0)
            self.last[session.session_id] = session.sequence

    @invariant()
    def everything_is_delivered_once_and_in_order(self):
        for sequences in self.pair.delivered.values():
            assert sequences == sorted(set(sequences))

    @invariant()
    def ready_means_ready(self):
        proto = self.pair.proto
        assert (proto.ready_at is not None) == (proto.state is State.READY)
        assert proto.state in CONNECTED or proto.heartbeat is None or proto.state is State.CLOSING
        assert proto.state is not State.READY or proto.session is not None
        assert not proto.sequence.replaying or proto.state in (State.RESUMING, State.CLOSING)

    @invariant()
    def states_are_a_chain(self):
        changes = self.pair.client.of(StateChanged)
        state = State.DISCONNECTED
        for change in changes[-20:]:
            assert change is changes[max(0, len(changes) - 20)] or change.old is state
            state = change.new
        assert not changes or state is self.pair.proto.state

    def teardown(self):
        """The faults stop: the shard must come up by itself and have lost nothing."""
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        pair.frozen = pair.hangs = False
        pair.refused_hosts.clear()
        pair.service.forget_instructions()
        if pair.peer is not None:
            pair.peer.unmute()
            pair.proto.reading_resumed()
        pair.advance(120.0)
        if pair.proto.state is State.STOPPED:
            return
        assert pair.proto.state is State.READY
        dropped = {signal.session_id for signal in pair.client.of(SessionEnded)}
        session = pair.service.session()
        assert session.session_id not in dropped
        got = pair.delivered[session.session_id]
        assert got == list(range(1, session.sequence + 1))


ShardAndService.TestCase.settings = settings(
    max_examples=int(os.environ.get("FASTGW_MACHINE_EXAMPLES", settings().max_examples)),
    stateful_step_count=40,
)
TestShardAndService = ShardAndService.TestCase
