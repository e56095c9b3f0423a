"""A rolling deploy of the gateways of streams, whose clocks are an hour ahead or behind."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis_server import needs_redis

pytest.importorskip("redis")
from grounds import Loopback
from streams_run import SHARDS, Run

from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop]

SEED = 20250102
HOUR_S = 3_600
LEASE_S = 10.0  # as it is by default: who waits for a shard looks ten times in it


async def test_a_rolling_deploy_loses_nothing(tmp_path):
    """Each process ends by SIGTERM under load, and another has its shards: 0 identifies for it."""
    ground = Loopback(tmp_path)
    try:
        async with FakeGateway(
            recommended_shards=SHARDS, max_concurrency=SHARDS, session_ttl_s=600.0
        ) as fake:
            run = Run(tmp_path, fake, ground, seed=SEED, lease_s=LEASE_S)
            for at, child in enumerate((*run.workers, *run.consumers)):  # in turn ahead and behind
                child.environment["FASTGW_TEST_SKEW_S"] = str(HOUR_S * (-1) ** at)
            pauses_s = []
            try:
                await run.start()
                run.sending = asyncio.ensure_future(run.send())
                for at, old in enumerate(run.workers):
                    new = run.worker(f"new {at}", *run.ends(at))
                    new.environment["FASTGW_TEST_SKEW_S"] = str(-HOUR_S * (-1) ** at)
                    await new.start(tmp_path / "errors.txt")
                    await run.until(lambda: new.way.is_used, "a new process")  # noqa: B023
                    began = time.monotonic()
                    await old.end()
                    run.workers[at] = new
                    await run.goes_on("a new process")
                    pauses_s.append(time.monotonic() - began)
                    await old.way.stop()
                await run.finish()
            finally:
                await run.stop()
            identifies, resumes = len(fake.identifies), len(fake.resumes)
    finally:
        await asyncio.to_thread(ground.stop)
    print(
        f"\nseed {SEED}, clocks {HOUR_S} s off: {sum(run.sent.values())} events, {identifies} "
        f"identifies, {resumes} resumes; no shard paused for longer than {max(pauses_s):.1f} s"
    )
    run.check(identifies)
    assert resumes == SHARDS
