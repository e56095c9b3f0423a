"""
Identify turns of a whole fleet: a cold start, and what spends the day's budget.

FASTGW_COLD_SHARDS=1024 FASTGW_COLD_INTERVAL_S=5.5 is the cold start of a large bot, in six minutes.
"""

from __future__ import annotations

import asyncio
import math
import os
import time

import pytest
from deadline import scaled, until
from gateways import gateway_to
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
from grounds import LoopbackWay
from streams_run import SUPPORT, Child

from fastgw.redis import RedisIdentifyQueue
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop, pytest.mark.timeout(0)]

SHARDS = int(os.environ.get("FASTGW_COLD_SHARDS", "128"))
INTERVAL_S = float(os.environ.get("FASTGW_COLD_INTERVAL_S", "0.3"))
PROCESSES, KEYS = 4, 16


@pytest.fixture
def server(tmp_path):
    """A server of this test's own."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def test_a_cold_start_keeps_every_key_apart(tmp_path, server):
    """Four processes race: no IDENTIFY comes too early for its key, and none is in vain."""
    part = SHARDS // PROCESSES
    # Less than what the bots keep: where the service gets no core for a moment, it reads one
    # IDENTIFY late and the next in time.
    async with FakeGateway(
        recommended_shards=SHARDS, max_concurrency=KEYS, identify_interval_s=0.8 * INTERVAL_S,
        identifies_total=5_000,
    ) as fake:  # fmt: skip
        children = []
        began = time.monotonic()
        for at in range(PROCESSES):
            arguments = [at * part, (at + 1) * part - 1, SHARDS, KEYS, INTERVAL_S]
            command = [SUPPORT / "cold_worker.py", fake.url, "REDIS", *arguments]
            children.append(Child(f"worker {at}", LoopbackWay(server), list(map(str, command))))
        waves = math.ceil(SHARDS / KEYS)
        try:
            for child in children:
                await child.start(tmp_path / "errors.txt")
            await until(lambda: fake.identifies, 60.0)
            first = time.monotonic()
            await until(
                lambda: all(child.ups for child in children), 120.0 + 2 * waves * INTERVAL_S
            )
            took_s = time.monotonic() - first
        finally:
            for child in children:
                await child.kill()
                await child.way.stop()
        print(
            f"\n{SHARDS} shards, {PROCESSES} processes: {took_s:.1f} s from the first IDENTIFY to "
            f"the last READY, {took_s / ((waves - 1) * INTERVAL_S):.3f} of the {waves - 1} spaces "
            f"between {waves} waves of {KEYS}; {first - began:.1f} s before"
        )
        assert fake.service.identifies_refused == 0
        assert len(fake.identifies) == SHARDS
        assert len({tuple(d["shard"]) for d in fake.identifies}) == SHARDS


async def test_nobody_identifies_below_the_reserve(server):
    """Sessions end again and again, on two machines: what is left of the day stays."""
    total, reserve = 20, 8
    async with FakeGateway(recommended_shards=4, max_concurrency=4, identifies_total=total) as fake:
        gateways = [
            gateway_to(
                fake, shards=ids, shard_count=4, random=lambda: 0.0, backoff_s=(0.01, 0.05),
                identify_queue=RedisIdentifyQueue(
                    server.url, interval_s=0.02, padding_s=(0.0, 0.0), reserve=reserve
                ),
            )
            for ids in (range(2), range(2, 4))
        ]  # fmt: skip
        for gateway in gateways:
            await gateway.start()
        try:
            for gateway in gateways:
                await gateway.wait_ready(scaled(30.0))

            def is_spent():
                for connection in fake.connections:
                    if connection.peer.session is not None:
                        connection.peer.invalid_session(resumable=False)
                        connection.flush()
                return all(gateway._fleet._gate.spent is not None for gateway in gateways)

            await until(is_spent, 60.0)
            assert len(fake.identifies) == total - reserve
            for gateway in gateways:
                assert gateway.health().identify_budget.remaining == reserve
        finally:
            await asyncio.gather(*(gateway.close() for gateway in gateways))
        assert len(fake.identifies) == total - reserve
