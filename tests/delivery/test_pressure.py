"""Backpressure: the marks, who is exempt, who is named."""

import asyncio
import collections

import pytest
from deadline import until

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.ledger import OVERHEAD_BYTES, Delivery, Ledgers
from fastgw.delivery.limits import DeliveryLimits
from fastgw.delivery.pressure import HELD_S, LOW, PATIENCE_S, Pressure
from fastgw.errors import WaitFailed
from fastgw.words import Intents

SHARD, GATEWAY = 10_000, 25_000


class Event:
    """An event of which only the size matters."""

    name, sequence, received_at = "A", 1, 0.0

    def __init__(self, size, shard_id):
        self.message_bytes = size - OVERHEAD_BYTES
        self.shard_id = shard_id


class Awaited:
    """Those who wait, of each shard."""

    def __init__(self):
        self.pending = set()
        self.failed = []

    def is_pending(self, shard_id):
        return shard_id in self.pending

    def fail(self, shard_id, reason):
        self.failed.append((shard_id, reason))
        self.pending.discard(shard_id)


class Holder:
    def __init__(self, name):
        self.name = name


class World:
    """Shards whose reading is held or not, and what happened to them."""

    def __init__(self):
        self.now = 0.0
        self.awaited = Awaited()
        self.ledgers = Ledgers()
        limits = DeliveryLimits(shard_bytes=SHARD, gateway_bytes=GATEWAY)
        self.pressure = Pressure(self.ledgers, limits, self.awaited, clock=lambda: self.now)
        self.held = {}
        self.moves = []

    def open(self, size, shard_id=0, holder="handler", *, drops=False):
        ledger = self.ledgers[shard_id]
        ledger.on_hold = lambda is_held: self._move(shard_id, is_held)
        delivery = Delivery(Holder(holder), Event(size, shard_id), (), ledger, drops=drops)
        delivery.open()
        return delivery

    def _move(self, shard_id, is_held):
        assert self.held.get(shard_id, False) != is_held, "told what it knew"
        self.held[shard_id] = is_held
        self.moves.append((shard_id, is_held))

    def is_held(self, shard_id=0):
        assert self.pressure.is_held(self.ledgers[shard_id]) == self.held.get(shard_id, False)
        return self.held.get(shard_id, False)


@pytest.fixture
def world():
    return World()


def test_reading_stops_above_the_high_mark_and_goes_on_at_the_low(world):
    """Half of it, so that it does not stop and go with every event."""
    first = world.open(SHARD // 2)
    second = world.open(SHARD // 2)
    assert not world.is_held()
    third = world.open(1_000)
    assert world.is_held()
    third.done()
    assert world.is_held()
    second.done()
    assert not world.is_held()
    first.done()
    assert world.moves == [(0, True), (0, False)]


def test_one_shard_does_not_hold_another(world):
    """As long as the gateway's own mark is not reached."""
    world.open(SHARD + 1)
    world.open(1_000, shard_id=1)
    assert (world.is_held(0), world.is_held(1)) == (True, False)


def test_above_the_gateways_mark_all_shards_stop(world):
    """Also one that comes only then; at the low mark all read again."""
    opened = [world.open(9_000, shard_id=shard_id) for shard_id in range(2)]
    opened.append(world.open(7_000, shard_id=2))
    assert not any(world.is_held(shard_id) for shard_id in range(3))  # on the mark, not above it
    opened.append(world.open(600, shard_id=3))
    assert all(world.is_held(shard_id) for shard_id in range(4))
    opened.append(world.open(600, shard_id=4))
    assert world.is_held(4)
    opened[0].done()
    assert all(world.is_held(shard_id) for shard_id in range(5))
    opened[1].done()
    assert not any(world.is_held(shard_id) for shard_id in range(5))


def test_a_single_message_above_the_mark_is_taken(world):
    """It has been read; what follows it waits."""
    big = world.open(50 * SHARD)
    assert world.is_held()
    big.done()
    assert not world.is_held()


def test_what_the_close_cuts_short_holds_nothing(world):
    """Its bytes are free."""
    delivery = world.open(SHARD + 1)
    delivery.abandon()
    assert not world.is_held()


def test_what_those_keep_who_drop_is_no_reason_to_go_on_waiting(world):
    """It may stay for ever; above the high mark it counts, for it is in memory."""
    world.open(7_000, drops=True)
    first, second = world.open(3_000), world.open(1_000)
    assert world.is_held()
    second.done()
    assert not world.is_held()
    third = world.open(2_000)
    assert world.is_held()
    first.done()
    third.done()
    assert not world.is_held()


def test_the_same_holds_for_the_gateways_mark(world):
    """Of all shards together, and for one that has nothing of it."""
    for shard_id in range(2):
        world.open(8_000, shard_id=shard_id, drops=True)
    opened = [world.open(9_500, shard_id=2)]
    assert [world.is_held(shard_id) for shard_id in range(3)] == [True] * 3
    opened.pop().done()
    assert [world.is_held(shard_id) for shard_id in range(3)] == [False] * 3
    assert world.ledgers.bytes > GATEWAY * LOW


def test_who_drops_is_not_named_for_holding_reading(world):
    """Whoever has to make room is another, however much the one who drops keeps."""
    world.open(7_000, holder="drops", drops=True)
    world.open(3_001, holder="handler")
    assert list(world.pressure.holding()) == ["handler"]


# ---------------------------------------------------------------------------- who waits


def test_while_somebody_waits_reading_goes_on_up_to_the_second_mark(world):
    """What is waited for may be the very thing that sets the handlers free."""
    world.awaited.pending.add(0)
    world.open(2 * SHARD)
    assert not world.is_held()
    assert not world.awaited.failed
    world.open(1_000)
    assert world.is_held()
    ((shard_id, reason),) = world.awaited.failed
    assert shard_id == 0
    assert "shard 0 stopped reading: 21000 bytes" in reason


def test_who_begins_to_wait_lets_a_held_shard_read(world):
    """And it stops again when the wait is over."""
    world.open(SHARD + 1)
    assert world.is_held()
    world.awaited.pending.add(0)
    world.pressure.waits_changed()
    assert not world.is_held()
    world.awaited.pending.discard(0)
    world.pressure.waits_changed()
    assert world.is_held()


def test_at_the_second_mark_requests_have_time_to_take_what_came(world):
    """Their chunks are taken in a moment: nobody fails for them, unless that goes on for long."""
    ledger = world.ledgers[0]
    world.awaited.pending.add(0)
    world.open(SHARD * 3 // 2)
    world.pressure.requested(ledger, SHARD)
    chunk = world.open(SHARD, holder="request")
    assert (world.is_held(), world.awaited.failed) == (True, [])
    chunk.done()
    world.pressure.requested(ledger, -SHARD)
    world.pressure.waits_changed()
    assert not world.is_held()
    world.pressure.requested(ledger, SHARD)
    world.open(SHARD, holder="request")
    world.now += PATIENCE_S - 0.1
    world.pressure.tick()
    assert world.awaited.failed == []
    world.now += 0.2
    world.pressure.tick()
    ((shard_id, reason),) = world.awaited.failed
    assert shard_id == 0
    assert "stopped reading" in reason


def test_who_begins_to_wait_above_the_second_mark_fails(world):
    """Nothing that is waited for would be read."""
    world.open(2 * SHARD + 1)
    world.awaited.pending.add(0)
    world.pressure.waits_changed()
    assert world.is_held()
    assert len(world.awaited.failed) == 1


def test_a_wait_on_one_shard_does_not_let_another_read(world):
    """Only what may bring the event goes on."""
    world.awaited.pending.add(1)
    world.open(SHARD + 1)
    assert world.is_held(0)


def test_the_gateways_second_mark_ends_waits_on_every_shard(world):
    """However little the shard itself holds."""
    world.awaited.pending.update((0, 1))
    opened = [world.open(SHARD, shard_id=n) for n in range(6)]
    assert world.is_held(2)
    assert world.is_held(0)
    assert {shard_id for shard_id, _ in world.awaited.failed} == {0, 1}
    for delivery in opened:
        delivery.done()
    assert not any(world.is_held(n) for n in range(6))


# ---------------------------------------------------------------------------- who is named


def test_who_holds_reading_for_long_is_named_once(world, caplog):
    """In health, and in one warning: a forgotten iterator must not stop a bot in silence."""
    world.open(1_000, holder="quick")
    slow = world.open(SHARD, holder="slow")
    world.now = HELD_S - 1
    world.pressure.tick()
    assert not caplog.records
    assert world.pressure.holding() == {"slow": HELD_S - 1}
    for _ in range(3):
        world.now += 1
        world.pressure.tick()
    (record,) = caplog.records
    assert "slow has held back reading for 10 s" in record.message
    slow.done()
    assert world.pressure.holding() == {}


def test_who_holds_reading_again_is_named_again(world, caplog):
    """Each time is news."""
    for _ in range(2):
        slow = world.open(SHARD + 1, holder="slow")
        world.now += HELD_S
        world.pressure.tick()
        slow.done()
        world.pressure.tick()
    assert len(caplog.records) == 2


def test_above_the_gateways_mark_the_largest_of_all_is_named(world):
    """Not whoever happens to have something on the shard that is looked at."""
    world.open(9_000, shard_id=1, holder="slow")
    world.open(9_000, shard_id=2, holder="slow")
    world.open(8_000, shard_id=3, holder="other")
    world.now += 3
    assert world.pressure.holding() == {"slow": 3}


# ---------------------------------------------------------------------------- with handlers


@pytest.fixture
def handlers():
    return Handlers(Intents.all(), limits=DeliveryLimits(shard_bytes=SHARD, gateway_bytes=GATEWAY))


@pytest.fixture
def held(handlers):
    """Write down when reading of shard 0 is held."""
    moves = []
    handlers.ledgers[0].on_hold = moves.append
    return moves


KILOBYTE = b'"%s"' % (b"x" * 1_000)


async def test_handlers_that_do_not_end_hold_reading(handlers, feed, held):
    """Running or waiting for their turn: their events are in memory."""
    gate = asyncio.Event()

    async def slow(event):
        await gate.wait()

    handlers.on(("A",), slow, bound=1)
    for _ in range(20):
        feed("A", KILOBYTE)
    assert held == [True]
    gate.set()
    await until(lambda: held == [True, False])
    await handlers.tasks.drain(5.0)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_a_handler_that_drops_never_holds_reading(handlers, feed, held, policy):
    """What would go above the mark is dropped instead, however few events it is."""
    gate = asyncio.Event()
    ended = []

    async def slow(event):
        await gate.wait()
        ended.append(event.sequence)

    handlers.on(("A",), slow, bound=2, policy=policy)
    for _ in range(20):
        feed("A", KILOBYTE)
    feed("A", b'"%s"' % (b"x" * 9_500))
    assert not held
    assert handlers.drops.counts.total() >= 17
    assert handlers.ledgers.bytes <= SHARD
    gate.set()
    await handlers.tasks.drain(5.0)
    assert ended[:2] == [1, 2]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_a_handler_that_drops_begins_nothing_above_the_mark(handlers, feed, held, policy):
    """Though it has room to run: what other handlers hold counts as well."""
    gate, ran = asyncio.Event(), []

    async def slow(event):
        await gate.wait()

    async def dropping(event):
        ran.append(event.sequence)

    handlers.on(("A",), slow)
    handlers.on(("B",), dropping, policy=policy)
    while handlers.ledgers.bytes < SHARD - 2_000:
        feed("A", KILOBYTE)
    feed("B", b'"%s"' % (b"x" * 3_000))
    assert handlers.drops.by_event == {"B": 1}
    gate.set()
    await until(lambda: handlers.ledgers.bytes == 0)
    assert not held
    assert not ran


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_an_iterator_that_drops_never_holds_reading(handlers, feed, held, policy):
    """The same, by bytes where its number is not reached."""
    stream = handlers.events(("A",), bound=1_000, policy=policy)
    for _ in range(50):
        feed("A", KILOBYTE)
    assert not held
    assert handlers.ledgers.bytes <= SHARD
    first = (await stream.__anext__()).sequence
    assert first == 1 if policy == "drop_newest" else first > 40


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_what_a_dropping_iterator_keeps_holds_reading_no_longer(handlers, feed, held, policy):
    """Nobody may ever take it: reading goes on when those who drop nothing have made room."""
    stream = handlers.events(("A",), bound=1_000, policy=policy)
    gate = asyncio.Event()

    async def slow(event):
        await gate.wait()

    handlers.on(("B",), slow)
    for name in "AAAABBBB":  # 6 KB that are kept by a policy, then as many of a handler
        feed(name, KILOBYTE)
    assert held == [True]
    gate.set()
    await handlers.tasks.drain(5.0)
    assert handlers.ledgers.bytes > SHARD * LOW
    assert held == [True, False]
    await stream.aclose()


async def test_an_iterator_that_nobody_reads_holds_reading(handlers, feed, held):
    """Nothing is lost with "block"; closing it sets reading free."""
    stream = handlers.events(("A",), bound=None, policy="block")
    for _ in range(20):
        feed("A", KILOBYTE)
    assert held == [True]
    assert list(handlers.pressure.holding()) == ["events('A')"]
    await stream.aclose()
    assert held == [True, False]


async def test_a_full_iterator_holds_reading_until_half_is_taken(handlers, feed, held):
    """By its own number, long before the mark."""
    stream = handlers.events(("A",), bound=4, policy="block")
    for _ in range(5):
        feed("A")
    assert held == [True]
    assert list(handlers.pressure.holding()) == ["events('A')"]
    await stream.__anext__()
    await stream.__anext__()
    assert held == [True]
    await stream.__anext__()
    assert held == [True, False]
    assert [(await stream.__anext__()).sequence for _ in range(2)] == [4, 5]


async def test_an_iterator_is_full_when_as_many_wait_as_may(handlers, feed, held):
    """With the last of them; one that a policy keeps within its bound never is."""
    stream = handlers.events(("A",), bound=4, policy="block")
    dropping = handlers.events(("A",), bound=2, policy="drop_newest")
    for _ in range(3):
        feed("A")
    assert not held
    feed("A")
    assert held == [True]
    await stream.aclose()
    assert held == [True, False]
    await dropping.aclose()


async def test_a_full_iterator_does_not_hold_what_is_waited_for(handlers, feed, held):
    """Its own reader may be the one who waits."""
    stream = handlers.events(("A",), bound=2, policy="block")
    waiting = asyncio.ensure_future(handlers.wait_for(("B",), None, None))
    await asyncio.sleep(0)
    for _ in range(5):
        feed("A")
    assert not held
    feed("B")
    await waiting
    assert held == [True]
    await stream.aclose()


async def test_a_wait_fails_when_the_second_mark_is_reached(handlers, feed, held):
    """With an error of ours, and nobody waits for ever."""
    stream = handlers.events(("A",), bound=None, policy="block")
    waits = [asyncio.ensure_future(handlers.wait_for(("B",), None, None)) for _ in range(1_000)]
    await asyncio.sleep(0)
    for _ in range(30):
        feed("A", KILOBYTE)
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(result) for result in results} == {WaitFailed}
    assert held == [True]
    await stream.aclose()


async def test_a_wait_that_fails_lets_no_other_shard_read_on():
    """Nobody waits any more: what is above its mark stops, on every shard."""
    handlers = Handlers(Intents.all(), limits=DeliveryLimits(shard_bytes=SHARD))
    held = set()
    for shard_id in range(2):
        handlers.ledgers[shard_id].on_hold = lambda is_held, i=shard_id: held.add(i)
    waiting = asyncio.ensure_future(handlers.wait_for(("B",), None, None))
    await asyncio.sleep(0)
    for shard_id, size in ((1, SHARD + 1), (0, 2 * SHARD + 1)):
        Delivery(Holder("a"), Event(size, shard_id), (), handlers.ledgers[shard_id]).open()
    with pytest.raises(WaitFailed):
        await waiting
    assert held == {0, 1}


async def test_handlers_that_wait_for_events_cannot_deadlock(handlers, feed, held):
    """A thousand handlers that each wait, a hundred at once: all end, served or failed."""
    ended = []
    service = collections.deque([("A", b"null")] * 1_000)

    async def asks(event):
        number = event.sequence
        service.append(("B", b"%d" % number))  # its answer, behind all that was sent already
        try:
            answer = await handlers.wait_for(("B",), lambda event: event.data == number, None)
            ended.append(answer)
        except WaitFailed:
            ended.append(None)

    handlers.on(("A",), asks, bound=100)
    while len(ended) < 1_000:
        while service and not handlers.pressure.is_held(handlers.ledgers[0]):
            feed(*service.popleft())
        await asyncio.sleep(0)
    assert True in held
    assert any(ended)
    assert None in ended
