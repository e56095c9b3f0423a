"""The drain at the close: whom it waits for, when it is over, what counts as handled."""

import asyncio

import msgspec
import pytest
from deadline import scaled, until

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.limits import DeliveryLimits
from fastgw.words import Intents

LONG_S = 600.0  # of grace: who waits until its end has missed something


class Message(msgspec.Struct):
    content: str


async def drained(handlers):
    """Drain with much grace, and return what that says as soon as it is over."""
    return await asyncio.wait_for(handlers.tasks.drain(LONG_S), scaled(10.0))


async def test_it_is_over_with_the_last_handler(handlers, feed, caplog):
    """Not when the grace is, and it has nothing to say then."""
    gate = asyncio.Event()

    async def handler(event):
        await gate.wait()

    handlers.on(("A",), handler)
    feed("A")
    asyncio.get_running_loop().call_later(0.01, gate.set)
    assert await drained(handlers) == 0
    assert handlers.tasks.running == 0
    assert not caplog.records


async def test_another_one_waits_as_the_first_did(handlers, feed):
    """For what has begun since then."""
    ended = []

    async def handler(event):
        await asyncio.sleep(0.01)
        ended.append(event.sequence)

    handlers.on(("A",), handler)
    for sequence in (1, 2, 3):
        feed("A")
        assert await drained(handlers) == 0
        assert ended[-1] == sequence


async def test_events_that_no_handler_can_take_do_not_hold_it(feed_of):
    """They waited for their turn, and are no object of the handler's type."""
    handlers = Handlers(Intents.all(), limits=DeliveryLimits(running=2))
    feed, gate = feed_of(handlers), asyncio.Event()

    async def slow(event):
        await gate.wait()

    async def typed(message):
        raise AssertionError("nothing can be made of these")

    handlers.on(("A",), slow)
    handlers.on(("B",), typed, form=Message)
    for name in "AABB":
        feed(name)
    assert handlers.tasks.waiting == 2
    asyncio.get_running_loop().call_later(0.01, gate.set)
    assert await drained(handlers) == 0
    assert handlers.failures.counts == {"B": 2}
    assert handlers.ledgers[0].handled(4) == 4


@pytest.mark.parametrize("names", ["AA", "AB"], ids=["its own bound", "the bound of all"])
async def test_what_waits_behind_who_closes_does_not_hold_it(feed_of, caplog, names):
    """It could begin only when the drain is over, so the grace would be for nothing."""
    handlers = Handlers(Intents.all(), limits=DeliveryLimits(running=1 if "B" in names else 4))
    feed, begun, counts, left = feed_of(handlers), [], [], []

    async def closes(event):
        begun.append(event.sequence)
        await asyncio.sleep(0)  # it may have begun at once: the next event is still to come
        with handlers.tasks.caller_spared():
            counts.append(await drained(handlers))
        left.append(handlers.tasks.waiting)

    async def other(event):
        begun.append(event.sequence)

    handlers.on(("A",), closes, bound=1)
    handlers.on(("B",), other)
    for name in names:
        feed(name)
    await until(lambda: handlers.tasks.running == 0)
    assert (begun, counts, left) == ([1], [0], [0])
    assert handlers.ledgers[0].handled(2) == 1
    assert handlers.ledgers.bytes == 0
    assert caplog.records[-1].message == (
        "1 event waited behind handlers that wait for the close, and never reached its own"
    )


async def test_who_begins_to_wait_for_the_close_is_not_waited_for(handlers, feed):
    """It may have been draining for a while by then."""
    gate, closed = asyncio.Event(), asyncio.Event()

    async def waits(event):
        await gate.wait()
        with handlers.tasks.caller_spared():
            await closed.wait()

    handlers.on(("A",), waits)
    feed("A")
    asyncio.get_running_loop().call_later(0.01, gate.set)
    assert await drained(handlers) == 0
    closed.set()
    await until(lambda: handlers.tasks.running == 0)


async def test_who_waits_for_the_close_twice_over_is_spared_to_the_end(handlers, feed):
    """The inner of two waits is over, the outer goes on."""
    counts = []

    async def closes(event):
        with handlers.tasks.caller_spared():
            with handlers.tasks.caller_spared():
                await asyncio.sleep(0)
            counts.append(await drained(handlers))

    handlers.on(("A",), closes)
    feed("A")
    await until(lambda: counts == [0])


async def test_after_a_stop_nothing_begins_that_waited(feed_of):
    """What runs goes on to its end, and only that is handled."""
    handlers = Handlers(Intents.all(), limits=DeliveryLimits(running=2))
    feed, gate, begun = feed_of(handlers), asyncio.Event(), []

    async def slow(event):
        begun.append(event.sequence)
        await gate.wait()

    handlers.on(("A",), slow)
    for _ in range(4):
        feed("A")
    await until(lambda: begun == [1, 2])
    handlers.tasks.stop()
    gate.set()
    await until(lambda: handlers.tasks.running == 0)
    assert await handlers.tasks.drain(0.01) == 0
    assert begun == [1, 2]
    assert handlers.ledgers[0].handled(4) == 2


async def test_a_handler_that_cancels_itself_has_handled_its_event(handlers, feed):
    """As one that raises; only what the drain cancels was cut short."""

    async def gives_up(event):
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    handlers.on(("A",), gives_up)
    feed("A")
    assert await drained(handlers) == 0
    assert handlers.ledgers[0].handled(1) == 1


async def test_a_handler_that_comes_to_its_end_all_the_same_has_handled_its_event(handlers, feed):
    """It was told to end, and did what it had to do first."""

    async def finishes(event):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    handlers.on(("A",), finishes)
    feed("A")
    await asyncio.sleep(0.01)
    assert await handlers.tasks.drain(0.01) == 1
    assert handlers.ledgers[0].handled(1) == 1


@pytest.mark.parametrize(
    "options", [{"bound": 2, "policy": "drop_newest"}, {"bound": 2, "policy": "drop_oldest"}, {}]
)
async def test_what_runs_is_not_handled_yet(handlers, feed, options):
    """Of a handler that drops what it cannot take, and of a coroutine that one returned."""
    gate = asyncio.Event()

    async def slow(event):
        await gate.wait()

    handlers.on(("A",), slow if options else lambda event: slow(event), **options)
    feed("A")
    ledger = handlers.ledgers[0]
    assert ledger.handled(1) == 0
    assert ledger.bytes > 0
    gate.set()
    assert await drained(handlers) == 0
    assert ledger.handled(1) == 1
    assert ledger.bytes == 0
