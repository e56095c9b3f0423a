"""Bounds on async handlers: how many run, what waits, whose turn it is, what is dropped."""

import asyncio

import pytest
from deadline import until

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.limits import DeliveryLimits
from fastgw.errors import UsageError
from fastgw.words import Intents


@pytest.fixture
def handlers(request):
    """Of a gateway where few may run at once."""
    return Handlers(Intents.all(), limits=DeliveryLimits(running=getattr(request, "param", 4)))


class Slow:
    """
    An async handler that ends when it is told.

    Attributes:
        begun: events it was called with, in order.
        ended: those it is done with.
    """

    def __init__(self):
        self.begun = []
        self.ended = []
        self._gates = []
        self._is_free = False

    async def __call__(self, event):
        self.begun.append(event.sequence)
        gate = asyncio.Event()
        self._gates.append(gate)
        if not self._is_free:
            await gate.wait()
        self.ended.append(event.sequence)

    def let_go(self, count=None):
        """Let that many end, the first ones first."""
        for gate in self._gates[:count]:
            gate.set()
        del self._gates[:count]

    def finish(self):
        """Let all end, also those that begin later."""
        self._is_free = True
        self.let_go()


@pytest.fixture
async def slow(handlers):
    slow = Slow()
    yield slow
    slow.finish()
    await handlers.tasks.drain(5.0)


async def the_turn_with_room(handlers):
    """Come back in the very turn of the loop in which fewer than four run, none of them new."""
    while handlers.tasks.running == 4:  # noqa: ASYNC110 - a moment later others have begun
        await asyncio.sleep(0)


async def test_no_more_run_than_the_gateway_allows(handlers, feed, slow):
    """The rest waits, in order, and begins as others end."""
    handlers.on(("A",), slow)
    for _ in range(10):
        feed("A")
    await until(lambda: len(slow.begun) == 4)
    assert (handlers.tasks.running, handlers.tasks.waiting) == (4, 6)
    slow.let_go(1)
    await until(lambda: len(slow.begun) == 5)
    assert (handlers.tasks.running, handlers.tasks.waiting) == (4, 5)
    slow.finish()
    await until(lambda: len(slow.ended) == 10)
    assert slow.begun == list(range(1, 11))


async def test_as_many_begin_as_have_ended_whosever_they_are(handlers, feed, slow):
    """A slot is one slot, also where another handler has none of its own bound in use."""
    other = Slow()
    handlers.on(("A",), slow)
    handlers.on(("B",), other)
    for name in "AAAABB":
        feed(name)
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(1)
    await until(lambda: other.begun)
    assert (handlers.tasks.running, handlers.tasks.waiting) == (4, 1)
    other.finish()
    await until(lambda: other.ended == [5, 6])


async def test_a_new_event_does_not_overtake_those_that_wait(handlers, feed, slow):
    """Also when there is room at the moment it comes."""
    handlers.on(("A",), slow)
    for _ in range(6):
        feed("A")
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(2)
    await the_turn_with_room(handlers)
    feed("A")
    slow.finish()
    await until(lambda: len(slow.ended) == 7)
    assert slow.begun == list(range(1, 8))


async def test_a_new_event_overtakes_nothing_of_another_handler_either(handlers, feed, slow):
    """All of one shard begin in the order of its events, whatever the bound."""
    begun = []

    async def other(event):
        begun.append(event.sequence)

    handlers.on(("A",), slow)
    handlers.on(("B",), other)
    for _ in range(6):
        feed("A")
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(2)
    await the_turn_with_room(handlers)
    feed("B")
    assert (begun, handlers.tasks.waiting) == ([], 3)
    slow.finish()
    await until(lambda: begun)
    assert slow.begun == [1, 2, 3, 4, 5, 6]


async def test_an_interaction_begins_where_there_is_room(handlers, feed, slow):
    """It comes later than what waits, and goes first all the same."""
    begun = []

    async def answer(event):
        begun.append(event.sequence)

    handlers.on(("A",), slow)
    handlers.on(("INTERACTION_CREATE",), answer)
    for _ in range(6):
        feed("A")
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(2)
    await the_turn_with_room(handlers)
    feed("INTERACTION_CREATE")
    assert handlers.tasks.waiting == 2
    await until(lambda: begun)
    slow.finish()
    await until(lambda: len(slow.ended) == 6)


async def test_a_handler_at_its_own_bound_does_not_hold_others_back(handlers, feed, slow):
    """Its events wait; the next handler's run."""
    ran = []

    async def other(event):
        await asyncio.sleep(0)
        ran.append(event.sequence)

    handlers.on(("A",), slow, bound=1)
    handlers.on(("B",), other)
    for name in "AAABB":
        feed(name)
    await until(lambda: len(ran) == 2)
    assert slow.begun == [1]
    assert handlers.tasks.waiting == 2
    slow.finish()
    await until(lambda: slow.ended == [1, 2, 3])


async def test_a_bound_of_one_keeps_events_in_order_to_their_end(handlers, feed):
    """For handlers that must not run beside themselves."""
    seen = []

    async def one_by_one(event):
        seen.append(("begins", event.sequence))
        await asyncio.sleep(0)
        seen.append(("ends", event.sequence))

    handlers.on(("A",), one_by_one, bound=1)
    for _ in range(3):
        feed("A")
    await handlers.tasks.drain(5.0)
    assert seen == [(what, n) for n in (1, 2, 3) for what in ("begins", "ends")]


async def test_interactions_go_before_what_waits(handlers, feed, slow):
    """Their tokens live for seconds, so others let them pass; else who came first goes first."""
    begun = []

    async def handler(event):
        begun.append(event.name)
        await slow(event)

    handlers.on(("A",), slow)
    handlers.on(("B",), handler)
    handlers.on(("INTERACTION_CREATE",), handler)
    for name in ("A", "A", "A", "A", "A", "B", "INTERACTION_CREATE", "INTERACTION_CREATE"):
        feed(name)
    await until(lambda: len(slow.begun) == 4)
    assert not begun
    slow.let_go(2)
    await until(lambda: len(begun) == 2)
    assert begun == ["INTERACTION_CREATE"] * 2
    slow.let_go(1)
    await until(lambda: 5 in slow.begun)
    assert len(begun) == 2
    slow.finish()
    await until(lambda: begun[2:] == ["B"])


async def test_a_handler_of_interactions_and_more_goes_before_nobody(handlers, feed, slow):
    """Its messages would let nothing else of the bot begin for as long as there are any."""
    begun = []

    async def everything(event):
        begun.append(event.sequence)
        await slow(event)

    async def guild(event):
        begun.append(event.sequence)

    handlers.on(("A", "INTERACTION_CREATE"), everything)
    handlers.on(("B",), guild)
    for name in "AAAABAA":
        feed(name)
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(1)
    await until(lambda: len(begun) > 4)
    assert begun[4] == 5
    slow.finish()
    await until(lambda: len(begun) == 7)


async def test_many_that_never_wait_do_not_hold_the_loop(handlers, feed, slow):
    """When a slot gets free, some begin; then the socket has its turn."""
    ran, turns = [], 0

    async def quick(event):
        ran.append(event.sequence)

    handlers.on(("A",), slow)
    handlers.on(("B",), quick)
    for _ in range(4):
        feed("A")
    await until(lambda: len(slow.begun) == 4)
    for _ in range(1_000):
        feed("B")
    assert handlers.tasks.waiting == 1_000
    slow.let_go()
    while len(ran) < 1_000:
        before = len(ran)
        await asyncio.sleep(0)
        assert len(ran) - before <= 200
        turns += 1
    assert turns >= 5
    assert ran == sorted(ran)


@pytest.mark.parametrize("handlers", [250], indirect=True)
async def test_many_that_end_in_one_turn_do_not_hold_the_loop(handlers, feed, slow):
    """However many slots get free at once, as many begin in a turn as ever; and all begin."""
    handlers.on(("A",), slow)
    for _ in range(500):
        feed("A")
    await until(lambda: len(slow.begun) == 250)
    slow.let_go()
    most = 0
    while len(slow.begun) < 500:
        before = len(slow.begun)
        await asyncio.sleep(0)
        most = max(most, len(slow.begun) - before)
    assert most <= 200
    assert slow.begun == list(range(1, 501))


async def test_what_waits_and_runs_stands_in_the_ledger(handlers, feed, slow):
    """With its bytes and its sequence, until it has ended."""
    handlers.on(("A",), slow)
    ledger = handlers.ledgers[0]
    for _ in range(6):
        feed("A", b'"%s"' % (b"x" * 10_000))
    assert len(ledger.deliveries) == 6
    assert ledger.bytes > 60_000
    assert ledger.handled(6) == 0
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(1)
    await until(lambda: ledger.handled(6) == 1)
    slow.finish()
    await until(lambda: len(ledger.deliveries) == 0)
    assert ledger.bytes == 0
    assert ledger.handled(6) == 6


async def test_some_say_how_long_they_waited(handlers, feed, slow):
    """One in 64; and how long its handler took, from when that began."""
    handlers.on(("A",), slow)
    for _ in range(128):
        feed("A")
    slow.finish()
    await until(lambda: len(slow.ended) == 128)
    await until(lambda: handlers.tasks.running == 0)
    assert sum(handlers.latencies.queue.buckets) == 2
    assert sum(handlers.latencies.handler.buckets) == 2


async def test_a_failing_handler_has_handled_its_event(handlers, feed):
    """Otherwise one bad event would hold the mark for ever."""

    async def broken(event):
        await asyncio.sleep(0)
        raise RuntimeError("oh no")

    handlers.on(("A",), broken)
    for _ in range(9):
        feed("A")
    await handlers.tasks.drain(5.0)
    assert handlers.ledgers[0].handled(9) == 9
    assert handlers.ledgers.bytes == 0
    assert handlers.failures.counts == {"A": 9}


async def test_the_bound_is_told_once_and_names_who_runs(handlers, feed, slow, caplog):
    """Handlers that pile up are no secret, and no flood of lines either."""
    handlers.on(("A",), slow)
    for _ in range(50):
        feed("A")
    (record,) = caplog.records
    assert "4 async handlers run at once, the bound" in record.message
    assert "Slow (4)" in record.message
    handlers.off(slow)


async def test_the_bound_names_the_handler_that_fills_it(handlers, feed, slow, caplog):
    """Who has most of those that run, not the one whose event has to wait."""

    async def other(event):
        await slow(event)

    handlers.on(("A",), other)
    handlers.on(("B",), slow)
    for name in "ABBBA":
        feed(name)
    (record,) = caplog.records
    assert "one of test_the_bound_names_the_handler_that_fills_it.<locals>.other" in record.message
    assert record.message.endswith("most of those running are Slow (3)")
    handlers.off(other)


async def test_ones_own_bound_is_not_warned_of(handlers, feed, slow, caplog):
    """Who sets it wants events to wait."""
    handlers.on(("A",), slow, bound=1)
    for _ in range(3):
        feed("A")
    assert not caplog.records


# ---------------------------------------------------------------------------- policies


async def test_drop_newest_keeps_as_many_waiting_as_may_run(handlers, feed, slow, caplog):
    """What comes then is gone, counted and told."""
    handlers.on(("A",), slow, bound=2, policy="drop_newest")
    for _ in range(10):
        feed("A")
    await until(lambda: slow.begun == [1, 2])
    assert handlers.tasks.waiting == 2
    assert handlers.drops.counts == {"Slow": 6}
    assert handlers.drops.by_event == {"A": 6}
    assert [record.message for record in caplog.records] == [
        "Slow cannot keep up: 1 events were dropped"
    ]
    slow.finish()
    await until(lambda: slow.ended == [1, 2, 3, 4])
    await until(lambda: handlers.ledgers[0].handled(10) == 10)


async def test_drop_oldest_keeps_the_newest_waiting(handlers, feed, slow):
    """Those that run go on."""
    handlers.on(("A",), slow, bound=2, policy="drop_oldest")
    for _ in range(10):
        feed("A")
    await until(lambda: slow.begun == [1, 2])
    assert handlers.drops.counts == {"Slow": 6}
    slow.finish()
    await until(lambda: slow.ended == [1, 2, 9, 10])
    await until(lambda: handlers.ledgers[0].handled(10) == 10)


async def test_a_dropping_handler_takes_nothing_from_others(handlers, feed, slow):
    """Each has its own lane."""
    other = Slow()
    handlers.on(("A",), slow, bound=1, policy="drop_newest")
    handlers.on(("A",), other, bound=1)
    for _ in range(5):
        feed("A")
    other.finish()
    await until(lambda: other.ended == [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bound": 0}, "bound=0: it must be an int of at least 1"),
        ({"bound": True}, "bound=True"),
        ({"bound": 2.5}, "bound=2.5"),
        ({"policy": "drop"}, "not one of 'block', 'drop_oldest', 'drop_newest'"),
        ({"policy": None}, "policy=None"),
    ],
)
def test_bad_bounds_and_policies_are_refused(handlers, options, text):
    """At registration."""
    with pytest.raises(UsageError, match=text):
        handlers.on(("A",), Slow(), **options)
    assert handlers.target_of("A") is None


@pytest.mark.parametrize(
    "options", [{"bound": 1}, {"policy": "drop_newest"}, {"policy": "drop_oldest"}]
)
def test_a_sync_handler_has_no_bound_and_no_policy(handlers, options):
    """None of its events ever waits, so nothing could be dropped."""
    with pytest.raises(UsageError, match="are for async handlers"):
        handlers.on(("A",), print, **options)


@pytest.mark.parametrize("running", [0, -1, 1.5, True, None])
def test_bad_limits_are_refused(running):
    """With the name of the limit."""
    with pytest.raises(UsageError, match=r"DeliveryLimits\(running="):
        DeliveryLimits(running=running)


# ---------------------------------------------------------------------------- off, errors, drain


async def test_taking_a_handler_back_drops_what_waits_for_it(handlers, feed, slow):
    """It is not called any more; what has begun goes on."""
    handlers.on(("A", "B"), slow, bound=1)
    for name in "AABB":
        feed(name)
    await until(lambda: slow.begun == [1])
    handlers.off(slow, ("A",))
    assert handlers.tasks.waiting == 2
    handlers.off(slow)
    assert handlers.tasks.waiting == 0
    slow.finish()
    await until(lambda: handlers.tasks.running == 0)
    assert slow.ended == [1]
    assert handlers.ledgers.bytes == 0


async def test_taking_back_one_name_leaves_what_waits_for_everything(handlers, feed, slow):
    """A handler of "*" has not been registered for "A", so none of its events is dropped."""
    handlers.on(("*",), slow, bound=1)
    for name in "AAB":
        feed(name)
    assert not handlers.off(slow, ("A",))
    slow.finish()
    await until(lambda: slow.ended == [1, 2, 3])


async def test_taking_back_everything_drops_what_waits_for_it(handlers, feed, slow):
    """Whatever the events are called: none of them is wanted any more."""
    handlers.on(("*",), slow, bound=1)
    for name in "AAB":
        feed(name)
    assert handlers.off(slow, ("*",))
    assert handlers.tasks.waiting == 0
    slow.finish()
    await until(lambda: slow.ended == [1])


@pytest.mark.parametrize(("taken", "left"), [("A", [1, 2, 3]), ("*", [1, 2])])
async def test_taking_back_drops_only_what_is_wanted_no_more(handlers, feed, slow, taken, left):
    """Of one registered for everything and for a name, either may be taken back alone."""
    handlers.on(("*", "A"), slow, bound=1)
    for name in "AAB":
        feed(name)
    assert handlers.off(slow, (taken,))
    slow.finish()
    await until(lambda: slow.ended == left)
    await until(lambda: not handlers.ledgers.bytes)  # a task is done a moment after its last line


async def test_taking_back_what_one_registration_waits_for_leaves_another(handlers, feed, slow):
    """The same handler may stand under several names, each with a bound of its own."""
    handlers.on(("*",), slow, bound=1)
    handlers.on(("A",), slow, bound=1)
    feed("A")
    feed("A")
    assert handlers.tasks.waiting == 2
    assert handlers.off(slow, ("A",))
    assert handlers.tasks.waiting == 1
    slow.finish()
    await until(lambda: slow.ended == [1, 1, 2])


async def test_taking_back_what_is_spent_drops_its_event(handlers, feed, slow):
    """One with once=True is not registered any more while its event waits; it is not called."""
    seen = []

    async def once(event):
        seen.append(event)

    handlers.on(("B",), slow)
    handlers.on(("A",), once, once=True)
    for name in "BBBBA":
        feed(name)
    assert handlers.tasks.waiting == 1
    handlers.off(once)
    assert handlers.tasks.waiting == 0
    slow.finish()
    await until(lambda: not handlers.ledgers.bytes)
    assert not seen


@pytest.mark.filterwarnings("error")
async def test_taking_back_a_wrapper_drops_the_coroutines_it_gave(handlers, feed, slow):
    """They wait as events of an async handler do; closed, for Python warns of those left over."""
    seen = []

    async def late(event):
        seen.append(event)

    def wrapper(event):
        return late(event)

    handlers.on(("B",), slow)
    handlers.on(("A",), wrapper)
    for name in "BBBBA":
        feed(name)
    assert handlers.tasks.waiting == 1
    assert handlers.off(wrapper)
    assert handlers.tasks.waiting == 0
    slow.finish()
    await until(lambda: not handlers.ledgers.bytes)
    assert not seen


async def test_a_flood_of_failures_does_not_pile_up_handlers_of_errors(handlers, feed, slow):
    """They are bounded as all others, and drop what they cannot take."""
    told = []

    async def on_error(failure):
        told.append(failure)
        await slow(failure.event)

    def broken(event):
        raise RuntimeError("oh no")

    handlers.on_error(on_error)
    handlers.on(("A",), broken)
    for _ in range(100):
        feed("A")
    await until(lambda: len(told) == 4)
    assert handlers.tasks.waiting == 4
    assert sum(handlers.drops.counts.values()) == 92
    slow.finish()
    await until(lambda: len(told) == 8)


async def test_the_drain_waits_for_what_waits(handlers, feed):
    """Events that were received are not lost to a clean close."""
    ended = []

    async def handler(event):
        await asyncio.sleep(0)
        ended.append(event.sequence)

    handlers.on(("A",), handler)
    for _ in range(50):
        feed("A")
    assert await handlers.tasks.drain(10.0) == 0
    assert ended == list(range(1, 51))


async def test_the_drain_cuts_short_and_leaves_unhandled(handlers, feed, caplog):
    """What ran and what waited was not handled: the mark stays below it."""
    handled = []

    async def endless(event):
        if event.sequence > 1:
            await asyncio.Event().wait()
        handled.append(event.sequence)

    handlers.on(("A",), endless)
    for _ in range(10):
        feed("A")
    await until(lambda: handled == [1])
    caplog.clear()
    assert await handlers.tasks.drain(0.01) == 4
    assert "4 handlers were cancelled after 0.0 s of grace, 5 events never" in caplog.text
    assert handlers.ledgers[0].handled(10) == 1
    assert handlers.ledgers.bytes == 0
    assert handlers.tasks.waiting == handlers.tasks.running == 0


async def test_returned_coroutines_are_bounded_too(handlers, feed, slow):
    """And closed without a warning when they never begin."""
    handlers.on(("A",), lambda event: slow(event))
    for _ in range(6):
        feed("A")
    await until(lambda: len(slow.begun) == 4)
    assert handlers.tasks.waiting == 2
    await handlers.tasks.drain(0.01)
    assert len(slow.begun) == 4


async def test_returned_coroutines_of_a_handler_wait_in_one_lane(handlers, feed, slow):
    """However many they are: whose turn it is, is looked for among lanes."""
    handlers.on(("A",), slow)
    handlers.on(("B",), lambda event: slow(event))
    handlers.on(("C",), lambda event: slow(event))
    for name in "AAAA" + "BC" * 50:
        feed(name)
    assert handlers.tasks.waiting == 100
    assert len(handlers.tasks._lanes.lanes) == 2
    slow.finish()
    await until(lambda: len(slow.ended) == 104)
    assert slow.begun == list(range(1, 105))


@pytest.mark.parametrize("handlers", [1], indirect=True)
async def test_a_returned_coroutine_overtakes_nothing(handlers, feed):
    """It comes when the handler ends, later than all that waits by then."""
    begun = []

    async def late(event):
        begun.append(f"late {event.sequence}")

    async def handler(event):
        begun.append(event.sequence)
        await asyncio.sleep(0)
        return late(event)

    handlers.on(("A",), handler)
    feed("A")
    feed("A")
    await until(lambda: len(begun) == 4)
    assert begun == [1, 2, "late 1", "late 2"]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_returned_coroutine_of_an_interaction_goes_first(handlers, feed, slow, others):
    """As it does where the handler itself is async."""
    begun = []

    async def answer(event):
        begun.append(event.name)

    handlers.on(("A",), slow)
    handlers.on(("INTERACTION_CREATE",), lambda event: answer(event))
    for _ in range(others):
        handlers.on(("INTERACTION_CREATE",), lambda event: None)
    handlers.on(
        ("B", "INTERACTION_CREATE"), lambda event: answer(event) if event.name == "B" else None
    )
    for name in ("A", "A", "A", "A", "B", "INTERACTION_CREATE"):
        feed(name)
    await until(lambda: len(slow.begun) == 4)
    slow.let_go(1)
    await until(lambda: len(begun) == 2)
    assert begun == ["INTERACTION_CREATE", "B"]
    slow.finish()
    await until(lambda: len(slow.ended) == 4)
