"""The driver of a shard alone: acting meanwhile, errors of our own, and the end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_dial import STEP_S

from fastgw.connection.websocket import CloseInfo
from fastgw.errors import AuthenticationFailed, ConnectFailed, SessionLost
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.shard.link import Link
from fastgw.words import Initiator

IDLE = {"since": None, "activities": [], "status": "idle", "afk": False}


def cut(world):
    """Let the network end the connection."""
    world.connection.end()


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


def test_reconnect_may_ask_for_events_again(play):
    """Whoever lost some of them names the last one that it has."""

    async def script(world):
        connection = await world.ready()
        for _ in range(3):
            connection.dispatch("MESSAGE_CREATE")
        world.driver.reconnect(2)
        await world.ready()
        [(_, _, resume)] = [one for one in world.sent if one[1] == Opcode.RESUME]
        assert resume["seq"] == 2

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


def test_a_tick_that_fails_costs_the_connection(play, own_errors):
    """As any other step; the session goes on with the next one."""

    async def script(world):
        connection = await world.ready()
        connection.look = None
        world.driver.tick(time.monotonic(), 0.0)
        assert connection.has_ended
        await world.ready()
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


def test_an_attempt_that_fails_by_our_own_error_is_told_at_once(play, monkeypatch, own_errors):
    """Not when the next one begins: who counts failures would know nothing meanwhile."""

    async def broken(link, setup):
        raise ValueError("a bug")

    async def script(world):
        monkeypatch.setattr(Link, "run", broken)
        world.driver.start()
        await asyncio.sleep(0.1)
        assert world.host.changes[-1].new is State.DISCONNECTED

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


def test_close_gives_up_what_no_deadline_ends(play):
    """A second after both of them: an error of our own must not hold it up for ever."""

    async def script(world):
        await world.ready()
        world.never_closes = world.never_ends = True
        world.driver._alarm = SimpleNamespace(set=lambda at, now: None)
        at = time.monotonic()
        await world.driver.close()
        assert time.monotonic() - at == 6.0
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
        task = world.driver._owner._task
        task.cancel()
        await world.until(lambda: world.host.story[-1][0] == "stopped")
        await task  # and nothing failed on the way
        assert world.driver.status is State.STOPPED
        assert world.connection.has_ended
        assert (world.driver.session is not None) is keeps_sessions

    play(script, timeouts=Timeouts())
