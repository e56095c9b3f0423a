"""When shards read: handlers, iterators and waiters of every kind, in any order of events."""

from __future__ import annotations

import asyncio
from random import Random

from effort import rounds
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.ledger import OVERHEAD_BYTES
from fastgw.delivery.limits import DeliveryLimits, Policy
from fastgw.delivery.pressure import LOW, SECOND
from fastgw.words import Intents

SHARDS, SHARD, GATEWAY = range(3), 10_000, 22_000
POLICIES = ["block", "block", "drop_oldest", "drop_newest"]


class Event:
    """An event of which only name, shard, number and size matter."""

    received_at = 0.0

    def __init__(self, name, shard_id, sequence, size):
        self.name = name
        self.shard_id = shard_id
        self.sequence = sequence
        self.message_bytes = size - OVERHEAD_BYTES


class Program:
    """
    A bot that does as chance says.

    Attributes:
        held: the shards that were told not to read.
        streams: its iterators that are open, each with who waits for its next event, or None.
    """

    def __init__(self, random):
        self.random = random
        self.handlers = Handlers(
            Intents.all(),
            limits=DeliveryLimits(running=3, shard_bytes=SHARD, gateway_bytes=GATEWAY),
        )
        self.held = set()
        for shard_id in SHARDS:
            self.handlers.ledgers[shard_id].on_hold = lambda is_held, i=shard_id: self.told(
                i, is_held
            )
        self.count = 0
        self.gates = []
        self.streams = {}
        self.waits = []
        self.iterate()
        self.handle()

    def told(self, shard_id, is_held):
        assert (shard_id in self.held) != is_held, "told what it knew"
        (self.held.add if is_held else self.held.remove)(shard_id)

    # --- what it does ----------------------------------------------------------------------------

    def iterate(self):
        random = self.random
        stream = self.handlers.events(
            ("A",), bound=random.choice([None, 1, 3, 8]), policy=random.choice(POLICIES)
        )
        self.streams[stream] = None

    def handle(self):
        async def handler(event):
            gate = asyncio.get_running_loop().create_future()
            self.gates.append(gate)
            await gate

        names, bound = (
            self.random.choice([("A",), ("B",), ("A", "B")]),
            self.random.choice([None, 1]),
        )
        self.handlers.on(names, handler, bound=bound, policy=self.random.choice(POLICIES))

    def feed(self):
        shard_id = self.random.choice(SHARDS)
        if shard_id in self.held and self.random.random() < 0.8:
            return  # what was on its way comes all the same
        self.count += 1
        name, size = self.random.choice("AABBC"), self.random.choice([600, 2_000, 6_000])
        if (target := self.handlers.target_of(name)) is not None:
            target(Event(name, shard_id, self.count, size))

    def take(self):
        for stream, taking in self.streams.items():
            if taking is None or taking.done():
                self.streams[stream] = asyncio.ensure_future(stream.__anext__())

    def cancel(self):
        for taking in self.streams.values():
            if taking is not None:
                taking.cancel()

    async def leave(self):
        if self.streams:
            stream = self.random.choice(list(self.streams))
            await self._close(stream)

    async def _close(self, stream):
        await stream.aclose()
        if (taking := self.streams.pop(stream)) is not None:
            await asyncio.wait((taking,))
            if not taking.cancelled():
                taking.exception()

    def wait(self):
        self.waits.append(asyncio.ensure_future(self.handlers.wait_for(("C",), None, None)))

    def give_up(self):
        for wait in self.waits:
            wait.cancel()

    def end(self):
        self.gates = [gate for gate in self.gates if not gate.done()]
        if self.gates:
            self.random.choice(self.gates).set_result(None)

    async def turn(self):
        for _ in range(self.random.randint(1, 5)):
            await asyncio.sleep(0)

    async def close(self):
        """Let all end: nothing holds any bytes then, and every shard reads."""
        for stream in list(self.streams):
            await self._close(stream)
        self.give_up()
        await asyncio.gather(*self.waits, return_exceptions=True)
        for _ in range(self.count):  # each turn of this ends what runs and begins what waits
            for _ in range(5):
                await asyncio.sleep(0)
            for gate in self.gates:
                if not gate.done():
                    gate.set_result(None)
        assert self.handlers.tasks.running == self.handlers.tasks.waiting == 0
        self.check()
        assert not self.held
        assert self.handlers.ledgers.bytes == 0

    # --- what must hold --------------------------------------------------------------------------

    def check(self):
        ledgers, pressure = self.handlers.ledgers, self.handlers.pressure
        in_all = sum(ledger.bytes for ledger in ledgers)
        kept_in_all = sum(ledger.dropping_bytes for ledger in ledgers)
        assert (in_all, kept_in_all) == (ledgers.bytes, ledgers.dropping_bytes)
        assert kept_in_all <= GATEWAY
        for shard_id in SHARDS:
            ledger = ledgers[shard_id]
            assert ledger.bytes == sum(delivery.size for delivery in ledger.deliveries)
            kept = [d.size for d in ledger.deliveries if d.holder.policy is not Policy.BLOCK]
            assert ledger.dropping_bytes == sum(kept) <= SHARD
            full = pressure._full.get(ledger, ())
            assert all(len(mailbox.waiting) > mailbox.bound // 2 for mailbox in full)
            is_above = ledger.bytes > SHARD or in_all > GATEWAY or bool(full)
            is_at_second = ledger.bytes > SECOND * SHARD or in_all > SECOND * GATEWAY
            may_be_held = (
                is_above
                or ledger.bytes - ledger.dropping_bytes > LOW * SHARD
                or in_all - kept_in_all > LOW * GATEWAY
            )
            is_waited_for = self.handlers.waiters.is_pending(shard_id)
            if shard_id in self.held:
                assert may_be_held, "held for nothing"
                assert is_at_second or not is_waited_for, "held from who waits"
            else:
                assert is_waited_for or not is_above, "reads on"
            assert not (is_at_second and is_waited_for), "waits for what is not read"


ACTIONS = (
    [Program.feed] * 12 + [Program.end] * 4 + [Program.take] * 2 + [Program.turn] * 4
    + [Program.cancel, Program.leave, Program.wait, Program.give_up]
    + [Program.iterate, Program.handle]
)  # fmt: skip


async def play(random):
    program = Program(random)
    for action in random.choices(ACTIONS, k=150):
        if asyncio.iscoroutine(coroutine := action(program)):
            await coroutine
        program.check()
    await program.close()


@settings(max_examples=rounds(30))
@given(seed=st.integers(0, 1 << 32))
def test_in_any_order_of_events(seed):
    """A shard reads unless there is a reason not to, and no reason outlives what it was."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(play(Random(seed)))
    finally:
        loop.close()
