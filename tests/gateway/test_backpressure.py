"""Backpressure over a socket: what is not handled stops reading, and nothing else suffers."""

import asyncio
import logging

import pytest
from deadline import scaled, until
from gateways import gateway_to
from inside import inside

from fastgw import DeliveryLimits, State, WaitFailed
from fastgw.testing import FakeGateway

MARK = 200_000
MESSAGE = 4_000
# picows doubles its buffer with each read that fills it, as far as the kernel holds as much.
READ_BUFFER = 16_000_000


@pytest.fixture
async def fake():
    # An ACK stands behind all that was sent before it: the interval leaves time to read that.
    async with FakeGateway(heartbeat_interval_ms=2_000) as fake:
        yield fake


@pytest.fixture
def limits():
    return DeliveryLimits(shard_bytes=MARK)


def flood(fake, first, count):
    """Let the service send that many events, numbered."""
    for n in range(first, first + count):
        fake.dispatch("MESSAGE_CREATE", {"n": n, "content": "x" * MESSAGE})


async def test_a_slow_handler_is_waited_for_and_nothing_is_lost(fake, limits):
    """Memory stays near the mark, heartbeats go on, no zombie, every event once and in order."""
    gateway = gateway_to(fake, compress="none", limits=limits)
    seen, peak, total = [], 0, 8_000
    gate = asyncio.Event()

    @gateway.on("MESSAGE_CREATE", bound=10)
    async def slow(event):
        nonlocal peak
        peak = max(peak, gateway._handlers.ledgers.bytes)
        await gate.wait()
        seen.append(event.data["n"])

    async with gateway:
        shard = gateway.shards[0]
        flood(fake, 0, total)
        await until(lambda: shard.health().reading_paused_by, 10.0)
        sent = inside(gateway).heartbeat.sent
        await until(lambda: inside(gateway).heartbeat.sent >= sent + 2, 20.0)
        assert shard.status is State.READY
        assert not seen
        gate.set()
        await until(lambda: len(seen) == total, 30.0)
        assert seen == list(range(total))
        assert peak <= MARK + READ_BUFFER + MESSAGE
        await until(lambda: gateway.health().unhandled_bytes == 0)
        assert shard.stats().reconnects == {}
        assert shard.health().reading_paused_by == ()
    assert len(fake.upgrades) == 1


async def test_an_iterator_that_is_read_slowly_loses_nothing(fake, limits):
    """The same for `async for`."""
    gateway = gateway_to(fake, compress="none", limits=limits)
    stream = gateway.events("MESSAGE_CREATE")
    async with gateway:
        flood(fake, 0, 1_000)
        await until(lambda: gateway.shards[0].health().reading_paused_by, 10.0)
        assert set(gateway.health().reading_held_by) == {"events('MESSAGE_CREATE')"}
        seen = []
        async for event in stream:
            seen.append(event.data["n"])
            if len(seen) == 1_000:
                break
        assert seen == list(range(1_000))


async def test_the_hold_outlives_its_connection(fake, limits):
    """The next one reads until it has resumed, then it waits as well."""
    gateway = gateway_to(fake, compress="none", limits=limits)
    stream = gateway.events("MESSAGE_CREATE")
    async with gateway:
        shard = gateway.shards[0]
        flood(fake, 0, 300)
        await until(lambda: shard.health().reading_paused_by, 10.0)
        fake.cut()
        await until(lambda: shard.stats().resumes_won == 1, 20.0)
        assert shard.health().reading_paused_by == ("too much is not handled yet",)
        assert inside(gateway).link.connection.is_reading_paused
        flood(fake, 300, 300)
        assert [event.data["n"] async for event in take(stream, 600)] == list(range(600))


async def test_the_hold_outlives_its_shard(fake, limits):
    """One that is stopped and started again finds what is not handled yet, and waits as well."""
    gateway = gateway_to(fake, compress="none", limits=limits)
    stream = gateway.events("MESSAGE_CREATE")
    async with gateway:
        flood(fake, 0, 300)
        await until(lambda: gateway.shards[0].health().reading_paused_by, 10.0)
        await gateway.stop_shard(0)
        shard = await gateway.start_shard(0)
        await until(lambda: shard.status is State.READY, 20.0)
        assert shard.health().reading_paused_by == ("too much is not handled yet",)
        await stream.aclose()
        await until(lambda: not shard.health().reading_paused_by)


async def take(stream, count):
    """Yield that many of its events."""
    for _ in range(count):
        yield await stream.__anext__()


async def test_the_programs_pause_is_not_undone_by_the_marks(fake, limits):
    """Each reason is its own."""
    gateway = gateway_to(fake, compress="none", limits=limits)
    stream = gateway.events("MESSAGE_CREATE")
    async with gateway:
        shard = gateway.shards[0]
        flood(fake, 0, 300)
        await until(lambda: shard.health().reading_paused_by, 10.0)
        shard.pause_reading()
        assert len(shard.health().reading_paused_by) == 2
        await stream.aclose()
        assert shard.health().reading_paused_by == ("asked for by the program",)
        shard.resume_reading()
        assert shard.health().reading_paused_by == ()


async def test_a_waiter_is_served_although_handlers_hold_the_mark(fake):
    """Reading goes on for it, up to the second mark."""
    gateway = gateway_to(fake, compress="none", limits=DeliveryLimits(shard_bytes=MARK))
    answers = []

    @gateway.on("MESSAGE_CREATE", bound=1)
    async def asks(event):
        answers.append(await gateway.wait_for("MESSAGE_UPDATE"))

    async with gateway:
        flood(fake, 0, 80)  # with what each holds beside its bytes below the second mark, 400 KB
        await until(lambda: gateway.health().unhandled_bytes > MARK, 10.0)
        fake.dispatch("MESSAGE_UPDATE", {})
        await until(lambda: answers, 10.0)
        gateway.off(asks)


@pytest.mark.parametrize("mark", [3_000_000, MARK], ids=["second mark not reached", "reached"])
async def test_a_thousand_handlers_that_ask_end(fake, mark):
    """A hundred at once, each waiting for its answer: served, or failed at the second mark."""
    gateway = gateway_to(fake, compress="none", limits=DeliveryLimits(shard_bytes=mark))
    served, failed = [], []

    @gateway.on("MESSAGE_CREATE", bound=100)
    async def asks(event):
        n = event.data["n"]
        fake.dispatch("MESSAGE_UPDATE", {"n": n})
        try:
            await gateway.wait_for("MESSAGE_UPDATE", check=lambda event: event.data["n"] == n)
            served.append(n)
        except WaitFailed:
            failed.append(n)

    async with gateway:
        flood(fake, 0, 1_000)
        await until(lambda: len(served) + len(failed) == 1_000, 60.0)
        assert sorted(served + failed) == list(range(1_000))
        assert not failed or mark == MARK
        assert gateway.stats().shards[0].reconnects == {}


async def test_closing_ends_waits_and_iterators(fake):
    """A handler that waits does not use up the grace of the close; a reader gets what is there."""
    gateway = gateway_to(fake)
    failed = []
    stream = gateway.events("MESSAGE_CREATE")

    @gateway.on("MESSAGE_CREATE")
    async def asks(event):
        try:
            await gateway.wait_for("MESSAGE_UPDATE")
        except WaitFailed as error:
            failed.append(str(error))

    async with gateway:
        flood(fake, 0, 3)
        await until(lambda: gateway.health().handlers_running == 3)
    assert failed == ["the gateway was closed"] * 3
    assert [event.data["n"] async for event in stream] == [0, 1, 2]


async def test_a_forgotten_iterator_is_named(fake, limits, caplog, monkeypatch):
    """In one warning after a while, because a bot that reads nothing any more looks healthy."""
    monkeypatch.setattr("fastgw.delivery.pressure.HELD_S", scaled(0.1))
    gateway = gateway_to(fake, compress="none", limits=limits)
    forgotten = gateway.events("MESSAGE_CREATE")
    async with gateway:
        flood(fake, 0, 500)
        await until(lambda: "has held back reading" in caplog.text, 20.0)
        warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert ["events('MESSAGE_CREATE')" in r.message for r in warnings] == [True]
    assert forgotten is not None
