"""
A machine that is cut off from Redis, from Discord, and from both: packets vanish, nobody is told.

Each process is in a network namespace of its own, which needs root; what was sent into a cut TCP
sends again when it is mended.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from deadline import scaled
from redis_server import needs_redis

pytest.importorskip("redis")
from grounds import Namespaces, why_no_namespaces
from streams_run import SHARDS, Run

from fastgw.testing import FakeGateway

pytestmark = [
    pytest.mark.redis,
    pytest.mark.kernel,
    needs_redis,
    pytest.mark.one_loop,
    pytest.mark.timeout(0),
]

SEED = 20250103
LEASE_S = 2.0


@pytest.fixture
def ground(tmp_path):
    """Make the network, or skip with the reason."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    ground = Namespaces(tmp_path, down_after_ms=30_000)  # no failover: this is about the others
    yield ground
    ground.stop()


@contextlib.asynccontextmanager
async def traffic(tmp_path, ground):
    """Two processes with four shards each under load; at the end nothing is lost or doubled."""
    async with FakeGateway(
        host=ground.gateway_host, recommended_shards=SHARDS, max_concurrency=SHARDS,
        session_ttl_s=600.0, heartbeat_interval_ms=1_000, heartbeat_patience=None,
    ) as fake:  # fmt: skip
        run = Run(tmp_path, fake, ground, seed=SEED, lease_s=LEASE_S)
        try:
            await run.start()
            run.sending = asyncio.ensure_future(run.send())
            await run.goes_on("the start")
            yield run
            await run.finish()
        finally:
            await run.stop()
        run.check(len(fake.identifies))


@pytest.mark.parametrize("what", ["redis", "both"])
async def test_who_is_cut_off_from_redis_lets_go_and_fences_nobody(tmp_path, ground, what):
    """Another process has its shards when its leases are over, and keeps them when it is back."""
    async with traffic(tmp_path, ground) as run:
        cut_off, heir = run.workers[0], run.worker("heir", *run.ends(0))
        cut_off.way.cut(what)
        await heir.start(tmp_path / "heir.txt")
        await run.until(lambda: heir.ups, "the heir has the shards")
        run.workers.append(heir)  # it is stopped at the end
        await run.goes_on("the heir began")
        cut_off.way.mend()
        mended = time.monotonic()
        while time.monotonic() - mended < scaled(2 * LEASE_S):  # of what comes late, and tries
            await run.goes_on("it is mended")
        downs = heir.downs
        await run.goes_on("it is mended")
        assert heir.downs == downs
    assert "another process" not in (tmp_path / "heir.txt").read_text()


async def test_who_is_cut_off_from_discord_resumes(tmp_path, ground):
    """Its leases stay, and its sessions."""
    async with traffic(tmp_path, ground) as run:
        cut_off, resumes = run.workers[0], len(run.fake.resumes)
        downs = cut_off.downs
        cut_off.way.cut("gateway")
        await run.until(lambda: cut_off.downs > downs, "a heartbeat was not answered")
        cut_off.way.mend()
        await run.until(lambda: len(run.fake.resumes) > resumes, "it resumes")
        await run.goes_on("it is mended")
