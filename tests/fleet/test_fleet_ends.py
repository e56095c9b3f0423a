"""A fleet without sockets, in invented time: how it ends, whoever wants that."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from fake_dial import STEP_S, until
from fake_fleet import FleetWorld, Store
from invented_time import run_in_invented_time

from fastgw.connection.websocket import CloseInfo
from fastgw.errors import DisallowedIntents, Interrupted, UsageError
from fastgw.fleet.fleet import Phase
from fastgw.protocol.states import State
from fastgw.words import Initiator


def watches():
    """Count the threads that look whether a loop keeps up."""
    return sum(thread.name == "fastgw loop watch" for thread in threading.enumerate())


# ---------------------------------------------------------------------------- close


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize("end_session", [True, False, None])
def test_a_close_keeps_the_sessions_that_can_be_kept(live, is_durable, end_session):
    """Unless it is told otherwise; a session in memory ends with its process."""

    async def script(world):
        assert world.fleet.keeps_sessions is False
        await world.ready()
        assert world.fleet.keeps_sessions is is_durable
        await world.fleet.close(end_session)
        is_kept = is_durable if end_session is None else not end_session
        for service in world.services.values():
            assert service.connection.closes[0][0] == (4000 if is_kept else 1000)
        assert (("forget", 0) in world.store.asked) is not is_kept

    live(script, store=Store(is_durable=is_durable))


def test_the_steps_of_the_end(live):
    """Shards, then iterators, then handlers, then the store; CLOSED when all is done."""

    async def script(world):
        fleet, story, handling = world.fleet, [], asyncio.Event()

        async def handle(argument):
            handling.set()
            try:
                await asyncio.sleep(3.0)
            finally:
                story.append("handled")

        async def close_store():
            story.append(f"store, {fleet.phase.value}")

        world.store.on_close = close_store
        world.handlers.at_end(lambda: story.append("no event comes"))
        await world.ready()
        before = watches()
        world.handlers.call(handle, None)
        await handling.wait()
        at = time.monotonic()
        closing = asyncio.ensure_future(fleet.close())
        await asyncio.sleep(STEP_S / 2)
        assert fleet.phase is Phase.CLOSING
        await closing
        assert time.monotonic() - at == 3.0
        assert all(service.connection.has_ended for service in world.services.values())
        assert story == ["no event comes", "handled", "store, closing"]
        assert fleet.phase is Phase.CLOSED
        assert watches() == before - 1

    live(script)


def test_handlers_have_so_long_and_no_longer(live):
    """Then they are cut short."""

    async def script(world):
        begun, ended = asyncio.Event(), []

        async def handle(argument):
            begun.set()
            try:
                await asyncio.sleep(1e6)
            finally:
                ended.append(time.monotonic())

        await world.ready()
        world.handlers.call(handle, None)
        await begun.wait()
        at = time.monotonic()
        await world.fleet.close()
        assert ended == [at + STEP_S + 7.0]

    live(script, drain_s=7.0)


def test_a_handler_that_closes_is_not_waited_for(live):
    """It waits itself."""

    async def script(world):
        async def handle(argument):
            await world.fleet.close()

        await world.ready()
        world.handlers.call(handle, None)
        at = time.monotonic()
        await world.fleet.wait_closed()
        assert time.monotonic() - at < 1.0

    live(script)


def test_a_second_close_waits_for_the_first(live):
    """Which said what becomes of the sessions."""

    async def script(world):
        await world.ready()
        closing = asyncio.ensure_future(world.fleet.close(False))
        await asyncio.sleep(0)
        await world.fleet.close(True)
        assert world.fleet.phase is Phase.CLOSED
        await closing
        assert world.store.asked.count("close") == 1
        assert world.services[0].connection.closes[0][0] == 4000
        await world.fleet.close()
        assert world.store.asked.count("close") == 1

    live(script)


def test_a_close_goes_on_although_nobody_waits_for_it(live):
    """Half of an end would be none."""

    async def script(world):
        await world.ready()
        closing = asyncio.ensure_future(world.fleet.close())
        await asyncio.sleep(0)
        closing.cancel()
        await world.fleet.wait_closed()
        assert world.store.asked[-1] == "close"

    live(script)


def test_a_close_without_a_start_is_the_end(live):
    """Iterators end, and nobody waits for anything."""

    async def script(world):
        told = []
        world.handlers.at_end(lambda: told.append("no event comes"))
        await world.fleet.close()
        assert world.fleet.phase is Phase.CLOSED
        assert told == ["no event comes"]
        await world.fleet.wait_closed()
        assert world.store.asked == []

    live(script)


def test_a_close_after_its_loop_has_ended_lets_go_of_the_rest(monkeypatch):
    """Of the store and of the thread that watches; once, and from any loop."""
    store = Store()

    async def begin():
        monkeypatch.setattr(time, "monotonic", asyncio.get_running_loop().time)
        world = FleetWorld(monkeypatch, store=store)
        await world.ready()
        for shard_id in (0, 1):
            await world.fleet.stop_shard(shard_id)
        return world.fleet

    async def end():
        seen = []

        async def close_store():
            seen.append(fleet.phase)

        store.on_close = close_store
        await fleet.close()
        await fleet.close()
        await fleet.wait_closed()
        assert seen == [Phase.CLOSING]

    before = watches()
    fleet = run_in_invented_time(begin())
    run_in_invented_time(end())
    assert fleet.phase is Phase.CLOSED
    assert store.asked.count("close") == 1
    assert watches() == before


def test_an_error_of_our_own_does_not_hold_up_the_end(live, own_errors):
    """Each step is taken, whatever becomes of the others."""

    async def script(world):
        await world.ready()

        def broken():
            raise ValueError("a bug")

        world.fleet._question.stop = broken
        await world.fleet.close()
        assert world.fleet.phase is Phase.CLOSED
        assert world.store.asked[-1] == "close"
        for driver in world.fleet._roster.drivers.values():
            await driver.close()

    live(script)
    assert len(own_errors) == 1
    own_errors.clear()


def test_metrics_are_served_from_the_start_to_the_end(live, monkeypatch):
    """Also while the API is asked; of the shards that are here."""

    class Endpoint:
        def __init__(self, host, port, document):
            story.append((host, port))
            documents.append(document)

        def close(self):
            story.append("closed")

    story, documents = [], []

    async def script(world):
        monkeypatch.setattr("fastgw.metrics.endpoint.Endpoint", Endpoint)
        starting = asyncio.ensure_future(world.fleet.start())
        await asyncio.sleep(STEP_S / 2)
        assert story == [("127.0.0.1", 9000)]
        assert documents[0]()["shards"] == []
        await starting
        shown = documents[0]()
        assert ([one["shard_id"] for one in shown["shards"]], shown["shard_count"]) == ([0, 1], 2)
        await world.fleet.close()
        assert story[1:] == ["closed"]

    live(script, info=None, metrics=("127.0.0.1", 9000))


# ---------------------------------------------------------------------------- a handler wants it


def test_an_interrupt_of_a_handler_is_the_end(live):
    """The first of them is the reason, with what was raised as its cause."""

    async def script(world):
        await world.ready()
        stop = SystemExit(3)
        world.fleet.interrupted(stop)
        world.fleet.interrupted(KeyboardInterrupt())
        with pytest.raises(Interrupted, match="raised SystemExit") as caught:
            await world.fleet.wait_closed()
        assert caught.value.__cause__ is stop
        assert world.services[0].connection.closes[0][0] == 1000

    live(script)


def test_what_all_shards_need_and_cannot_have_is_the_end(live):
    """A publisher finds that nothing can ever be published."""

    async def script(world):
        await world.ready()
        error = UsageError("nowhere to publish")
        world.fleet.refuse(error)
        with pytest.raises(UsageError, match="nowhere"):
            await asyncio.wait_for(world.fleet.wait_closed(), 10.0)

    live(script)


def test_with_no_patience_left_an_interrupt_goes_through(live):
    """No event is handed out any more, and no handler begins."""

    async def script(world):
        tasks, goes_on, begun = world.handlers.tasks, asyncio.Event(), []

        async def handle(argument):
            begun.append(argument)
            await goes_on.wait()

        await world.ready()
        lane = tasks.lane(handle, bound=1, is_ledgered=False)
        for argument in (1, 2):
            tasks.take(lane, argument, (argument,))
        world.fleet.force()
        goes_on.set()
        await asyncio.sleep(1.0)
        assert begun == [1]
        assert all(service.connection.is_deaf for service in world.services.values())
        with pytest.raises(KeyboardInterrupt):
            world.fleet.interrupted(KeyboardInterrupt())
        assert world.fleet.phase is Phase.RUNNING

    live(script)


# ---------------------------------------------------------------------------- its reason


def test_the_same_error_is_raised_again_without_growing(live):
    """Whoever waits adds frames to its traceback, and the next one begins with the first."""

    def depth(error):
        found, frame = 0, error.__traceback__
        while frame is not None:
            found, frame = found + 1, frame.tb_next
        return found

    async def script(world):
        await world.ready()
        for shard_id in (0, 1):
            world.services[shard_id].connection.end(CloseInfo(4014, "no", Initiator.SERVICE))
        depths = []
        for wait in (world.fleet.wait_closed, world.fleet.wait_ready) * 3:
            with pytest.raises(DisallowedIntents) as caught:
                await wait()
            depths.append(depth(caught.value))
        assert depths == depths[:2] * 3

    live(script)


def test_an_interrupt_while_it_closes_is_its_reason(live):
    """The program is to end by what a handler raised, whoever else wanted its end."""

    async def script(world):
        await world.ready()
        world.services[0].never_closes = True
        closing = asyncio.ensure_future(world.fleet.close())
        await until(lambda: world.fleet.shard(1).status is State.STOPPED)
        world.fleet.interrupted(SystemExit(1))
        await closing
        with pytest.raises(Interrupted):
            await world.fleet.wait_closed()

    live(script)
