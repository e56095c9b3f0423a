"""A fleet without sockets, in invented time: how it starts, and who waits for that."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from fake_dial import STEP_S, until
from fake_fleet import LeasingStore, Store

from fastgw.connection.websocket import CloseInfo
from fastgw.errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    DisallowedIntents,
    IdentifyBudgetSpent,
    UsageError,
)
from fastgw.fleet.fleet import Phase
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.ports import Occupied
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.words import Initiator


async def soon(work):
    """Begin a piece of work, and let it come to its first wait."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(STEP_S / 2)
    return task


# ---------------------------------------------------------------------------- the way up


def test_the_way_up(live):
    """All shards of the API's number connect; the store is asked once, and told of each READY."""

    async def script(world):
        fleet = world.fleet
        assert (fleet.phase, fleet.shards, fleet.shard_count) == (Phase.NEW, (), 0)
        assert not fleet.was_ready
        await fleet.start()
        assert fleet.phase is Phase.RUNNING
        assert [shard.id for shard in fleet.shards] == [0, 1]
        assert (fleet.shard_count, fleet.shard(1).count) == (2, 2)
        waiting = await soon(fleet.wait_ready())
        assert not waiting.done()
        await asyncio.wait_for(waiting, 5.0)
        assert fleet.progress().ready == 2
        assert fleet.was_ready
        assert {change.shard.id for change in world.changes} == {0, 1}
        assert world.store.asked[:2] == ["open", ("take", (0, 1), 2)]
        assert sorted(world.store.asked[2:]) == [("save", 0), ("save", 1)]
        assert fleet.health().identify_budget.remaining == 998
        seen = fleet.stats().events["READY"]
        assert (seen.seen, seen.filtered, seen.dropped) == (2, 0, 0)
        assert world.asked == []

    live(script)


@pytest.mark.parametrize(
    ("options", "ids", "count"),
    [
        ({"shard_ids": (2, 3), "shard_count": 8}, [2, 3], 8),
        ({"shard_ids": (0,)}, [0], 1),
    ],
)
def test_shards_that_were_named_are_not_the_recommended_ones(live, options, ids, count):
    """Of how many is named with them; before anybody was asked that is all that is known."""

    async def script(world):
        assert world.fleet.shard_count == options.get("shard_count", 0)
        await world.fleet.start()
        assert [shard.id for shard in world.fleet.shards] == ids
        assert world.fleet.shard_count == count

    live(script, **options)


def test_who_starts_the_process_says_what_it_is_there_for(live):
    """Until it is started; also whom the API's answer comes from."""

    def fill_in(options):
        return options._replace(shard_ids=(5,), shard_count=8, info=GatewayInfo("wss://other"))

    async def script(world):
        world.fleet.place(fill_in)
        await world.ready()
        assert [shard.id for shard in world.fleet.shards] == [5]
        assert world.services[5].dials[0].url.startswith("wss://other/")
        assert world.asked == []
        with pytest.raises(UsageError, match="before start"):
            world.fleet.place(fill_in)

    live(script, info=None)


def test_a_second_start_is_refused(live):
    """Whatever became of the first; nothing of it is disturbed."""

    async def script(world):
        world.fleet.check_new()
        await world.ready()
        with pytest.raises(UsageError, match="works once, and this gateway is running"):
            await world.fleet.start()
        assert world.fleet.phase is Phase.RUNNING
        assert world.store.asked.count("open") == 1
        await world.fleet.close()
        with pytest.raises(UsageError, match="is closed; make a new"):
            world.fleet.check_new()

    live(script)


@pytest.mark.parametrize("is_durable", [True, False])
def test_who_may_refuse_the_shards_is_asked_first(live, is_durable):
    """With whether the sessions of what it takes are stored."""

    async def may_take(is_durable):
        asked.append(is_durable)
        raise Occupied("not yet")

    asked = []

    async def script(world):
        with pytest.raises(Occupied):
            await world.fleet.start()
        assert asked == [is_durable]
        assert world.store.asked == ["open", "close"]
        assert world.fleet.phase is Phase.CLOSED

    live(script, may_take=may_take, store=Store(is_durable=is_durable))


def test_a_publisher_is_there_before_the_first_shard(live):
    """It subscribes to what it wants; no event may pass it by."""

    class Publisher:
        async def open(self, handlers, shards):
            opened.append((handlers, shards.ids))

    opened = []

    async def script(world):
        await world.fleet.start()
        assert opened == [(world.handlers, [])]

    live(script, publish=Publisher())


# ---------------------------------------------------------------------------- it does not start


def test_a_start_that_fails_closes_the_store_and_is_the_end(live):
    """Nobody else could run the shards; who waits is told the reason."""

    async def script(world):
        world.store.refusal = Occupied("somebody else has it")
        with pytest.raises(Occupied):
            await world.fleet.start()
        assert world.store.asked[-1] == "close"
        assert world.fleet.phase is Phase.CLOSED
        for wait in (world.fleet.wait_closed, world.fleet.wait_ready):
            with pytest.raises(Occupied):
                await wait()

    live(script)


def test_a_start_that_is_cancelled_is_an_end_without_a_reason(live):
    """Whoever waits for the end sees it, and no CancelledError that is not theirs."""

    async def script(world):
        world.api = [None]
        starting = await soon(world.fleet.start())
        waiting = await soon(world.fleet.wait_closed())
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await waiting
        assert world.fleet.phase is Phase.CLOSED

    live(script, info=None)


def test_what_the_api_refuses_is_the_end(live):
    """It was asked with the token, once; no shard is there."""

    async def script(world):
        world.api = [AuthenticationFailed("no")]
        starting = await soon(world.fleet.start())
        assert world.fleet.phase is Phase.STARTING
        waiting = await soon(world.fleet.wait_ready())
        with pytest.raises(AuthenticationFailed):
            await starting
        with pytest.raises(AuthenticationFailed):
            await waiting
        assert (len(world.asked), world.dials()) == (1, 0)
        assert world.store.asked == []

    live(script, info=None)


@pytest.mark.parametrize("when", ["the API is asked", "the API answers"])
def test_a_close_while_the_api_is_asked_ends_the_question(live, when):
    """Also where the answer comes at the same moment."""

    async def script(world):
        if when == "the API is asked":
            world.api = [None]
        starting = asyncio.ensure_future(world.fleet.start())
        await asyncio.sleep(STEP_S if when == "the API answers" else 1.0)
        closing = asyncio.ensure_future(world.fleet.close())
        with pytest.raises(UsageError, match="closed while it was starting"):
            await starting
        await closing
        assert world.fleet.phase is Phase.CLOSED
        assert world.store.asked == []
        await world.fleet.wait_closed()

    live(script, info=None)


@pytest.mark.parametrize("where", ["may_take", "publish", "the store"])
def test_a_close_on_the_way_lets_nothing_begin(live, where):
    """What was taken is let go of; what comes next in the start is not asked any more."""

    class Publisher:
        async def open(self, handlers, shards):
            story.append("publish")
            await closed("publish")

    async def may_take(is_durable):
        story.append("may_take")
        await closed("may_take")

    async def closed(here):
        if here == where:
            closing.append(asyncio.ensure_future(fleet[0].close()))
            await asyncio.sleep(STEP_S)

    story, closing, fleet = [], [], []

    async def script(world):
        fleet.append(world.fleet)
        world.store.on_take = lambda: closed("the store")
        with pytest.raises(UsageError, match="closed while it was starting"):
            await world.fleet.start()
        await closing[0]
        assert world.fleet.phase is Phase.CLOSED
        assert story == ["may_take", "publish"][: 1 if where == "may_take" else 2]
        taken = [one for one in world.store.asked if one[0] == "take"]
        assert len(taken) == (where == "the store")
        assert world.store.asked[-1] == "close"
        assert world.dials() == 0

    live(script, may_take=may_take, publish=Publisher())


# ---------------------------------------------------------------------------- who waits for READY


def test_waiting_before_the_start_is_refused(live):
    """It would be for ever."""

    async def script(world):
        for wait in (world.fleet.wait_ready, world.fleet.wait_closed):
            with pytest.raises(UsageError, match="not started"):
                await wait()

    live(script)


def test_who_waits_only_so_long_is_told_what_is_missing(live):
    """The error of a shard that has one, else which are not there yet."""

    async def script(world):
        world.services[1].mute = {Opcode.IDENTIFY}
        await world.fleet.start()
        with pytest.raises(ConnectTimeout, match=r"after 5\.0 s: 1 of 2 shards \(<Shard 1/2 ident"):
            await world.fleet.wait_ready(5.0)
        assert time.monotonic() == 5.0
        world.services[1].refusals = [ConnectFailed("no way") for _ in range(9)]
        world.services[1].connection.end()
        with pytest.raises(ConnectFailed, match="no way"):
            await world.fleet.wait_ready(5.0)

    live(script)


def test_who_waits_while_the_api_is_down_is_told_that(live):
    """There is no shard yet that could say it."""

    async def script(world):
        world.api = [ConnectFailed("it is down"), None]
        starting = await soon(world.fleet.start())
        with pytest.raises(ConnectFailed, match="it is down"):
            await world.fleet.wait_ready(5.0)
        starting.cancel()
        await asyncio.wait([starting])

    live(script, info=None)


def test_who_waits_while_the_budget_is_spent_is_told_until_when(live):
    """Not that some shards are missing."""

    class Spent:
        def budget(self):
            return None

        async def acquire(self, shard_id):
            raise IdentifyBudgetSpent("spent", free_at=1e12, remaining=0, total=1000, reserve=50)

    async def script(world):
        await world.fleet.start()
        with pytest.raises(IdentifyBudgetSpent) as caught:
            await world.fleet.wait_ready(5.0)
        assert caught.value.free_at == 1e12

    live(script, identify_queue=Spent())


def test_who_waits_is_woken_by_the_end(live):
    """With its reason; a close by the program is one, too."""

    async def script(world):
        world.services[0].mute = world.services[1].mute = {Opcode.IDENTIFY}
        world.services[0].never_closes = True
        await world.fleet.start()
        await until(lambda: world.services[0].count(Opcode.IDENTIFY))
        waiting = await soon(world.fleet.wait_ready())
        closing = await soon(world.fleet.close())
        assert (waiting.done(), world.fleet.phase) == (True, Phase.CLOSING)
        for one in (waiting, world.fleet.wait_ready()):
            with pytest.raises(UsageError, match="closed before it was ready"):
                await one
        await closing
        with pytest.raises(UsageError, match="closed before it was ready"):
            await world.fleet.wait_ready()

    live(script)


def test_a_shard_that_is_refused_wakes_who_waits(live):
    """The others go on, but all of them will never be READY."""

    async def script(world):
        world.services[1].mute = {Opcode.IDENTIFY}
        world.services[0].refusals = [CertificateRefused("not trusted")]
        world.services[0].opens_s = 5.0
        await world.fleet.start()
        waiting = await soon(world.fleet.wait_ready())
        await until(lambda: world.fleet.shard(0).status is State.STOPPED)
        with pytest.raises(CertificateRefused):
            await asyncio.wait_for(waiting, 1.0)
        assert world.fleet.phase is Phase.RUNNING

    live(script)


# ---------------------------------------------------------------------------- where it lives


def elsewhere(work):
    """Return the error of a coroutine function in another thread with a loop of its own."""
    errors = []

    def run():
        try:
            asyncio.run(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10.0)
    return errors[0]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("start", ()), ("wait_ready", ()), ("wait_closed", ()), ("close", ()), ("stop_shard", (0,)),
        ("start_shard", (0,)), ("reconnect_shard", (0,)), ("set_presence", ({}, None)),
    ],
)  # fmt: skip
def test_other_loops_are_refused(live, name, arguments):
    """At once, and nothing is touched."""

    async def script(world):
        method = getattr(world.fleet, name)

        async def work():
            if (found := method(*arguments)) is not None:
                await found

        if name == "start":
            world.fleet.home.enter("on")
        else:
            await world.ready()
        assert f"{name}() was called in another thread" in str(elsewhere(work))
        await asyncio.sleep(1.0)
        assert world.fleet.phase is (Phase.NEW if name == "start" else Phase.RUNNING)
        assert world.dials() == (0 if name == "start" else 2)
        assert world.services[0].count(Opcode.PRESENCE_UPDATE) == 0

    live(script)


# ---------------------------------------------------------------------------- leases


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_shard_whose_lease_is_over_leaves_and_comes_back(live, is_shared):
    """Where somebody else says which shards run where, that one brings it back."""

    async def script(world):
        await world.ready()
        world.store.over = [1]
        await until(lambda: world.fleet.shard(1) is None)
        await asyncio.sleep(5.0)
        assert (world.fleet.shard(1) is None) is is_shared
        takes = [one for one in world.store.asked if one[0] == "take"]
        assert takes == [("take", (0, 1), 2), ("take", (1,), 2)][: 1 if is_shared else 2]
        assert world.services[1].dials[0].connection.closes[0][0] == 4000

    live(script, store=LeasingStore(), is_shared=is_shared)


def test_a_shard_that_waits_to_come_back_may_be_stopped(live):
    """It is asked for no more; where only refused ones are left, that is the end."""

    async def script(world):
        await world.ready()
        world.store.refusal = Occupied("another's")
        world.store.over = [1]
        await until(lambda: world.store.asked.count(("take", (1,), 2)) == 2)
        world.services[0].connection.end(CloseInfo(4014, "no", Initiator.SERVICE))
        await asyncio.sleep(5.0)
        assert world.fleet.phase is Phase.RUNNING
        await world.fleet.stop_shard(1)
        asked = len(world.store.asked)
        with pytest.raises(DisallowedIntents):
            await asyncio.wait_for(world.fleet.wait_closed(), 1.0)
        assert ("take", (1,), 2) not in world.store.asked[asked:]

    live(script, store=LeasingStore())


def test_a_lease_that_ended_before_the_close_leaves_the_session(live):
    """A process that was frozen looks once more; the shard may be another process's by now."""

    async def script(world):
        await world.ready()
        world.store.over = [1]
        await world.fleet.close(end_session=True)
        codes = [world.services[i].connection.closes[0][0] for i in (0, 1)]
        assert codes == [1000, 4000]

    live(script, store=LeasingStore())
