"""A fleet without sockets, in invented time: while it runs, and single shards of it."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace

import pytest
from fake_dial import STEP_S, until
from fake_fleet import Store

from fastgw.connection.websocket import CloseInfo
from fastgw.delivery.ledger import Delivery
from fastgw.delivery.overdue import Overdue
from fastgw.errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    DisallowedIntents,
    InvalidIntents,
    SessionLost,
    ShardNotHere,
    UsageError,
)
from fastgw.fleet.commands.members import MemberQuery
from fastgw.fleet.fleet import Phase
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.ports import Occupied
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.words import Initiator


def refuse(world, shard_id, code=4014):
    """Let the service refuse a shard for good."""
    world.services[shard_id].connection.end(CloseInfo(code, "no", Initiator.SERVICE))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# ---------------------------------------------------------------------------- once a second


def test_the_store_is_told_how_far_each_shard_is(live):
    """About once a second."""

    async def script(world):
        await world.ready()
        world.services[1].connection.dispatch("MESSAGE_CREATE")
        await asyncio.sleep(5.0)
        assert world.store.sequences == {1: 2}  # the other is where its READY left it
        assert 5 <= world.store.notes <= 6

    live(script)


async def members_asked_for(world):
    """Ask for members of a guild of shard 1; return the task that waits for them."""
    query = MemberQuery(7, 1, {"guild_id": "7", "user_ids": ["1"]}, None, True)

    async def ask():
        return [chunk async for chunk in world.fleet.members.chunks(query)]

    asking = asyncio.ensure_future(ask())
    await until(lambda: world.services[1].count(Opcode.REQUEST_GUILD_MEMBERS))
    return asking


def test_a_session_that_is_over_is_removed_from_the_store(live):
    """And who waits for its members hears that none will come."""

    async def script(world):
        await world.ready()
        asking = await members_asked_for(world)
        world.services[1].connection.serve(Opcode.INVALID_SESSION, False)
        with pytest.raises(SessionLost, match="session of shard 1 was lost"):
            await asking
        assert ("forget", 1) in world.store.asked

    live(script)


def test_who_waits_for_members_of_a_shard_that_stops_is_told(live):
    """Also when nothing was asked for yet."""

    async def script(world):
        await world.ready()
        asking = await members_asked_for(world)
        await world.fleet.stop_shard(1)
        with pytest.raises(SessionLost, match="shard 1 stopped"):
            await asking

    live(script, store=Store(is_durable=True))


def test_a_machine_that_slept_shows_in_its_clocks(live, monkeypatch):
    """All shards look at them: their connections are dead, however quiet they are."""

    async def script(world):
        await world.ready()
        await asyncio.sleep(2.0)
        monkeypatch.setattr(time, "time", lambda real=time.time: real() + 1_000.0)
        await asyncio.sleep(1.5)
        for stats in world.fleet.stats().shards:
            assert stats.reconnects == {Cause.SLEPT.value: 1}

    live(script)


def test_shards_that_do_not_come_back_are_told_of(live, caplog):
    """Once for all of them, and when they are back; not one that was taken out."""

    async def script(world):
        await world.ready()
        for shard_id in (0, 1):
            world.services[shard_id].refusals = [ConnectFailed("no way") for _ in range(99)]
            world.services[shard_id].connection.end()
        await world.fleet.stop_shard(0)
        await asyncio.sleep(100.0)
        [said] = warnings(caplog)
        assert said.startswith("shard 1 has been away")
        assert said.endswith("no way")
        world.services[1].refusals.clear()
        await asyncio.sleep(100.0)
        assert "back after" in warnings(caplog)[-1]

    live(script)


def test_a_shard_on_its_way_out_is_not_told_of(live, caplog):
    """Its failures are nobody's concern any more, while its connection is being closed."""

    async def script(world):
        await world.ready()
        await asyncio.sleep(1.0 - time.monotonic() % 1.0)
        world.services[1].refusals = [ConnectFailed("no way") for _ in range(3)]
        world.services[1].connection.end()
        await world.all_ready()
        world.services[1].never_closes = True
        await world.fleet.stop_shard(1)
        assert world.fleet.stats().shards[0].connections == 1
        assert warnings(caplog) == []

    live(script, backoff_s=(0.01, 0.01))


def test_connections_with_large_buffers_are_replaced(live):
    """By RESUME, where that was asked for."""

    async def script(world):
        await world.ready()
        await asyncio.sleep(25.0)
        assert [stats.resumes_won for stats in world.fleet.stats().shards] == [1, 1]

    live(script, relief_bytes=4_000)


def test_handlers_that_hold_up_the_store_are_named(live, caplog):
    """Where it is told what was handled."""

    class Handled(Store):
        acknowledge = "handled"

    async def script(world):
        clock = asyncio.get_running_loop().time
        world.handlers._overdue = Overdue(world.handlers.ledgers, clock=clock)
        await world.ready()
        event = SimpleNamespace(sequence=2, message_bytes=100, shard_id=1, received_at=clock())
        slow = SimpleNamespace(name="slow()")
        Delivery(slow, event, (), world.handlers.ledgers[1]).open()
        await asyncio.sleep(100.0)
        assert "slow() has not finished event 2 of shard 1" in caplog.text

    live(script, store=Handled())


def test_a_main_url_that_keeps_failing_is_asked_for_again(live):
    """One shard is enough; all of them, and those that come later, go to the new one."""

    async def script(world):
        await world.ready()
        world.api = [GatewayInfo("wss://new", shards=2)]
        world.services[1].mute = {Opcode.RESUME}
        world.services[1].refusals = [ConnectFailed("no") for _ in range(6)]
        world.services[1].connection.serve(Opcode.INVALID_SESSION, False)
        await until(lambda: not world.services[1].refusals, 10_000.0)
        await world.all_ready()
        assert len(world.asked) > 1
        assert world.services[1].dials[-1].url.startswith("wss://new/")
        await world.fleet.stop_shard(0)
        await world.fleet.start_shard(0)
        await world.all_ready()
        assert world.services[0].dials[-1].url.startswith("wss://new/")

    live(script, info=None)


def test_who_named_the_url_does_not_want_it_asked_for(live):
    """However often it fails."""

    async def script(world):
        await world.ready()
        world.services[1].refusals = [ConnectFailed("no") for _ in range(6)]
        world.services[1].connection.serve(Opcode.INVALID_SESSION, False)
        await until(lambda: not world.services[1].refusals, 10_000.0)
        assert world.asked == []

    live(script)


def test_a_close_ends_the_question_for_the_url(live):
    """Nothing of a fleet is left in its loop."""

    async def script(world):
        before = asyncio.all_tasks()
        await world.ready()
        world.api = [None]
        world.services[1].refusals = [ConnectFailed("no") for _ in range(9)]
        world.services[1].connection.serve(Opcode.INVALID_SESSION, False)
        await until(lambda: len(world.asked) > 1, 10_000.0)
        await world.fleet.close()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    live(script, info=None)


# ---------------------------------------------------------------------------- refused for good


def test_a_refused_shard_leaves_the_others_alone(live, caplog):
    """It is told; when the last one is refused the fleet ends with what came first."""

    async def script(world):
        await world.ready()
        refuse(world, 1)
        await until(lambda: world.fleet.shard(1).status is State.STOPPED)
        await asyncio.sleep(5.0)
        assert "shard 1 stopped for good" in caplog.text
        assert (world.fleet.phase, world.fleet.shard(0).status) == (Phase.RUNNING, State.READY)
        refuse(world, 0, 4013)
        with pytest.raises(DisallowedIntents):
            await world.fleet.wait_closed()
        assert isinstance(world.fleet.shard(0).health().last_error, InvalidIntents)

    live(script)


@pytest.mark.parametrize(
    ("code", "error", "options"),
    [(4004, AuthenticationFailed, {}), (4014, DisallowedIntents, {"on_fatal": "stop"})],
)
def test_some_refusals_are_the_end_for_all(live, code, error, options):
    """A token is that of all shards; other refusals are where the program wants it so."""

    async def script(world):
        await world.ready()
        refuse(world, 1, code)
        with pytest.raises(error):
            await world.fleet.wait_closed()
        assert world.services[0].connection.closes[0][0] == 1000

    live(script, **options)


def test_a_shard_that_ends_without_an_error_is_no_refusal(live):
    """A publisher stopped it: it is another process's now."""

    async def script(world):
        await world.ready()
        await world.fleet.running(1).close(keep_session=True)
        await asyncio.sleep(1.0)
        assert (world.fleet.phase, world.fleet.shard(0).status) == (Phase.RUNNING, State.READY)
        await world.fleet.running(0).close(keep_session=True)
        await world.fleet.wait_closed()

    live(script, on_fatal="stop")


def test_what_never_worked_is_a_mistake_and_what_has_is_a_bad_moment(live):
    """A certificate that is not trusted ends a fleet that was never READY, and no other."""

    async def script(world):
        world.services[1].opens_s = 5.0
        world.services[1].refusals = [CertificateRefused("not trusted")]
        world.services[2].refusals = [CertificateRefused("not trusted")]
        await world.fleet.start()
        await until(lambda: len(world.services[1].dials) == 2)
        await world.all_ready()

    live(script)

    async def script_of_first(world):
        for shard_id in (0, 1):
            world.services[shard_id].refusals = [CertificateRefused("not trusted")]
        await world.fleet.start()
        with pytest.raises(CertificateRefused):
            await world.fleet.wait_closed()

    live(script_of_first)


# ---------------------------------------------------------------------------- single shards


def test_a_shard_that_is_stopped_is_given_back(live):
    """When its socket is gone; nobody else is disturbed, and the last may leave as well."""
    told = []

    async def script(world):
        await world.ready()
        world.services[1].settle_s = 2.0
        at = time.monotonic()
        await world.fleet.stop_shard(1)
        assert time.monotonic() - at == 2.0 + STEP_S
        assert world.store.asked[-1] == ("release", (1,))
        assert world.fleet.shard(1) is None
        assert told == [1]
        with pytest.raises(ShardNotHere):
            world.fleet.running_shard(1)
        with pytest.raises(ShardNotHere):
            await world.fleet.stop_shard(1)
        assert told == [1]
        assert world.fleet.running_shard(0).status is State.READY
        await world.fleet.stop_shard(0)
        await asyncio.sleep(1.0)
        assert world.fleet.phase is Phase.RUNNING
        await world.fleet.start_shard(0)
        await world.all_ready()

    live(script, stopped=told.append)


def test_who_waits_for_all_does_not_wait_for_one_that_left(live):
    """Those that are left are all."""

    async def script(world):
        world.services[1].mute = {Opcode.IDENTIFY}
        await world.fleet.start()
        waiting = asyncio.ensure_future(world.fleet.wait_ready())
        await until(lambda: world.fleet.progress().ready == 1)
        await asyncio.sleep(1.0)
        assert not waiting.done()
        stopping = asyncio.ensure_future(world.fleet.stop_shard(1))
        await asyncio.wait_for(waiting, STEP_S / 2)
        await stopping

    live(script)


@pytest.mark.parametrize("is_shared", [True, False])
def test_when_the_last_that_runs_is_taken_out_only_refused_ones_are_left(live, is_shared):
    """That is the end, unless somebody else brings shards."""

    async def script(world):
        await world.ready()
        refuse(world, 1)
        await asyncio.sleep(1.0)
        await world.fleet.stop_shard(0)
        await asyncio.sleep(1.0)
        assert world.fleet.phase is (Phase.RUNNING if is_shared else Phase.CLOSED)

    live(script, is_shared=is_shared)


def test_a_shard_that_stopped_for_good_may_be_started_again(live):
    """Its place in the store was kept until then."""

    async def script(world):
        await world.ready()
        await world.fleet.running(1).close()
        shard = await world.fleet.start_shard(1)
        assert shard is world.fleet.shard(1)
        assert world.store.asked[-2:] == [("release", (1,)), ("take", (1,), 2)]
        await world.all_ready()

    live(script)


@pytest.mark.parametrize("are_others_refused", [True, False])
def test_a_shard_that_the_store_does_not_give_is_not_there(live, are_others_refused):
    """Where all others have been refused, and waited for it, that is the end."""

    async def script(world):
        await world.ready()
        await world.fleet.stop_shard(1)
        gives = asyncio.Event()
        world.store.on_take, world.store.refusal = gives.wait, Occupied("another's")
        starting = asyncio.ensure_future(world.fleet.start_shard(1))
        await asyncio.sleep(1.0)
        if are_others_refused:
            refuse(world, 0)
            await asyncio.sleep(1.0)
        assert world.fleet.phase is Phase.RUNNING
        gives.set()
        with pytest.raises(Occupied):
            await starting
        await asyncio.sleep(1.0)
        assert world.fleet.phase is (Phase.CLOSED if are_others_refused else Phase.RUNNING)

    live(script)


def test_a_restart_that_the_store_refuses_leaves_nothing_behind(live):
    """The shard had stopped for good, and is gone; the end of the last other one is the end."""

    async def script(world):
        await world.ready()
        await world.fleet.running(0).close()
        world.store.refusal = Occupied("another's")
        with pytest.raises(Occupied):
            await world.fleet.start_shard(0)
        refuse(world, 1)
        with pytest.raises(DisallowedIntents):
            await asyncio.wait_for(world.fleet.wait_closed(), 10.0)

    live(script)


def test_no_shard_is_started_that_cannot_be(live):
    """Before the start, after the end, and one that the bot does not have."""

    async def script(world):
        with pytest.raises(UsageError, match="the gateway is not started"):
            await world.fleet.start_shard(0)
        await world.ready()
        with pytest.raises(UsageError, match="shard 2 is not one of 0 to 1"):
            await world.fleet.start_shard(2)
        with pytest.raises(UsageError, match="runs already"):
            await world.fleet.start_shard(1)
        await world.fleet.close()
        with pytest.raises(UsageError, match="the gateway is closed"):
            await world.fleet.start_shard(0)

    live(script)


def test_a_close_while_a_shard_is_started_keeps_it_away(live):
    """Who asked for it is told."""

    async def script(world):
        await world.ready()
        await world.fleet.stop_shard(1)
        gives = asyncio.Event()
        world.store.on_take = gives.wait
        starting = asyncio.ensure_future(world.fleet.start_shard(1))
        await asyncio.sleep(1.0)
        closing = asyncio.ensure_future(world.fleet.close())
        gives.set()
        with pytest.raises(UsageError, match="closed while shard 1 was starting"):
            await starting
        await closing
        assert len(world.services[1].dials) == 1

    live(script)


def test_reconnect_and_presence_go_to_shards(live):
    """One of them, or all."""

    async def script(world):
        await world.ready()
        world.fleet.reconnect_shard(1)
        await until(lambda: world.services[1].count(Opcode.RESUME))
        await world.all_ready()
        assert world.services[0].count(Opcode.RESUME) == 0
        idle = {"since": None, "activities": [], "status": "idle", "afk": False}
        world.fleet.set_presence(idle, [1])
        assert world.services[0].count(Opcode.PRESENCE_UPDATE) == 0
        assert world.services[1].sent[-1][1:] == (Opcode.PRESENCE_UPDATE, idle)

    live(script)
