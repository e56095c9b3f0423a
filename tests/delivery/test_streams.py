"""Iterators over events: what they get, what they hold, and how they end."""

import asyncio
import gc
import logging

import pytest
from deadline import scaled, until

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.limits import DeliveryLimits
from fastgw.errors import UsageError
from fastgw.words import Intents


@pytest.fixture
def events(handlers):
    """Return an iterator over events of these names."""

    def events(*names, bound=None, policy="block"):
        return handlers.events(names, bound=bound, policy=policy)

    return events


async def take(stream, count):
    return [(await stream.__anext__()).sequence for _ in range(count)]


async def test_events_come_in_order_from_the_call_on(events, feed):
    """Those of its names, and nothing before it was made."""
    feed("A")
    stream = events("A", "B")
    for name in "ABCA":
        feed(name)
    assert await take(stream, 3) == [2, 3, 5]


@pytest.mark.parametrize(
    "options", [{}, {"bound": 5}, {"bound": 5, "policy": "drop_oldest"}], ids=str
)
async def test_it_waits_for_what_has_not_come(events, feed, options):
    """One wake-up for all events of a read."""
    stream = events("A", **options)
    taking = asyncio.ensure_future(take(stream, 3))
    await asyncio.sleep(0)
    for _ in range(3):
        feed("A")
    assert await asyncio.wait_for(taking, scaled(5.0)) == [1, 2, 3]


async def test_break_frees_what_waited(handlers, events, feed):
    """Nobody holds the iterator then; what was in hand and what waited counts as handled."""

    async def reads():
        async for event in events("A"):
            if event.sequence == 2:
                break

    reading = asyncio.ensure_future(reads())
    await asyncio.sleep(0)
    for _ in range(5):
        feed("A")
    await reading
    assert not handlers.interests.is_wanted("A")
    assert handlers.ledgers.bytes == 0
    assert handlers.ledgers[0].handled(5) == 5


async def test_an_iterator_that_nobody_holds_is_gone(handlers, events, feed):
    """Made and dropped, or in a task that was."""
    stream = events("A")
    feed("A")
    assert handlers.ledgers.bytes > 0
    del stream
    gc.collect()
    assert not handlers.interests.is_wanted("A")
    assert handlers.ledgers.bytes == 0


class NamedByCollecting:
    """An async handler; whoever asks for its name in logs lets a garbage collection run."""

    def __getattr__(self, name):
        if name == "__qualname__":
            gc.collect()
        raise AttributeError(name)

    async def __call__(self, event):
        await asyncio.Event().wait()


async def test_a_collection_changes_nothing_that_is_under_way(feed_of):
    """It may come in the middle of health(): what it finds of iterators is left in the loop."""
    handlers = Handlers(Intents.all(), limits=DeliveryLimits(shard_bytes=2000))
    feed = feed_of(handlers)
    handlers.home.enter("test")
    handlers.on(("A",), NamedByCollecting())
    held = [handlers.events(("B",), bound=None, policy="block")]
    held.append(held)
    feed("A")
    feed("B", b'"%s"' % (b"x" * 2000))
    del held
    assert handlers.pressure.holding()
    await until(lambda: not handlers.pressure.holding())
    await handlers.tasks.drain(0.0)


@pytest.mark.parametrize("way", ["aclose", "async with"])
async def test_closing_ends_it(handlers, events, feed, way):
    """Whoever waits for the next event hears it; closing twice does nothing."""
    stream = events("A")
    waiting = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    if way == "aclose":
        await stream.aclose()
        await stream.aclose()
    else:
        async with stream as same:
            assert same is stream
    with pytest.raises(StopAsyncIteration):
        await waiting
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()
    assert not handlers.interests.is_wanted("A")
    assert feed("A") is None


@pytest.mark.parametrize("bound", [None, 1])
async def test_an_event_under_way_does_not_reach_one_that_was_closed(handlers, feed, events, bound):
    """A handler called before closed it; nobody would ever finish what came to it then."""
    moves = []
    handlers.ledgers[0].on_hold = moves.append

    def closes(event):
        with pytest.raises(StopIteration):  # as an async handler of Python 3.12 does it, at once
            stream.aclose().send(None)

    handlers.on(("A",), closes)
    stream = events("A", bound=bound)
    feed("A")
    assert handlers.ledgers.bytes == 0
    assert handlers.ledgers[0].handled(1) == 1
    assert not moves


async def test_what_was_in_hand_at_the_closing_is_handled_once(handlers, events, feed):
    """Whatever is done with the iterator after that; else bytes would be freed that others hold."""
    stream = events("A")
    feed("A")
    await take(stream, 1)
    await stream.aclose()
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()
    assert handlers.ledgers.bytes == 0


async def test_the_end_of_the_gateway_comes_behind_what_waits(handlers, events, feed):
    """Nothing that was received is lost; then the loop ends."""
    stream = events("A")
    for _ in range(3):
        feed("A")
    handlers.end()
    assert [event.sequence async for event in stream] == [1, 2, 3]
    assert [event async for event in events("A")] == []


async def test_an_event_is_handled_when_the_next_is_asked_for(handlers, events, feed):
    """Until then it stands in the ledger: its reader may be in the middle of it."""
    stream = events("A")
    ledger = handlers.ledgers[0]
    for _ in range(3):
        feed("A")
    assert ledger.handled(3) == 0
    await take(stream, 1)
    assert ledger.handled(3) == 0
    await take(stream, 1)
    assert ledger.handled(3) == 1
    await take(stream, 1)
    assert ledger.handled(3) == 2
    waiting = asyncio.ensure_future(take(stream, 1))
    await until(lambda: ledger.handled(3) == 3)
    assert handlers.ledgers.bytes == 0
    waiting.cancel()
    await asyncio.wait((waiting,))


async def test_cancelling_takes_no_event_along(events, feed):
    """Cancelled while it waits, or just as the event came."""
    stream = events("A")
    first = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    second = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    feed("A")
    second.cancel()
    await asyncio.wait((second,))
    assert second.cancelled()
    assert await take(stream, 1) == [1]


async def test_a_cancelled_wait_for_the_next_has_handled_the_last_once(handlers, events, feed):
    """It was handled when the next was asked for; leaving the iterator frees nothing of it."""
    stream = events("A")
    feed("A")
    await take(stream, 1)
    waiting = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    await stream.aclose()
    assert handlers.ledgers.bytes == 0


async def test_a_second_task_is_refused(events, feed):
    """It could not be told which of them has handled what."""
    stream = events("A")
    first = asyncio.ensure_future(take(stream, 1))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="one task at a time"):
        await take(stream, 1)
    feed("A")
    assert await first == [1]


async def test_two_iterators_have_each_event_both(events, feed):
    """As two handlers would."""
    streams = [events("A"), events("*")]
    feed("A")
    assert [await take(stream, 1) for stream in streams] == [[1], [1]]


@pytest.mark.parametrize(
    ("policy", "left"), [("drop_oldest", [8, 9, 10]), ("drop_newest", [1, 2, 3])]
)
async def test_what_is_too_much_is_dropped_and_told(handlers, events, feed, caplog, policy, left):
    """Where a policy says so: counted by the iterator's name, and warned of once."""
    stream = events("A", bound=3, policy=policy)
    for _ in range(10):
        feed("A")
    assert await take(stream, 3) == left
    assert handlers.drops.counts == {"events('A')": 7}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "events('A') cannot keep up" in record.message


async def test_without_a_bound_any_number_waits(handlers, events, feed):
    """Only the marks of memory end that; nothing is lost."""
    held = []
    handlers.ledgers[0].on_hold = held.append
    stream = events("A")
    for _ in range(1_001):
        feed("A")
    assert not held
    assert await take(stream, 1_001) == list(range(1, 1_002))


async def test_without_a_bound_a_policy_keeps_a_thousand(handlers, events, feed):
    """What it does where nobody said how many."""
    stream = events("A", policy="drop_newest")
    for _ in range(1_003):
        feed("A")
    assert handlers.drops.counts == {"events('A')": 3}
    assert await take(stream, 1_000) == list(range(1, 1_001))


def test_it_is_named_by_what_it_iterates_over(events):
    """In logs, and when printed."""
    assert repr(events("A", "B")) == "<EventStream events('A', 'B'), 0 waiting>"


@pytest.mark.parametrize("options", [{"bound": 0}, {"policy": "drop"}])
def test_bad_options_are_refused(handlers, events, options):
    """At the call."""
    with pytest.raises(UsageError):
        events("A", **options)
    assert handlers.target_of("A") is None


def test_no_names_are_refused(events):
    """Everything is "*"."""
    with pytest.raises(UsageError, match="name at least one event"):
        events()
