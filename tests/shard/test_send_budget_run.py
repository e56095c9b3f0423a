"""Protocol, send queue and budget as a shard joins them, against a service that counts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_time import run_in_invented_time
from pairing import TOKEN, Client

from fastgw.protocol.signals import (
    CloseWanted,
    Ended,
    HeartbeatWanted,
    IdentifyWanted,
    SessionEnded,
    StateChanged,
)
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode, encode_command
from fastgw.shard.budget import MAX_ANSWERS, SendBudget
from fastgw.shard.commands import CommandQueue
from fastgw.testing import FakeService
from fastgw.testing.service.peer import Cut
from fastgw.words import Initiator

COMMAND = encode_command(Opcode.VOICE_STATE_UPDATE, {"guild_id": "1"})


class Run:
    """
    A client whose commands go through a `CommandQueue`, and the service they reach at once.

    Attributes:
        sent: (connection, seconds, command), in order.
        close_codes: what the service closed with.
    """

    def __init__(self, interval_ms, roll=0.5):
        self.client = Client()
        self.client.roll = roll
        self.proto = self.client.proto
        self.queue = CommandQueue(SendBudget(), limit=1_000)
        self.service = FakeService(
            token=TOKEN, heartbeat_interval_ms=interval_ms, identify_interval_s=0.0
        )
        self.peer = None
        self.sent = []
        self.close_codes = []
        self.waiting = []
        self.connect()

    def connect(self):
        self.queue.new_connection()
        self.client.dial()
        self.peer = self.service.connect(self.client.now)
        self.proto.opened(self.client.now)
        self.settle()

    def write(self, command):
        self.sent.append((self.proto.generation, self.client.now, command))
        self.peer.receive(command, self.client.now)

    def settle(self):
        """Let everything that can happen now happen, as `ShardDriver._run` does."""
        while True:
            self.apply_all()
            assert not self.queue._urgent  # a heartbeat never waits for the budget
            if self.peer is None:
                self.connect()
                return
            close, cut = self.peer.close_to_send(), self.peer.cut_to_make()
            messages = self.peer.messages_to_send()
            for message in messages:
                if self.peer is not None:
                    self.feed(message)
                    self.apply_all()
            if close is not None or cut is not None:
                if close is not None:
                    self.close_codes.append(close[0])
                self.lost(None if close is None else close[0], Initiator.SERVICE)
            elif not messages:
                return

    def feed(self, message):
        decoded = self.client.decoder.feed(message, 1, True)
        if decoded is not None and self.proto.state is not State.DISCONNECTED:
            self.proto.receive(decoded, self.client.now)

    def apply_all(self):
        now, queue = self.client.now, self.queue
        while True:
            for command in self.proto.commands_to_send():
                queue.put_urgent(command)
            if self.peer is not None:
                queue.pump(now, self.write)
            if not self.proto.signals:
                return
            signal = self.proto.signals.popleft()
            if isinstance(signal, StateChanged):
                queue.is_open = signal.new is State.READY
                if signal.new in (State.IDENTIFYING, State.RESUMING):
                    queue.budget.reserve_heartbeats(self.proto.heartbeat.interval_s)
            elif isinstance(signal, IdentifyWanted):
                self.proto.identify(now)
            elif isinstance(signal, HeartbeatWanted) and queue.budget.take_answer(now):
                self.proto.beat(now)
                for command in self.proto.commands_to_send():
                    queue.put_urgent(command, is_counted=True)
            elif isinstance(signal, SessionEnded):
                queue.fail(ConnectionError("session lost"))
            elif isinstance(signal, CloseWanted):
                self.lost(signal.close_code, Initiator.CLIENT)
            elif isinstance(signal, Ended):
                self.peer = None

    def lost(self, code, initiator):
        if self.peer is not None:
            self.peer.closed(code, self.client.now)
            self.peer = None
            self.proto.connection_ended(self.client.now, close_code=code, initiator=initiator)
            self.apply_all()

    def advance(self, seconds):
        until = self.client.now + seconds
        while True:
            now = self.client.now
            due = [self.proto.timer_at(), self.queue.timer_at(now), self.peer.timer_at()]
            at = min(at for at in due if at is not None)
            if at > until:
                break
            self.client.now = max(now, at)
            self.peer.timer(self.client.now)
            self.proto.handle_timer(self.client.now)
            self.settle()
        self.client.now = until

    def put(self, count):
        room = self.queue.limit - len(self.queue)
        self.waiting += [self.queue.put(COMMAND) for _ in range(min(count, room))]
        self.settle()

    def ask(self, count):
        for _ in range(count):
            self.peer.request_heartbeat()
            self.settle()

    def cut(self):
        self.peer.cut(Cut.RESET)
        self.settle()

    def forget(self):
        self.service.kill_sessions()
        self.cut()

    def times(self, command_starts=b"", generation=None):
        return [
            at
            for connection, at, command in self.sent
            if command.startswith(command_starts) and generation in (None, connection)
        ]


def most_in_any_minute(times):
    return max((sum(at <= t < at + 60.0 for t in times) for at in times), default=0)


def play(interval_ms, steps, roll=0.5):
    """Play a run in invented time and return it; steps are (method, argument)."""

    async def main():
        run = Run(interval_ms, roll)
        for method, *arguments in steps:
            getattr(run, method)(*arguments)
            await asyncio.sleep(0)
        for future in run.waiting:
            if future.done():
                future.exception()
        return run

    return run_in_invented_time(main())


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 250)),
    st.tuples(st.just("ask"), st.integers(1, 40)),
    st.tuples(st.just("advance"), st.sampled_from([0.0, 0.1, 1.0, 7.3, 20.0, 41.0, 60.0, 130.0])),
    st.tuples(st.just("cut")),
    st.tuples(st.just("forget")),
)


@given(st.sampled_from([1_000, 5_000, 20_000, 41_250, 60_000]), st.lists(STEPS, max_size=25))
def test_no_minute_of_any_run_holds_more_than_120(interval_ms, steps):
    """case 38: heartbeats, op 1 answered, identify, resume and users' commands."""
    run = play(interval_ms, steps)
    for generation in {connection for connection, _, _ in run.sent}:
        assert most_in_any_minute(run.times(generation=generation)) <= 120
    assert 4008 not in run.close_codes


@given(st.floats(0.0, 1.0, exclude_max=True), st.lists(STEPS, max_size=25))
def test_whatever_is_sent_every_heartbeat_is_on_time(roll, steps):
    """Neither greedy users nor a service that floods with op 1 delay a periodic heartbeat."""
    # That nothing urgent waits is asserted at every step of a run, see `Run.settle`.
    run = play(41_250, [*steps, ("advance", 500.0)], roll)
    assert run.proto.state is State.READY
    assert run.close_codes == []


@pytest.mark.parametrize("commands", [0, 300])
def test_a_service_that_floods_with_op_1_gets_a_few_answers(commands):
    """case 22: each op 1 is answered at once, up to a handful a minute; then by the next beat."""
    run = play(
        41_250, [("advance", 65.0), ("put", commands), *[("ask", 50), ("advance", 1.0)] * 20]
    )
    flood = [at for at in run.times(b'{"op":1,') if at >= run.times()[0] + 65.0]
    # No periodic beat falls into these 20 s. While users use up the budget one slot is kept.
    assert len(flood) == (1 if commands else MAX_ANSWERS)
    assert run.close_codes == []


def test_an_answer_in_a_full_first_minute_leaves_the_beats_their_slots():
    """IDENTIFY, 117 commands and op 1 within the first beats: both beats go on the dot."""
    run = play(41_250, [("advance", 0.0), ("put", 117), ("ask", 1), ("advance", 50.0)], 0.0)
    beats = run.times(b'{"op":1,')
    assert [at - beats[0] for at in beats] == [0.0, 41.25]


def test_one_request_a_minute_is_always_answered_at_once():
    """case 22: also while users send all they may: a slot is kept for it."""
    run = play(41_250, [("advance", 65.0), ("put", 900), ("advance", 20.0)])
    for _ in range(5):
        before = len(run.times(b'{"op":1,'))
        run.ask(1)
        assert len(run.times(b'{"op":1,')) == before + 1
        run.advance(60.6)
