"""What `drop_oldest` drops: what makes room, and nothing for nothing."""

import asyncio

import pytest

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.ledger import OVERHEAD_BYTES, Delivery
from fastgw.delivery.limits import DeliveryLimits
from fastgw.words import Intents

SHARD, GATEWAY, EVENT, BOUND = 10_000, 22_000, 2_000, 4


class Event:
    """An event of which only shard, number and size matter."""

    name, received_at = "A", 0.0

    def __init__(self, shard_id, sequence, size=EVENT):
        self.shard_id = shard_id
        self.sequence = sequence
        self.message_bytes = size - OVERHEAD_BYTES


class Somebody:
    """Who holds bytes and drops nothing."""

    name = "somebody else"


class World:
    """
    Handlers of several shards, and one party that drops the oldest.

    Args:
        is_handler: an async one, as many of which run as may; else an iterator.
    """

    def __init__(self, *, is_handler):
        self.handlers = Handlers(
            Intents.all(), limits=DeliveryLimits(shard_bytes=SHARD, gateway_bytes=GATEWAY)
        )
        self.gate = asyncio.Event()
        self.seen = []
        if is_handler:
            self.stream = None
            self.handlers.on(("A",), self.slow, bound=BOUND, policy="drop_oldest")
            self.feed(9, *range(BOUND), size=OVERHEAD_BYTES)
        else:
            self.stream = self.handlers.events(("A",), bound=BOUND, policy="drop_oldest")

    async def slow(self, event):
        await self.gate.wait()
        if event.shard_id != 9:
            self.seen.append((event.shard_id, event.sequence))

    def fill(self, shard_id, size):
        """Let somebody else have so many bytes open, who drops nothing."""
        Delivery(Somebody(), Event(shard_id, 0, size), (), self.handlers.ledgers[shard_id]).open()

    def feed(self, shard_id, *sequences, size=EVENT):
        for sequence in sequences:
            self.handlers.target_of("A")(Event(shard_id, sequence, size))

    async def left(self):
        """Return what was not dropped, in order."""
        self.gate.set()
        await self.handlers.tasks.drain(5.0)
        if self.stream is not None:
            self.handlers.end()
            self.seen = [(event.shard_id, event.sequence) async for event in self.stream]
        return self.seen


@pytest.fixture(params=[True, False], ids=["handler", "iterator"])
async def world(request):
    world = World(is_handler=request.param)
    yield world
    await world.left()


async def test_the_mark_of_a_shard_costs_no_event_of_another(world):
    """One of another shard frees nothing there: the oldest of the shard itself goes."""
    world.fill(0, SHARD - 2 * EVENT)
    world.feed(1, 1)
    world.feed(0, 2, 3, 4)
    assert await world.left() == [(1, 1), (0, 3), (0, 4)]
    assert world.handlers.drops.counts.total() == 1


async def test_nothing_goes_where_even_all_would_not_do(world):
    """The gateway's mark is reached by others: the new event goes, and those before it stay."""
    world.fill(0, 9_000)
    world.fill(2, 5_000)
    world.feed(1, 1, 2)
    world.feed(1, 3, size=9_000)
    assert await world.left() == [(1, 1), (1, 2)]
    assert world.handlers.drops.counts.total() == 1


async def test_the_mark_of_the_gateway_is_made_room_below_by_the_oldest(world):
    """Of whatever shard they are."""
    world.fill(0, 9_000)
    world.fill(2, GATEWAY - world.handlers.ledgers.bytes - 2 * EVENT)
    world.feed(3, 1)
    world.feed(1, 2, 3)
    assert await world.left() == [(1, 2), (1, 3)]


async def test_a_number_that_is_reached_costs_the_oldest(world):
    """Far below all marks."""
    world.feed(1, 1, 2, 3, size=OVERHEAD_BYTES)
    world.feed(2, 4, 5, size=OVERHEAD_BYTES)
    assert await world.left() == [(1, 2), (1, 3), (2, 4), (2, 5)]
