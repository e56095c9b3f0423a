"""A gateway whose handlers take longer than a turn of the loop may."""

import asyncio
import time

import pytest
from deadline import scaled, until
from gateways import gateway_to, no_jitter, quick_queue
from inside import inside

from fastgw.fleet import fleet as fleet_module
from fastgw.testing import FakeGateway


@pytest.fixture(autouse=True)
def _one_event_a_turn(monkeypatch):
    monkeypatch.setattr(fleet_module, "TURN_S", 0.0)


async def test_nothing_is_lost_and_nothing_doubled_across_a_resume():
    """Frames that were kept when the connection went are replayed, as they were never seen."""
    async with FakeGateway(max_concurrency=4) as fake:
        gateway = gateway_to(fake, shards=4, identify_queue=quick_queue(4), random=no_jitter)
        seen, kept, cuts = [], [], [600, 200]

        @gateway.on("MESSAGE_CREATE")
        def look(event):
            seen.append((event.shard_id, event.data["n"]))
            if cuts and seen[-1] == (0, cuts[-1]):
                cuts.pop()
                kept.append(gateway.health().kept_bytes)
                fake.cut()

        async with gateway:
            for n in range(1_200):
                fake.dispatch("MESSAGE_CREATE", {"n": n}, guild_id=n << 22)
            await until(lambda: len(seen) == 1_200, 20.0)
            await until(lambda: gateway.health().kept_bytes == 0)
        assert all(size > 0 for size in kept)
        assert not cuts
        for shard_id in range(4):
            assert [n for i, n in seen if i == shard_id] == list(range(shard_id, 1_200, 4))
        assert gateway.stats().turns_cut > 300
        assert len(fake.identifies) == 4


async def test_an_ack_that_is_kept_is_not_missed():
    """Handlers that are slower than the traffic delay ACKs behind events; that is no zombie."""
    # A fraction of what the handlers take, and longer than a busy machine keeps a process waiting.
    async with FakeGateway(heartbeat_interval_ms=round(scaled(200))) as fake:
        gateway = gateway_to(fake)
        seen = []

        @gateway.on("MESSAGE_CREATE")
        def slow(event):
            time.sleep(0.002)  # what this test is about
            seen.append(event.data["n"])

        async with gateway:
            heartbeat = inside(gateway).heartbeat
            for n in range(400):
                fake.dispatch("MESSAGE_CREATE", {"n": n, "content": "x" * 10_000})
            await until(lambda: len(seen) == 400, 20.0)
            end = heartbeat.sent + 3
            await until(lambda: heartbeat.sent >= end, 10.0)
            assert gateway.shards[0].stats().reconnects == {}
        assert seen == list(range(400))


async def test_why_a_shard_does_not_read_is_told():
    """While frames are kept; the program's own pause stays when they are delivered."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        shown, seen = set(), []

        @gateway.on("MESSAGE_CREATE")
        def look(event):
            shown.update(gateway.shards[0].health().reading_paused_by)
            seen.append(event.data["n"])
            if event.data["n"] == 10:
                gateway.shards[0].pause_reading()

        async with gateway:
            for n in range(50):
                fake.dispatch("MESSAGE_CREATE", {"n": n})
            await until(lambda: len(seen) == 50)
            await until(lambda: gateway.health().kept_bytes == 0)
            await asyncio.sleep(0)
            paused_by = gateway.shards[0].health().reading_paused_by
            assert paused_by == ("asked for by the program",)
            assert "others are given a turn of the loop" in shown
            gateway.shards[0].resume_reading()
