"""The driver of a shard with a service in memory and invented time: up, and what is written."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

import pytest
from fake_dial import STEP_S

from fastgw.errors import ConnectFailed, NotCompressed, SessionLost
from fastgw.protocol.session import MAX_AGE_S, Session
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.shard.budget import MAX_ANSWERS
from fastgw.shard.compression import Compression

IDLE = {"since": None, "activities": [], "status": "idle", "afk": False}
DND = {**IDLE, "status": "dnd"}
STORED = Session("stored", 7, "wss://resume", shard_id=3, shard_count=8)


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


def test_each_attempt_is_told_when_it_begins(play):
    """Not when it has come up, which may never be."""

    async def script(world):
        world.opens_s = 5.0
        world.driver.start()
        await asyncio.sleep(1.0)
        assert [change.new for change in world.host.changes] == [State.CONNECTING]

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


def test_what_a_resume_brought_is_in_the_log(play, caplog):
    """How many events were replayed, and how many of them were known."""
    caplog.set_level("INFO")

    async def script(world):
        await world.ready()
        world.mute = {Opcode.RESUME}
        cut(world)
        await world.until(lambda: world.count(Opcode.RESUME))
        world.connection.sequence = 1
        world.connection.dispatch("MESSAGE_CREATE")
        world.connection.answer(Opcode.RESUME)
        assert "shard 3: resumed, 1 events replayed, 0 dropped as duplicates" in caplog.text

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


def test_identifies_that_come_to_nothing_wait_much_longer(play):
    """Each is one of the day's thousand: 10, 20 and 40 s at most; half of it here."""

    async def script(world):
        world.mute = {Opcode.IDENTIFY}
        world.driver.start()
        for n in range(4):
            await world.until(lambda n=n: world.count(Opcode.IDENTIFY) == n + 1)
            cut(world)
        at = [when for when, op, _ in world.sent if op == Opcode.IDENTIFY]
        waits = [round(later - earlier) for earlier, later in itertools.pairwise(at)]
        assert waits == [5, 10, 20]

    play(script)


def test_a_turn_is_told_when_identify_is_written(play):
    """Its key is taken from then on, and not by one that was never written."""

    class Turn:
        def written(self):
            seen.append(world_of[0].count(Opcode.IDENTIFY))

        def release(self):
            pass

    class Queue:
        async def acquire(self, shard_id):
            return Turn()

    seen, world_of = [], []

    async def script(world):
        world_of.append(world)
        await world.ready()
        assert seen == [1]

    play(script, gate=Queue())


def test_a_service_that_does_not_compress_is_not_asked_to_again(play):
    """Where the choice was ours; the URL of the next attempt says so."""

    async def script(world):
        world.refusals = [NotCompressed("text")]
        await world.ready()
        assert ["compress=" in dial.url for dial in world.dials] == [True, False]

    play(script, compression=Compression(None, shards=1))


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


def test_a_presence_that_identify_says_is_not_said_again(play):
    """It was set before there was a session."""

    async def script(world):
        world.driver.set_presence(replace(world.identity, presence=DND))
        await world.ready()
        assert world.sent[-1][2]["presence"] == DND
        assert world.count(Opcode.PRESENCE_UPDATE) == 0

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


def test_commands_that_waited_for_ready_leave_room_for_heartbeats(play):
    """A quick heart needs many slots; HELLO says how many, and it came before."""

    async def script(world):
        world.interval_ms, world.mute = 2_000, {Opcode.IDENTIFY}
        world.driver.start()
        await world.until(lambda: world.count(Opcode.IDENTIFY))
        sending = [
            asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, n, wait=True))
            for n in range(100)
        ]
        await asyncio.sleep(0)
        world.connection.answer(Opcode.IDENTIFY)
        assert world.count(4) == 120 - 31 - 1  # those of 60.5 s, and an answer
        await asyncio.gather(*sending)

    play(script)


def test_a_new_connection_has_a_budget_of_its_own(play):
    """The service counts anew."""

    async def script(world):
        await world.ready()
        room = world.driver.send_room(time.monotonic())
        for _ in range(5):
            await world.driver.send(b'{"op":4,"d":1}', 4, 1, wait=True)
        assert world.driver.send_room(time.monotonic()) == room - 5
        cut(world)
        await world.ready()
        assert world.driver.send_room(time.monotonic()) == room

    play(script)


def test_a_queue_that_fails_is_the_last_error(play):
    """Somebody else's, away for a while: the figures say why nothing happens."""

    class Away:
        async def acquire(self, shard_id):
            raise error

    error = ConnectionError("away")

    async def script(world):
        world.driver.start()
        await asyncio.sleep(0.1)
        assert world.driver.health(time.monotonic()).last_error is error
        assert world.dials == []

    play(script, gate=Away())


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
        assert world.driver.send_room(time.monotonic()) == before - MAX_ANSWERS

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


def test_heartbeats_go_on_time_while_commands_wait(play):
    """One timer is for both, and set to what comes first."""

    async def script(world):
        world.interval_ms = 10_000
        await world.ready()
        sending = [
            asyncio.ensure_future(world.driver.send(b'{"op":4,"d":1}', 4, n, wait=True))
            for n in range(200)
        ]
        await asyncio.gather(*sending)
        beats = [when for when, op, _ in world.sent if op == Opcode.HEARTBEAT]
        assert beats == [2 * STEP_S + 5.0 + 10.0 * n for n in range(len(beats))]
        assert len(beats) >= 6

    play(script)


def test_bytes_are_life_although_no_message_came(play):
    """A beat is judged by them."""

    async def script(world):
        connection = await world.ready()
        world.mute = {Opcode.HEARTBEAT}
        await asyncio.sleep(30.0)
        connection._bytes += 10_000
        world.mute = set()
        await asyncio.sleep(100.0)
        assert connection.is_open

    play(script)
