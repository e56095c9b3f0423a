"""The driver of a shard with a service in memory and invented time: what it does, and when."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

import pytest
from fake_dial import STEP_S, World
from invented_time import run_in_invented_time

from fastgw.connection.websocket import CloseInfo
from fastgw.errors import AuthenticationFailed, ConnectFailed, SessionLost
from fastgw.protocol.session import MAX_AGE_S, Session
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.shard.budget import MAX_ANSWERS
from fastgw.words import Initiator

IDLE = {"since": None, "activities": [], "status": "idle", "afk": False}
DND = {**IDLE, "status": "dnd"}
STORED = Session("stored", 7, "wss://resume", shard_id=3, shard_count=8)


@pytest.fixture
def play(monkeypatch):
    """Run `play(script, **options)`: a script with a new world, on a clock that begins at 0."""

    def run(script, **options):
        async def main():
            monkeypatch.setattr(time, "monotonic", asyncio.get_running_loop().time)
            world = World(monkeypatch, **options)
            try:
                return await script(world)
            finally:
                world.settle_s = 0.0
                await world.driver.close()

        try:
            return run_in_invented_time(main())
        finally:
            monkeypatch.undo()

    return run


def cut(world):
    """Let the network end the connection."""
    world.connection.end()


# ---------------------------------------------------------------------------- up, and up again


def test_the_way_up(play):
    """One IDENTIFY with a turn that goes back at READY; the host hears of each step."""

    async def script(world):
        await world.ready()
        assert [change.new.value for change in world.host.changes] == [
            "connecting", "awaiting hello", "identifying", "ready",
        ]  # fmt: skip
        assert world.host.story == [("began", "s", "s")]
        assert [op for _, op, _ in world.sent] == [Opcode.IDENTIFY]
        assert world.queue.budget().remaining == 999
        stats = world.driver.stats()
        assert (stats.identifies, stats.connections, stats.resumes_won) == (1, 1, 0)
        assert await asyncio.wait_for(world.queue.acquire(4), 10.0)
        assert world.dials[0].opened_with["headers"] == {"x": "y"}
        assert world.dials[0].opened_with["open_timeout_s"] == 20.0

    play(script)


def test_a_lost_connection_is_resumed_at_once(play):
    """At the host that READY named; no turn, no IDENTIFY, and the session's command waits."""

    async def script(world):
        await world.ready()
        await asyncio.sleep(10.0)
        world.connection.dispatch("MESSAGE_CREATE")
        cut(world)
        at = time.monotonic()
        sending = asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, 1, wait=True))
        await world.ready()
        assert time.monotonic() < at + 1.0
        assert world.dials[-1].url.startswith("wss://resume/")
        _, op, d = world.sent[1]
        assert (op, d["session_id"], d["seq"]) == (Opcode.RESUME, "s", 2)
        await sending
        assert world.count(4) == 1
        stats = world.driver.stats()
        assert (stats.identifies, stats.resumes_won) == (1, 1)
        assert stats.reconnects == {Cause.CONNECTION_LOST.value: 1}

    play(script)


def test_attempts_that_fail_wait_longer(play):
    """1, 2 and 4 s at most; half of it here. The last error is told until it is up."""

    async def script(world):
        world.refusals = [ConnectFailed("no") for _ in range(3)]
        world.driver.start()
        await world.until(lambda: len(world.dials) == 4)
        began = [dial.began_at for dial in world.dials]
        waits = [later - earlier - STEP_S for earlier, later in itertools.pairwise(began)]
        assert waits == [0.5, 1.0, 2.0]
        assert isinstance(world.driver.health(time.monotonic()).last_error, ConnectFailed)
        assert world.driver.main_failures == 3
        await world.ready()
        assert world.driver.main_failures == 0
        assert world.driver.health(time.monotonic()).last_error is None

    play(script)


def test_resumes_stand_in_line_and_identifies_do_not(play):
    """Whoever holds a turn would hold up all shards of its key."""

    async def script(world):
        await world.setup.opening.acquire()
        await world.ready()
        cut(world)
        await asyncio.sleep(5.0)
        assert world.dials[-1].url is None
        world.setup.opening.release()
        await world.ready()

    play(script)


def test_a_resume_whose_session_goes_asks_for_a_turn(play):
    """It comes back with one; nothing is identified without."""

    async def script(world):
        await world.ready()
        world.mute = {Opcode.RESUME}
        cut(world)
        await world.until(lambda: world.driver.status is State.CONNECTING)
        world.driver.plan(time.monotonic() + MAX_AGE_S + 1.0)
        assert world.host.story[-1] == ("ended", 3)
        await world.until(lambda: world.driver.status is State.IDENTIFYING)
        assert world.dials[1].connection.aborted_at is not None
        await world.ready()
        assert world.count(Opcode.IDENTIFY) == 2
        assert world.count(Opcode.RESUME) == 0

    play(script)


def test_op_9_begins_a_new_session_and_fails_what_waits(play):
    """The host hears of both; the next one is of this process."""

    async def script(world):
        world.mute = {Opcode.RESUME}
        assert world.driver.is_cold
        world.driver.start()
        await world.until(lambda: world.driver.status is State.RESUMING)
        sending = asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, 1, wait=True))
        await asyncio.sleep(0)
        world.connection.serve(Opcode.INVALID_SESSION, False)
        with pytest.raises(SessionLost, match="session of shard 3 was lost"):
            await sending
        assert not world.driver.is_cold
        await world.ready()
        assert world.host.story == [("ended", 3), ("began", "s", "s")]

    play(script, session=STORED, last_byte_at=0.0)


@pytest.mark.parametrize(("session", "is_cold"), [(STORED, True), (None, False)])
def test_a_session_of_another_process_is_told_at_ready(play, session, is_cold):
    """Its READY and its guilds went to that one; the second time it is no news."""

    async def script(world):
        await world.ready()
        assert world.driver.is_cold is is_cold
        cut(world)
        await world.ready()
        ready = [change for change in world.host.changes if change.new is State.READY]
        assert [change.is_cold_resume for change in ready] == [is_cold, False]

    play(script, session=session, last_byte_at=0.0)


# ---------------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    ("session", "presence", "updates"),
    [(None, IDLE, 0), (STORED, IDLE, 1), (STORED, None, 0), (None, None, 0)],
)
def test_a_stored_session_is_told_our_presence(play, session, presence, updates):
    """IDENTIFY, which says it, was another process's."""

    async def script(world):
        await world.ready()
        assert world.count(Opcode.PRESENCE_UPDATE) == updates

    play(script, session=session, presence=presence, last_byte_at=0.0)


def test_a_presence_is_shown_at_once_and_by_every_later_identify(play):
    """Not with the next heartbeat."""

    async def script(world):
        await world.ready()
        at = time.monotonic()
        world.driver.set_presence(replace(world.identity, presence=DND))
        assert world.sent[-1] == (at, Opcode.PRESENCE_UPDATE, DND)
        world.connection.serve(Opcode.INVALID_SESSION, False)
        await world.until(lambda: world.count(Opcode.IDENTIFY) == 2)
        assert world.sent[-1][2]["presence"] == DND

    play(script)


def test_a_command_is_awaited_until_it_is_written(play):
    """Before READY nothing of the user's goes out."""

    async def script(world):
        world.mute = {Opcode.IDENTIFY}
        world.driver.start()
        await world.until(lambda: world.count(Opcode.IDENTIFY))
        sending = asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, 1, wait=True))
        await asyncio.sleep(5.0)
        assert not sending.done()
        world.connection.answer(Opcode.IDENTIFY)
        assert world.sent[-1][1] == 4
        await sending

    play(script)


def test_commands_beyond_the_budget_go_out_as_it_refills(play):
    """Nobody else need happen by: the timer is set for it; heartbeats keep their slots."""

    async def script(world):
        await world.ready()
        room = world.driver.send_room(time.monotonic())
        sending = [
            asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, n, wait=True))
            for n in range(room + 1)
        ]
        await asyncio.sleep(0)
        assert world.count(4) == room
        began = world.sent[0][0]
        await asyncio.gather(*sending)
        assert time.monotonic() - began == pytest.approx(60.0, abs=2.0)

    play(script)


def test_a_fenced_shard_is_silent(play):
    """It may be somebody else's by now: nothing is written until it is ours again."""

    async def script(world):
        await world.ready()
        world.is_ours = False
        sending = asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, 1, wait=True))
        await asyncio.sleep(1.0)
        assert world.count(4) == 0
        world.is_ours = True
        world.driver.set_presence(replace(world.identity, presence=DND))
        await sending
        assert world.count(4) == 1

    play(script)


def test_a_heartbeat_that_is_asked_for_takes_one_slot(play):
    """And only so many are answered."""

    async def script(world):
        await world.ready()
        before = world.driver.send_room(time.monotonic())
        world.connection.serve(Opcode.HEARTBEAT)
        assert world.count(Opcode.HEARTBEAT) == 1
        assert world.driver.send_room(time.monotonic()) == before - 1
        for _ in range(50):
            world.connection.serve(Opcode.HEARTBEAT)
        assert world.count(Opcode.HEARTBEAT) == MAX_ANSWERS

    play(script)


def test_heartbeats_go_by_the_timer_and_missing_acks_end_it(play):
    """Half an interval, then one each; two intervals of silence are a zombie, closed with 4000."""

    async def script(world):
        connection = await world.ready()
        assert world.driver.latency(time.monotonic()) is None
        await asyncio.sleep(100.0)
        hello_at = 2 * STEP_S
        beats = [when - hello_at for when, op, _ in world.sent if op == Opcode.HEARTBEAT]
        assert beats == [20.0, 60.0, 100.0][: len(beats)]
        assert len(beats) >= 2
        assert world.driver.latency(time.monotonic()) == STEP_S
        world.mute = {Opcode.HEARTBEAT}
        await world.until(lambda: connection.closes)
        assert connection.closes == [(4000, "heartbeat not acknowledged")]
        world.mute = set()
        await world.ready()
        assert world.driver.stats().reconnects == {Cause.ZOMBIED.value: 1}

    play(script)


def test_bytes_are_life_although_no_message_came(play):
    """A beat is judged by them."""

    async def script(world):
        connection = await world.ready()
        await asyncio.sleep(30.0)
        world.mute = {Opcode.HEARTBEAT}
        await asyncio.sleep(40.0)
        connection._bytes += 10_000
        await asyncio.sleep(35.0)
        assert world.driver.status is State.READY

    play(script)


# ---------------------------------------------------------------------------- reading


def test_reading_stops_for_the_program_and_for_the_marks(play):
    """The program's wish ends with its connection, that of the marks does not."""

    async def script(world):
        world.driver.pause_reading()  # nothing to pause yet
        connection = await world.ready()
        assert not connection.is_reading_paused
        world.driver.pause_reading()
        assert connection.is_reading_paused
        assert world.driver.health(time.monotonic()).reading_paused_by == (
            "asked for by the program",
        )
        world.driver.resume_reading()
        assert not connection.is_reading_paused
        world.driver.pause_reading()
        cut(world)
        connection = await world.ready()
        assert not connection.is_reading_paused
        world.delivery.ledgers[3].on_hold(True)
        assert connection.is_reading_paused
        cut(world)
        connection = await world.ready()
        assert connection.is_reading_paused
        world.delivery.ledgers[3].on_hold(False)
        assert not connection.is_reading_paused

    play(script)


def test_a_connection_that_closes_is_not_paused(play):
    """The wish would stay for the next one."""

    async def script(world):
        connection = await world.ready()
        connection.is_open = False
        world.driver.pause_reading()
        assert world.driver.health(time.monotonic()).reading_paused_by == ()

    play(script)


def test_the_load_is_that_of_a_ready_connection(play):
    """Else there is none."""

    async def script(world):
        world.driver.start()
        await world.until(lambda: world.driver.status is State.IDENTIFYING)
        assert world.driver.load() is None
        connection = await world.ready()
        assert world.driver.load() == (4_096, connection.bytes_received())
        cut(world)
        assert world.driver.load() is None

    play(script)


# ---------------------------------------------------------------------------- figures


def test_the_figures_follow_the_connection(play):
    """Bytes and buffers while there is one; what was counted stays."""

    async def script(world):
        now = time.monotonic()
        assert world.driver.health(now).buffer_bytes == 0
        connection = await world.ready()
        connection.dispatch("MESSAGE_CREATE")
        await asyncio.sleep(1.0)
        health = world.driver.health(time.monotonic())
        assert health.buffer_bytes == 512 + world.dials[-1].decoder.buffer_capacity
        assert health.last_byte_age_s == 0.0
        assert world.driver.stats().bytes_received == connection.bytes_received()
        assert world.driver.stats().dispatches == 2
        cut(world)
        await world.until(lambda: world.driver.status is State.CONNECTING)
        assert world.driver.health(time.monotonic()).buffer_bytes == (
            world.dials[-1].decoder.buffer_capacity
        )
        await world.ready()
        assert world.driver.stats().bytes_received > connection.bytes_received()
        assert world.driver.stats().connections == 2

    play(script)


def test_a_tick_looks_at_bytes_and_at_the_clocks(play):
    """A machine that slept has no connection any more; before there is one it says nothing."""

    async def script(world):
        world.driver.tick(time.monotonic(), 1_000.0)
        connection = await world.ready()
        await asyncio.sleep(2.0)
        connection._bytes += 100
        world.driver.tick(time.monotonic(), 1_000.0)
        at = time.monotonic()
        await asyncio.sleep(2.0)
        world.driver.tick(time.monotonic(), 1_002.0)
        assert world.driver.health(time.monotonic()).last_byte_age_s == time.monotonic() - at
        world.driver.tick(time.monotonic() + 1.0, 5_000.0)
        assert connection.aborted_at == time.monotonic()
        await world.ready()
        assert world.driver.stats().reconnects == {Cause.SLEPT.value: 1}

    play(script)


@pytest.mark.parametrize("stores_handled", [False, True])
def test_what_the_store_is_told_is_received_or_handled(play, stores_handled):
    """A new session begins anew, whatever of the old one is not handled."""

    async def script(world):
        assert world.driver.stored_sequence() is None
        await world.ready()
        assert world.driver.stored_sequence() == 1
        world.connection.dispatch("MESSAGE_CREATE")
        assert world.driver.stored_sequence() == 2
        cut(world)
        assert world.driver.stored_sequence() is None

    play(script, stores_handled=stores_handled)


@pytest.mark.parametrize(
    ("info", "counted"),
    [
        (CloseInfo(4000, "", Initiator.SERVICE), {4000: 1}),
        (CloseInfo(4000, "", Initiator.CLIENT), {}),
        (CloseInfo(None, "", Initiator.SERVICE), {}),
        (None, {}),
    ],
)
def test_close_codes_of_the_service_are_counted(play, info, counted):
    """Not ours, and not the ends without one."""

    async def script(world):
        await world.ready()
        world.connection.end(info)
        await world.ready()
        assert world.driver.stats().close_codes == counted

    play(script)


# ---------------------------------------------------------------------------- acting meanwhile


def test_a_status_change_is_told_before_the_next_one_happens(play):
    """Also where whoever hears of it acts upon the shard."""

    async def script(world):
        depths, depth = [], 0

        def told(change):
            nonlocal depth
            depth += 1
            depths.append(depth)
            if change.new is State.IDENTIFYING and len(world.dials) == 1:
                world.driver.reconnect()
            world.driver.set_presence(replace(world.identity, presence=IDLE))
            depth -= 1

        world.host.on_change = told
        await world.ready()
        assert set(depths) == {1}
        assert len(world.dials) == 2

    play(script)


def test_reconnect_replaces_a_connection_that_is_there(play):
    """By one that resumes; without one nothing happens."""

    async def script(world):
        world.driver.reconnect()
        first = await world.ready()
        world.driver.reconnect()
        assert not first.is_open
        await world.ready()
        assert (world.count(Opcode.IDENTIFY), world.count(Opcode.RESUME)) == (1, 1)

    play(script)


def test_a_shard_that_is_deaf_hands_nothing_out(play):
    """Its connection is told; without one nobody is."""

    async def script(world):
        world.driver.deafen()
        connection = await world.ready()
        assert not connection.is_deaf
        world.driver.deafen()
        assert connection.is_deaf

    play(script)


# ---------------------------------------------------------------------------- errors of our own


def test_an_error_of_our_own_costs_a_connection_and_a_moment(play, own_errors):
    """It is dropped without a word and resumed after the first backoff; the error is told."""

    async def script(world):
        connection = await world.ready()
        await asyncio.sleep(10.0)
        bug = ValueError("a bug")

        def told(change):
            if change.new is State.DISCONNECTED:
                assert isinstance(change.error, ValueError)
                world.host.on_change = None

        def broken(message, now):
            del world.driver._protocol.receive
            raise bug

        world.host.on_change = told
        world.driver._protocol.receive = broken
        connection.serve(Opcode.HEARTBEAT_ACK)
        at = time.monotonic()
        assert connection.has_ended
        assert connection.closes == []
        assert world.driver.health(at).last_error is bug
        await world.ready()
        assert world.dials[-1].began_at == at + 1.0
        assert world.count(Opcode.RESUME) == 1

    play(script)
    assert len(own_errors) == 1
    own_errors.clear()


def test_a_step_of_the_owner_that_fails_is_told_and_waited_for(play, own_errors):
    """The attempt is made again after the first backoff."""

    async def script(world):
        bug = ValueError("a bug")

        calls = []
        real = world.driver.plan

        def plan(now):
            calls.append(now)
            if len(calls) == 1:
                raise bug
            return real(now)

        world.driver.plan = plan
        world.driver.start()
        await asyncio.sleep(0.5)
        assert world.driver.health(time.monotonic()).last_error is bug
        await world.ready()
        assert calls == [0.0, 1.0]

    play(script)
    assert len(own_errors) == 1
    own_errors.clear()


# ---------------------------------------------------------------------------- the end


def test_a_refusal_shuts_the_gate_before_the_turn_goes_back(play):
    """case 29: nobody else of its key may take the turn to be refused as well."""

    async def script(world):
        world.mute = {Opcode.IDENTIFY}
        world.driver.start()
        await world.until(lambda: world.count(Opcode.IDENTIFY))
        others = asyncio.ensure_future(world.gate.acquire(4))
        await asyncio.sleep(0)
        world.connection.end(CloseInfo(4004, "no", Initiator.SERVICE))
        with pytest.raises(AuthenticationFailed):
            await others
        await world.until(lambda: world.driver.is_stopped and world.driver.error)
        assert isinstance(world.driver.error, AuthenticationFailed)
        assert world.gate.error is world.driver.error
        assert world.host.story == [("stopped", 3, world.driver.error)]

    play(script)


@pytest.mark.parametrize(("keep_session", "code"), [(False, 1000), (True, 4000)])
def test_close_says_good_bye_and_waits_for_the_answer(play, keep_session, code):
    """What waits to be written fails; nobody connects any more."""

    async def script(world):
        connection = await world.ready()
        world.is_ours = False
        sending = asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, 1, wait=True))
        await asyncio.sleep(0)
        at = time.monotonic()
        await world.driver.close(keep_session=keep_session)
        assert connection.closes[0][0] == code
        assert connection.aborted_at is None
        assert STEP_S <= time.monotonic() - at < 2 * STEP_S
        assert world.driver.status is State.STOPPED
        assert world.driver.error is None
        assert (world.driver.session is not None) is keep_session
        with pytest.raises(SessionLost):
            await sending
        assert world.host.story[-1] == ("stopped", 3, None)
        assert len(world.dials) == 1
        if not keep_session:
            assert ("ended", 3) in world.host.story

    play(script)


@pytest.mark.parametrize(
    ("never_ends", "took_s"), [(False, 3.0), (True, 5.0)], ids=["aborted", "given up"]
)
def test_close_lets_the_deadlines_of_the_connection_run(play, never_ends, took_s):
    """close_s until the abort, tls_shutdown_s until it counts as ended."""

    async def script(world):
        connection = await world.ready()
        world.never_closes, world.never_ends = True, never_ends
        at = time.monotonic()
        await world.driver.close()
        assert connection.aborted_at == at + 3.0
        assert time.monotonic() - at == took_s
        assert world.driver.status is State.STOPPED

    play(script)


@pytest.mark.parametrize(("settle_s", "took_s"), [(0.5, 0.5), (2.5, 2.5), (None, 4.0)])
def test_close_waits_until_the_socket_is_gone(play, settle_s, took_s):
    """So long as close_s and a second: the loop may end right after it."""

    async def script(world):
        await world.ready()
        world.settle_s = settle_s
        at = time.monotonic()
        await world.driver.close()
        assert time.monotonic() - at == pytest.approx(took_s + STEP_S, abs=0.05)

    play(script)


def test_sockets_of_earlier_connections_are_waited_for_as_well(play):
    """They are on their way out while the next one lives; one that is gone is not."""

    async def script(world):
        await world.ready()
        world.settle_s = 3.0
        cut(world)
        await world.ready()
        world.settle_s = 0.0
        at = time.monotonic()
        await world.driver.close()
        assert time.monotonic() - at > 1.0

    play(script)


@pytest.mark.parametrize("when", ["connecting", "waiting for a turn", "waiting for its time"])
def test_close_does_not_wait_where_there_is_no_connection(play, when):
    """Nothing is there to be closed."""

    async def script(world):
        if when == "connecting":
            world.opens_s = 15.0
        elif when == "waiting for a turn":
            held = await world.queue.acquire(5)
        else:
            world.refusals = [ConnectFailed("no") for _ in range(6)]
        world.driver.start()
        if when == "waiting for its time":
            await world.until(lambda: not world.refusals)
        await asyncio.sleep(1.0)
        at = time.monotonic()
        await world.driver.close()
        assert time.monotonic() == at
        assert world.driver.status is State.STOPPED
        if when == "waiting for a turn":
            held.release()
        (await asyncio.wait_for(world.queue.acquire(3), 10.0)).release()

    play(script)


@pytest.mark.parametrize("keeps_sessions", [True, False])
def test_a_task_that_is_cancelled_stops_the_shard(play, keeps_sessions):
    """Its loop ends; whether the session is kept is its host's to say."""

    async def script(world):
        await world.ready()
        world.host.keeps_sessions = keeps_sessions
        world.driver._owner._task.cancel()
        await world.until(lambda: world.host.story[-1][0] == "stopped")
        assert world.driver.status is State.STOPPED
        assert world.connection.has_ended
        assert (world.driver.session is not None) is keeps_sessions

    play(script, timeouts=Timeouts())
