"""Whose turn it is: async handlers of every kind, in any order of events, against a plain model."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections import deque
from random import Random

import pytest
from effort import rounds
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgw.delivery.ledger import OVERHEAD_BYTES, Ledgers
from fastgw.delivery.limits import DeliveryLimits, Policy
from fastgw.delivery.pressure import Pressure
from fastgw.delivery.tasks import HandlerTasks

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = [asyncio.new_event_loop]
if uvloop is not None:
    LOOPS.append(uvloop.new_event_loop)

MESSAGE_BYTES = 100


class Nobody:
    """Who waits for an event: nobody does."""

    def is_pending(self, shard_id):
        return False


class Party:
    """
    One handler as the model sees it.

    Attributes:
        waiting: numbers of its events that came and have not begun, the first one first.
        begun: their coroutines.
    """

    def __init__(self, world, options):
        self.waiting = deque()
        self.names = {}
        self.begun = []
        self.fed = self.lost = self.failed = 0
        self.lane = world.tasks.lane(self, call=lambda event: world.begins(self, event), **options)
        self.start = world.tasks.starter(self.lane)

    __qualname__ = "a party"

    def __call__(self, event):
        raise AssertionError("the lane has its own call")

    @property
    def running(self):
        return [one for one in self.begun if inspect.getcoroutinestate(one) != inspect.CORO_CLOSED]

    @property
    def has_room(self):
        return self.lane.running < self.lane.bound

    def place(self, number):
        """Return what tells who goes first: interactions do, then who came first."""
        return (not self.lane.is_urgent, number)


class World:
    """
    The tasks under test, and what they should do.

    Args:
        limit: how many coroutines may run at once.
        parties: for each handler, the options of its lane.
    """

    def __init__(self, limit, parties):
        self.ledgers = Ledgers()
        limits = DeliveryLimits(running=limit)
        pressure = Pressure(self.ledgers, limits, Nobody())
        self.tasks = HandlerTasks(self.note_failure, self.ledgers, pressure, limits, drops=self)
        self.limit = limit
        self.parties = [Party(self, options) for options in parties]
        self.count_of_events = 0
        self.gates = []
        self.fed = None

    # --- what happens ----------------------------------------------------------------------------

    def feed(self, party, name, ways):
        """An event comes; `ways` says what its handler does."""
        self.count_of_events += 1
        number = self.count_of_events
        event = types.SimpleNamespace(
            name=name, sequence=number, shard_id=0, received_at=0.0,
            message_bytes=MESSAGE_BYTES, ways=ways,
        )  # fmt: skip
        self.fed = party
        party.fed += 1
        party.waiting.append(number)
        party.names[number] = name
        party.start(event)

    def begins(self, party, event):
        """Make the coroutine of an event whose turn it is, if it is."""
        assert party.waiting.popleft() == event.sequence, "not the first of its own"
        assert party.has_room
        assert self.tasks.running < self.limit
        for other in self.parties:
            if other.waiting and other.has_room and other is not party:
                assert party.place(event.sequence) < other.place(other.waiting[0]), "overtakes"
        if event.ways == "cannot be called":
            party.failed += 1
            raise RuntimeError
        coroutine = self._handle(event.ways)
        party.begun.append(coroutine)
        return coroutine

    async def _handle(self, ways):
        if ways == "fails":
            raise RuntimeError
        if ways == "forgets":
            self.forget(self.parties[0], ())
        if ways != "waits":
            return
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        if await gate == "fails":
            raise RuntimeError

    def count(self, name, event_name):
        """Something is dropped of whoever was fed."""
        party = self.fed
        party.lost += 1
        if party.lane.policy is Policy.DROP_NEWEST:
            party.waiting.pop()
        else:
            party.waiting.popleft()
        assert len(party.waiting) == party.lane.bound

    def note_failure(self, argument, handler, error):
        if not isinstance(error, RuntimeError):
            raise error  # of the model

    def forget(self, party, names):
        gone = [n for n in party.waiting if not names or party.names[n] in names]
        if party.lane.is_ledgered:
            party.lost += len(gone)
            party.waiting = deque(n for n in party.waiting if n not in gone)
        self.tasks.forget(party, names)

    def end(self, index, how):
        self.gates = [gate for gate in self.gates if not gate.done()]
        if self.gates:
            self.gates[index % len(self.gates)].set_result(how)

    def cancel(self, index):
        """Somebody cancels a handler's task, perhaps before its first line."""
        running = [one for party in self.parties for one in party.running]
        if running:
            coroutine = running[index % len(running)]
            (task,) = (t for t in asyncio.all_tasks() if t.get_coro() is coroutine)
            task.cancel()

    async def settle(self):
        """Let the loop turn until nothing changes any more."""
        quiet, before = 0, None
        while quiet < 5:
            await asyncio.sleep(0)
            now = (self.tasks.running, self.tasks.waiting, sum(len(p.begun) for p in self.parties))
            quiet = quiet + 1 if now == before else 0
            before = now

    # --- what must hold --------------------------------------------------------------------------

    def check_at_rest(self):
        """Nothing waits that may begin, and all counts are those of the model."""
        running = [one for party in self.parties for one in party.running]
        assert self.tasks.running == len(running) <= self.limit
        assert self.tasks.waiting == sum(len(party.waiting) for party in self.parties)
        open_ones = 0
        for party in self.parties:
            alive = len(party.running)
            assert party.lane.running == alive <= party.lane.bound
            if party.waiting:
                assert alive == party.lane.bound or len(running) == self.limit, "may begin"
            if party.lane.is_ledgered:
                open_ones += alive + len(party.waiting)
        assert len(self.ledgers[0].deliveries) == open_ones
        assert self.ledgers.bytes == open_ones * (MESSAGE_BYTES + OVERHEAD_BYTES)

    async def close(self, *, cuts):
        """Let all end, or cut them short; nothing is left, and each event had one end."""
        if not cuts:
            while left := self.tasks.running + self.tasks.waiting:
                for gate in self.gates:
                    if not gate.done():
                        gate.set_result("")
                await self.settle()
                assert self.tasks.running + self.tasks.waiting < left, "for ever"
        assert await self.tasks.drain(0.0) == 0 or cuts
        assert self.tasks.running == self.tasks.waiting == self.ledgers.bytes == 0
        for party in self.parties:
            assert not party.running
            assert not party.waiting or cuts
            begun = len(party.begun) + party.failed
            assert party.fed == begun + party.lost + len(party.waiting)
            assert party.lane.running == 0


WAYS = ["waits"] * 4 + ["never waits", "fails", "cannot be called", "forgets"]
KINDS = ["feed"] * 8 + [
    "feed many",
    "end",
    "end",
    "end",
    "end",
    "cancel",
    "forget",
    "turns",
    "settle",
]


def options_of(random):
    """Return options of a lane: many handlers have none."""
    options = {"bound": random.choice([None, None, 1, 2])}
    if random.random() < 0.3:
        options["policy"] = random.choice([Policy.DROP_OLDEST, Policy.DROP_NEWEST])
    options["is_urgent"] = random.random() < 0.2
    options["is_ledgered"] = random.random() < 0.9
    return options


async def play(random):
    world = World(random.randint(1, 4), [options_of(random) for _ in range(random.randint(2, 5))])
    for kind in random.choices(KINDS, k=60):
        party = random.choice(world.parties)
        if kind == "feed":
            world.feed(party, random.choice("AB"), random.choice(WAYS))
        elif kind == "feed many":
            ways = random.choice(WAYS)
            for _ in range(random.choice([5, 10, 120])):
                world.feed(party, "A", ways)
        elif kind == "end":
            world.end(random.randrange(6), random.choice(["", "", "fails"]))
        elif kind == "cancel":
            world.cancel(random.randrange(6))
        elif kind == "forget":
            world.forget(party, tuple(random.choice(["", "A", "B"])))
        elif kind == "turns":
            for _ in range(random.randint(1, 3)):
                await asyncio.sleep(0)
        else:
            await world.settle()
            world.check_at_rest()
    await world.settle()
    world.check_at_rest()
    await world.close(cuts=random.random() < 0.3)


@pytest.mark.parametrize("make_loop", LOOPS, ids=["asyncio", "uvloop"][: len(LOOPS)])
@settings(max_examples=rounds(60))
@given(seed=st.integers(0, 1 << 32))
def test_in_any_order_of_events(make_loop, seed):
    """
    Of one handler all begin in order, of several whoever came first, interactions before all; and
    nothing waits that may begin, whatever is forgotten, cancelled, dropped or fails meanwhile.
    """
    loop = make_loop()
    try:
        loop.run_until_complete(play(Random(seed)))
    finally:
        loop.close()
